"""`stats --watch`: one row a window, until Ctrl-C or for as many windows as were asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cachectl.cli import options
from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import AuthenticationError, CannotConnectError

if TYPE_CHECKING:
    from cachectl.model.counters import NodeSample
    from cachectl.model.findings import Finding, Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.stats import Sampler
    from cachectl.server.topology.connect import Server


@dataclass(slots=True)
class Watch:
    """The windows of one server, one after the other.

    findings: of all windows so far, the latest of each kind and subject.
    """

    app: App
    server: Server
    interval: float
    count: int | None
    findings: dict[tuple[str, str | None], Finding] = field(default_factory=dict)
    unavailable: dict[Unavailable, None] = field(default_factory=dict)

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield a row at the end of each window."""
        from cachectl.analysis.traffic.watching import Usual

        sampler = measuring.sampler_of(self.server)
        usual = Usual()
        before = {sample.node: sample for sample in sampler.sample().nodes}
        due, done = time.monotonic(), 0
        while self.count is None or done < self.count:
            due = max(due + self.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            yield self._row(sampler, before, usual)
            done += 1

    def _row(self, sampler: Sampler, before: dict[str, NodeSample], usual: Any) -> Sequence[Any]:
        from cachectl.analysis.traffic import traffic
        from cachectl.views.stats import watch as view

        now = self.app.terminal.now
        try:
            after = sampler.sample()
        except AuthenticationError:
            raise
        except CannotConnectError as error:
            self.app.terminal.debug(error.message)
            return view.empty_row(now(), "no answer")
        result = measuring.compare(list(before.values()), after, sampler)
        before.update((sample.node, sample) for sample in after.nodes)
        for gap in after.unavailable:
            self.unavailable[gap] = None
        for finding in traffic.findings(result, measuring.limits_of(self.app)):
            self.findings[finding.id, finding.subject] = finding
        changes = usual.take(result)
        return view.row(result, now(), usual.rates, changes)

    def end(self) -> Report:
        """Return what is left to say when no more rows come."""
        from cachectl.output.report import Report
        from cachectl.views.stats import watch as view

        return Report(
            view.SCHEMA,
            server=self.server.facts,
            partial=bool(self.unavailable),
            findings=tuple(self.findings.values()),
            unavailable=tuple(self.unavailable),
        )


def watch(
    app: App,
    server: Server,
    interval: float,
    count: int | None,
    output: options.OutputFormat | None,
    fail_on: options.FailOn,
) -> None:
    """Show windows of `interval` seconds as they end."""
    from cachectl.output.report import RowStream
    from cachectl.views.stats import watch as view

    one = Watch(app, server, interval, count)
    stream = RowStream(view.SCHEMA, view.TABLE, view.COLUMNS, one.rows(), one.end, live=True)
    app.stream(stream, output)
    app.end(one.end(), fail_on)
