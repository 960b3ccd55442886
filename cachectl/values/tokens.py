"""JSON Web Tokens (RFC 7519) and base64 (RFC 4648)."""

from __future__ import annotations

import base64
import binascii
import json
import re

from cachectl.values.plain import number, plain, render
from cachectl.values.sample import Found, Sample, moment

_JWT = re.compile(r"(?:Bearer +)?([\w-]{8,})\.([\w-]*)\.([\w-]*)", re.ASCII)
_JWE = re.compile(r"(?:Bearer +)?([\w-]{8,})(?:\.[\w-]*){4}", re.ASCII)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]++|[A-Za-z0-9_-]++)={0,2}")
_WRAPPED = re.compile(r"(?:[A-Za-z0-9+/]{60,80}\r?\n)+[A-Za-z0-9+/]{1,80}={0,2}\s*")
_DATA_URI = re.compile(r"data:([\w.+/-]{0,100})(?:;[\w=.-]{1,60})*;base64,")
_LONGEST_JWT = 64 * 1024
_SHORTEST_PADDED, _SHORTEST_BARE, _SHORTEST_BINARY = 8, 16, 24
_TIMES = {"exp": "expires", "iat": "issued", "nbf": "not before", "auth_time": "logged in"}


def decode_jwt(sample: Sample) -> Found | None:
    """Recognise a JWT and show header and payload, or an encrypted one and show its header."""
    if not sample.complete or len(sample.data) > _LONGEST_JWT or sample.text is None:
        return None
    text = sample.text.strip()
    if match := _JWT.fullmatch(text):
        header, payload = _part(match.group(1)), _part(match.group(2))
        if _is_header(header) and isinstance(payload, dict):
            return _jwt(sample, header, payload, signed=bool(match.group(3)))
    elif match := _JWE.fullmatch(text):
        header = _part(match.group(1))
        if _is_header(header):
            tree, _ = plain({"header": header}, sample.limits)
            notes = ("JWE: encrypted; only its header can be read",)
            return Found("jwt", "encrypted JWT", render(tree, sample.limits), tree, notes)
    return None


def decode_base64(sample: Sample) -> Found | None:
    """Recognise base64 that holds something better than plain bytes, or that cannot be a word."""
    text = sample.text
    if text is None:
        return None
    uri = _DATA_URI.match(text)
    body = text[uri.end() :] if uri else text.strip()
    if _WRAPPED.fullmatch(body):
        body = "".join(body.split())
    if not sample.complete:
        body = body[: len(body) // 4 * 4]
    if len(body) < _SHORTEST_PADDED or not _BASE64.fullmatch(body):
        return None
    raw = _bytes(body)
    if raw is None or not raw or not (uri or body.endswith("=") or len(body) >= _SHORTEST_BARE):
        return None
    notes: tuple[str, ...] = (f"A data URI of type {uri.group(1) or 'text/plain'}",) if uri else ()
    notes += (f"base64 of {len(raw):,} bytes" + ("" if sample.complete else " and more"),)
    inner = sample.inside(raw, complete=sample.complete)
    sure = bool(uri) or _cannot_be_a_word(body)
    return Found("base64", "base64", notes=notes, inner=inner, tentative=not sure)


def _cannot_be_a_word(body: str) -> bool:
    """Long, padded or with a plus, in the mix of letters and digits of encoded bytes."""
    mixed = (
        any(c.isupper() for c in body)
        and any(c.islower() for c in body)
        and any(c.isdigit() for c in body)
    )
    padded = body.endswith("=") and len(body) % 4 == 0
    return len(body) >= _SHORTEST_BINARY and mixed and (padded or "+" in body)


def _part(text: str) -> object:
    raw = _bytes(text)
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None


def _bytes(text: str) -> bytes | None:
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1:
        return None
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_header(header: object) -> bool:
    return isinstance(header, dict) and isinstance(header.get("alg"), str)


def _jwt(sample: Sample, header: object, payload: dict[str, object], *, signed: bool) -> Found:
    tree, more = plain({"header": header, "payload": payload}, sample.limits)
    notes = ["JWT: signature not verified and not shown" if signed else "JWT without a signature"]
    for claim, meaning in _TIMES.items():
        seconds = payload.get(claim)
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            when = moment(seconds) if isinstance(number(seconds), int | float) else None
            if when is None:
                continue
            over = " (expired)" if claim == "exp" and seconds < sample.now else ""
            notes.append(f"{claim}: {meaning} {when}{over}")
    return Found("jwt", "JWT", render(tree, sample.limits), tree, (*notes, *more))
