"""Plain text: UTF-8, UTF-16, Latin-1, and markup that is shown and never parsed."""

from __future__ import annotations

import codecs
import re

from cachectl.values.plain import shorten
from cachectl.values.sample import Found, Sample

_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r\f\x1b")) + b"\x7f"
_MOST_CONTROLS = 0.05
_XML = re.compile(r"\s*<\?xml\s|\s*<([A-Za-z_][\w:.-]{0,100})(?:\s[^<>]{0,2000})?/?>")
_HTML = re.compile(
    r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body|div|p|span|table|ul)\b",
    re.I | re.S,
)
_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode_utf8(sample: Sample) -> Found | None:
    """Recognise text that is UTF-8 and nearly free of control characters."""
    if sample.text is None or _controls(sample.data) > _MOST_CONTROLS:
        return None
    text = sample.text.removeprefix("\ufeff")
    notes = ("Begins with a byte order mark",) if text != sample.text else ()
    if not text.strip():
        return Found("utf8", "white space", text, notes=(*notes, "Only white space"))
    text = shorten(text, sample.limits.text)
    if _HTML.match(text):
        return Found("html", "HTML", text, notes=notes)
    if _is_xml(text, complete=sample.complete):
        return Found("xml", "XML", text, notes=notes)
    return Found("utf8", "text", text, notes=notes)


def decode_utf16(sample: Sample) -> Found | None:
    """Recognise UTF-16 by its byte order mark, or by a zero in every second byte."""
    data = sample.data
    name = next((codec for mark, codec in _UTF16 if data.startswith(mark)), None)
    if name is None:
        name = _zeros(data)
    if name is None or (len(data) % 2 and sample.complete):
        return None
    try:
        text = data[: len(data) // 2 * 2].decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if sample.complete or error.start < len(data) - 4:
            return None
        text = data[: error.start].decode(name).removeprefix("\ufeff")
    raw = text.encode()
    if not text or _controls(raw) > _MOST_CONTROLS:
        return None
    inner = sample.inside(raw, complete=sample.complete)
    return Found("utf16", name.upper(), inner=inner, tentative=True)


def decode_latin1(sample: Sample) -> Found | None:
    """Recognise text in an old one-byte encoding: mostly ASCII, some bytes above, no controls."""
    data = sample.data
    high = sum(byte >= 0x80 for byte in data[:65_536])
    undefined = any(0x80 <= byte < 0xA0 for byte in data[:65_536])
    if sample.text is not None or len(data) < 4 or _controls(data) or undefined:
        return None
    if high > 0.2 * min(len(data), 65_536):
        return None
    note = "Not UTF-8; shown as Latin-1, which is a guess"
    return Found("latin1", "text, probably Latin-1", data.decode("latin-1"), notes=(note,))


def _is_xml(text: str, *, complete: bool) -> bool:
    match = _XML.match(text)
    if match is None:
        return False
    name = match.group(1)
    closed = text.rstrip().endswith(("/>", f"</{name}>") if name else ">")
    return closed or (name is None and not complete)


def _controls(data: bytes) -> float:
    """The share of control characters that text has no use for; one NUL counts as all."""
    if b"\0" in data:
        return 1.0
    return 1 - len(data.translate(None, _CONTROLS)) / len(data) if data else 0.0


def _zeros(data: bytes) -> str | None:
    """ASCII in UTF-16 has nothing but zeros at every second place, and none between."""
    if len(data) < 6:
        return None
    even, odd = data[0::2], data[1::2]
    if odd.count(0) >= 0.9 * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    if even.count(0) >= 0.9 * len(even) and odd.count(0) == 0:
        return "utf-16-be"
    return None
