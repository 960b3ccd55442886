"""Open a value layer by layer, and say in one record, or on one line, what is in it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from cachectl.values.binary import decode_binary
from cachectl.values.hexdump import hex_line
from cachectl.values.plain import clean, shorten
from cachectl.values.registry import DECODERS
from cachectl.values.sample import Decoder, Found, Limits, Sample

_PREVIEW = Limits(
    look=4096, inflate=64 * 1024, depth=16, nodes=500, opcodes=1000, text=4096, hexdump=64
)
_VERBATIM = frozenset({"utf8", "json", "ndjson", "xml", "html", "latin1", "php-session"})
_WORDS = frozenset({"integer", "float", "epoch", "boolean", "uuid", "empty"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One encoding of a value. size: its length in bytes, None when nobody knows.

    complete: whether all of it was looked at. title: the format for people.
    """

    format: str
    title: str
    size: int | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Described:
    """What a value is. Texts are not escaped: they hold whatever the value holds.

    layers: outermost first (gzip, then JSON). format: slug of the innermost layer. text: readable
    rendering. data: the decoded structure, made of JSON's types, None when there is none (or it is
    null). notes: explanations, one sentence each. damaged: what is wrong with a value that begins
    like a format and does not parse, None when nothing is.
    """

    layers: tuple[Layer, ...]
    format: str
    text: str | None
    data: object
    notes: tuple[str, ...]
    damaged: str | None

    @property
    def path(self) -> str:
        """The formats from the outside in: `gzip > json`."""
        return " > ".join(layer.format for layer in self.layers)


def describe(
    value: bytes,
    *,
    total: int | None = None,
    now: float | None = None,
    limits: Limits | None = None,
) -> Described:
    """Say what the bytes of a value are, without executing, importing or loading any of it.

    total: length in bytes of the whole value when `value` is only its beginning. now: Unix seconds
    for judging times (default: the clock). Takes time and memory bounded by `limits` and raises
    for no bytes.
    """
    clock = time.time() if now is None else now
    sample = Sample.of(value, total, clock, limits or Limits())
    chain = _open(sample, sample.limits.layers)
    last = chain[-1][1]
    notes = [note for _, found in chain for note in found.notes]
    notes += _truncated(chain)
    return Described(
        layers=tuple(
            Layer(found.format, found.title, each.total, each.complete) for each, found in chain
        ),
        format=last.format,
        text=None if last.text is None else clean(last.text),
        data=last.data,
        notes=tuple(clean(note) for note in notes),
        damaged=next((clean(found.damaged) for _, found in chain if found.damaged), None),
    )


def preview(value: bytes, width: int, *, total: int | None = None, now: float | None = None) -> str:
    """Return one line of at most `width` characters that tells what the value is; not escaped."""
    whole = len(value) if total is None else total
    found = describe(value[: _PREVIEW.look], total=whole, now=now, limits=_PREVIEW)
    names = [layer.format for layer in found.layers if layer.format not in _VERBATIM | _WORDS]
    label = f"{' > '.join(names)}: " if names else ""
    return shorten(label + " ".join(_gist(value, found, width).split()), width)


def _gist(value: bytes, found: Described, width: int) -> str:
    if found.format in _VERBATIM and len(found.layers) == 1:
        return value[: _PREVIEW.look].decode(
            "utf-8" if found.format != "latin1" else "latin-1", "replace"
        )
    if found.format == "binary":
        return _binary_gist(value, found, width)
    if found.data is not None and not isinstance(found.data, str):
        return json.dumps(found.data, ensure_ascii=False)
    # Classes and texts that were found come before the dump, after an empty line.
    return (found.text or "").partition("\n\n")[0]


def _binary_gist(value: bytes, found: Described, width: int) -> str:
    size = found.layers[-1].size
    measure = (
        "more bytes than were looked at"
        if size is None
        else f"{size:,} byte{'' if size == 1 else 's'} "
    )
    return measure + (hex_line(value, max(width // 3, 1)) if len(found.layers) == 1 else "")


def _open(sample: Sample, left: int) -> list[tuple[Sample, Found]]:
    """Return the layers from this one inwards, each with its sample; `left` may still follow."""
    for decoder in DECODERS:
        found = _ask(decoder, sample)
        if found is None:
            continue
        if found.inner is None:
            return [(sample, found)]
        if left <= 1:
            note = "More is encoded inside; it was not opened"
            return [(sample, _with_note(found, note))]
        inside = _open(found.inner, left - 1)
        if found.tentative and inside[-1][1].format in ("binary", "latin1", "msgpack"):
            continue
        return [(sample, found), *inside]
    return [(sample, decode_binary(sample))]


DEFECT = "could not look at this value, which is a defect of cachectl"


def _ask(decoder: Decoder, sample: Sample) -> Found | None:
    """Ask one decoder. Its defect must not keep a person from seeing the value in another way."""
    try:
        return decoder(sample)
    except Exception as error:
        note = f"{decoder.__module__}.{decoder.__name__} {DEFECT} ({type(error).__name__})"
        return _with_note(decode_binary(sample), note)


def _with_note(found: Found, note: str) -> Found:
    return Found(
        found.format, found.title, found.text, found.data, (*found.notes, note), found.damaged
    )


def _truncated(chain: list[tuple[Sample, Found]]) -> list[str]:
    """Say of the outermost layer that was not looked at whole, how much of it was."""
    for depth, (sample, _) in enumerate(chain):
        if not sample.complete:
            whole = f"of {sample.total:,} bytes" if sample.total is not None else "bytes"
            inside = f" inside the {chain[depth - 1][1].title}" if depth else ""
            return [
                f"Truncated: only the first {len(sample.data):,} {whole}{inside} were looked at"
            ]
    return []
