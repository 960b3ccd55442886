"""What the `memory` commands share: one pass over the keys, all of them or a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App
from cachectl.cli.scan.scanning import Accumulator
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.model.keys import Page
    from cachectl.output.report import Report
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.sample import Sample
    from cachectl.server.scanning.scan_types import ScanOutcome, ScanRequest
    from cachectl.server.topology.handle import Server
    from cachectl.views.keys.scan import ScanFacts

FEW = 100_000
"""Keys that are read, and kept in memory, all of them rather than sampled."""

SampleSize = Annotated[
    int | None,
    typer.Option(
        "--sample",
        min=1,
        max=200_000,
        metavar="N",
        help="Answer from N keys drawn at random, with 95 % intervals",
        show_default=False,
    ),
]
Full = Annotated[
    bool,
    typer.Option("--full", help="Read all keys, however long it takes [default: within 30 s]"),
]

ALL_KEYS = "without --sample all keys are read"
"""The hint of a command that reads all keys unless told otherwise."""


class Several:
    """Several accumulators as one."""

    def __init__(self, parts: Sequence[Accumulator]) -> None:
        self._parts = parts

    def add(self, page: Page) -> Sequence[int]:
        """Count a page in each."""
        for part in self._parts:
            part.add(page)
        return ()

    def drop(self, node: str) -> None:
        """Forget a node in each."""
        for part in self._parts:
            part.drop(node)


@dataclass(slots=True)
class KeyPass:
    """What a pass came to.

    drawn: the sample, None when the accumulators have seen all keys. outcome: what a pass over all
    keys says of itself.
    """

    facts: ScanFacts
    drawn: Sample | None = None
    interruption: KeyboardInterrupt | None = None
    outcome: ScanOutcome | None = None

    @property
    def strata(self) -> dict[str, Stratum]:
        """How many keys of how many were drawn from each node."""
        return strata_of(self.drawn) if self.drawn else {}

    @property
    def about(self) -> dict[str, object] | None:
        """What machines are told of the sample; None for a pass over all keys."""
        if self.drawn is None:
            return None
        size, drawn = self.drawn.size, self.drawn.drawn
        return {
            "size": drawn,
            "confidence": 0.95,
            "keyspace": size,
            "coverage": drawn / size if size else 1.0,
        }


def strata_of(drawn: Sample) -> dict[str, Stratum]:
    """Return how many keys of how many were drawn from each node."""
    from cachectl.analysis.estimates.intervals import Stratum

    return {node.node: Stratum(node.size, node.drawn) for node in drawn.nodes}


@dataclass(slots=True)
class Work:
    """What a pass may take. sample: keys to draw; full: read all of them; neither: as they come."""

    app: App
    server: Server
    pace: options.PaceOption | None = None
    rate: int | None = None
    sample: int | None = None
    full: bool = False
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.sample is not None and self.full:
            raise UsageError("--sample and --full exclude each other", hint="give one of them")

    def read(self, fields: frozenset[Field], parts: Sequence[Accumulator]) -> KeyPass:
        """Read all keys into `parts`, or draw a sample.

        A Ctrl-C is kept, for after the report. Raises CachectlError when no key can be read.
        """
        from cachectl.cli.scan.sampling import FIRST_LOOK, facts_of
        from cachectl.cli.scan.scanning import LONG, FullScan, measured

        request = self._request(fields)
        n = self.sample
        if n is None and not self.full:
            forecast = measured(self.server, request)
            if forecast is not None and forecast.seconds > LONG:
                n = FIRST_LOOK
        if n is None:
            scan = FullScan(self.app, self.server, request, Several(parts))
            scan.run()
            return KeyPass(scan.facts(), None, scan.interruption, scan.outcome)
        from cachectl.server.scanning.sample import sample

        drawn = sample(self.server, n, request)
        if drawn.drawn < drawn.size:
            return KeyPass(facts_of(drawn), drawn)
        for page in drawn.pages:
            for part in parts:
                part.add(page)
        return KeyPass(facts_of(drawn))

    def draw(self, fields: frozenset[Field]) -> tuple[KeyPass, Sample]:
        """Draw a sample, or read all keys where there are few. Raises CachectlError."""
        from cachectl.cli.scan.sampling import FIRST_LOOK, facts_of
        from cachectl.server.scanning.sample import sample

        n = self.sample
        if n is None:
            known = sum(node.facts.keys or 0 for node in self.server.primaries)
            n = known if known <= FEW else FIRST_LOOK
        drawn = sample(self.server, n, self._request(fields))
        return KeyPass(facts_of(drawn), drawn if drawn.drawn < drawn.size else None), drawn

    def _request(self, fields: frozenset[Field]) -> ScanRequest:
        from cachectl.server.scanning.scan_types import ScanRequest

        match = self.pattern.encode("utf-8", "surrogateescape") if self.pattern else None
        return ScanRequest(
            fields,
            match=match,
            pace=self.pace.value if self.pace else None,
            max_rate=self.rate,
        )


def size_of(option: str, text: str) -> int:
    """Return an option's size in bytes. Raises UsageError."""
    from cachectl.config.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def notes_of(done: KeyPass, *, hint: str = "--full reads all keys") -> list[str]:
    """Return what people are told of the pass."""
    facts = done.facts
    counted = {
        "vanished meanwhile (expired, evicted or deleted)": facts.vanished,
        "unreadable for this login": facts.unreadable,
    }
    notes = [f"{count:,} keys {what}" for what, count in counted.items() if count]
    if facts.own_lookups:
        notes.append(f"this added {facts.own_lookups:,} hits to the server's keyspace_hits")
    notes += facts.errors
    if done.drawn is not None:
        notes.append(
            f"from a sample of {done.drawn.drawn:,} of {done.drawn.size:,} keys, in "
            f"{facts.seconds:.1f} s; {hint}"
        )
    else:
        notes.append(f"{facts.keys:,} keys in {facts.seconds:.1f} s")
    return notes


def finish(
    app: App,
    report: Report,
    done: KeyPass | None,
    output: options.OutputFormat | None,
    fail_on: options.FailOn,
) -> None:
    """Show the report and end; after a Ctrl-C as after every Ctrl-C."""
    from cachectl.cli.stats import measuring

    measuring.finish(app, report, done.interruption if done else None, output, fail_on)
