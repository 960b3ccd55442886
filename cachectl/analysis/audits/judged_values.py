"""What values that were read, some of each rule, say of all values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.audits.rule_figures import Figure
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.estimates.value_sample import ValueKey
from cachectl.analysis.keyspace.sampling import estimate_groups
from cachectl.model.figures import Estimate, value_of
from cachectl.model.keys import Page

READABLE = frozenset({"string", "hash", "list", "set", "zset"})
"""Types whose values are judged, each element of those that have some."""
_OF_ONE_DRAW = 20
_BAD, _GOOD = b"bad", b"good"

Sizes = tuple[Figure, Figure | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """A value that was read. problem: what is wrong with it, None when nothing is."""

    key: ValueKey
    problem: str | None


@dataclass(frozen=True, slots=True)
class Values:
    """What was read of one rule, and what it says of all of its values.

    poisoned: keys whose values are not what the rule says; by namespace with their bytes (None:
    not known). bad: those that were read, by namespace.
    """

    read: int
    poisoned: Figure
    poisoned_by_namespace: Mapping[bytes, Sizes]
    bad: Mapping[bytes, Sequence[Judged]]


def values_of(judged: Sequence[Judged], namespaces: Sequence[bytes], there: Figure) -> Values:
    """Return what some of a rule's values say of all.

    namespaces: of their keys; there: how many there are. They were drawn with the same chance.
    """
    bad: dict[bytes, list[Judged]] = {}
    for one, namespace in zip(judged, namespaces, strict=True):
        if one.problem is not None:
            bad.setdefault(namespace, []).append(one)
    if there == len(judged):
        count, found = _counted(bad)
    else:
        count, found = _estimated(judged, namespaces, there)
    return Values(len(judged), count, found, bad)


def _counted(bad: Mapping[bytes, Sequence[Judged]]) -> tuple[Figure, Mapping[bytes, Sizes]]:
    """Return poisoned keys, and those and their bytes by namespace, of values that are all read."""
    found: dict[bytes, Sizes] = {}
    for namespace, own in bad.items():
        sizes = [one.key.bytes for one in own if one.key.bytes is not None]
        found[namespace] = len(own), sum(sizes) if len(sizes) == len(own) else None
    return sum(map(len, bad.values())), found


def _estimated(
    judged: Sequence[Judged], namespaces: Sequence[bytes], there: Figure
) -> tuple[Figure, Mapping[bytes, Sizes]]:
    """Return the same where some were read."""
    strata = {"": Stratum(max(round(value_of(there)), len(judged)), len(judged))}
    sized = all(one.key.bytes is not None for one in judged)
    pages, labels = [], []
    for at in range(0, len(judged), _OF_ONE_DRAW):
        draw = judged[at : at + _OF_ONE_DRAW]
        sizes = [one.key.bytes for one in draw] if sized else None
        pages.append(Page("", [one.key.key for one in draw], sizes=sizes))
        places = zip(draw, namespaces[at : at + _OF_ONE_DRAW], strict=True)
        labels.append([(_GOOD,) if one.problem is None else (_BAD, space) for one, space in places])
    together = [[label[:1] for label in own] for own in labels]
    whole = estimate_groups(pages, strata, together, also=[(_BAD,)])[(_BAD,)]
    return _widened(whole.keys, there), {
        path[1]: (_widened(one.keys, there), one.bytes and _widened(one.bytes, there))
        for path, one in estimate_groups(pages, strata, labels).items()
        if path[0] == _BAD
    }


def _widened(figure: Estimate, there: Figure) -> Estimate:
    """Return a figure that is wide enough where the number of keys is an estimate itself."""
    if not isinstance(there, Estimate) or not there.value:
        return figure
    return Estimate(
        figure.value,
        figure.low * there.low / there.value,
        figure.high * there.high / there.value,
    )
