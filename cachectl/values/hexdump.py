"""Bytes as offset, hexadecimal and ASCII, 78 columns wide, as `hexdump -C` prints them."""

from __future__ import annotations

_WIDTH = 16


def hexdump(data: bytes, *, start: int = 0, most: int = 4096) -> str:
    """Return the dump of the first `most` bytes of data; the first offset shown is `start`.

    Lines that repeat the one before are folded into one `*`; the last line is the end's offset,
    or says how many bytes of `data` are not shown.
    """
    lines: list[str] = []
    previous: bytes | None = None
    folded = False
    shown = data[:most]
    for offset in range(0, len(shown), _WIDTH):
        row = shown[offset : offset + _WIDTH]
        if row == previous and len(row) == _WIDTH:
            if not folded:
                lines.append("*")
            folded = True
            continue
        previous, folded = row, False
        lines.append(_line(start + offset, row))
    left = len(data) - len(shown)
    lines.append(f"{start + len(shown):08x}" + (f"  … {left:,} bytes more" if left else ""))
    return "\n".join(lines)


def hex_line(data: bytes, most: int) -> str:
    """Return at most `most` bytes as pairs of hexadecimal digits on one line."""
    return data[:most].hex(" ") + (" …" if len(data) > most else "")


def printable_runs(data: bytes, *, shortest: int = 4, most: int = 200) -> list[str]:
    """Return the runs of printable ASCII in data, as strings(1) finds them."""
    runs: list[str] = []
    for run in data.translate(_PRINTABLE).split(b"\0"):
        if len(run) >= shortest:
            runs.append(run.decode("ascii"))
            if len(runs) == most:
                break
    return runs


_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else 0 for byte in range(256))
_DOTTED = bytes(byte if 0x20 <= byte < 0x7F else 0x2E for byte in range(256))


def _line(offset: int, row: bytes) -> str:
    left, right = row[:8].hex(" "), row[8:].hex(" ")
    return f"{offset:08x}  {left:<23}  {right:<23}  |{row.translate(_DOTTED).decode('ascii')}|"
