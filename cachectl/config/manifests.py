"""From manifest files to a Manifest: includes, variables, and what the fields mean together."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cachectl.config.confined import open_confined
from cachectl.config.manifest import VERSION, Allowed, AnySource, Entry, Manifest
from cachectl.config.manifest_checks import entry_problems, source_problems, whole_problems
from cachectl.config.manifest_entries import entry_of
from cachectl.config.manifest_model import ManifestFile
from cachectl.config.manifest_sources import source_of
from cachectl.config.problems import Problem, reject, validate
from cachectl.config.variables import Values, filled_in, values_of
from cachectl.config.yamlfile import MAX_BYTES, NodePath, YamlDocument, load_bytes, read_limited
from cachectl.errors import ConfigError, UsageError

MOST_FILES = 100
_DEEPEST = 10


def load_manifest(
    path: Path,
    *,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    allowed: Allowed = Allowed(),  # noqa: B008 - frozen
    now: float | None = None,
) -> Manifest:
    """Return what the manifest at `path` means, with all that it includes.

    variables: what --set says. environ: where its variables and secrets come from. allowed: where
    included files may lie besides its own directory. now: Unix seconds, against which absolute
    times are held. No source is opened, and no secret is read. Raises ConfigError with every
    problem of the first file that has any, RefusedError, UsageError for an unknown variable.
    """
    loader = _Loader(
        path,
        dict(variables or {}),
        os.environ if environ is None else environ,
        (path.absolute().parent, *allowed.paths),
    )
    loader.load(path, {}, ())
    loader.refuse_unknown_variables()
    return loader.manifest(time.time() if now is None else now)


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a manifest, with its variables filled in."""

    path: Path
    document: YamlDocument
    model: ManifestFile


@dataclass(slots=True)
class _Loader:
    path: Path
    given: Mapping[str, str]
    environ: Mapping[str, str]
    roots: tuple[Path, ...]
    parts: list[_Part] = field(default_factory=list)
    declared: set[str] = field(default_factory=set)

    def load(self, path: Path, inherited: Values, around: tuple[Path, ...]) -> None:
        """Read one file and those that it includes, which come before it in `parts`."""
        document = self._read(path, included=bool(around))
        model, values = self._understood(document, inherited)
        for number, text in enumerate(model.include):
            child = path.absolute().parent / os.path.expanduser(text)
            problem = self._include_problem(child, (*around, path))
            if problem is not None:
                raise reject(document, [Problem(("include", number), *problem)])
            self.load(child, values, (*around, path))
        self.parts.append(_Part(path, document, model))

    def _read(self, path: Path, *, included: bool) -> YamlDocument:
        if included:
            with open_confined(path, self.roots, "the manifest") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ConfigError(f"{path} is larger than {MAX_BYTES // 1024} KiB")
        else:
            content = read_limited(path, MAX_BYTES)
        return load_bytes(content, str(path))

    def _understood(
        self, document: YamlDocument, inherited: Values
    ) -> tuple[ManifestFile, dict[str, str | int | float | bool]]:
        """Return the file's fields and its variables. Raises ConfigError."""
        problems: list[Problem] = []
        declared = document.data.get("variables") if isinstance(document.data, dict) else None
        head = YamlDocument(
            document.name,
            {"manifest": VERSION, "variables": declared or {}},
            document.keys,
            document.values,
        )
        sections = validate(ManifestFile, head).variables
        self.declared |= set(sections)
        values = values_of(sections, self.given, inherited, self.environ, problems)
        data = filled_in(document.data, values, problems)
        if problems:
            raise reject(document, problems)
        whole = YamlDocument(document.name, data, document.keys, document.values)
        return validate(ManifestFile, whole, allow_null=_null_allowed), values

    def _include_problem(
        self, child: Path, around: tuple[Path, ...]
    ) -> tuple[str, str | None] | None:
        seen = {path.resolve() for path in around}
        if child.resolve() in seen:
            return "includes a file that includes this one", "take it out of one of them"
        if len(around) >= _DEEPEST:
            return f"is nested more than {_DEEPEST} files deep", None
        if len(self.parts) >= MOST_FILES:
            return f"makes more than {MOST_FILES} files", None
        if child.resolve() in {part.path.resolve() for part in self.parts}:
            return "is included a second time", "once is enough: all files share their sources"
        if not child.exists():
            return f"names a file that is not there: {child}", None
        return None

    def refuse_unknown_variables(self) -> None:
        """Raise UsageError when --set names what no file declares."""
        unknown = [name for name in self.given if name not in self.declared]
        if unknown:
            known = ", ".join(sorted(self.declared)) or "none"
            raise UsageError(
                f"--set {unknown[0]}: the manifest has no such variable",
                hint=f"it declares {known}",
            )

    def manifest(self, now: float) -> Manifest:
        """Return the whole. Raises ConfigError."""
        sources: dict[str, AnySource] = {}
        places: dict[str, _Part] = {}
        for part in self.parts:
            problems: list[Problem] = []
            for name, section in part.model.sources.items():
                if name in sources:
                    problems.append(_again(("sources", name), places[name].path))
                sources[name] = source_of(name, section, part.path, part.document, self.environ)
                places[name] = part
                problems += source_problems(name, sources[name])
            if problems:
                raise reject(part.document, problems)
        entries = tuple(self._entries(sources, now))
        root = self.parts[-1]
        problems = list(whole_problems(root.model, entries))
        if problems:
            raise reject(root.document, problems)
        return Manifest(
            name=root.model.name or self.path.name.partition(".")[0],
            version=VERSION,
            digest=self._digest(),
            path=self.path,
            entries=entries,
            sources=sources,
            description=root.model.description or "",
            concurrency=root.model.concurrency or 4,
        )

    def _entries(self, sources: Mapping[str, AnySource], now: float) -> Iterator[Entry]:
        names: dict[str, Path] = {}
        for part in self.parts:
            problems: list[Problem] = []
            entries = []
            for number, section in enumerate(part.model.entries):
                path = ("entries", number)
                problems += entry_problems(section, path, sources, now)
                entry = entry_of(section, number, part.path, part.document, sources)
                if entry.name in names:
                    again = ("name",) if section.name else ("source",)
                    problems.append(_again((*path, *again), names[entry.name]))
                names[entry.name] = part.path
                entries.append(entry)
            if problems:
                raise reject(part.document, problems)
            yield from entries

    def _digest(self) -> str:
        """Return the digest of what the files say, wherever they lie and however laid out."""
        said = [
            part.model.model_dump(mode="json", exclude={"description", "include", "variables"})
            for part in self.parts
        ]
        text = json.dumps(said, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _again(path: NodePath, first: Path) -> Problem:
    what = "takes a name that there is already"
    return Problem(path, what, f"the first is in {first.name}; give each its own `name:`")


def _null_allowed(path: NodePath) -> bool:
    """Whether a value may be missing: in rows that stand in the manifest null is a value."""
    return path[:1] == ("sources",) and len(path) > 4 and path[2] == "rows"
