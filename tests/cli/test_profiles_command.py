from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from programs import cachectl, cachectl_tty, plain

from cachectl.cli import completing
from cachectl.cli import profiles as command
from cachectl.config import profile_model
from cachectl.config.durations import parse_duration
from cachectl.config.fields import Section
from cachectl.config.profile_model import ProfileFile
from cachectl.config.profiles import load_profile
from cachectl.config.sizes import parse_percent, parse_size
from cachectl.config.target import Limits, Target, Thresholds
from cachectl.config.template import profile_text
from cachectl.output.document import document
from cachectl.views.profiles import show_report

CANARY = "s3cr3t-canary"
EXAMPLES = Path(__file__).parents[2] / "profiles"
TOPIC = (Path(command.__file__).parent / "topics" / "profiles.md").read_text()


@pytest.fixture(autouse=True)
def no_demo(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that runs on this machine without a runtime directory has its profile in /tmp."""
    monkeypatch.setenv("TMPDIR", str(isolated_home))


@pytest.fixture
def user_dir(isolated_home: Path) -> Path:
    """The user's directory of profiles, empty."""
    path = isolated_home / ".config" / "cachectl" / "profiles"
    path.mkdir(parents=True)
    return path


# --- list ---------------------------------------------------------------------------------------


def test_list_shows_good_and_bad_ones(user_dir: Path) -> None:
    (user_dir / "prod.yaml").write_text(
        "url: redis://h:7/2\nenvironment: production\npassword: {env: NOT_SET}\n"
    )
    (user_dir / "bad.yaml").write_text(f"hots: {CANARY}\n")
    (user_dir / "local.yaml").write_text("host: mine\n")
    run = cachectl("profiles", "list", "-o", "json", secrets=[CANARY])
    assert run.exit_code == 0
    rows = {(row["name"], row["place"]): row for row in run.json["profiles"]}
    assert run.json["schema"] == "cachectl.profiles/1"
    assert rows["prod", "user"] == {
        "name": "prod",
        "address": "h:7/2",
        "topology": "standalone",
        "environment": "production",
        "tls": False,
        "read_only": False,
        "place": "user",
        "path": str(user_dir / "prod.yaml"),
        "hidden": False,
        "description": None,
        "problem": None,
    }
    assert "line 1: `hots` is not a known field" in rows["bad", "user"]["problem"]
    assert rows["bad", "user"]["address"] is None
    assert rows["local", "built-in"]["hidden"]
    assert [item["what"] for item in run.json["unavailable"]] == ["profile bad"]


def test_list_fits_a_small_screen(user_dir: Path) -> None:
    (user_dir / "bad.yaml").write_text("hots: x\n")
    with cachectl_tty("profiles", "list", columns=80) as terminal:
        outcome = terminal.finish()
    assert outcome.exit_code == 0
    words = " ".join(plain(outcome.out).split())
    for expected in ("127.0.0.1:6379", "not valid", "built-in", "did you mean"):
        assert expected in words


# --- show ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [path.stem for path in sorted(EXAMPLES.glob("*.yaml"))])
def test_show_tells_what_an_example_means(name: str) -> None:
    target = load_profile(EXAMPLES / f"{name}.yaml", check_files=False)
    shown = json.loads(json.dumps(document(show_report(target), now=0)))
    assert shown["schema"] == "cachectl.profile/1"
    assert shown["addresses"] == [str(address) for address in target.addresses]
    assert shown["topology"] == target.topology
    assert shown["limits"]["max_keys"] == target.limits.max_keys
    assert shown["timeouts"]["connect"] == target.connect_timeout
    assert ("tls" in shown) == (target.tls is not None)
    assert ("sentinel_login" in shown) == (target.topology == "sentinel")
    assert "<secret" not in json.dumps(shown)


def test_show_reads_no_secret_and_prints_none(user_dir: Path) -> None:
    canary = user_dir / "canary"
    (user_dir / "prod.yaml").write_text(
        f"{{host: h, password: {{command: [touch, {canary}]}}, tls: {{verify: false}}}}"
    )
    run = cachectl("-p", "prod", "profiles", "show")
    assert run.exit_code == 0
    assert "password:  command touch" in run.stdout
    assert "does not verify the server" in run.stderr
    assert not canary.exists()
    env = {"CACHECTL_URL": f"redis://u:{CANARY}@h", "REDISCLI_AUTH": CANARY}
    run = cachectl("profiles", "show", env=env, secrets=[CANARY])
    assert "password:  environment variable CACHECTL_URL" in run.stdout


def test_show_takes_a_name_before_the_root_option() -> None:
    args = ("-p", EXAMPLES / "tls.yaml", "profiles", "show", "-o", "json")
    assert cachectl(*args).json["name"] == "tls"
    assert cachectl(*args, "local").json["name"] == "local"


def test_a_bad_profile_is_exit_2_with_its_line(user_dir: Path) -> None:
    (user_dir / "bad.yaml").write_text(f"host: h\ntls:\n  ca_fle: {CANARY}\n")
    for args in (("profiles", "show", "bad"), ("-p", "bad", "profiles", "show")):
        run = cachectl(*args, "-o", "json", secrets=[CANARY])
        assert run.exit_code == 2
        assert run.error["code"] == "config"
        assert run.error["message"].endswith(
            "bad.yaml, line 3: `tls.ca_fle` is not a known field; did you mean `ca_file`?"
        )
    assert cachectl("profiles", "show", "bda").stderr == (
        "error: there is no profile called bda; did you mean bad?\n"
        "hint: there are bad, local; to give a file, write its path with the suffix .yaml\n"
    )


def test_a_password_on_the_command_line_is_not_repeated() -> None:
    run = cachectl("--url", f"redis://:{CANARY}@h", "profiles", "show", secrets=[CANARY])
    assert run.exit_code == 2
    assert "REDISCLI_AUTH" in run.stderr


# --- init ---------------------------------------------------------------------------------------


def test_init_writes_a_private_profile_that_loads(user_dir: Path) -> None:
    run = cachectl("profiles", "init", "new", "--from-url", "rediss://me@h:7/3")
    path = user_dir / "new.yaml"
    assert (run.exit_code, run.stdout) == (0, f"{path}\n")
    assert "cachectl -p new profiles check" in run.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    target = load_profile(path)
    assert (str(target.addresses[0]), target.database, target.login.username) == ("h:7", 3, "me")
    assert target.tls is not None


def test_init_does_not_overwrite_unless_forced(user_dir: Path) -> None:
    path = user_dir / "new.yaml"
    path.write_text("host: precious\n")
    run = cachectl("profiles", "init", "new")
    assert run.exit_code == 5
    assert "--force" in run.stderr
    assert path.read_text() == "host: precious\n"
    run = cachectl("profiles", "init", "new", "--force", "--environment", "production")
    assert run.exit_code == 0
    assert load_profile(path).environment == "production"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("new", "--from-url", f"redis://:{CANARY}@h"), "can be read by everybody"),
        (("new", "--from-url", "nonsense"), "the URL has no scheme"),
        (("../new",), "a profile's name has letters"),
        (("new.yaml",), "a profile's name has letters"),
        (("",), "a profile's name has letters"),
    ],
)
def test_init_refuses(user_dir: Path, args: tuple[str, ...], says: str) -> None:
    run = cachectl("profiles", "init", *args, secrets=[CANARY])
    assert run.exit_code == 2
    assert says in run.stderr
    assert list(user_dir.iterdir()) == []


