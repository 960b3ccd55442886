"""What `stats events` does: one window of events, or one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cachectl.cli import options
from cachectl.cli.context import App
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.cli.stats.notifying import Heard
    from cachectl.model.findings import Finding, Unavailable
    from cachectl.output.report import Report


def measure(
    heard: Heard, seconds: float, limit: int | None
) -> tuple[Report, KeyboardInterrupt | None]:
    """Return the report of one window; a Ctrl-C shortens it."""
    from cachectl.analysis.events.findings import findings
    from cachectl.views.stats.events import events_report

    interruption = _listen(heard, seconds)
    window = heard.end()
    report = events_report(
        window,
        heard.server.facts,
        kinds=heard.known(window),
        limit=limit,
        findings=findings(window),
        unavailable=[*heard.server.unavailable, *heard.unavailable],
        notes=heard.notes,
        partial=interruption is not None or bool(heard.server.unavailable),
    )
    return report, interruption


def _listen(heard: Heard, seconds: float) -> KeyboardInterrupt | None:
    import time

    begun = time.monotonic()
    try:
        with heard.app.progress("listening", unit="%") as progress:
            while (left := begun + seconds - time.monotonic()) > 0:
                progress.update(100 * (1 - left / seconds), 100)
                heard.listen(min(left, 0.5))
    except KeyboardInterrupt as interruption:
        return interruption
    return None


@dataclass(slots=True)
class EventWatch:
    """Windows of events, one after the other."""

    heard: Heard
    interval: float
    count: int | None
    findings: dict[tuple[str, str | None], Finding] = field(default_factory=dict)
    incomplete: bool = False

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield a row at the end of each window."""
        from cachectl.analysis.events.findings import findings
        from cachectl.views.stats import events_watch as view

        done = 0
        while self.count is None or done < self.count:
            self.heard.listen(self.interval)
            self._follow()
            window = self.heard.end()
            self.incomplete = self.incomplete or not window.complete
            for finding in findings(window):
                self.findings[finding.id, finding.subject] = finding
            yield view.row(window, self.heard.app.terminal.now(), self.heard.known(window))
            done += 1

    def _follow(self) -> None:
        """Find out whether the primaries still are what they were, and listen to new ones."""
        server = self.heard.server
        try:
            for node in list(server.primaries):
                if not _answers(node):
                    server.reopen(node)
            self.heard.feed.follow()
        except CachectlError as error:
            self.heard.app.terminal.debug(error.message)

    def end(self) -> Report:
        """Return what is left to say when no more rows come."""
        from cachectl.output.report import Report
        from cachectl.views.stats import events_watch as view

        gaps: list[Unavailable] = [*self.heard.server.unavailable, *self.heard.unavailable]
        return Report(
            view.SCHEMA,
            server=self.heard.server.facts,
            partial=self.incomplete or bool(self.heard.server.unavailable),
            findings=tuple(self.findings.values()),
            unavailable=gaps,
            notes=self.heard.notes,
        )


def _answers(node: Any) -> bool:
    """Return whether a node is there and a primary still."""
    from cachectl.server.wire.resp import as_text

    if not node.connection.is_open:
        return False
    try:
        reply = node.connection.pipeline([("ROLE",)])[0]
    except CachectlError:
        return False
    return not (isinstance(reply, list) and as_text(reply[0]) == "slave")


def watch(
    app: App,
    heard: Heard,
    interval: float,
    count: int | None,
    output: options.OutputFormat | None,
) -> EventWatch:
    """Show windows as they end."""
    from cachectl.output.report import RowStream
    from cachectl.views.stats import events_watch as view

    one = EventWatch(heard, interval, count)
    app.stream(
        RowStream(view.SCHEMA, view.TABLE, view.columns(), one.rows(), one.end, live=True), output
    )
    return one
