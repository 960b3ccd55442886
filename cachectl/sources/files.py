"""Files: CSV, JSON, NDJSON and Parquet, each also compressed with gzip, below the manifest."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import os
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from cachectl.config.confined import confined, open_confined
from cachectl.config.manifest import FileFormat, FileSpec
from cachectl.errors import ConfigError
from cachectl.sources.interface import BATCH_ROWS, SourceError
from cachectl.sources.jsonarray import JsonArray
from cachectl.sources.ndjson import Lines, as_row, pages_of
from cachectl.sources.paging import Page, missing_package

CHUNK = 256 * 1024
MOST_FILES = 100_000
_LOOKED_AT = 64 * 1024
_BOM = b"\xef\xbb\xbf"

_ENDINGS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class FilePages:
    """The rows of a FileSpec. roots: where files may lie; the first is the manifest's directory."""

    spec: FileSpec
    roots: Sequence[Path]

    def __iter__(self) -> Generator[Page]:
        counted = _Counted(self.spec.limits.max_bytes)
        paths = self.paths()
        for path in paths:
            with self._open(path) as file:
                pages = self._pages(path, file, counted)
                try:
                    yield from _with_name(pages, path.name) if len(paths) > 1 else pages
                except SourceError as error:
                    raise SourceError(
                        f"cannot use {path.name}: it {error.message}", hint=error.hint
                    ) from None

    def paths(self) -> list[Path]:
        """Return the files, sorted within each pattern.

        Raises SourceError when there is none for a pattern, RefusedError for one that lies outside.
        """
        found: list[Path] = []
        for pattern in self.spec.patterns:
            # The part before the first `*`, so that nothing outside is even looked for.
            fixed = Path(*_literal_part(Path(os.path.expanduser(pattern)).parts))
            confined(self._absolute(fixed), self.roots, self._who)
            if not glob.has_magic(pattern):
                found.append(self._absolute(Path(pattern)))
                continue
            matches = glob.iglob(
                os.path.expanduser(pattern), root_dir=self.roots[0], recursive=True
            )
            files = sorted(islice(matches, MOST_FILES))
            paths = [path for name in files if not (path := self._absolute(Path(name))).is_dir()]
            if not paths:
                raise SourceError(f"finds no file that matches {pattern}")
            found += paths
        return found

    def _absolute(self, path: Path) -> Path:
        return self.roots[0] / path.expanduser()

    @property
    def _who(self) -> str:
        return f"the source {self.spec.name}"

    def _open(self, path: Path) -> BinaryIO:
        try:
            return open_confined(path, self.roots, self._who)
        except ConfigError as error:
            raise SourceError(error.message, hint=error.hint) from None

    def format_of(self, path: Path) -> FileFormat:
        """Return the format of a file. Raises SourceError when its name does not say."""
        if self.spec.format is not None:
            return self.spec.format
        ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
        if ending.lower() not in _ENDINGS:
            raise SourceError(
                "has a name that does not say its format",
                hint=f"write `format:`, or end it in {', '.join(_ENDINGS)}",
            )
        return _ENDINGS[ending.lower()]

    def _pages(self, path: Path, opened: BinaryIO, counted: _Counted) -> Iterator[Page]:
        longest = self.spec.limits.max_row
        kind = self.format_of(path)
        if kind == "parquet":
            yield from _parquet(opened, counted)
            return
        file = counted.of(opened, gzipped=path.suffix == ".gz")
        match kind:
            case "ndjson":
                lines = Lines(longest)
                for chunk in _without_bom(_chunks(file)):
                    yield from pages_of(lines.feed(chunk), longest)
                yield from pages_of(lines.end(), longest)
            case "json":
                yield from in_pages(JsonArray(_chunks(file), self.spec.root, longest))
            case _:
                delimiter = self.spec.delimiter or ("\t" if kind == "tsv" else ",")
                yield from _csv(file, delimiter, longest)

    def count(self) -> int | None:
        """Return about how many rows there are: by the size of lines at the files' beginnings."""
        total = 0.0
        try:
            for path in self.paths():
                if path.suffix == ".gz" or self.format_of(path) in ("json", "parquet"):
                    return None
                with self._open(path) as file:
                    head = file.read(_LOOKED_AT)
                    size = os.fstat(file.fileno()).st_size
                lines = head.count(b"\n")
                header = self.format_of(path) in ("csv", "tsv")
                total += max(size / len(head) * lines - header, 0) if head else 0
        except SourceError:
            return None
        return round(total)


