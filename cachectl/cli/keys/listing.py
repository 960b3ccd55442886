"""`keys list` at work: pages of a scan become rows, or raw names, until the end or the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cachectl.cli.context import App

if TYPE_CHECKING:
    from cachectl.cli.selectors import Chooser
    from cachectl.model.keys import Page
    from cachectl.output.report import Report
    from cachectl.server.scanning.columns import Field
    from cachectl.server.topology.handle import Server


class Listing:
    """One listing. listed: keys so far; more: the limit ended it; report: after the end."""

    def __init__(
        self,
        app: App,
        server: Server,
        chooser: Chooser,
        fields: frozenset[Field],
        limit: int | None,
    ) -> None:
        from cachectl.server.scanning.printed import Printed

        self.listed = 0
        self.more = False
        self.report: Report | None = None
        self._app = app
        self._server = server
        self._chooser = chooser
        self._fields = fields
        self._limit = limit
        self._taken = 0
        self._printed = Printed()
        self._outcome: Any = None

    def rows(self, make: Callable[[Page], Iterator[Sequence[Any]]]) -> Iterator[Sequence[Any]]:
        """Yield a row for each key."""
        for page in self._pages():
            for row in make(page):
                self.listed += 1
                yield row

    def names(self, end: bytes) -> Iterator[bytes]:
        """Yield the names as they are, each with `end` behind it, many at a time."""
        for page in self._pages():
            self.listed += len(page)
            yield b"".join([key + end for key in page.keys])

    def _pages(self) -> Iterator[Page]:
        """Yield the chosen keys, each once, up to the limit."""
        from cachectl.server.scanning.scan import Restarted, Scan

        request = self._chooser.request(self._fields)
        with self._app.progress("scanning") as progress:
            scan = Scan(self._server, request, lambda now: progress.update(now.done, now.total))
            self._outcome = scan.outcome
            with scan:
                for item in scan:
                    if isinstance(item, Restarted):
                        self._start_over(item.node, item.reason)
                        continue
                    page = self._cut(self._printed.sift(self._chooser.choose(item)))
                    self._printed.note(page.keys)
                    self._taken += len(page)
                    if page.keys:
                        yield page
                    if self.more:
                        return
        self._chooser.check(scan.outcome.unavailable)

    def finish(self) -> Report:
        """Return what follows the rows, however they ended."""
        from cachectl.views.keys.listing import list_end

        outcome = self._outcome
        gaps = list(outcome.unavailable)
        unjudged = self._chooser.gaps(gaps)
        gaps += [gap for gap in unjudged if gap not in gaps]
        self.report = list_end(
            self._server.facts,
            listed=self.listed,
            more=self.more,
            may_repeat=self._printed.may_repeat,
            partial=bool(unjudged) or not (self.more or outcome.complete),
            unavailable=gaps,
            notes=[*self._notes(), *outcome.errors],
        )
        return self.report

    def _cut(self, page: Page) -> Page:
        """Cut the page at the limit. One key more than the limit tells whether there are more."""
        if self._limit is None or self._taken + len(page) <= self._limit:
            return page
        self.more = True
        return page.take(range(self._limit - self._taken))

    def _start_over(self, node: str, reason: str) -> None:
        self._printed.node_starts_over()
        consequence = (
            "some keys may be listed twice"
            if self._printed.may_repeat
            else "what was listed is not repeated"
        )
        self._app.terminal.warn(f"{node} {reason}; it is read again, {consequence}")

    def _hashes_with_expiring_fields(self) -> int:
        """Count them, by what INFO keyspace says, when keys without a TTL were asked for."""
        from cachectl.server.values.fieldttl import hashes_with_expiring_fields

        asked = self._chooser.selection.about("ttl").conditions
        if not any(one.value is None and not one.negated for one in asked):
            return 0
        return hashes_with_expiring_fields(self._server)

    def _notes(self) -> Iterator[str]:
        outcome = self._outcome
        if self.more:
            yield f"stopped at --limit {self._limit:,}; there are more"
        if hashes := self._hashes_with_expiring_fields():
            yield (
                f"{hashes:,} hash{'es have' if hashes > 1 else ' has'} fields that expire by "
                "themselves, which is no TTL of the key; keys show tells"
            )
        if outcome.unreadable:
            yield f"{_keys(outcome.unreadable)} not readable for this login, and not listed"
        if outcome.vanished:
            yield f"{_keys(outcome.vanished)} vanished meanwhile (expired, evicted or deleted)"
        yield f"{_keys(self.listed)} listed in {outcome.seconds:.1f} s"


def _keys(count: int) -> str:
    return f"{count:,} key{'' if count == 1 else 's'}"
