from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cachectl.config.profile_model import ProfileFile, profile_schema
from cachectl.config.profiles import load_profile
from cachectl.config.target import Address, Limits, Target, Thresholds, Tls
from cachectl.errors import ConfigError, RefusedError

CANARY = "s3cr3t-canary"
EXAMPLES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))


@pytest.fixture
def profile(tmp_path: Path) -> Any:
    """Return a function that loads the text of a profile."""

    def load(text: str, **options: Any) -> Target:
        path = tmp_path / "prod.yaml"
        path.write_text(text)
        return load_profile(path, **options)

    return load


@pytest.fixture
def refusal(profile: Any, tmp_path: Path) -> Any:
    """Return a function that loads a bad profile and returns its message, without the directory."""

    def load(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            profile(text)
        error = caught.value
        whole = f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}"
        # The context may be pydantic's own error: it must not print its input.
        assert CANARY not in whole
        assert error.target == str(tmp_path / "prod.yaml")
        message = error.message.replace(f"{tmp_path}/", "")
        return f"{message} | {error.hint}" if error.hint else message

    return load


# --- What a profile means -----------------------------------------------------------------------


def test_the_least_profile_has_all_defaults(profile: Any, tmp_path: Path) -> None:
    assert profile("host: cache.example.com") == Target(
        name="prod", addresses=(Address("cache.example.com"),), source=tmp_path / "prod.yaml"
    )


def test_everything_at_once(profile: Any, tmp_path: Path) -> None:
    for name in ("ca.pem", "policy.yaml"):
        (tmp_path / name).touch()
    target = profile(
        """
description: all of it
host: "::1"
port: 6380
tls: {ca_file: ca.pem, server_name: cache, verify: false}
username: alice
password: {env: PW}
database: 3
protocol: 3
timeouts: {connect: 500ms, reply: 2, loading: 1m}
environment: production
read_only: true
protected: ["session:*"]
limits: {pace: flat-out, max_rate: 10, max_latency: 5ms, critical_latency: 0.1, max_lag: 1kb,
  critical_lag: 2kb, max_keys: 0, max_percent: 5%, max_archive: 3gb}
thresholds: {hit_ratio: 75%, latency_p99: 9ms, memory: 0.5, fragmentation: 2,
  evicted_per_second: 0, connected_clients: 7, blocked_clients: 8, replica_lag: 1mb}
policy: policy.yaml
""",
        environ={"PW": CANARY},
    )
    assert target.addresses == (Address("::1", 6380),)
    assert target.tls == Tls(ca_file=tmp_path / "ca.pem", server_name="cache", verify=False)
    assert (target.login.username, target.login.password.reveal()) == ("alice", CANARY)
    assert (target.database, target.protocol, target.read_only) == (3, 3, True)
    assert (target.connect_timeout, target.timeout, target.wait_loading) == (0.5, 2, 60)
    assert target.limits == Limits("flat-out", 10, 0.005, 0.1, 1024, 2048, 0, 5.0, 3 * 1024**3)
    assert target.thresholds == Thresholds(0.75, 0.009, 0.5, 2, 0, 7, 8, 1024**2)
    assert target.policy_file == tmp_path / "policy.yaml"
    assert target.protected == ("session:*",)
    assert (target.environment, target.pace) == ("production", "flat-out")
    assert CANARY not in repr(target)


def test_a_url_says_most_of_it(profile: Any) -> None:
    target = profile("url: rediss://alice@cache:6390/4?protocol=3&timeout=7s\n")
    assert target.addresses == (Address("cache", 6390),)
    assert (target.login.username, target.database, target.protocol) == ("alice", 4, 3)
    assert (target.timeout, target.connect_timeout, target.tls) == (7, 7, Tls())


def test_sentinel(profile: Any) -> None:
    target = profile(
        """
sentinel:
  master: m1
  nodes: [s1, "s2:5000", "[::1]:5001"]
  username: watcher
  password: {env: SENTINEL_PW}
  address_map: {10.0.0.1: host}
password: {env: PW}
""",
        environ={"PW": "data", "SENTINEL_PW": "sentinel"},
    )
    assert (target.topology, target.sentinel_master) == ("sentinel", "m1")
    assert [str(a) for a in target.addresses] == ["s1:26379", "s2:5000", "[::1]:5001"]
    assert target.sentinel_login.username == "watcher"
    assert target.sentinel_login.password.reveal() == "sentinel"
    assert target.login.password.reveal() == "data"
    assert target.address_map == {"10.0.0.1": "host"}


