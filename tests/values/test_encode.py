from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.values.description import describe
from cachectl.values.encode import compressor, decompress, packer

NAMES = st.sampled_from(["zlib", "gzip", "zstd"])


@given(NAMES, st.binary(max_size=300))
def test_what_was_compressed_comes_back(name: str, data: bytes) -> None:
    compressed = compressor(name)(data)
    assert decompress(name, compressed, len(data)) == data
    assert compressor(name)(data) == compressed


@pytest.mark.parametrize("name", ["zlib", "gzip", "zstd"])
def test_bombs_and_damage_are_errors(name: str) -> None:
    bomb = compressor(name)(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="too large"):
        decompress(name, bomb, 1000)
    with pytest.raises(ValueError, match=r"."):
        decompress(name, b"no such thing", 1000)
    if name != "zstd":  # whose reader takes what there is
        with pytest.raises(ValueError, match="damaged"):
            decompress(name, compressor(name)(b"abc") + b"more", 1000)


@pytest.mark.parametrize("name", ["zlib", "gzip", "zstd"])
def test_our_own_reader_knows_what_it_is(name: str) -> None:
    shown = describe(compressor(name)(b'{"id": "' + b"x" * 100 + b'"}'))
    assert shown.format == "json"
    assert len(shown.layers) == 2


def test_numbers_beyond_64_bits_are_an_error() -> None:
    pack = packer(lambda value: value)
    assert pack({"a": [1, None, b"\xff"]}) == b"\x81\xa1a\x93\x01\xc0\xc4\x01\xff"
    with pytest.raises((ValueError, TypeError)):
        pack(2**70)
