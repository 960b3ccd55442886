"""Which keys are meant: conditions on a key's name and metadata, each of which can be negated.

One grammar serves `keys list`, `invalidate` and `ttl set`: every option is a short form of a
condition, `--where` takes one in full, and `--not` takes its opposite:

    match=user:*      namespace=user:{id}    type=hash
    ttl=none          ttl<5m                 ttl>1h
    idle>1d           freq<5                 bytes>1MiB        elements>1000
    field:status=closed                      json:$.state=done

Conditions are ANDed. `match`, `namespace` and `type` given several times are ORed among
themselves, as people expect of `--type hash --type set`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cachectl.analysis.naming import namespace_names
from cachectl.analysis.selecting import jsonpath
from cachectl.model.keys import NO_TTL, Page

Matcher = Callable[[bytes], object]

_SUBJECTS = {
    # subject → (column of Page and of a scan request, operators it takes)
    "match": ("", "="),
    "namespace": ("", "="),
    "type": ("type", "="),
    "ttl": ("ttl", "=<>"),
    "idle": ("idle", "<>"),
    "freq": ("freq", "<>"),
    "bytes": ("bytes", "<>"),
    "elements": ("elements", "<>"),
}
_VALUE_SUBJECT = re.compile(r"(?P<kind>field|json):(?P<path>[^=]*)=(?P<value>.*)\Z", re.DOTALL)
_CONDITION = re.compile(r"(?P<subject>[a-z]+)(?P<operator>[=<>])(?P<value>.*)\Z", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, ">": operator.gt}


class ConditionError(ValueError):
    """A condition that cannot be understood; the message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of a key.

    subject: as in the grammar, or `field` / `json` with `path`. value: bytes for names, str for
    types, None for `ttl=none`, else a number (ttl and idle in seconds, bytes, count).
    """

    subject: str
    operator: str
    value: bytes | str | float | None
    negated: bool = False
    path: str = ""

    @property
    def reads_value(self) -> bool:
        """Whether the key's value has to be read to know."""
        return self.subject in ("field", "json")

    def __str__(self) -> str:
        value = (
            self.value.decode("utf-8", "backslashreplace")
            if isinstance(self.value, bytes)
            else ("none" if self.value is None else f"{self.value}")
        )
        subject = f"{self.subject}:{self.path}" if self.path else self.subject
        return f"{'not ' if self.negated else ''}{subject}{self.operator}{value}"


def parse_condition(
    text: str,
    *,
    duration: Callable[[str], float],
    size: Callable[[str], int],
    negated: bool = False,
) -> Condition:
    """Return the condition that `text` writes.

    duration, size: parsers of `5m` (to seconds) and `1MiB` (to bytes), which raise ValueError.
    Raises ConditionError with a sentence that says what is allowed.
    """
    value_match = _VALUE_SUBJECT.match(text)
    if value_match:
        kind, path, value = value_match.group("kind", "path", "value")
        if kind == "json":
            try:
                jsonpath.parse(path)
            except ValueError as error:
                raise ConditionError(f"{text!r}: {error}") from error
        return Condition(kind, "=", _to_bytes(value), negated, path)
    match = _CONDITION.match(text)
    if match is None or match["subject"] not in _SUBJECTS:
        raise ConditionError(
            f"{text!r} is not a condition: write SUBJECT=VALUE, SUBJECT<VALUE or SUBJECT>VALUE "
            f"with one of {', '.join(_SUBJECTS)}, field:NAME, json:PATH"
        )
    subject, sign, written = match.group("subject", "operator", "value")
    if sign not in _SUBJECTS[subject][1]:
        raise ConditionError(
            f"{text!r}: {subject} takes {' or '.join(_SUBJECTS[subject][1])}, not {sign}"
        )
    try:
        return Condition(subject, sign, _value(subject, sign, written, duration, size), negated)
    except ValueError as error:
        raise ConditionError(f"{text!r}: {error}") from error


