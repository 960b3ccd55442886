"""Poisoned values: some of a sample read, and held against what the policy says they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachectl.errors import RefusedError

if TYPE_CHECKING:
    from cachectl.model import Page
    from cachectl.policy import Policy, Rule
    from cachectl.server.handle import Server
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
    """Read strings that a rule says something about, evenly from all pages, and judge them.

    Raises RefusedError when values can't be read or judged, CannotConnectError.
    """
    from cachectl.server.contents import ContentReader
    from cachectl.values.judging import JudgingError, judge_of

    wanted = list(_judged_keys(policy, pages))
    wanted = wanted[:: max(1, -(-len(wanted) // most))]
    read, bad = 0, dict[str, list[tuple[bytes, str]]]()
    try:
        judges: dict[str, Judge] = {
            rule.name: judge_of(rule.value) for rule in policy.rules if rule.value is not None
        }
    except JudgingError as error:
        raise RefusedError(str(error), hint=error.hint) from error
    with ContentReader(server) as reader:
        for node, group in _by_node(wanted):
            for (key, rule), value in zip(
                group, reader.whole(node, [key for key, _ in group]), strict=True
            ):
                if value is None:
                    continue
                read += 1
                problem = judges[rule.name](value)
                if problem is not None:
                    bad.setdefault(rule.name, []).append((key, problem))
    rules = [
        PoisonedRule(name, len(found), found[0][1], found[0][0]) for name, found in bad.items()
    ]
    return Poisoned(read, tuple(sorted(rules, key=lambda one: -one.count)))


def _judged_keys(policy: Policy, pages: Sequence[Page]) -> Iterator[tuple[str, bytes, Rule]]:
    """Yield node, key and rule of each string that a rule says something about."""
    for page in pages:
        if page.types is None:
            continue
        numbers = policy.rule_numbers(page.keys)
        for key, kind, number in zip(page.keys, page.types, numbers, strict=True):
            if kind == "string" and number >= 0 and policy.rules[number].value is not None:
                yield page.node, key, policy.rules[number]


def _by_node(
    wanted: Sequence[tuple[str, bytes, Rule]],
) -> Iterator[tuple[str, list[tuple[bytes, Rule]]]]:
    groups: dict[str, list[tuple[bytes, Rule]]] = {}
    for node, key, rule in wanted:
        groups.setdefault(node, []).append((key, rule))
    for node, group in groups.items():
        for start in range(0, len(group), _PAGE):
            yield node, group[start : start + _PAGE]
