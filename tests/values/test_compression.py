"""Compressed values: opened with bounded time and memory, damage told, bombs stopped."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib

import pytest

from cachectl.values.description import describe
from cachectl.values.sample import Limits

CONTENT = json.dumps({"items": list(range(500))}).encode()


def compress(name: str, data: bytes) -> bytes:
    if name == "zstd":
        return pytest.importorskip("zstandard").compress(data)
    if name == "lz4":
        return pytest.importorskip("lz4.frame").compress(data)
    return {"gzip": gzip, "zlib": zlib}[name].compress(data)


NAMES = ["gzip", "zlib", "zstd", "lz4"]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_opened(name: str) -> None:
    found = describe(compress(name, CONTENT))
    assert found.path == f"{name} > json"
    assert found.data == json.loads(CONTENT)
    assert found.damaged is None
    assert found.layers[1].size == len(CONTENT)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_inside_is_empty(name: str) -> None:
    assert describe(compress(name, b"")).path == f"{name} > empty"


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_off_stream_shows_what_it_has_and_is_damaged(name: str) -> None:
    whole = compress(name, b"hello world, " * 50_000)
    cut = whole[:-9]
    found = describe(cut)
    assert found.layers[0].format == name
    assert "ends before its end mark" in (found.damaged or "")
    prefix = describe(cut, total=len(whole))
    assert prefix.damaged is None
    assert not prefix.layers[0].complete


@pytest.mark.parametrize("name", ["gzip", "zlib"])
def test_a_wrong_checksum_is_damaged(name: str) -> None:
    value = bytearray(compress(name, CONTENT))
    value[-5 if name == "gzip" else -1] ^= 1
    found = describe(bytes(value))
    assert found.layers[0].format == name
    assert found.damaged


@pytest.mark.parametrize("name", NAMES)
def test_several_streams_in_a_row_are_one_value(name: str) -> None:
    found = describe(compress(name, b"hello ") + compress(name, b"world"))
    if name == "zlib":
        assert found.path == "binary"  # two bytes of header are no evidence for half a value
    else:
        assert (found.path, found.text) == (f"{name} > utf8", "hello world")


def test_text_that_begins_like_zlib_is_text() -> None:
    assert describe(b"x^2 + y^2 = z^2, as everybody knows").path == "utf8"


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_without_the_library_the_header_and_the_remedy_are_told(name, monkeypatch) -> None:
    header = {"zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}[name]
    for module in ("zstandard", "lz4", "lz4.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    found = describe(header + b"\x00" * 20)
    assert found.path == name
    assert "pip install 'redis-cachectl[values]'" in found.notes[0]
    assert found.damaged is None


def test_a_bomb_is_stopped_and_said() -> None:
    found = describe(gzip.compress(bytes(64 << 20), mtime=0), limits=Limits(inflate=1 << 20))
    assert any(note.startswith("Stopped after 1,048,576 bytes") for note in found.notes)
    assert found.layers[1].size is None


MEASURE = """
import gzip, sys, zlib
from cachectl.values.description import describe

def peak():
    # Not ru_maxrss, which a process takes over from the one that started it.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

value = sys.stdin.buffer.read()
before = peak()
found = describe(value)
print(peak(), found.path, sep="\\n")
"""


def bombs() -> dict[str, bytes]:
    engine = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    zeros_only = b"".join([*(engine.compress(zeros) for _ in range(256)), engine.flush()])
    return {
        "gzip > binary": zeros_only,
        "gzip > gzip > binary": gzip.compress(zeros_only, mtime=0),
        "gzip > empty": gzip.compress(b"", mtime=0) * 50_000,
    }


def peak_of(value: bytes) -> tuple[int, str]:
    """Return the peak RSS in MiB and the path, of a process that looks at this value only."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=value, capture_output=True, check=True, timeout=60
    )
    peak, path = done.stdout.decode().splitlines()
    return int(peak), path


def test_bombs_stay_within_200_mb_of_memory() -> None:
    for path, value in bombs().items():
        peak, seen = peak_of(value)
        assert seen == path
        assert peak < 200


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_bombs_of_optional_formats_stay_within_200_mb_of_memory(name: str) -> None:
    peak, path = peak_of(compress(name, bytes(256 << 20)))
    assert path == f"{name} > binary"
    assert peak < 200


def test_a_zstd_window_of_128_mb_is_refused() -> None:
    zstandard = pytest.importorskip("zstandard")
    parameters = zstandard.ZstdCompressionParameters(
        window_log=27, compression_level=1, write_content_size=False
    )
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    value = engine.compress(b"ab" * 1_000_000) + engine.flush()
    found = describe(value)
    assert found.path == "zstd"
    assert "its window of 134,217,728 bytes is larger" in found.notes[0]
    assert found.damaged is None
