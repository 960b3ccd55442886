"""Serialisations that are recognised by their header and searched for names: Ruby, Rails, .NET."""

from __future__ import annotations

import re
import struct
from itertools import islice

from cachectl.values.hexdump import hexdump, printable_runs
from cachectl.values.sample import Found, Sample, listed, moment

_MARSHAL = b"\x04\x08"
_MARSHAL_TYPES = frozenset(b'"[{:;iIofl0TFuUcmMSC/@de}')
# A run is cut out first, because a search for the names themselves would start anew at each letter.
_RUBY_RUN = re.compile(rb"[A-Za-z0-9_:]{3,300}")
_CLASS_PATH = re.compile(rb":*([A-Z][A-Za-z0-9_]*+(?:::[A-Z][A-Za-z0-9_]*+)*+)")
_RAILS = b"\x00\x11"
_RAILS_LAYOUT = "<Bdi"
_RAILS_HEADER = 15
_RAILS_TYPES = {1: "object", 2: "UTF-8 text", 3: "binary", 4: "ASCII text"}
_COMPRESSED = 0x80
# MS-NRBF §2.6.1: record 0, root id, header id -1, version 1.0.
_DOTNET = re.compile(rb"\x00[\x00-\xff]{4}\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00")
_DOTNET_RUN = re.compile(rb"[A-Za-z0-9_.`]{6,300}")
_TYPE_NAME = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*+(?:\.[A-Za-z_][A-Za-z0-9_`]*+)++)")
_MOST_NAMES = 1000


def decode_ruby(sample: Sample) -> Found | None:
    """Recognise Ruby's Marshal 4.8, as older Rails caches and sessions hold it."""
    data = sample.data
    if not data.startswith(_MARSHAL) or len(data) < 3 or data[2] not in _MARSHAL_TYPES:
        return None
    classes = _names(_RUBY_RUN, _CLASS_PATH, data[2:])
    notes = ["Ruby Marshal: names found in the bytes; it was not loaded"]
    if classes:
        notes.append(f"Names like classes: {listed(classes)}")
    return Found("ruby", "Ruby Marshal", _searched(sample), notes=tuple(notes))


def decode_rails(sample: Sample) -> Found | None:
    """Recognise an entry of Rails 7.1 and later (ActiveSupport::Cache::Coder), and open it."""
    data = sample.data
    if not data.startswith(_RAILS) or len(data) < _RAILS_HEADER:
        return None
    kind, expires, version = struct.unpack_from(_RAILS_LAYOUT, data, len(_RAILS))
    name = _RAILS_TYPES.get(kind & ~_COMPRESSED)
    if name is None or not -1 <= version <= len(data) - _RAILS_HEADER:
        return None
    notes = [f"Rails cache entry: {name}{', compressed' if kind & _COMPRESSED else ''}"]
    if expires >= 0 and (when := moment(expires)):
        notes.append(f"Rails considers it expired from {when}")
    body = data[_RAILS_HEADER + max(version, 0) :]
    if version > 0:
        text = data[_RAILS_HEADER : _RAILS_HEADER + version].decode("utf-8", "replace")
        notes.append(f"Version: {text}")
    inner = sample.inside(body, complete=sample.complete)
    return Found("rails", "Rails cache entry", notes=tuple(notes), inner=inner)


def decode_dotnet(sample: Sample) -> Found | None:
    """Recognise .NET's BinaryFormatter."""
    if not _DOTNET.match(sample.data):
        return None
    names = _names(_DOTNET_RUN, _TYPE_NAME, sample.data)
    notes = [".NET BinaryFormatter: names found in the bytes; no object was built"]
    if names:
        notes.append(f"Names like types: {listed(names)}")
    return Found("dotnet", ".NET BinaryFormatter", _searched(sample), notes=tuple(notes))


def _names(run: re.Pattern[bytes], name: re.Pattern[bytes], data: bytes) -> list[str]:
    matches = (name.fullmatch(found.group()) for found in run.finditer(data))
    names = (match.group(1).decode() for match in matches if match)
    return list(islice(names, _MOST_NAMES))


def _searched(sample: Sample) -> str:
    dump = hexdump(sample.data, most=sample.limits.hexdump)
    runs = printable_runs(sample.data, shortest=3)
    return "\n".join(["Texts found:", *(f"  {run}" for run in runs), "", dump]) if runs else dump