def _value(
    subject: str,
    sign: str,
    written: str,
    duration: Callable[[str], float],
    size: Callable[[str], int],
) -> bytes | str | float | None:
    match subject:
        case "match" | "namespace":
            return _to_bytes(written)
        case "type":
            return written.lower()
        case "ttl" if sign == "=":
            if written != "none":
                raise ValueError("write ttl=none, ttl<5m or ttl>1h")
            return None
        case "ttl" | "idle":
            return duration(written)
        case "bytes":
            return size(written)
    if not (written.isascii() and written.isdecimal()):
        raise ValueError("must be a whole number")
    return int(written)


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Selection:
    """The keys that fulfil all conditions."""

    conditions: tuple[Condition, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a scan has to bring (`type`, `ttl`, `bytes`, …)."""
        wanted = (_SUBJECTS[c.subject][0] for c in self.conditions if not c.reads_value)
        return frozenset(column for column in wanted if column)

    @property
    def value_conditions(self) -> tuple[Condition, ...]:
        """The conditions on values, which whoever talks to the server has to check."""
        return tuple(c for c in self.conditions if c.reads_value)

    def about(self, *subjects: str) -> Selection:
        """Return the conditions on these subjects alone (`match`, `namespace`, `type`, …)."""
        return Selection(tuple(c for c in self.conditions if c.subject in subjects))

    def without(self, *subjects: str) -> Selection:
        """Return the conditions on everything but these subjects."""
        return Selection(tuple(c for c in self.conditions if c.subject not in subjects))

    @property
    def server_match(self) -> bytes | None:
        """The one pattern that the server may filter by, None when it has to send all."""
        patterns = [c for c in self.conditions if c.subject == "match" and not c.negated]
        value = patterns[0].value if len(patterns) == 1 else None
        return value if isinstance(value, bytes) else None

    @property
    def server_type(self) -> str | None:
        """The one type that the server may filter by."""
        types = [c for c in self.conditions if c.subject == "type" and not c.negated]
        value = types[0].value if len(types) == 1 else None
        return value if isinstance(value, str) else None

    def filter(
        self,
        *,
        glob: Callable[[bytes], Matcher],
        namespace_of: Callable[[bytes], bytes],
        declared: Mapping[bytes, Matcher] = MappingProxyType({}),
    ) -> Callable[[Page], list[int]]:
        """Return a function that gives the indexes of the keys of a page that are meant.

        glob: compiles a pattern as the server understands it. namespace_of: names a key's group.
        declared: namespaces of a policy, by name, with what tells their keys.

        A figure that the server did not give (None) fulfils no condition, negated or not: what is
        not known must not be removed.
        """
        tests = [_test(group, glob, namespace_of, declared) for group in _grouped(self.conditions)]

        def chosen(page: Page) -> list[int]:
            indexes = list(range(len(page)))
            for test in tests:
                indexes = [i for i in indexes if test(page, i)]
            return indexes

        return chosen


_Test = Callable[[Page, int], bool]


def _grouped(conditions: Iterable[Condition]) -> list[list[Condition]]:
    """Alternatives of one kind together, everything else alone; cheap tests on names last.

    Order does not change the answer, only how much is computed.
    """
    alternatives: dict[str, list[Condition]] = {}
    alone: list[list[Condition]] = []
    for condition in conditions:
        if condition.reads_value:
            continue
        if condition.operator == "=" and not condition.negated and condition.subject != "ttl":
            alternatives.setdefault(condition.subject, []).append(condition)
        else:
            alone.append([condition])
    return [*alternatives.values(), *alone]


def _test(
    group: Sequence[Condition],
    glob: Callable[[bytes], Matcher],
    namespace_of: Callable[[bytes], bytes],
    declared: Mapping[bytes, Matcher],
) -> _Test:
    first = group[0]
    match first.subject:
        case "match":
            matchers = [glob(c.value) for c in group if isinstance(c.value, bytes)]
            if len(matchers) == 1 and not first.negated:  # the usual case, for every key of a scan
                matches = matchers[0]
                return lambda page, i: bool(matches(page.keys[i]))
            return _negate(first, lambda page, i: any(m(page.keys[i]) for m in matchers))
        case "namespace":
            asked = [c.value for c in group if isinstance(c.value, bytes)]
            rules = [declared[name] for name in asked if name in declared]
            tests = [namespace_names.names(name) for name in asked if name not in declared]

            def belongs(page: Page, i: int) -> bool:
                key = page.keys[i]
                if any(rule(key) for rule in rules):
                    return True
                namespace = namespace_of(key) if tests else b""
                return any(test(namespace) for test in tests)

            return _negate(first, belongs)
        case "type":
            types = frozenset(c.value for c in group)
            return lambda page, i: (
                bool(page.types and page.types[i])
                and (((page.types or [])[i].lower() in types) is not first.negated)
            )
        case "ttl":
            return _ttl_test(first)
    return _figure_test(first)


def _negate(condition: Condition, test: _Test) -> _Test:
    return (lambda page, i: not test(page, i)) if condition.negated else test


def _ttl_test(condition: Condition) -> _Test:
    """`ttl<5m` means: has a TTL, and it is less. A key without one is neither under nor over."""

    def holds(ttl: int) -> bool:
        if condition.value is None:
            return ttl == NO_TTL
        compare = _OPERATORS[condition.operator]
        assert isinstance(condition.value, int | float)  # noqa: S101 - by parse_condition
        return ttl >= 0 and compare(ttl, condition.value * 1000)

    return lambda page, i: page.ttls is not None and holds(page.ttls[i]) is not condition.negated


def _figure_test(condition: Condition) -> _Test:
    column = {"idle": "idles", "freq": "freqs", "bytes": "sizes", "elements": "elements"}[
        condition.subject
    ]
    compare = _OPERATORS[condition.operator]

    def holds(page: Page, i: int) -> bool:
        figures: list[int | None] | None = getattr(page, column)
        figure = figures[i] if figures else None
        return figure is not None and compare(figure, condition.value) is not condition.negated

    return holds
