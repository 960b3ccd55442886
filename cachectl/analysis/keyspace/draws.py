"""The pages of a sample, summed up by namespace as far as estimates and their errors need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.analysis.estimates.design import Design, Hits
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.estimates.sizes import Moments
from cachectl.analysis.keyspace.summary import LargestKey
from cachectl.analysis.naming.templates import Labels
from cachectl.model.keys import NO_TTL, Page

LARGEST = 20
"""How many of the largest keys are kept."""


@dataclass(slots=True)
class Domain:
    """What was drawn of one namespace, by stratum: keys in all, by type and without TTL, values."""

    keys: Hits
    no_ttl: Hits
    sizes: list[Moments]
    ttls: list[list[int]]
    idles: list[list[int]]
    freqs: list[list[int]]
    types: dict[str, Hits] = field(default_factory=dict)
    largest: LargestKey | None = None
    unsized: int = 0


class Draws:
    """The pages so far. had: which columns came."""

    def __init__(self, strata: Mapping[str, Stratum]) -> None:
        self._at = {node: at for at, node in enumerate(strata)}
        self.design = Design(list(strata.values()))
        self.domains: dict[Labels, Domain] = {}
        self.had: set[str] = set()
        self._whole = self.new_domain()
        self._largest: list[LargestKey] = []

    def add(self, page: Page, paths: Sequence[Labels]) -> None:
        """Add a draw, whose keys are in the namespaces `paths`."""
        at = self._at[page.node]
        self.design.add_page(at, len(page))
        rows: dict[Labels, list[int]] = {}
        for row, path in enumerate(paths):
            rows.setdefault(path, []).append(row)
        for path, mine in rows.items():
            domain = self.domains.get(path)
            if domain is None:
                domain = self.domains[path] = self.new_domain()
            self._add_to(domain, at, page, mine)
        self._add_to_whole(at, page)
        self._add_largest(page, paths)

    def largest(self) -> tuple[LargestKey, ...]:
        """Return the largest keys that were drawn, largest first."""
        return tuple(self._largest)

    def whole(self) -> Domain:
        """Return what was drawn of all keys; call it once, when all pages are in."""
        found = self._whole
        for domain in self.domains.values():
            found.unsized += domain.unsized
            for at, moments in enumerate(domain.sizes):
                # Sums over pages are not those of the parts, and are in already.
                found.sizes[at].add_powers(moments)
                found.ttls[at] += domain.ttls[at]
                found.idles[at] += domain.idles[at]
                found.freqs[at] += domain.freqs[at]
            top = domain.largest
            if top and (found.largest is None or top.bytes > found.largest.bytes):
                found.largest = top
        return found

    def new_domain(self) -> Domain:
        """Return a namespace of which nothing was drawn."""
        strata = range(len(self.design.strata))
        return Domain(
            keys=Hits.none(len(strata)),
            no_ttl=Hits.none(len(strata)),
            sizes=[Moments() for _ in strata],
            ttls=[[] for _ in strata],
            idles=[[] for _ in strata],
            freqs=[[] for _ in strata],
        )

    def _add_to(self, domain: Domain, at: int, page: Page, rows: Sequence[int]) -> None:
        n = len(page)
        domain.keys.add_page(at, len(rows), n)
        if page.types is not None:
            self._add_types(domain, at, [page.types[row] for row in rows], n)
        if page.ttls is not None:
            self.had.add("ttls")
            ttls = [ttl for row in rows if (ttl := page.ttls[row]) > NO_TTL]
            domain.ttls[at] += ttls
            domain.no_ttl.add_page(at, len(rows) - len(ttls), n)
        for column, values in ((page.idles, domain.idles), (page.freqs, domain.freqs)):
            if column is not None:
                values[at] += [value for row in rows if (value := column[row]) is not None]
        if page.sizes is not None:
            self.had.add("sizes")
            self._add_sizes(domain, at, page, rows)

    def _add_to_whole(self, at: int, page: Page) -> None:
        n = len(page)
        self._whole.keys.add_page(at, n, n)
        if page.types is not None:
            self._add_types(self._whole, at, page.types, n)
        if page.ttls is not None:
            self._whole.no_ttl.add_page(at, sum(ttl <= NO_TTL for ttl in page.ttls), n)
        if page.sizes is not None:
            sizes = [size for size in page.sizes if size is not None]
            self._whole.sizes[at].add_page(len(sizes), sum(sizes))

    def _add_largest(self, page: Page, paths: Sequence[Labels]) -> None:
        found = self._largest
        floor = found[-1].bytes if len(found) >= LARGEST else -1
        for row, size in enumerate(page.sizes or ()):
            if size is not None and size > floor:
                kind = page.types[row] if page.types else ""
                name = b"".join(paths[row])
                found.append(LargestKey(page.keys[row], name, size, kind, page.node))
        found.sort(key=lambda key: (-key.bytes, key.key))
        del found[LARGEST:]

    def _add_types(self, domain: Domain, at: int, types: Sequence[str], n: int) -> None:
        for kind, y in Counter(types).items():
            hits = domain.types.get(kind)
            if hits is None:
                hits = domain.types[kind] = Hits.none(len(self.design.strata))
            hits.add_page(at, y, n)

    def _add_sizes(self, domain: Domain, at: int, page: Page, rows: Sequence[int]) -> None:
        column = page.sizes or []
        sizes = [size for row in rows if (size := column[row]) is not None]
        domain.unsized += len(rows) - len(sizes)
        if not sizes:
            return
        moments = domain.sizes[at]
        moments.add_page(len(sizes), sum(sizes))
        moments.add_sizes(sizes)
        top = max(sizes)
        if domain.largest is None or top > domain.largest.bytes:
            row = next(row for row in rows if column[row] == top)
            kind = page.types[row] if page.types else ""
            domain.largest = LargestKey(page.keys[row], b"", top, kind, page.node)
