"""Poisoned values: some keys' values read, and held against what the policy says they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachectl.errors import RefusedError

if TYPE_CHECKING:
    from cachectl.analysis.audits.judged_values import Judged
    from cachectl.analysis.estimates.value_sample import ValueKey
    from cachectl.model.keys import Page
    from cachectl.model.values import LogicalValue
    from cachectl.policy import Policy
    from cachectl.server.topology.handle import Server
    from cachectl.server.values.contents import ContentReader
    from cachectl.server.values.peeking import Peeker
    from cachectl.values.judging import Judge

MOST = 2_000
"""Values that are read: a megabyte each at most, a few hundred bytes as a rule."""
_PAGE = 200


@dataclass(frozen=True, slots=True)
class PoisonedRule:
    """Values of one rule that are not what it says: how many, and of one, which and why."""

    rule: str
    count: int
    problem: str
    example: bytes


@dataclass(frozen=True, slots=True)
class Poisoned:
    """read: values that were judged; rules: those that are violated, the most first."""

    read: int
    rules: tuple[PoisonedRule, ...]


def poisoned(server: Server, policy: Policy, pages: Sequence[Page], most: int = MOST) -> Poisoned:
    """Read values that a rule says something about, evenly from all pages, and judge them.

    Raises RefusedError when values can't be read or judged, CannotConnectError.
    """
    wanted = list(_judged_keys(policy, pages))
    wanted = wanted[:: max(1, -(-len(wanted) // most))]
    with ValueJudge(server, policy) as judge:
        judged = [one for own in judge.judged(wanted) for one in own]
    bad: dict[int, list[tuple[bytes, str]]] = {}
    for one in judged:
        if one.problem is not None:
            bad.setdefault(one.key.rule, []).append((one.key.key, one.problem))
    rules = [
        PoisonedRule(policy.rules[number].name, len(found), found[0][1], found[0][0])
        for number, found in bad.items()
    ]
    return Poisoned(len(judged), tuple(sorted(rules, key=lambda one: -one.count)))


class ValueJudge:
    """Reads values over connections of its own, at a pace, and judges them.

    Of a string the whole is judged, of other types each element; what is too large is not read.
    reader: says what could not be read, and why; skipped: collections that were too large;
    refused: collections that the login may not read. Raises RefusedError when the policy's values
    can't be judged.
    """

    def __init__(self, server: Server, policy: Policy) -> None:
        from cachectl.server.values.contents import ContentReader
        from cachectl.server.values.peeking import Peeker
        from cachectl.values.judging import JudgingError, judge_of

        try:
            self._judges: dict[int, Judge] = {
                number: judge_of(rule.value)
                for number, rule in enumerate(policy.rules)
                if rule.value is not None
            }
        except JudgingError as error:
            raise RefusedError(str(error), hint=error.hint) from error
        self.skipped = self.refused = 0
        self.reader: ContentReader = ContentReader(server)
        self._peeker: Peeker = Peeker(server)

    def judged(self, wanted: Sequence[ValueKey]) -> Iterator[list[Judged]]:
        """Yield what became of some of the keys at a time, without those that were not read.

        Raises RefusedError when values can't be read at all, CannotConnectError.
        """
        for group in _groups(wanted):
            node, kind = group[0].node, group[0].type
            if kind == "string":
                values = self.reader.whole(node, [one.key for one in group])
                yield [
                    self._of(one, [value])
                    for one, value in zip(group, values, strict=True)
                    if value is not None
                ]
            else:
                yield [
                    self._of(one, _elements(value))
                    for one, value in zip(group, self._collections(group), strict=True)
                    if value is not None
                ]

    def close(self) -> None:
        """Close the connections."""
        self.reader.close()
        self._peeker.close()

    def __enter__(self) -> ValueJudge:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _collections(self, group: Sequence[ValueKey]) -> list[LogicalValue | None]:
        from cachectl.model.keys import Page

        page = Page(
            group[0].node,
            [one.key for one in group],
            types=[one.type for one in group],
            sizes=[one.bytes for one in group],
        )
        found = self._peeker.values(page)
        if found.forbidden:
            raise RefusedError(f"cannot look into values: {found.forbidden}")
        self.skipped += found.skipped
        self.refused += found.refused
        return found.values

    def _of(self, key: ValueKey, elements: Sequence[bytes]) -> Judged:
        from cachectl.analysis.audits.judged_values import Judged

        judge = self._judges[key.rule]
        problem = next(filter(None, map(judge, elements)), None)
        if problem is not None and key.type != "string":
            problem = f"has an element that {problem}"
        return Judged(key, problem)


def _elements(value: LogicalValue) -> list[bytes]:
    """Return what is judged of a collection: its members, or the values of its fields."""
    match value.type:
        case "hash":
            return [element[1] for element in value.elements]
        case "zset":
            return [element[0] for element in value.elements]
    return list(value.elements)


def _judged_keys(policy: Policy, pages: Sequence[Page]) -> Iterator[ValueKey]:
    """Yield the keys whose values a rule says something about."""
    from cachectl.analysis.audits.judged_values import READABLE
    from cachectl.analysis.estimates.value_sample import ValueKey

    has_values = [rule.value is not None for rule in policy.rules]
    for page in pages:
        if page.types is None:
            continue
        numbers = policy.rule_numbers(page.keys)
        sizes = page.sizes or [None] * len(page)
        for key, kind, size, number in zip(page.keys, page.types, sizes, numbers, strict=True):
            if number >= 0 and kind in READABLE and has_values[number]:
                yield ValueKey(page.node, key, kind, size, number)


def _groups(wanted: Sequence[ValueKey]) -> Iterator[list[ValueKey]]:
    """Yield keys of one node and type, a few at a time."""
    groups: dict[tuple[str, bool], list[ValueKey]] = {}
    for one in wanted:
        groups.setdefault((one.node, one.type == "string"), []).append(one)
    for group in groups.values():
        for start in range(0, len(group), _PAGE):
            yield group[start : start + _PAGE]
