"""Java's object serialisation: classes and texts found, simple values read.

Grammar: Java Object Serialization Specification §6.4. Objects are not rebuilt: how one is laid out
is known to its class only.
"""

from __future__ import annotations

import re
import struct

from cachectl.values.hexdump import hexdump
from cachectl.values.plain import clean
from cachectl.values.sample import Found, Sample, listed, moment

_MAGIC = b"\xac\xed\x00\x05"
_CLASS = re.compile(rb"r\x00([\x01-\xff])(\[*[A-Za-z_$][\w$.;/]*+)")
_TEXT = re.compile(rb"t(?=([\x00-\xff]{2}))")
_TOP_TEXT, _TOP_LONG_TEXT, _NULL = 0x74, 0x7C, 0x70
_BOXES = {
    "java.lang.Integer": ">i",
    "java.lang.Long": ">q",
    "java.lang.Short": ">h",
    "java.lang.Byte": ">b",
    "java.lang.Double": ">d",
    "java.lang.Float": ">f",
    "java.lang.Boolean": ">?",
}
_MOST = 200


def decode(sample: Sample) -> Found | None:
    """Recognise a stream of ObjectOutputStream."""
    data = sample.data
    if not data.startswith(_MAGIC):
        return None
    if text := _text(sample):
        return text
    classes = _classes(data)
    if classes and sample.complete and (boxed := _boxed(classes[0], data)):
        return boxed
    texts = _texts(data)
    lines = ["Classes:", *(f"  {name}" for name in classes)] if classes else []
    if texts:
        lines += ["Texts:", *(f"  {text}" for text in texts)]
    lines += (
        ["", hexdump(data, most=sample.limits.hexdump)]
        if lines
        else [hexdump(data, most=sample.limits.hexdump)]
    )
    notes = ["Java serialisation: names found in the bytes; no object was built"]
    if classes:
        notes.append(f"Classes: {listed(classes)}")
    return Found("java", "Java serialisation", "\n".join(lines), notes=tuple(notes))


def _text(sample: Sample) -> Found | None:
    """A stream that is one String: its content is the value."""
    data = sample.data
    kind = data[4] if len(data) > 4 else None
    if kind == _NULL and len(data) == 5:
        return Found("java", "Java null", "null")
    if kind == _TOP_TEXT and len(data) >= 7:
        start, length = 7, struct.unpack_from(">H", data, 5)[0]
    elif kind == _TOP_LONG_TEXT and len(data) >= 13:
        start, length = 13, struct.unpack_from(">Q", data, 5)[0]
    else:
        return None
    body = data[start:]
    if len(body) < length and sample.complete:
        damaged = f"Java String of {length:,} bytes, of which {len(body):,} are there"
        return Found("java", "Java String", _modified(body), damaged=damaged)
    whole = len(body) >= length
    text = _modified(body[:length])
    if len(body) > length:
        return None
    inner = sample.inside(text.encode(), complete=whole)
    return Found("java", "Java String", inner=inner)


def _modified(raw: bytes) -> str:
    """Java's modified UTF-8: NUL as C0 80, and pairs of surrogates instead of four bytes."""
    text = raw.replace(b"\xc0\x80", b"\0").decode(
        "utf-8", "surrogatepass" if _pairs(raw) else "replace"
    )
    return clean(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _pairs(raw: bytes) -> bool:
    try:
        raw.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _classes(data: bytes) -> list[str]:
    names: list[str] = []
    for match in _CLASS.finditer(data):
        length, name = match.group(1)[0], match.group(2)
        if length <= len(name) and len(names) < _MOST:
            names.append(name[:length].decode("ascii", "replace"))
    return list(dict.fromkeys(names))


def _texts(data: bytes) -> list[str]:
    """TC_STRING, two bytes of length, that many bytes: those that are printable."""
    texts: list[str] = []
    for match in _TEXT.finditer(data):
        start, length = match.end() + 2, int.from_bytes(match.group(1))
        raw = data[start : start + length]
        if 0 < length <= 10_000 and len(raw) == length:
            text = raw.decode("utf-8", "replace")
            if text.isprintable() and "\ufffd" not in text:
                texts.append(text)
        if len(texts) == _MOST:
            break
    return texts


def _boxed(name: str, data: bytes) -> Found | None:
    """A boxed number or a Date keeps its value in the last bytes of the stream."""
    if name == "java.util.Date" and len(data) > 9 and data[-11:-9] == b"\x77\x08":
        when = moment(int.from_bytes(data[-9:-1], signed=True) / 1000)
        return Found("java", "java.util.Date", when, when) if when else None
    layout = _BOXES.get(name)
    if layout is None or len(data) < struct.calcsize(layout) + 6:
        return None
    value = struct.unpack(layout, data[-struct.calcsize(layout) :])[0]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    finite = not isinstance(value, float) or abs(value) < float("inf")
    return Found("java", name, text, value if finite else text)