def _with_name(pages: Iterator[Page], name: str) -> Iterator[Page]:
    """Yield a file's pages; what is wrong with a row says which row of which file that is."""
    before = 0
    for page in pages:
        for i, what in page.bad.items():
            page.bad[i] = f"{what} (row {before + i + 1} of {name})"
        before += len(page)
        yield page


def in_pages(elements: Iterator[Any] | JsonArray) -> Iterator[Page]:
    """Yield the elements of an array as pages of rows."""
    iterator = iter(elements)
    while rows := [as_row(element) for element in islice(iterator, BATCH_ROWS)]:
        yield Page(rows)


class _Counted:
    """Hands out files, and raises SourceError once more than `limit` bytes came out of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def of(self, file: BinaryIO, *, gzipped: bool) -> Any:
        """Return the file, decompressed."""
        return _CountedFile(gzip.GzipFile(fileobj=file) if gzipped else file, self)

    def take(self, size: int) -> None:
        """Count bytes that were read."""
        self._left -= size
        if self._left < 0:
            raise SourceError(f"holds more than max_bytes ({self._limit:,})")


class _CountedFile(io.RawIOBase):
    def __init__(self, file: Any, counted: _Counted) -> None:
        self._file = file
        self._counted = counted

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"is not whole gzip data: {str(error).lower()}") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SourceError(f"cannot be read: {reason}", retryable=True) from None
        self._counted.take(len(data))
        buffer[: len(data)] = data
        return len(data)


def _literal_part(parts: Sequence[str]) -> list[str]:
    literal = []
    for part in parts:
        if glob.has_magic(part):
            break
        literal.append(part)
    return literal


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    yield first.removeprefix(_BOM)
    yield from chunks


def _csv(file: Any, delimiter: str, longest: int) -> Iterator[Page]:
    """Yield the rows of a CSV file (RFC 4180) with a header; an empty cell is an empty text."""
    # A limit of the module, not of a reader: the largest that any source asks for.
    csv.field_size_limit(max(csv.field_size_limit(), longest))
    # What is not UTF-8 stays recognisable, and becomes a problem of its row.
    text = io.TextIOWrapper(
        io.BufferedReader(file, CHUNK), "utf-8-sig", errors="surrogateescape", newline=""
    )
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        _check_header(header)
        width = len(header)
        while records := list(islice(reader, BATCH_ROWS)):
            if {width}.issuperset(map(len, records)):
                yield Page([dict(zip(header, record, strict=False)) for record in records])
                continue
            page = Page([])
            for i, record in enumerate(record for record in records if record):
                if len(record) == width:
                    page.rows.append(dict(zip(header, record, strict=True)))
                else:
                    page.bad[i] = f"has {len(record)} columns where the header has {width}"
            yield page
    except csv.Error as error:
        raise SourceError(
            f"is not CSV in line {reader.line_num}: {error}",
            hint="is a quote never closed, or the delimiter another one?",
        ) from None
    finally:
        text.detach()


def _check_header(header: Sequence[str]) -> None:
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise SourceError(f"has two columns of one name: {sorted(twice)[0] or 'an empty one'}")


def _parquet(file: BinaryIO, counted: _Counted) -> Iterator[Page]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise missing_package("pyarrow", "parquet") from None
    try:
        for batch in ParquetFile(file).iter_batches(batch_size=BATCH_ROWS):
            counted.take(batch.nbytes)
            yield Page(batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(f"is not a Parquet file: {str(error).splitlines()[0]}") from None
