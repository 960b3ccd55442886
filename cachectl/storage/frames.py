"""A checksummed container of records: what plans, archives and snapshots of ours are made of.

    magic  "cachectl" · kind, 8 bytes · version u16 · header length u32 · header (JSON)
    frame  "FRAM" · records u32 · raw length u32 · data length u32 · digest, 32 bytes · data (zlib)
    ...
    end    "DONE" · frames u32 · records u64 · digest, 32 bytes

The digest is SHA-256 over the digest before it and what this part says, so that a changed, lost,
repeated or moved byte is noticed wherever it is. A file without its end is complete as far as its
frames go: that is what a crash leaves, and `Reader.ended` tells.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from cachectl.errors import DamagedError
from cachectl.storage.files import disk_error, make_durable

_MAGIC = b"cachectl"
_OPENING = struct.Struct("<8s8sHI")
_FRAME = struct.Struct("<4sIII32s")
_END = struct.Struct("<4sIQ32s")
_MAX_HEADER = 16 * 1024 * 1024
MAX_RAW = 512 * 1024 * 1024
"""The greatest frame, decompressed: a header that claims more is damaged, or a bomb."""

_MOST_RATIO = 1040
"""Deflate makes nothing smaller than by 1032 to 1 (zlib's technical details)."""


def _digest(before: bytes, *parts: bytes) -> bytes:
    sha = hashlib.sha256(before)
    for part in parts:
        sha.update(part)
    return sha.digest()


class Writer:
    """Writes frames to a file that was just created. `position` is where the next one begins.

    is_broken: a write failed or was interrupted, and nothing more may be written.
    """

    def __init__(
        self, file: BinaryIO, kind: bytes, version: int, header: Mapping[str, Any]
    ) -> None:
        self._file = file
        text = json.dumps(header, ensure_ascii=True, sort_keys=True).encode()
        opening = _OPENING.pack(_MAGIC, kind.ljust(8), version, len(text)) + text
        self.digest = _digest(b"", opening)
        self.frames = 0
        self.records = 0
        self.position = 0
        self.is_broken = False
        self._write(opening)

    @classmethod
    def resume(cls, file: BinaryIO, reader: Reader) -> Writer:
        """Go on after the last whole frame that `reader` has read; what follows it is cut off."""
        writer = cls.__new__(cls)
        writer._file = file
        writer.digest, writer.frames, writer.records = reader.chain, reader.frames, reader.records
        writer.position = reader.position
        writer.is_broken = False
        try:
            file.truncate(reader.position)
        except OSError as error:
            raise disk_error(Path(str(file.name)), error) from error
        file.seek(reader.position)
        return writer

    def add(self, raw: bytes, records: int) -> None:
        """Append one frame of `records` records. Not durable before `sync`."""
        data = zlib.compress(raw, 1)
        sizes = struct.pack("<III", records, len(raw), len(data))
        self.digest = _digest(self.digest, sizes, data)
        self._write(_FRAME.pack(b"FRAM", records, len(raw), len(data), self.digest) + data)
        self.frames += 1
        self.records += records

    def end(self) -> None:
        """Append the end and make everything durable."""
        sizes = struct.pack("<IQ", self.frames, self.records)
        self.digest = _digest(self.digest, b"DONE", sizes)
        self._write(_END.pack(b"DONE", self.frames, self.records, self.digest))
        self.sync()

    def sync(self) -> None:
        """Return when everything that was added would survive a crash. Raises StorageError."""
        self.is_broken = True
        make_durable(self._file)
        self.is_broken = False

    def _write(self, data: bytes) -> None:
        # A write that fails or is interrupted leaves part of a frame. Nothing may follow it: a
        # torn end is what a crash leaves, and what comes after a torn frame would be damage.
        self.is_broken = True
        try:
            self._file.write(data)
        except OSError as error:
            raise disk_error(Path(str(self._file.name)), error) from error
        self.position += len(data)
        self.is_broken = False


class Reader:
    """Reads frames and checks each. Raises DamagedError at the first thing that does not fit.

    digest: of what was read so far, and of the whole once the end was read; chain: of the last
    frame, from which a writer goes on.
    """

    def __init__(self, file: BinaryIO, kind: bytes, versions: range) -> None:
        self._file = file
        self._path = str(file.name)
        opening = self._read(_OPENING.size, "its first bytes")
        magic, found_kind, self.version, length = _OPENING.unpack(opening)
        if magic != _MAGIC or found_kind.rstrip() != kind.rstrip():
            raise DamagedError(f"{self._path} is not a cachectl {kind.decode().strip()} file")
        if self.version not in versions:
            raise DamagedError(
                f"{self._path} has format version {self.version}, which this cachectl cannot read",
                hint="use the version of cachectl that wrote it, or a newer one",
            )
        if length > _MAX_HEADER:
            raise self._damaged("its header is too long")
        text = self._read(length, "its header")
        self.header = self._parse(text)
        self.digest = self.chain = _digest(b"", opening, text)
        self.frames = 0
        self.records = 0
        self.position = len(opening) + length
        self.ended = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield (records, raw bytes) of each frame."""
        while (frame := self._next()) is not None:
            yield frame

    def whole_frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield frames like iteration, but stop at a torn end, as a crash leaves it.

        Torn is only what the end of the file cuts: a wrong digest is damage all the same.
        """
        while True:
            try:
                frame = self._next()
            except TornError:
                return
            if frame is None:
                return
            yield frame

    def _next(self) -> tuple[int, bytes] | None:
        start = self._file.read(4)
        if not start:
            raise self._torn("it has no end")
        if start == b"DONE":
            self._check_end(start + self._read(_END.size - 4, "its end"))
            return None
        rest = self._read(_FRAME.size - 4, "a frame")
        mark, records, raw_length, length, digest = _FRAME.unpack(start + rest)
        if mark != b"FRAM" or raw_length > MAX_RAW or length > MAX_RAW:
            raise self._damaged(f"no frame begins at byte {self.position}")
        data = self._read(length, "a frame")
        if raw_length > _MOST_RATIO * (length + 1):
            raise self._damaged(f"frame {self.frames + 1} claims more than it can hold")
        expected = _digest(self.digest, struct.pack("<III", records, raw_length, length), data)
        if digest != expected:
            raise self._damaged(f"the checksum of frame {self.frames + 1} does not fit")
        raw = self._decompress(data, raw_length)
        self.digest = self.chain = expected
        self.frames += 1
        self.records += records
        self.position += _FRAME.size + length
        return records, raw

    def _decompress(self, data: bytes, raw_length: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(data, raw_length)
        except zlib.error as error:
            raise self._damaged("a frame does not decompress") from error
        if len(raw) != raw_length or inflater.unconsumed_tail:
            raise self._damaged("a frame has another size than it says")
        return raw

    def _check_end(self, end: bytes) -> None:
        _, frames, records, digest = _END.unpack(end)
        sizes = struct.pack("<IQ", frames, records)
        if (frames, records) != (self.frames, self.records) or digest != _digest(
            self.digest, b"DONE", sizes
        ):
            raise self._damaged("its end does not fit the rest")
        if self._file.read(1):
            raise self._damaged("something follows its end")
        self.digest = digest
        self.ended = True

    def _read(self, length: int, what: str) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise self._torn(f"it ends within {what}")
        return data

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text)
        except ValueError as error:
            raise self._damaged("its header is not readable") from error
        if not isinstance(header, dict):
            raise self._damaged("its header is not readable")
        return header

    def _damaged(self, why: str) -> DamagedError:
        return DamagedError(f"{self._path} is damaged: {why}", target=self._path)

    def _torn(self, why: str) -> TornError:
        return TornError(f"{self._path} is damaged: {why}", target=self._path)


class TornError(DamagedError):
    """The file ends too early, as a crash leaves it."""
