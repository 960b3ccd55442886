"""Advice: what would save memory, how much, how that is known, what it risks, how to do it.

What each key would save is worked out one by one; what all keys would save follows as any sum
over a sample does, with its 95 % interval (keyspace/sampling.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.keyspace.sampling import estimate_groups
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate, Figure, value_of
from cachectl.model.findings import Finding, Severity
from cachectl.model.keys import Page
from cachectl.model.values import LogicalValue

WORTH_SHARE = 0.01
WORTH_BYTES = 64 * 1024
"""Advice that saves less than this, in shares of used memory and in bytes, is not given."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice.

    id: stable, `memory.…`. saves: bytes, 0 for what protects instead; an exact figure when all
    keys were looked at. keys: how many it is about, None when it is not about keys. subject: a
    namespace, a key, a node or a setting. basis: how the saving was estimated. risk: what to
    mind. how: commands or settings. severity: WARNING and above is a finding besides. protects: it
    is about safety, and worth giving whatever it saves.
    """

    id: str
    title: str
    saves: Figure
    basis: str
    risk: str
    how: str
    subject: bytes = b""
    keys: Figure | None = None
    severity: Severity = Severity.INFO
    protects: bool = False

    @property
    def finding(self) -> Finding:
        """Return the same as a finding."""
        return Finding(
            self.id,
            self.severity,
            self.title,
            self.basis,
            self.how,
            self.subject.decode("utf-8", "surrogateescape") or None,
        )


@dataclass(slots=True)
class Drawn:
    """Keys that advice is drawn from: pages, and how many keys each node has and gave.

    values: parallel to each page's keys, what was read of them; None where nothing was. spaces:
    the namespace of every key.
    """

    pages: list[Page]
    strata: Mapping[str, Stratum]
    spaces: list[list[Labels]]
    values: list[list[LogicalValue | None]] = field(default_factory=list)


@dataclass(slots=True)
class Savings:
    """What a change would save, key by key: (page, row) → (group, bytes)."""

    of_keys: dict[tuple[int, int], tuple[Labels, int]] = field(default_factory=dict)

    def add(self, page: int, row: int, group: Labels, saved: int) -> None:
        """Note what one key would save."""
        self.of_keys[page, row] = group, saved

    def totals(self, drawn: Drawn) -> dict[Labels, tuple[Figure, Figure]]:
        """Return group → (bytes, keys): what all keys would save, and how many there are."""
        pages, paths = [], []
        for at, page in enumerate(drawn.pages):
            mine = [self.of_keys.get((at, row)) for row in range(len(page))]
            pages.append(
                Page(page.node, page.keys, sizes=[0 if one is None else one[1] for one in mine])
            )
            paths.append([_NONE if one is None else one[0] for one in mine])
        found = estimate_groups(pages, drawn.strata, paths)
        return {
            path: (_plain(one.bytes or Estimate(0.0, 0.0, 0.0)), _plain(one.keys))
            for path, one in found.items()
            if path != _NONE
        }


_NONE: Labels = ()


def _plain(figure: Estimate) -> Figure:
    exact = figure.low == figure.value == figure.high
    return round(figure.value) if exact else figure


def worth_giving(advice: Iterable[Advice], used: int) -> list[Advice]:
    """Return what saves enough, or protects; what saves most comes first."""
    least = max(WORTH_BYTES, WORTH_SHARE * used)
    found = [one for one in advice if one.protects or value_of(one.saves) >= least]
    return sorted(found, key=lambda one: (-one.severity, -value_of(one.saves), one.id, one.subject))


def name_of(path: Labels) -> bytes:
    """Return the name of a namespace."""
    return b"".join(path)


def about(path: Labels, advice: Advice) -> Advice:
    """Return the advice with a namespace as its subject."""
    return replace(advice, subject=name_of(path))


def thinned(drawn: Drawn, pages: Sequence[int]) -> Drawn:
    """Return only some of the pages, as the smaller sample that they are."""
    kept = [drawn.pages[at] for at in pages]
    counts: dict[str, int] = dict.fromkeys(drawn.strata, 0)
    before: dict[str, int] = dict.fromkeys(drawn.strata, 0)
    for page in drawn.pages:
        before[page.node] += len(page)
    for page in kept:
        counts[page.node] += len(page)
    strata = {
        # Keys that a draw met and that are on no page (vanished, filtered) thin out alike.
        node: Stratum(one.size, _share(one.drawn, counts[node], before[node]))
        for node, one in drawn.strata.items()
    }
    return Drawn(kept, strata, [drawn.spaces[at] for at in pages])


def _share(drawn: int, kept: int, before: int) -> int:
    return drawn if kept == before else round(drawn * kept / before)
