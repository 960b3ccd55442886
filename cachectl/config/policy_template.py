"""The policies that `policy init` writes: examples, and a first one from what a scan has found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cachectl.config.durations import format_duration

EXAMPLES = Path(__file__).with_name("examples")

_NICE = (
    *(1, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400),
    *(2 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400),
)
_HEAD = """\
# A first policy, from {source}.
# It says what is; say what should be: look at each rule, delete and mend. The first rule that a key
# fits wins. `cachectl help policies` explains every field; then
#   cachectl policy lint FILE                 finds rules that never match or contradict
#   cachectl ttl audit --policy FILE          compares the cache with it
version: 1

rules:
"""


@dataclass(frozen=True, slots=True)
class Observed:
    """One namespace as it is.

    pattern: for `match`. keys, bytes: how many, their memory (None: not known). no_ttl: those that
    never expire. longest_ttl: seconds that (nearly) all others have left at most, None for none.
    types: type → keys. largest: bytes of the largest key, None when not known.
    """

    pattern: str
    keys: int
    bytes: int | None
    no_ttl: int
    longest_ttl: float | None
    types: Mapping[str, int]
    largest: int | None


def example_names() -> list[str]:
    """Return the names of the examples that ship."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def example_path(name: str) -> Path:
    """Return where an example stands."""
    return EXAMPLES / f"{name}.yaml"


def example_text(name: str) -> str:
    """Return an example as it ships."""
    return example_path(name).read_text(encoding="utf-8")


def policy_text(observed: Sequence[Observed], source: str, left_out: int = 0) -> str:
    """Return the YAML of a policy that says what was observed.

    source: where, for the first line. left_out: namespaces that are not among them.
    """
    parts = [_HEAD.format(source=" ".join(source.split()))]
    names: set[str] = set()
    for one in observed:
        name = _name(one.pattern, names)
        names.add(name)
        parts.append("\n".join(_rule(one, name)) + "\n")
    if not observed:
        parts = [parts[0].replace("rules:\n", "rules: []\n")]
    if left_out:
        parts.append(
            f"  # {left_out:,} smaller namespaces have no rule: `cachectl scan` shows them\n"
        )
    return "\n".join(parts)


def _rule(one: Observed, name: str) -> Iterator[str]:
    size = "" if one.bytes is None else f", {_size(one.bytes)}"
    yield f"  # {one.keys:,} keys{size}"
    yield f"  - name: {_quoted(name)}"
    yield f"    match: {_quoted(one.pattern)}"
    yield "    # layer: application  # or session, shared"
    yield "    # owner: whom to ask"
    yield from _ttl(one)
    yield f"    types: [{', '.join(map(_quoted, sorted(one.types)))}]"
    if one.largest is not None:
        limit = _power(2 * one.largest)
        yield f"    max_bytes: {limit}  # the largest takes {_size(one.largest)}"


def _ttl(one: Observed) -> Iterator[str]:
    if one.longest_ttl is None:
        yield "    # None of them ever expires. If that is meant write `forbidden`, else a range."
        yield "    ttl: optional"
        return
    longest = next((nice for nice in _NICE if nice >= one.longest_ttl), one.longest_ttl)
    if one.no_ttl:
        yield f"    # {one.no_ttl:,} of them never expire, which this calls a violation."
    else:
        yield "    # What is left of a TTL is known, not what it was: add `min`, or a `tier`."
    yield f"    ttl: {{max: {format_duration(longest)}}}"


def _name(pattern: str, taken: set[str]) -> str:
    """Return a name of letters, digits and dashes that no other rule has."""
    literal = re.sub(r"\{[^{}]*\}", " ", pattern)
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in literal).split()
    base = "-".join(words)[:60] or "rule"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _quoted(text: str) -> str:
    # A JSON string is a YAML one, and needs no thought about which characters need quotes.
    return json.dumps(text, ensure_ascii=False)


def _power(size: int) -> str:
    """Return the next power of two, as sizes are written."""
    limit = 64
    while limit < size:
        limit *= 2
    for unit, length in (("gb", 1024**3), ("mb", 1024**2), ("kb", 1024)):
        if limit >= length:
            return f"{limit // length}{unit}"
    return str(limit)


def _size(size: int) -> str:
    for unit, length in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= length:
            return f"{size / length:.3g} {unit}"
    return f"{size} bytes"
