"""A policy: what is meant to be true of each namespace of a cache. Plain frozen records.

config.policies reads one from a file; every room may use it. `Policy.rule_for` says which rule a
key falls under: the first one that one of its patterns fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, TypeVar

from cachectl import glob
from cachectl.keypatterns import LONGEST_NAME, KeyPattern, compiled, masked

Layer = Literal["session", "application", "shared"]
Presence = Literal["required", "forbidden", "optional"]
Expiry = Literal["sliding", "absolute"]
HashTag = Literal["required", "forbidden", "optional"]
ValueFormat = Literal["json", "messagepack", "text", "integer", "number"]

NO_RULE = -1

_ZEROS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_MOST_SHAPES = 65_536


@dataclass(frozen=True, slots=True)
class Tier:
    """A range of TTLs with a name; least, most: seconds, both included."""

    name: str
    least: float
    most: float


TIERS: tuple[Tier, ...] = (
    Tier("high", 60.0, 300.0),
    Tier("medium", 300.0, 3600.0),
    Tier("low", 3600.0, 86400.0),
)
"""High, medium and low frequency of change; a policy can name its own."""

DEFAULT_JITTER = 0.1
"""Share of a TTL by which it is varied: what was loaded together must not expire together."""


@dataclass(frozen=True, slots=True)
class TtlRule:
    """What the TTL of a key has to be when the key is written.

    presence: whether it has to have one. least, most: seconds, None for no limit; those of the
    tier where one is named. tier: its name. jitter: the share of the TTL (0–1) by which it is
    expected to vary, so that keys written together do not expire together. expiry: `sliding` when
    each access renews it, `absolute` when it counts from the write, None when nothing is said.
    """

    presence: Presence = "optional"
    least: float | None = None
    most: float | None = None
    tier: str | None = None
    jitter: float | None = None
    expiry: Expiry | None = None


@dataclass(frozen=True, slots=True)
class NamingRule:
    """How a key may be called.

    max_length: bytes. characters: the bytes that may stand in a name, None for all; written: the
    same as the file has it. hash_tag: whether a `{…}` that decides about the cluster slot has to
    be there.
    """

    max_length: int | None = None
    characters: frozenset[int] | None = None
    written: str = ""
    hash_tag: HashTag = "optional"

    def problems(self, key: bytes) -> tuple[str, ...]:
        """Return what is wrong with a name: sentences without their subject; nothing when fine."""
        found = []
        if self.max_length is not None and len(key) > self.max_length:
            found.append(f"is {len(key)} bytes long; at most {self.max_length} are allowed")
        if self.characters is not None and not self.characters.issuperset(key):
            found.append(f"has characters other than [{self.written}]")
        tagged = has_hash_tag(key)
        if self.hash_tag == "required" and not tagged:
            found.append("has no hash tag")
        if self.hash_tag == "forbidden" and tagged:
            found.append("has a hash tag")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class ValueRule:
    """What a value has to be: strings as a whole, of other types each element.

    schema: a JSON Schema (draft 2020-12) for what the value holds, None for any.
    """

    format: ValueFormat
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is meant to be true of the keys that one of the patterns fits (first rule wins).

    match: patterns as cachectl.keypatterns has them. types: none means all. max_bytes: MEMORY
    USAGE of one key. max_elements: members, fields or entries. protected: no run may change these
    keys. max_memory_share: of the bytes of all keys (0–1). line: where the rule stands in the file.
    """

    name: str
    match: tuple[bytes, ...]
    layer: Layer | None = None
    ttl: TtlRule = TtlRule()
    types: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_elements: int | None = None
    value: ValueRule | None = None
    owner: str | None = None
    protected: bool = False
    max_memory_share: float | None = None
    naming: NamingRule | None = None
    description: str = ""
    line: int | None = None

    @property
    def patterns(self) -> tuple[KeyPattern, ...]:
        """The patterns, compiled. Raises PatternError (never for a rule that was loaded)."""
        return tuple(map(_compiled, self.match))

    def fits(self, key: bytes) -> bytes | None:
        """Return the first of the patterns that the key fits, None when there is none."""
        return next((pattern.text for pattern in self.patterns if pattern.fits(key)), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules, in the order in which they are asked, and the tiers that they may name.

    name: of the file, without its suffix, unless the file says one. source: the file.
    thresholds: name of a check → its ranges (warn, critical), in the syntax of cachectl.ranges.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    tiers: tuple[Tier, ...] = TIERS
    thresholds: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    description: str = ""
    source: Path | None = None
    _finder: _Finder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_finder", _Finder(self.rules))

    def rule_for(self, key: bytes) -> Rule | None:
        """Return the rule that a key falls under, None when no rule names it."""
        number = self._finder.number(key)
        return None if number == NO_RULE else self.rules[number]

    def rule_numbers(self, keys: Sequence[bytes]) -> list[int]:
        """Return for each key the index of its rule in `rules`, NO_RULE (-1) for none.

        For whole pages: a million keys take a fraction of the time of a scan.
        """
        return self._finder.numbers(keys)

    def protected(self, key: bytes) -> bool:
        """Return whether the policy forbids that a run changes this key."""
        rule = self.rule_for(key)
        return rule is not None and rule.protected

    def tier(self, name: str) -> Tier | None:
        """Return the tier of this name."""
        return next((tier for tier in self.tiers if tier.name == name), None)

    def tier_of(self, seconds: float) -> Tier | None:
        """Return the first tier that a TTL lies in."""
        return next((tier for tier in self.tiers if tier.least <= seconds <= tier.most), None)


class _Finder:
    """Which rule a key falls under, remembered by the shape of its name.

    A shape is a name with every digit made a zero. Patterns mostly look at no digit's value, and
    then a shape is as good as the name: see KeyPattern.exact; the digits at the start that some
    pattern does look at are kept. Names with UUIDs and digests, whose shapes do not recur, are
    remembered with these masked, unless a pattern looks into them: see KeyPattern.blind.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        patterns = [(number, p) for number, rule in enumerate(rules) for p in rule.patterns]
        self._patterns = [(number, head_of(p.prefix), p) for number, p in patterns]
        self._heads = frozenset(head for _, head, _ in self._patterns)
        self._alternatives: dict[tuple[bytes, bool], _Alternatives] = {}
        self._known: dict[bytes, int] = {}
        self._kept: dict[bytes, int] = {}
        self._masked: dict[bytes, int] = {}
        self._care: dict[bytes, tuple[int | None, bool]] = {}

    def number(self, key: bytes) -> int:
        """Return the index of the key's rule."""
        return self.numbers((key,))[0]

    def numbers(self, keys: Sequence[bytes]) -> list[int]:
        """Return the index of each key's rule."""
        shapes = list(map(bytes.translate, keys, repeat(_ZEROS)))
        found = list(map(self._known.get, shapes))
        if None in found:
            late = [at for at, number in enumerate(found) if number is None]
            texts = masked([keys[at] for at in late])
            for at, text in zip(late, texts, strict=True):
                found[at] = self._look(keys[at], text, shapes[at])
        return found  # type: ignore[return-value]

    def _look(self, key: bytes, text: bytes, shape: bytes) -> int:
        """Return the rule of a name whose shape is not known. text: the name, masked."""
        head = shape[: shape.find(b":") + 1]
        care = self._care.get(head)
        if care is None:
            care = _remember(self._care, head, self._careful(head))
        exact, blind = care
        if exact is None:
            return self._find(key)
        is_masked = blind and text != key and len(key) <= LONGEST_NAME
        if not is_masked:
            text = key
        memory = self._masked if is_masked else self._kept
        kept = text[:exact] + text[exact:].translate(_ZEROS) if exact else text.translate(_ZEROS)
        number = memory.get(kept)
        if number is None:
            number = _remember(memory, kept, self._find(key))
        if not is_masked and b"0" not in shape[:exact]:
            _remember(self._known, shape, number)
        return number

    def _careful(self, head: bytes) -> tuple[int | None, bool]:
        """Return `exact` and `blind` of all patterns that names with such a head can fit."""
        own = [p for _, its_head, p in self._patterns if its_head.translate(_ZEROS) in (b"", head)]
        exact = [p.exact for p in own]
        most = None if None in exact else max((n for n in exact if n), default=0)
        return most, all(p.blind for p in own)

    def _find(self, key: bytes) -> int:
        head = head_of(key)
        kind = (head if head in self._heads else b"", len(key) > LONGEST_NAME)
        alternatives = self._alternatives.get(kind)
        if alternatives is None:
            alternatives = self._alternatives[kind] = self._chosen(*kind)
        return alternatives.first(key)

    def _chosen(self, head: bytes, is_long: bool) -> _Alternatives:
        """Return the patterns that a name with this head can fit."""
        return _Alternatives(
            [
                (number, pattern)
                for number, its_head, pattern in self._patterns
                if its_head in (b"", head) and (pattern.simple or not is_long)
            ]
        )


_Found = TypeVar("_Found")


def _remember(memory: dict[bytes, _Found], shape: bytes, found: _Found) -> _Found:
    """Remember what was found of a shape, among not too many; return it."""
    if len(memory) >= _MOST_SHAPES:
        memory.clear()
    memory[shape] = found
    return found


class _Alternatives:
    """Patterns in one expression, which finds the first that fits."""

    def __init__(self, patterns: Sequence[tuple[int, KeyPattern]]) -> None:
        self._number_of = [NO_RULE, *(number for number, _ in patterns)]
        groups = b"|".join(b"(" + pattern.expression + b")" for _, pattern in patterns)
        self._match = re.compile(groups or b"(?!)", re.DOTALL).fullmatch

    def first(self, key: bytes) -> int:
        """Return the number that belongs to the first pattern that the key fits."""
        match = self._match(key)
        return NO_RULE if match is None else self._number_of[match.lastindex or 0]


def head_of(text: bytes) -> bytes:
    """Return a name up to its first colon, nothing when it has none."""
    return text[: text.find(b":") + 1]


@cache
def _compiled(text: bytes) -> KeyPattern:
    return compiled(text)


def has_hash_tag(key: bytes) -> bool:
    """Return whether a part of the name alone decides about its slot in a cluster."""
    opening = key.find(b"{")
    return opening >= 0 and key.find(b"}", opening + 1) > opening + 1


def allowed_bytes(characters: str) -> frozenset[int]:
    """Return the bytes that `a-z0-9:_` means: what stands between the brackets of a glob."""
    (token,) = list(glob.tokens(b"[" + characters.encode() + b"]"))
    assert not isinstance(token, str)  # noqa: S101 - a class is one set
    return token