def test_sentinel_by_url_with_the_sentinels_own_login(profile: Any) -> None:
    target = profile(
        "url: redis+sentinel://s1,s2/m1/2\nsentinel: {password: {env: X}}", environ={"X": "x"}
    )
    assert (target.topology, target.sentinel_master, target.database) == ("sentinel", "m1", 2)
    assert target.sentinel_login.password.reveal() == "x"


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {nodes: [a, 'b:7000']}",
        "{url: 'redis://a', topology: cluster}",
        "{host: a, topology: cluster, cluster: {address_map: {10.0.0.1: a}}}",
    ],
)
def test_cluster(profile: Any, text: str) -> None:
    target = profile(text)
    assert target.topology == "cluster"
    assert target.addresses[0] == Address("a", 6379)


def test_paths_start_at_the_file_and_home_is_home(
    profile: Any, tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert profile("socket: run/x.sock").addresses == (Address(socket=f"{tmp_path}/run/x.sock"),)
    assert profile("socket: ~/x.sock").addresses == (Address(socket=f"{isolated_home}/x.sock"),)
    secret = tmp_path / "pw"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    assert profile("{host: a, password: {file: pw}}").login.password.reveal() == CANARY


def test_a_command_with_a_slash_starts_at_the_file(profile: Any, tmp_path: Path) -> None:
    script = tmp_path / "print-it"
    script.write_text(f"#!/bin/sh\necho {CANARY}-$1\n")
    script.chmod(0o700)
    target = profile("{host: a, password: {command: [./print-it, one]}}")
    assert target.login.password.reveal() == f"{CANARY}-one"


def test_no_secret_is_read_before_it_is_needed(profile: Any) -> None:
    for source in ("{env: NOT_SET}", "{file: none}", "{command: [/none]}", "{prompt: true}"):
        target = profile(f"{{host: a, password: {source}}}", environ={})
        assert "secret from" in repr(target.login.password)


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "host: a\ntls:\n  ca_fle: x\n",
            "line 3: `tls.ca_fle` is not a known field; did you mean `ca_file`?",
        ),
        ("hots: a\n", "line 1: `hots` is not a known field; did you mean `host`?"),
        (
            "host: a\nca_file: x",
            "line 2: `ca_file` is not a known field here; it belongs to `tls.ca_file`",
        ),
        (
            "host: a\nread-only: true",
            "line 2: `read-only` is not a known field; did you mean `read_only`?",
        ),
        (
            "host: a\nenvironment: prod",
            "line 2: `environment` must be production, staging or development; did you mean prod",
        ),
        ("host: a\nread_only: yes", "line 2: `read_only` must be true or false | YAML's"),
        ("host: a\nport: '6379'", "line 2: `port` must be a whole number | write digits"),
        ("host: a\nport: 70000", "line 2: `port` must be at most 65535"),
        ("host: a:6379", "line 1: `host` must not hold a port | write the port as `port:`"),
        ("host: a\ndatabase: -1", "line 2: `database` must be at least 0"),
        ("host: a\ndatabase: 1.5", "line 2: `database` must be a whole number"),
        ("host: a\nprotocol: 4", "line 2: `protocol` must be 2 or 3"),
        ("host: 127", "line 1: `host` must be text | put quotes"),
        (
            "host: a\ntimeouts:\n  connect: 3 parsecs",
            "line 3: `timeouts.connect` must be a duration: ",
        ),
        ("host: a\ntimeouts:\n  connect: 0", "line 3: `timeouts.connect` must be longer than 0"),
        ("host: a\nlimits:\n  max_lag: lots", "line 3: `limits.max_lag` must be a size: "),
        (
            "host: a\nlimits: {max_percent: 101}",
            "line 2: `limits.max_percent` must be a percentage",
        ),
        (
            "host: a\nlimits:\n  critical_latency: 1ms",
            "line 3: `limits.critical_latency` is less than `limits.max_latency`",
        ),
        (
            "host: a\nlimits:\n  max_lag: 1tb",
            "line 3: `limits.max_lag` is more than `limits.critical_lag`",
        ),
        (
            "host: a\nthresholds: {hit_ratio: 80}",
            "line 2: `thresholds.hit_ratio` must be a ratio from 0 to 1 | write 80 percent",
        ),
        ("host: a\ntimeouts: 3s", "line 2: `timeouts` must consist of fields"),
        ("host: a\nlimits:\n", "line 2: `limits` has no value | write one"),
        ("host:\n", "line 1: `host` has no value"),
        ("sentinel:\n  master: m\n  nodes: s1", "line 3: `sentinel.nodes` must be a list"),
        (
            "sentinel:\n  master: m\n  nodes:\n    - s1\n    - 's2:x'",
            "line 5: `sentinel.nodes[1]` has a port",
        ),
        ("sentinel:\n  nodes: [a]", "line 1: `sentinel.master` is missing"),
        (
            "sentinel:\n  master: m\n  nodes: []",
            "line 3: `sentinel.nodes` must have at least 1 items",
        ),
        (
            "host: a\nsentinel: {master: m, nodes: [a]}",
            "line 1: `host` cannot stand beside `sentinel`",
        ),
        ("host: a\nsocket: /x", "line 2: `socket` says again where the server is, after `host`"),
        ("url: redis://a\ncluster: {nodes: [b]}", "line 2: `cluster.nodes` says again"),
        (
            "port: 1",
            "prod.yaml has 2 problems:\n  line 1: the file does not say where the server is",
        ),
        ("description: x", "line 1: the file does not say where the server is | write `url:`"),
        ("url: redis://a/1\ndatabase: 2", "line 2: `database` is given in the URL too"),
        (
            "url: redis://a\ntls: true",
            "line 2: `tls` needs a URL that asks for TLS | write rediss://",
        ),
        ("url: rediss://a\ntls: false", "line 2: `tls` is false, but the URL asks for TLS"),
        ("socket: /x\ntls: true", "line 2: `tls` cannot stand beside `socket`"),
        ("host: a\ntls: {key_file: x}", "line 2: `tls.key_file` needs `tls.cert_file`"),
        ("host: a\ntopology: sentinel", "line 2: `topology` needs a section `sentinel`"),
        (
            "cluster: {nodes: [a]}\ntopology: standalone",
            "line 2: `topology` says standalone, but the rest means cluster",
        ),
        ("socket: /x\ntopology: cluster", "line 1: `socket` cannot lead to a cluster"),
        (
            "host: a\ntls: {ca_file: none.pem}",
            "line 2: `tls.ca_file` names a file that is not there: none.pem",
        ),
        ("host: a\npolicy: none.yaml", "line 2: `policy` names a file that is not there"),
        ("url: cache:6379", "line 1: `url` has no scheme | write it like redis://"),
        ("url: redis://a?ssl=true", "line 1: `url` has an option that is not known | a URL takes"),
        ("- host: a", "line 1: the file must consist of fields"),
        ("host a", "line 1: the file must consist of fields"),
        ("", "line 1: the file is empty"),
        ("host: a\nhost: b", "line 2: has the field `host` a second time"),
        # Secrets in the wrong place are not repeated.
        (
            f"host: a\npassword: {CANARY}",
            "line 2: `password` must not be a password in plain text | take it from {env: NAME}",
        ),
        ("host: a\npassword: 12345", "line 2: `password` must not be a password in plain text"),
        (f"url: redis://:{CANARY}@a", "line 1: `url` must not contain a password | remove it"),
        (f"url: redis://:{CANARY}#x@a", "line 1: `url` holds a #"),
        (
            f"host: a\npassword: {{env: '{CANARY}'}}",
            "line 2: `password.env` must be the name of an environment variable",
        ),
        (
            f"host: a\npassword:{CANARY}\nport: 1",
            "line 2: has no `:` and blank after a field's name",
        ),
        (
            f"{{host: a, password:{CANARY}}}",
            "line 1: the file has no blank after the colon of `password:`",
        ),
        (f"host: a\npassword: {{command: {CANARY}}}", "line 2: `password.command` must be a list"),
        (f"host: a\npassword: [{CANARY}]", "line 2: `password` must consist of fields"),
        (
            f"host: a\npassword: {{plain: {CANARY}}}",
            "line 2: `password.plain` is not a known field",
        ),
        ("host: a\npassword: {}", "line 2: `password` says not where the secret is"),
        ("host: a\npassword: {prompt: false}", "line 2: `password.prompt` must be true"),
        (
            "host: a\npassword: {env: A, file: b}",
            "line 2: `password` has env and file; it takes exactly one",
        ),
        (f"host: a\nenvironment: {CANARY}", "line 2: `environment` must be production"),
        (
            f"host: a\nlimits: {{max_keys: {CANARY}}}",
            "line 2: `limits.max_keys` must be a whole number",
        ),
        (f"host: a\ntimeouts: {{reply: {CANARY}}}", "line 2: `timeouts.reply` must be a duration"),
    ],
)
def test_a_problem_names_file_line_field_and_remedy(
    refusal: Any, tmp_path: Path, text: str, message: str
) -> None:
    message = message.replace("not there: ", f"not there: {tmp_path}/").replace(f"{tmp_path}/", "")
    assert refusal(text).removeprefix("prod.yaml, ").startswith(message)


