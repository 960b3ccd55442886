"""Short ways to make entries, batches and sources of rows for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cachectl.config.manifest import Allowed, Entry, Manifest, Place, Value
from cachectl.config.manifests import load_manifest
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import RowBatch, RowProblem, Source
from cachectl.sources.opening import open_source
from cachectl.sources.rendered import Rendered

PLACE = Place(Path("m.yaml"), 1, "entries[0]")


def entry(
    key: str = "k:{id}", type_: Any = "string", value: Value | None = None, **fields: Any
) -> Entry:
    return Entry("e", "s", key, type_, value or Value("template", template="v"), PLACE, **fields)


def batch(rows: Sequence[Mapping[str, Any]], first: int = 1) -> RowBatch:
    return RowBatch(rows, range(first, first + len(rows)))


def rendered(made: Entry, *batches: Sequence[Mapping[str, Any]]) -> list[Rendered]:
    renderer = Renderer(made)
    first = 1
    parts = []
    for rows in batches:
        parts.append(renderer.render(batch(rows, first)))
        first += len(rows)
    return [*parts, renderer.finish()]


def values_of(parts: Iterable[Rendered]) -> dict[bytes, Any]:
    return {key: value for part in parts for key, value in zip(part.keys, part.values, strict=True)}


def problems_of(parts: Iterable[Rendered]) -> dict[int, str]:
    return {problem.row: problem.what for part in parts for problem in part.problems}


def manifest_with(directory: Path, source: str, **options: Any) -> Manifest:
    """Return a manifest whose source `s` is written so (YAML), used by one entry."""
    path = directory / "m.yaml"
    path.write_text(
        f"manifest: 1\nsources:\n  s: {source}\nentries: [{{source: s, key: '{{id|default:-}}'}}]"
    )
    return load_manifest(path, **options)


def source_of(directory: Path, source: str, allowed: Allowed | None = None) -> Source:
    manifest = manifest_with(directory, source)
    return open_source(manifest.sources["s"], manifest, allowed=allowed or Allowed())


def read(source: Source, after: int = 0) -> tuple[list[Any], list[RowProblem]]:
    rows: list[Any] = []
    problems: list[RowProblem] = []
    numbers: list[int] = []
    for one in source.batches(after):
        rows += one.rows
        numbers += one.numbers
        problems += one.problems
        assert len(one.numbers) == len(one.rows)
        assert one.texts is None or len(one.texts) == len(one.rows)
    assert numbers == sorted(set(numbers))
    assert all(number > after for number in numbers)
    return rows, problems
