"""Snapshots: a scan in a file, to compare, to query, and to go on from.

NDJSON, one row a key (snapshot_rows.py), gzip when the file is so named. The first row carries what
is to be known of the whole in `scan`: how many rows, what was asked, where each node stands. So a
file that was cut is found out by its count of rows, and one that was altered by gzip's checksum or,
without gzip, by a checksum of its own. Writing is in snapshot_writer.py.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from cachectl.errors import DamagedError, UsageError
from cachectl.model.keys import Page
from cachectl.storage.snapshot_rows import looks_like_rows, pages, parse

SCHEMA = "cachectl.snapshot"
VERSION = 1

NO_SUM = "00000000"
"""What stands for the checksum of a file while it is taken, and in files of gzip."""
_SUM_AT = json.dumps('"crc32": "')[1:-1].encode()
_BLOCK = 256 * 1024
_LONGEST_LINE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NodeState:
    """Where the scan of one node stands.

    columns: what it was asked and answered (type, ttl, bytes, idle, freq). complete: read to the
    end. cursor, run_id, replid, role: where to go on, and who that is true of; None: nowhere.
    slots: what it serves in a cluster, as text.
    """

    node: str
    keys: int
    columns: tuple[str, ...]
    complete: bool
    cursor: str | None = None
    run_id: str = ""
    replid: str = ""
    role: str = ""
    slots: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What is to be known of a whole snapshot.

    server: its name. keys: rows. begun_at, ended_at: Unix seconds. match (escaped) and type: what
    the scan was narrowed to. partial: not every key was read. counts: what the scan says of itself
    (duplicates, vanished, …).
    """

    server: str
    keys: int
    begun_at: float
    ended_at: float
    database: int = 0
    topology: str = "standalone"
    match: str | None = None
    type: str | None = None
    partial: bool = False
    nodes: tuple[NodeState, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def scope(self) -> tuple[str | None, str | None, int]:
        """What two snapshots must have in common to be compared like with like."""
        return self.match, self.type, self.database


def described(info: SnapshotInfo) -> str:
    """Return what the first row carries in `scan`."""
    return json.dumps({"schema": f"{SCHEMA}/{VERSION}", "crc32": NO_SUM} | asdict(info))


def place_of_sum(start: bytes) -> int:
    """Return where the checksum stands in a file that starts so. Raises ValueError."""
    # Within a string, hence with the quotes escaped; before it stand names, after it never such.
    return start.rindex(_SUM_AT, 0, start.index(b"\n")) + len(_SUM_AT)


def _without_sum(start: bytes) -> bytes:
    place = place_of_sum(start)
    return start[:place] + NO_SUM.encode() + start[place + len(NO_SUM) :]


class Snapshot:
    """A snapshot to read. info: what it says of itself; it is verified when `pages` has ended.

    Raises UsageError when it can't be read, DamagedError when it is no snapshot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packed = False
        first = next(self._blocks(), b"").partition(b"\n")[0]
        if not first:
            if path.stat().st_size and not self._packed:
                raise self._foreign()
            self.info = SnapshotInfo("", 0, 0.0, 0.0)
            return
        self.info, self._sum = self._header(first)

    def pages(self) -> Iterator[Page]:
        """Yield its keys. Raises DamagedError, at the latest at the end."""
        return (page for _, page in self.dated_pages())

    def dated_pages(self) -> Iterator[tuple[str, Page]]:
        """Yield (when they were scanned, keys). Raises DamagedError, at the latest at the end."""
        if not self.info.server and not self.info.keys:
            return
        had = {node.node: frozenset(node.columns) for node in self.info.nodes}
        keys = checksum = 0
        first = True
        for block in self._blocks():
            if not self._packed:
                checksum = zlib.crc32(_without_sum(block) if first else block, checksum)
            first = False
            try:
                rows = parse(block)
                keys += len(rows)
                yield from pages(rows, had)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise self._damaged("a row is not as it was written") from error
        if keys != self.info.keys:
            raise self._damaged(f"it holds {keys:,} of {self.info.keys:,} keys")
        if not self._packed and f"{checksum:08x}" != self._sum:
            raise self._damaged("its checksum does not fit")

    def _blocks(self) -> Iterator[bytes]:
        """Yield the file in blocks of whole lines."""
        rest = b""
        try:
            with self._opened() as file:
                begun = False
                while data := file.read(_BLOCK):
                    if not begun and not looks_like_rows(data):
                        raise self._foreign()
                    begun = True
                    cut = data.rfind(b"\n") + 1
                    if cut:
                        yield rest + data[:cut]
                        rest = data[cut:]
                    else:
                        rest += data
                    if len(rest) > _LONGEST_LINE:
                        raise self._foreign()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self._damaged("it was cut or altered") from error
        except OSError as error:
            self._fail(error)
        if rest:
            raise self._damaged("its last row is incomplete")

    def _opened(self) -> BinaryIO:
        with self.path.open("rb") as file:
            self._packed = file.read(2) == b"\x1f\x8b"
        return cast(BinaryIO, gzip.open(self.path)) if self._packed else self.path.open("rb")

    def _header(self, line: bytes) -> tuple[SnapshotInfo, str]:
        try:
            scan = json.loads(json.loads(line)["scan"])
            name, _, version = scan.pop("schema").partition("/")
            if name != SCHEMA:
                raise self._foreign()
            if version != str(VERSION):
                raise DamagedError(
                    f"{self.path} is a snapshot of version {version}, and this cachectl reads "
                    f"{VERSION}",
                    hint="read it with the cachectl that wrote it, or a newer one",
                    target=str(self.path),
                )
            checksum = scan.pop("crc32")
            nodes = tuple(
                NodeState(**node | {"columns": tuple(node["columns"])}) for node in scan["nodes"]
            )
            return SnapshotInfo(**scan | {"nodes": nodes}), checksum
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._foreign() from error

    def _fail(self, error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"there is no file {self.path}") from error
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"cannot read {self.path}: {reason}") from error

    def _damaged(self, why: str) -> DamagedError:
        return DamagedError(
            f"{self.path} is damaged: {why}",
            hint="it is not read further: take it from where it came from again",
            target=str(self.path),
        )

    def _foreign(self) -> DamagedError:
        return DamagedError(
            f"{self.path} is not a snapshot",
            hint="`cachectl scan --save FILE` writes one",
            target=str(self.path),
        )