def test_all_problems_at_once_in_the_order_of_the_file(refusal: Any) -> None:
    assert refusal("hots: a\ntls:\n  verify: no\nlimits:\n  max_rate: 0\n") == (
        "prod.yaml has 3 problems:\n"
        "  line 1: `hots` is not a known field; did you mean `host`?\n"
        "  line 3: `tls.verify` must be true or false (YAML's yes, no, on and off are text here)\n"
        "  line 5: `limits.max_rate` must be more than 0"
    )


def test_a_field_name_moves_no_cursor(refusal: Any) -> None:
    message = refusal('host: a\n"\\e[2J\\u202e": 1')
    assert "\x1b" not in message
    assert "\u202e" not in message
    assert "`\\x1b[2J\\u202e` is not a known field" in message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml: no such file"):
        load_profile(tmp_path / "none.yaml")


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_command_that_others_could_have_written_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "prod.yaml"
    path.write_text("{host: a, password: {command: [cat, x]}}")
    path.chmod(mode)
    with pytest.raises(RefusedError, match="others than its owner may write") as caught:
        load_profile(path)
    assert caught.value.exit_code == 5
    path.chmod(0o644)
    assert load_profile(path).login.password is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_command_in_somebody_elses_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prod.yaml"
    path.write_text("{host: a, tls: {cert_file: c, key_password: {command: [cat, x]}}}")
    os.chown(path, 12345, 12345)
    with pytest.raises(RefusedError, match="belongs to another user"):
        load_profile(path, check_files=False)


