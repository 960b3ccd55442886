"""Which server is meant: the options and the environment, and where profiles are looked for.

Whom: `--profile` or `--url`; else CACHECTL_PROFILE or CACHECTL_URL; else the profile `local`.
A profile's name is looked for in this order, and the first that has it wins:

    user       $XDG_CONFIG_HOME/cachectl/profiles   (~/.config/cachectl/profiles)
    runtime    $XDG_RUNTIME_DIR/cachectl/profiles   (else /tmp/cachectl-UID/profiles): demo
    system     /etc/cachectl/profiles
    built-in   local

Completion calls this on every TAB: neither pydantic nor yaml is imported to find a name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachectl.config.secrets import Secret
from cachectl.config.target import Target
from cachectl.config.url_target import target_of_url
from cachectl.errors import ConfigError, RefusedError, UsageError

SUFFIXES = (".yaml", ".yml")
SYSTEM_DIRECTORY = Path("/etc/cachectl/profiles")
DEFAULT_PROFILE = "local"
BUILT_INS = {
    DEFAULT_PROFILE: Target(
        name=DEFAULT_PROFILE, description="a server on this machine, at its usual port"
    ),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """One directory where profiles are looked for. label: user, runtime or system."""

    label: str
    directory: Path


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """One profile that exists. path: None for a built-in. hidden: an earlier place has the name."""

    name: str
    place: str
    path: Path | None = None
    hidden: bool = False


# --- Which server is meant --------------------------------------------------------------------


def resolve(
    profile: str | None = None,
    url: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    places: Sequence[Place] | None = None,
    *,
    check_files: bool = True,
) -> Target:
    """Return the server that the command line and the environment name.

    profile, url, timeout (seconds): the root options. places: where to look (by default
    `search_places`). check_files: whether the files that a profile names must be there.
    REDISCLI_AUTH is the password where none is given. Reads no other secret.
    Raises UsageError, ConfigError, RefusedError.
    """
    environ = os.environ if environ is None else environ
    target = _named_target(profile, url, environ, places, check_files)
    auth = environ.get("REDISCLI_AUTH")
    if auth and target.login.password is None:
        secret = Secret.of(auth, "environment variable REDISCLI_AUTH")
        target = replace(target, login=replace(target.login, password=secret))
    if timeout is not None:
        target = replace(target, timeout=timeout, connect_timeout=timeout)
    return target


def _named_target(
    profile: str | None,
    url: str | None,
    environ: Mapping[str, str],
    places: Sequence[Place] | None,
    check_files: bool,
) -> Target:
    env_profile = environ.get("CACHECTL_PROFILE") or None
    env_url = environ.get("CACHECTL_URL") or None
    if profile == env_profile:
        profile = None  # the option takes the variable's value when it was not given
    if profile and url:
        raise UsageError("--profile and --url both name a server", hint="give one of them")
    if profile:
        return _of_profile(profile, environ, places, check_files)
    if url:
        return target_of_url(url)
    if env_profile and env_url:
        raise UsageError(
            "CACHECTL_PROFILE and CACHECTL_URL both name a server",
            hint="unset one of them, or give --profile or --url",
        )
    if env_url:
        return target_of_url(env_url, variable="CACHECTL_URL")
    return _of_profile(env_profile or DEFAULT_PROFILE, environ, places, check_files)


def _of_profile(
    name: str,
    environ: Mapping[str, str],
    places: Sequence[Place] | None,
    check_files: bool,
) -> Target:
    if "://" in name:
        raise UsageError("--profile takes a name or a file, and this is a URL", hint="use --url")
    if name.endswith(SUFFIXES) or "/" in name:
        return _load(Path(os.path.expanduser(name)), None, environ, check_files)
    for found in find_profiles(environ, places):
        if found.name == name:
            return load_found(found, environ, check_files=check_files)
    raise _unknown(name, profile_names(environ, places))


def load_found(
    found: FoundProfile, environ: Mapping[str, str] | None = None, *, check_files: bool = True
) -> Target:
    """Return the Target of a profile that was found. Raises ConfigError, RefusedError."""
    if found.path is None:
        return BUILT_INS[found.name]
    environ = os.environ if environ is None else environ
    return _load(found.path, found.name, environ, check_files)


def _load(path: Path, name: str | None, environ: Mapping[str, str], check_files: bool) -> Target:
    from cachectl.config.profiles import load_profile

    return load_profile(path, name=name, environ=environ, check_files=check_files)


def _unknown(name: str, names: Sequence[str]) -> ConfigError:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return ConfigError(
        f"there is no profile called {shown[:80]}{guess}",
        hint=f"there are {', '.join(names)}; to give a file, write its path with the suffix .yaml",
    )


# --- Where profiles are -----------------------------------------------------------------------


def search_places(environ: Mapping[str, str] | None = None) -> tuple[Place, ...]:
    """Return the directories where profiles are looked for, the first one winning.

    A runtime directory counts only when it is this user's and nobody else can write to it: in /tmp
    anybody could have made it, and a profile may name a command to run.
    """
    environ = os.environ if environ is None else environ
    runtime = [Place("runtime", path) for path in _runtime_candidates(environ) if _is_ours(path)]
    return (
        Place("user", user_profiles_dir(environ)),
        *runtime,
        Place("system", SYSTEM_DIRECTORY),
    )


def find_profiles(
    environ: Mapping[str, str] | None = None, places: Sequence[Place] | None = None
) -> list[FoundProfile]:
    """Return all profiles in the order of the search; directories that are missing are empty."""
    found: list[FoundProfile] = []
    seen: set[str] = set()
    for place in search_places(environ) if places is None else places:
        for name, path in _profiles_in(place.directory):
            found.append(FoundProfile(name, place.label, path, hidden=name in seen))
            seen.add(name)
    found += (FoundProfile(name, "built-in", hidden=name in seen) for name in BUILT_INS)
    return found


def profile_names(
    environ: Mapping[str, str] | None = None, places: Sequence[Place] | None = None
) -> list[str]:
    """Return the names of all profiles, sorted, for completion and for messages."""
    return sorted({found.name for found in find_profiles(environ, places)})


def _profiles_in(directory: Path) -> Iterator[tuple[str, Path]]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for file_name in names:
        stem, suffix = os.path.splitext(file_name)
        if suffix in SUFFIXES and _NAME.fullmatch(stem):
            yield stem, directory / file_name


def is_profile_name(text: str) -> bool:
    """Return whether a profile can have this name: letters, digits, `.`, `_` and `-`."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(SUFFIXES)


