"""Completion scripts: as committed, and driven in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import ROOT, cachectl

from cachectl.cli.app import COMMANDS
from cachectl.cli.options import OutputFormat
from cachectl.cli.shells import SHELLS, script
from cachectl.cli.tree import command_tree
from cachectl.config.locate import find_profiles

FORMATS = sorted(str(chosen) for chosen in OutputFormat)


def needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed here")
    return path


@pytest.mark.parametrize("shell", SHELLS)
def test_the_committed_script_is_the_generated_one(shell: str) -> None:
    committed = ROOT / "completions" / SHELLS[shell]
    assert committed.read_text(encoding="utf-8") == script(shell), (
        f"out of date: cachectl completion show {shell} > completions/{SHELLS[shell]}"
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_show_prints_it(shell: str) -> None:
    assert cachectl("completion", "show", shell).check().stdout == script(shell)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_can_parse_it(shell: str) -> None:
    command = [needs(shell), "-n", _script(shell)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


# --- driving the shells -----------------------------------------------------------------------

# What readline does at a TAB: split at COMP_WORDBREAKS, call the function that `complete` names.
_BASH = r"""
source "$1"
[[ $(complete -p cachectl) == *"-F _cachectl cachectl" ]] || exit 9
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_cachectl cachectl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def split(line: str) -> list[str]:
    """Split a line as bash does: colons and equals signs are words of their own."""
    words: list[str] = []
    for word in line.split(" "):
        piece = ""
        for character in word:
            if character in ":=":
                words += [piece, character] if piece else [character]
                piece = ""
            else:
                piece += character
        if piece or not word:
            words.append(piece)
    return words


def _script(shell: str) -> str:
    return str(ROOT / "completions" / SHELLS[shell])


def in_bash(line: str) -> list[str]:
    done = subprocess.run(
        [needs("bash"), "--norc", "-c", _BASH, "bash", _script("bash"), *split(line)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    # compopt speaks up outside of a real completion; the function silences it.
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.splitlines()))


_FISH = 'source $argv[1]; complete -C "$argv[2]"'


