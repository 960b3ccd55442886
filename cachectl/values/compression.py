"""Compressed values: gzip (RFC 1952), zlib (RFC 1950), Zstandard (RFC 8878) and LZ4 frames.

Every decompressor is asked for small pieces and stopped after `Limits.inflate` bytes, so that a
bomb costs a bounded time and memory. zstandard and lz4 are optional: without them the format is
recognised by its header and the note says what to install.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing

from cachectl.values.hexdump import hexdump
from cachectl.values.sample import Found, Sample

_PIECE = 64 * 1024
# A Zstandard block of four bytes can grow to 128 KiB, and its decompressor takes no output limit.
_ZSTD_FED = 256
_ZSTD_WINDOW = 1 << 24
_MOST_FRAMES = 1000
_SIGNATURES = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_NAMES = {"gzip": "gzip", "zlib": "zlib", "zstd": "Zstandard", "lz4": "LZ4 frame"}
_WEAK_EVIDENCE = 64
_FIRST = 512


class _CorruptError(Exception):
    """The compressed stream is damaged; the message says how."""


class _TooLargeError(Exception):
    """Opening the stream would take more memory than we give it; the message says so."""


def decode(sample: Sample) -> Found | None:
    """Recognise a compressed stream, and hand on what is in it."""
    slug = next((name for magic, name in _SIGNATURES if sample.data.startswith(magic)), None)
    if slug is None and _zlib_header(sample.data):
        slug = "zlib"
    if slug is None:
        return None
    try:
        kept, produced, problem = _drain(_PIECES[slug](sample.data), sample)
    except ImportError:
        remedy = "to open it install the extra: pip install 'redis-cachectl[values]'"
        return _closed(slug, sample, remedy)
    except _TooLargeError as error:
        return _closed(slug, sample, str(error))
    cut_off = problem == _ENDS_EARLY and not sample.complete
    if slug == "zlib" and problem and not cut_off and produced < _WEAK_EVIDENCE:
        return None
    stopped = produced >= sample.limits.inflate
    whole = problem is None and not stopped
    notes = [_growth(sample, produced, whole=whole)]
    if stopped:
        notes.append(f"Stopped after {produced:,} bytes: more would come, perhaps without end")
    damaged = None if problem is None or cut_off else f"{_NAMES[slug]} stream: {problem}"
    if not kept and not whole:
        dump = hexdump(sample.data, most=sample.limits.hexdump)
        return Found(slug, _NAMES[slug], dump, notes=tuple(notes), damaged=damaged)
    inner = sample.inside(
        kept, complete=whole and produced == len(kept), total=produced if whole else None
    )
    return Found(slug, _NAMES[slug], notes=tuple(notes), damaged=damaged, inner=inner)


_ENDS_EARLY = "ends before its end mark"


def _growth(sample: Sample, produced: int, *, whole: bool) -> str:
    size = len(sample.data)
    ratio = f", {produced / size:.1f} times" if size and produced > size else ""
    return f"{size:,} bytes decompress to {'' if whole else 'at least '}{produced:,}{ratio}"


def _closed(slug: str, sample: Sample, reason: str) -> Found:
    dump = hexdump(sample.data, most=sample.limits.hexdump)
    return Found(slug, _NAMES[slug], dump, notes=(f"{_NAMES[slug]} data; {reason}",))


def _zlib_header(data: bytes) -> bool:
    """RFC 1950 §2.2: method 8, window up to 32 KiB, no dictionary, check bits a multiple of 31."""
    if len(data) < 8:
        return False
    method, flags = data[0], data[1]
    return (
        method & 0x0F == 8
        and method >> 4 <= 7
        and not flags & 0x20
        and ((method << 8 | flags) % 31 == 0)
    )


def _drain(pieces: Iterator[bytes], sample: Sample) -> tuple[bytes, int, str | None]:
    """Return the first `look` bytes, how many came in all, and what was wrong, if anything."""
    kept = bytearray()
    produced = 0
    try:
        for piece in pieces:
            produced += len(piece)
            kept += piece[: max(sample.limits.look - len(kept), 0)]
            if produced >= sample.limits.inflate:
                break
    except _CorruptError as error:
        return bytes(kept), produced, str(error)
    return bytes(kept), produced, None


def _gzip(data: bytes) -> Iterator[bytes]:
    with closing(gzip.GzipFile(fileobj=io.BytesIO(data))) as reader:
        try:
            while piece := reader.read1(_PIECE):
                yield piece
        except EOFError:
            raise _CorruptError(_ENDS_EARLY) from None
        except (OSError, zlib.error) as error:
            raise _CorruptError(_lower(error)) from None


def _zlib(data: bytes) -> Iterator[bytes]:
    engine = zlib.decompressobj()
    try:
        for start in range(0, len(data), _PIECE):
            # Little at first, because zlib gives nothing of a piece whose end it finds damaged.
            piece = engine.decompress(data[start : start + _PIECE], _PIECE if start else _FIRST)
            while piece:
                yield piece
                piece = engine.decompress(engine.unconsumed_tail, _PIECE)
            if engine.eof:
                break
    except zlib.error as error:
        raise _CorruptError(_lower(error)) from None
    if not engine.eof:
        raise _CorruptError(_ENDS_EARLY)
    if engine.unused_data:
        raise _CorruptError("other bytes follow its end mark")


def _zstd(data: bytes) -> Iterator[bytes]:
    import zstandard

    try:
        window = zstandard.get_frame_parameters(data).window_size
    except zstandard.ZstdError:
        window = 0  # a cut off header: the decompressor will say so
    if window > _ZSTD_WINDOW:
        reason = f"its window of {window:,} bytes is larger than the {_ZSTD_WINDOW:,} we give it"
        raise _TooLargeError(reason)
    maker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    engine = maker.decompressobj()
    frames, position, ended = 1, 0, False
    try:
        while position < len(data):
            if ended:
                frames, engine, ended = frames + 1, maker.decompressobj(), False
                if frames > _MOST_FRAMES:
                    raise _CorruptError(f"more than {_MOST_FRAMES:,} frames")
            fed = data[position : position + _ZSTD_FED]
            if piece := engine.decompress(fed):
                yield piece
            ended = engine.eof
            position += len(fed) - len(engine.unused_data)
    except zstandard.ZstdError as error:
        raise _CorruptError(_lower(error)) from None
    if not ended:
        raise _CorruptError(_ENDS_EARLY)


def _lz4(data: bytes) -> Iterator[bytes]:
    import lz4.frame

    with closing(lz4.frame.LZ4FrameFile(io.BytesIO(data))) as reader:
        try:
            while piece := reader.read(_PIECE):
                yield piece
        except EOFError:
            raise _CorruptError(_ENDS_EARLY) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise _CorruptError(_lower(error)) from None


def _lower(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


_PIECES: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "zlib": _zlib,
    "zstd": _zstd,
    "lz4": _lz4,
}
