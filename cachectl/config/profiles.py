"""From a profile file to a Target: what its fields mean together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cachectl.config.conflicts import conflicts, given, topology_of
from cachectl.config.fields import Section
from cachectl.config.problems import Problem, reject, validate
from cachectl.config.profile_model import (
    ProfileFile,
    SuppressionSection,
    SuppressionsFile,
    ThresholdsSection,
)
from cachectl.config.secret_model import (
    SecretSource,
    path_from,
    refuse_foreign_commands,
    secret_of,
)
from cachectl.config.secrets import Secret
from cachectl.config.target import (
    DEFAULT_PORT,
    DEFAULT_SENTINEL_PORT,
    Address,
    CheckRanges,
    Limits,
    Login,
    Target,
    Thresholds,
    Tls,
)
from cachectl.config.urls import ServerUrl, parse_address, parse_url
from cachectl.config.yamlfile import YamlDocument, load_file
from cachectl.model.findings import Suppression


def load_profile(
    path: Path,
    *,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
    check_files: bool = True,
) -> Target:
    """Return what the profile file at `path` means.

    name: the profile's name (by default the file's, without its suffix). environ: where `env`
    secrets will be read. check_files: whether the files that it names must be there. No secret is
    read. Raises ConfigError with every problem of the file, RefusedError when others may write to a
    file that runs a command.
    """
    document = load_file(path)
    profile = validate(ProfileFile, document)
    reader = _Reader(profile, document, path, os.environ if environ is None else environ)
    problems = list(conflicts(profile, reader.url, document.data))
    if check_files and not problems:
        problems += reader.missing_files()
    if problems:
        raise reject(document, problems)
    refuse_foreign_commands(path, reader.secret_sources())
    return reader.target(name or path.stem)


@dataclass(slots=True)
class _Reader:
    """One profile, its document (for positions) and its path (for relative paths)."""

    profile: ProfileFile
    document: YamlDocument
    path: Path
    environ: Mapping[str, str]
    url: ServerUrl | None = None

    def __post_init__(self) -> None:
        if self.profile.url is not None:
            self.url = parse_url(self.profile.url)

    def missing_files(self) -> Iterator[Problem]:
        """Yield the named files that cannot be read: better said here than by the TLS library."""
        profile = self.profile
        named: list[tuple[tuple[str, ...], str | None]] = [(("policy",), profile.policy)]
        named += (
            (("tls", name), given(profile.tls, name))
            for name in ("ca_file", "cert_file", "key_file")
        )
        for place, text in named:
            if text is None:
                continue
            path = self._path(text)
            if not path.is_file():
                yield Problem(place, f"names a file that is not there: {path}")
            elif not os.access(path, os.R_OK):
                yield Problem(place, f"names a file that this user may not read: {path}")

    def secret_sources(self) -> Iterator[SecretSource]:
        """Yield where the profile's secrets come from."""
        sections = (self.profile, self.profile.sentinel, self.profile.tls)
        for section in sections:
            for name in ("password", "key_password"):
                if (source := getattr(section, name, None)) is not None:
                    yield source

    def target(self, name: str) -> Target:
        """Return the Target; call it when there are no conflicts."""
        profile, url = self.profile, self.url
        optional: dict[str, Any] = {
            "database": _first(profile.database, url and url.database),
            "protocol": _first(profile.protocol, url and url.protocol),
            "environment": profile.environment,
            "read_only": profile.read_only,
            "protected": tuple(profile.protected) if profile.protected else None,
            "description": profile.description,
            "suppressions": suppressions_of(profile.suppressions or ()),
            **self._timeouts(),
        }
        sentinel = profile.sentinel
        return Target(
            name=name,
            topology=topology_of(profile, url),
            addresses=self._addresses(),
            login=Login(
                _first(profile.username, url and url.username),
                self._secret(profile.password, f"Password for {name}"),
            ),
            sentinel_master=_first(given(sentinel, "master"), url and url.master),
            sentinel_login=Login(
                given(sentinel, "username"),
                self._secret(given(sentinel, "password"), f"Password of the sentinels of {name}"),
            ),
            address_map=given(sentinel or profile.cluster, "address_map") or {},
            tls=self._tls(name),
            limits=Limits(**_set_fields(profile.limits)),
            thresholds=_thresholds(profile.thresholds),
            policy_file=self._path(profile.policy) if profile.policy else None,
            source=self.path,
            **{key: value for key, value in optional.items() if value is not None},
        )

    def _timeouts(self) -> dict[str, float | None]:
        timeouts = self.profile.timeouts
        both = self.url.timeout if self.url else None
        return {
            "connect_timeout": _first(given(timeouts, "connect"), both),
            "timeout": _first(given(timeouts, "reply"), both),
            "wait_loading": given(timeouts, "loading"),
        }

    def _addresses(self) -> tuple[Address, ...]:
        profile = self.profile
        if self.url is not None:
            return self.url.addresses
        if profile.socket is not None:
            return (Address(socket=str(self._path(profile.socket))),)
        if profile.host is not None:
            return (Address(profile.host, profile.port or DEFAULT_PORT),)
        default = DEFAULT_SENTINEL_PORT if profile.sentinel else DEFAULT_PORT
        nodes = given(profile.sentinel or profile.cluster, "nodes") or ()
        return tuple(parse_address(node, default) for node in nodes)

    def _tls(self, name: str) -> Tls | None:
        tls = self.profile.tls
        if tls is None:
            return Tls() if self.url and self.url.tls else None
        return Tls(
            ca_file=self._path(tls.ca_file) if tls.ca_file else None,
            cert_file=self._path(tls.cert_file) if tls.cert_file else None,
            key_file=self._path(tls.key_file) if tls.key_file else None,
            key_password=self._secret(tls.key_password, f"Password of the TLS key of {name}"),
            server_name=tls.server_name,
            verify=tls.verify is not False,
        )

    def _secret(self, source: SecretSource | None, question: str) -> Secret | None:
        return secret_of(source, self.path, self.environ, question)

    def _path(self, text: str) -> Path:
        return path_from(self.path, text)


def load_suppressions(path: Path) -> tuple[Suppression, ...]:
    """Return the findings that a file of suppressions accepts. Raises ConfigError."""
    return suppressions_of(validate(SuppressionsFile, load_file(path)).suppressions)


def suppressions_of(sections: Iterable[SuppressionSection]) -> tuple[Suppression, ...]:
    """Return suppressions as records."""
    return tuple(
        Suppression(one.id, one.reason, date.fromisoformat(one.until), one.subject)
        for one in sections
    )


def _thresholds(section: ThresholdsSection | None) -> Thresholds:
    fields = _set_fields(section)
    checks = {name: CheckRanges(**ranges) for name, ranges in fields.pop("checks", {}).items()}
    return Thresholds(**fields, checks=checks)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _set_fields(section: Section | None) -> dict[str, Any]:
    """Return the fields that were written, for a dataclass that has the defaults."""
    return {} if section is None else section.model_dump(exclude_none=True)