def in_fish(line: str) -> list[str]:
    done = subprocess.run(
        [needs("fish"), "--no-config", "-c", _FISH, _script("fish"), line],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stderr == ""
    return sorted(found.split("\t")[0] for found in done.stdout.splitlines())


# zsh completes only at a prompt: a child on a terminal gets the line and a TAB, and writes down
# what its completion offers; Ctrl-G then says that it has done so.
_ZSH_CHILD = r"""
autoload -Uz compinit && compinit -u -D
source "$SCRIPT"
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"; return $?
    fi
    local -a found
    builtin compadd -A found "$@"
    print -rl -- "${found[@]}" >> "$OUT"
    builtin compadd "$@"
}
done_completing() { print -r -- COMPLETED }
zle -N done_completing
bindkey '^G' done_completing
"""
_ZSH = r"""
zmodload zsh/zpty
zpty child zsh -f -i
zpty -w child "PS1=; PROMPT=; unsetopt beep; source $CHILD; print -r -- rea''dy"
zpty -r child text '*ready*'
zpty -n -w child "$LINE"$'\t\C-g'
zpty -r child text '*COMPLETED*'
zpty -d child
"""


def in_zsh(line: str, where: Path) -> list[str]:
    out = where / "offered"
    out.write_text("")
    child = where / "child.zsh"
    child.write_text(_ZSH_CHILD)
    variables = {"CHILD": child, "SCRIPT": _script("zsh"), "OUT": out}
    subprocess.run(
        [needs("zsh"), "-f", "-c", _ZSH],
        env=os.environ | {k: str(v) for k, v in variables.items()} | {"LINE": line, "TERM": "dumb"},
        capture_output=True,
        timeout=30,
        check=True,
    )
    return sorted({word.strip().replace("\\", "") for word in out.read_text().split("\n")} - {""})


@pytest.fixture(params=["bash", "zsh", "fish"])
def offered(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what a shell offers at the end of a line, in a directory with some files."""
    needs(request.param)
    if request.param == "zsh":
        return lambda line: in_zsh(line, tmp_path)
    return in_bash if request.param == "bash" else in_fish


@pytest.fixture(autouse=True)
def profiles(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Profiles in the user's and in the runtime directory; return all names."""
    user = Path(os.environ["XDG_CONFIG_HOME"], "cachectl", "profiles")
    runtime = Path(os.environ["XDG_RUNTIME_DIR"], "cachectl", "profiles")
    for directory, name in (
        (user, "prod.yaml"),
        (user, "prod-eu.yml"),
        (user, "notes.txt"),
        (user, "bad name.yaml"),
        (runtime, "demo.yaml"),
        (runtime, "prod.yaml"),
    ):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.joinpath(name).write_text("host: localhost\n")
    return sorted({found.name for found in find_profiles()})


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "somewhere"
    place.mkdir()
    for name in ("snap one.parquet", "snapshot.ndjson", "prod.yaml"):
        place.joinpath(name).touch()
    place.joinpath("directory").mkdir()
    monkeypatch.chdir(place)


def test_commands(offered: Callable[[str], list[str]]) -> None:
    assert offered("cachectl ") == sorted(COMMANDS)
    assert offered("cachectl pr") == ["profiles"]
    assert offered("cachectl profiles ") == sorted(child.path[-1] for child in group("profiles"))


def group(name: str) -> list[object]:
    (found,) = [child for child in command_tree().children if child.path == (name,)]
    return list(found.children)


def test_commands_after_options_with_values(offered: Callable[[str], list[str]]) -> None:
    assert offered("cachectl -q --timeout 3 -p prod pr") == ["profiles"]
    assert offered("cachectl --timeout=3 pr") == ["profiles"]
    assert offered("cachectl --url redis://host:6379/0 completion sh") == ["show"]


def test_options(offered: Callable[[str], list[str]]) -> None:
    assert offered("cachectl --no-c") == ["--no-color"]
    assert "--output" in offered("cachectl scan --o")
    assert "--limit" in offered("cachectl scan 'a:*' --lim")


def test_choices(offered: Callable[[str], list[str]]) -> None:
    assert offered("cachectl scan --output ") == FORMATS
    assert offered("cachectl scan -o j") == ["json", "junit"]
    assert offered("cachectl completion show ") == ["bash", "fish", "zsh"]


def test_choices_after_an_equals_sign(offered: Callable[[str], list[str]]) -> None:
    found = offered("cachectl scan --output=js")
    assert [word.removeprefix("--output=") for word in found] == ["json"]


def test_profiles(offered: Callable[[str], list[str]], profiles: list[str]) -> None:
    assert {"demo", "local", "prod", "prod-eu"} <= set(profiles)
    for line in ("cachectl -p ", "cachectl --profile ", "cachectl profiles show "):
        assert set(profiles) <= set(offered(line))
    assert set(offered("cachectl -p prod-")) == {"prod-eu"}


def test_a_profile_may_be_a_file(offered: Callable[[str], list[str]]) -> None:
    assert "prod.yaml" in {Path(word).name for word in offered("cachectl -p ./prod.y")}


def test_topics(offered: Callable[[str], list[str]]) -> None:
    assert "exit-codes" in offered("cachectl help exit")
    assert "scan" in offered("cachectl help sc")


def test_files(offered: Callable[[str], list[str]]) -> None:
    assert set(offered("cachectl diff snap")) == {"snap one.parquet", "snapshot.ndjson"}
    assert set(offered("cachectl diff snapshot.ndjson snap")) >= {"snapshot.ndjson"}


def test_nothing_where_nothing_is_known(offered: Callable[[str], list[str]]) -> None:
    """Files in place of keys would be noise."""
    assert offered("cachectl keys show ") == []
    assert offered("cachectl --url ") == []
    assert offered("cachectl scan --limit ") == []


def test_completing_starts_no_program_and_is_instant() -> None:
    needs("bash")
    begin = time.monotonic()
    in_bash("cachectl -p ")
    took = time.monotonic() - begin
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import typer"], check=True)
    assert took < time.monotonic() - begin


# --- install ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".data/bash-completion/completions/cachectl.bash"),
        ("zsh", ".data/zsh/site-functions/_cachectl"),
        ("fish", ".config/fish/completions/cachectl.fish"),
    ],
)
def test_install(shell: str, place: str, isolated_home: Path) -> None:
    for words, environ in (((shell,), {}), ((), {"SHELL": f"/usr/bin/{shell}"})):
        done = cachectl("completion", "install", *words, env=environ).check()
        path = isolated_home / place
        assert done.stdout == f"{path}\n"
        assert path.read_text(encoding="utf-8") == script(shell)
        path.unlink()


def test_install_for_a_shell_that_there_is_no_script_for() -> None:
    done = cachectl("completion", "install", env={"SHELL": "/bin/tcsh"}).check(2)
    assert done.stderr.startswith("error: there is no completion for tcsh\n")


def test_typers_own_protocol_works_too() -> None:
    done = cachectl(
        env={"_CACHECTL_COMPLETE": "complete_bash", "COMP_WORDS": "cachectl sc", "COMP_CWORD": "1"}
    )
    assert done.check().stdout == "scan\n"
