"""Single words that are a number, a time, a truth value or a UUID."""

from __future__ import annotations

import re
import uuid

from cachectl.values.sample import Found, Sample, moment

_INTEGER = re.compile(r"-?[0-9]{1,4000}")
_REAL = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,5})?")
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")
_HEX_DIGEST = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGESTS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
_TRUTH = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
_NOT_FINITE = frozenset({"inf", "-inf", "+inf", "nan", "Infinity", "-Infinity", "NaN"})
_LONGEST = 4000
_LEAST, _MOST = -(2**63), 2**63 - 1
_PLAUSIBLE_YEARS = 20
_YEAR = 365.25 * 86_400
_UNITS = (
    (1, "seconds"),
    (1_000, "milliseconds"),
    (1_000_000, "microseconds"),
    (10**9, "nanoseconds"),
)
_GREGORIAN = 0x01B21DD213814000


def decode(sample: Sample) -> Found | None:
    """Recognise a number, a truth value, null, a UUID or a digest that is the whole value."""
    if not sample.complete or len(sample.data) > _LONGEST or sample.text is None:
        return None
    word = sample.text
    bare = word.strip()
    if not bare:
        return None
    notes = () if word == bare else ("White space around it",)
    found = _integer(bare, sample.now) or _real(bare, sample.now) or _constant(bare) or _hex(bare)
    if found is None:
        return None
    return Found(found.format, found.title, bare, found.data, (*notes, *found.notes))


def _integer(word: str, now: float) -> Found | None:
    if not _INTEGER.fullmatch(word):
        return None
    digits = word.lstrip("-")
    if (len(digits) > 1 and digits[0] == "0") or word == "-0":
        note = "Digits with a leading zero: INCR refuses them"
        return Found("utf8", "digits", notes=(note,))
    value = int(word)
    if not _LEAST <= value <= _MOST:
        return Found("integer", "integer", data=value, notes=("Beyond 64 bits: INCR refuses it",))
    if epoch := _epoch(value, now):
        return Found("epoch", "Unix time", data=value, notes=(epoch,))
    return Found("integer", "integer", data=value)


def _epoch(value: float, now: float) -> str | None:
    """Only times within twenty years are believed; any other integer is just an integer."""
    for scale, unit in _UNITS:
        if abs(value / scale - now) <= _PLAUSIBLE_YEARS * _YEAR:
            return f"Unix time in {unit}: {moment(value / scale)}"
    return None


def _real(word: str, now: float) -> Found | None:
    if word in _NOT_FINITE:
        return Found("float", "not a finite number", notes=("Not a finite number",))
    if not _REAL.fullmatch(word) or word.lstrip("+-").isdigit():
        return None
    value = float(word)
    if value in (float("inf"), float("-inf")):
        return Found("float", "number", notes=("Beyond the range of a double",))
    if epoch := _epoch(value, now):
        return Found("epoch", "Unix time", data=value, notes=(epoch,))
    return Found("float", "number", data=value)


def _constant(word: str) -> Found | None:
    if word in _TRUTH:
        return Found("boolean", "truth value", data=_TRUTH[word])
    if word == "null":
        return Found("json", "JSON null", notes=("null: a stored absence, or a failed load?",))
    return None


def _hex(word: str) -> Found | None:
    if _UUID.fullmatch(word):
        return _uuid(uuid.UUID(word))
    if _HEX_DIGEST.fullmatch(word) and len(word) in _DIGESTS:
        note = f"{len(word)} hexadecimal digits: the length of {_DIGESTS[len(word)]}"
        return Found("utf8", "hexadecimal digits", notes=(note,))
    return None


def _uuid(value: uuid.UUID) -> Found:
    if value.version is None:
        return Found("uuid", "UUID", data=str(value))
    when = None
    if value.version == 1:
        when = moment((value.time - _GREGORIAN) / 1e7)
    elif value.version == 7:
        when = moment((value.int >> 80) / 1000)
    notes = (f"UUID version {value.version}" + (f", made {when}" if when else ""),)
    return Found("uuid", "UUID", data=str(value), notes=notes)