def user_profiles_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the user's own directory of profiles, whether it exists or not."""
    environ = os.environ if environ is None else environ
    configured = environ.get("XDG_CONFIG_HOME", "")
    home = environ.get("HOME") or os.path.expanduser("~")
    # By the XDG specification a relative path is to be ignored.
    base = Path(configured) if configured.startswith("/") else Path(home, ".config")
    return base / "cachectl" / "profiles"


def runtime_profiles_dir(environ: Mapping[str, str] | None = None, *, create: bool = False) -> Path:
    """Return the directory for profiles that live as long as a process, such as the demo's.

    create: make it (0700) when it is missing, in /tmp when $XDG_RUNTIME_DIR does not let us. Raises
    RefusedError when what is there belongs to somebody else.
    """
    environ = os.environ if environ is None else environ
    candidates = _runtime_candidates(environ)
    if not create:
        return next((path for path in candidates if _is_ours(path)), candidates[0])
    for path in candidates:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_ours(path):
            return path
    raise RefusedError(
        f"{candidates[-1]} cannot be used: it is missing, or others may write to it",
        hint="set XDG_RUNTIME_DIR to a directory of your own, of mode 0700",
        target=str(candidates[-1]),
    )


def _runtime_candidates(environ: Mapping[str, str]) -> list[Path]:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(runtime, "cachectl", "profiles")] if runtime.startswith("/") else []
    temporary = environ.get("TMPDIR", "")
    shared = Path(temporary if temporary.startswith("/") else "/tmp")  # noqa: S108 - see _is_ours
    return [*candidates, shared / f"cachectl-{os.geteuid()}" / "profiles"]


def _is_ours(directory: Path) -> bool:
    """Return whether the directory and the one above it are ours, and only ours to write to."""
    for path in (directory.parent, directory):
        try:
            facts = os.lstat(path)
        except OSError:
            return False
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return False
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
    return True