def test_init_asks_at_a_terminal(user_dir: Path) -> None:
    with cachectl_tty("profiles", "init", "new") as terminal:
        terminal.expect("URL of the server")
        terminal.send("redis://asked:1\r")
        terminal.expect("Environment")
        terminal.send("staging\r")
        assert terminal.finish().exit_code == 0
    target = load_profile(user_dir / "new.yaml")
    assert (target.addresses[0].host, target.environment) == ("asked", "staging")


def test_what_the_template_comments_out_is_valid_too(tmp_path: Path) -> None:
    lines = profile_text("rediss://h").splitlines()
    fields = [line.removeprefix("# ") for line in lines if line.startswith(("url", "env", "# "))]
    kept = [line for line in fields if line.split(":")[0] in ProfileFile.model_fields]
    names = {line.split(":")[0] for line in kept}
    assert {"username", "password", "tls", "read_only", "limits", "policy"} <= names
    for password in (line for line in kept if line.startswith("password")):
        path = tmp_path / "p.yaml"
        others = [line for line in kept if not line.startswith("password")]
        path.write_text("\n".join([*others, password]))
        assert load_profile(path, check_files=False).limits.max_percent == 5


# --- Schema, completion, help topic -------------------------------------------------------------


def test_schema_is_printed() -> None:
    schema = cachectl("profiles", "schema").json
    jsonschema.validate(yaml.safe_load((EXAMPLES / "production.yaml").read_text()), schema)


def test_names_are_completed(user_dir: Path) -> None:
    for name in ("prod.yaml", "preprod.yaml", "x.yaml"):
        (user_dir / name).touch()
    assert completing.profiles("p") == ["preprod", "prod"]


def test_the_topic_has_every_field() -> None:
    words = set(re.findall(r"\w+", TOPIC))
    for model in _sections():
        assert set(model.model_fields) <= words


def _sections() -> list[type[Section]]:
    models = [value for value in vars(profile_model).values() if isinstance(value, type)]
    return [model for model in models if issubclass(model, Section) and model is not Section]


def test_the_topic_has_the_defaults_that_are_in_force() -> None:
    lines = [line.split() for line in TOPIC.splitlines() if line.startswith("      ")]
    said = {words[0][:-1]: words[1] for words in lines if words[0].endswith(":") and words[1:]}
    plain = Target("x")
    limits, thresholds = Limits(), Thresholds()
    for name, value in (
        ("connect", plain.connect_timeout),
        ("reply", plain.timeout),
        ("loading", plain.wait_loading),
        ("max_latency", limits.max_latency),
        ("critical_latency", limits.critical_latency),
        ("latency_p99", thresholds.latency_p99),
    ):
        assert parse_duration(said[name]) == value
    for name in ("max_lag", "critical_lag", "max_archive", "max_keys"):
        assert parse_size(said[name]) == getattr(limits, name)
    for name in ("hit_ratio", "memory"):
        assert parse_percent(said[name]) / 100 == getattr(thresholds, name)
    assert float(said["max_percent"]) == limits.max_percent
    assert float(said["fragmentation"]) == thresholds.fragmentation
    assert f"environment: {plain.environment}" in TOPIC
    assert max(map(len, TOPIC.splitlines())) <= 100