# --- The examples and the schema ----------------------------------------------------------------


def test_there_is_an_example_of_each_deployment() -> None:
    assert {path.stem for path in EXAMPLES} == {
        *("local", "unix-socket", "tls", "mtls", "sentinel", "cluster", "production"),
        *("elasticache", "redis-cloud", "azure", "memorystore"),
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_explains_itself(path: Path) -> None:
    target = load_profile(path, check_files=False)
    assert target.name == path.stem
    assert target.description
    assert target.topology == ({"elasticache": "cluster"}.get(path.stem) or {
        name: name for name in ("sentinel", "cluster")
    }.get(path.stem, "standalone"))  # fmt: skip
    text = path.read_text()
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 100


def test_the_defaults_in_the_production_example_are_the_defaults() -> None:
    text = next(path for path in EXAMPLES if path.stem == "production").read_text()
    for line in ("# max_lag: 64mb", "# critical_lag: 512mb", "# max_archive: 2gb"):
        assert line in text
    assert Limits().max_lag == 64 * 1024**2
    assert Limits().critical_lag == 512 * 1024**2
    assert Limits().max_archive == 2 * 1024**3
    for setting, default in (
        ("max_latency", Limits().max_latency),
        ("critical_latency", Limits().critical_latency),
        ("latency_p99", Thresholds().latency_p99),
    ):
        line = next(line for line in text.splitlines() if line.strip().startswith(setting))
        assert line.split("# ")[1].split(":")[0] in (f"{default * 1000:g}ms", f"{default:g}s")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_accepts_the_examples(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), profile_schema())


@pytest.mark.parametrize(
    "profile",
    [
        *({"hots": "a"}, {"host": None}, {"host": "a", "tls": "yes"}, {"host": "a", "port": 0}),
        *({"host": "a", "password": "x"}, {"host": "a", "environment": "prod"}),
        {"host": "a", "limits": {"max_rates": 1}},
    ],
)
def test_the_schema_refuses_what_the_model_refuses(profile: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(profile, profile_schema())


def test_the_schema_is_json_and_complete() -> None:
    schema = json.loads(json.dumps(profile_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(ProfileFile.model_fields)
    assert schema["additionalProperties"] is False
    assert "null" not in json.dumps(schema)
    assert all("description" in field or "$ref" in field for field in schema["properties"].values())
