"""`cachectl memory`: where the bytes are."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import context
from cachectl.cli.default import DefaultGroup
from cachectl.cli.memory import memory_pass
from cachectl.errors import RefusedError

app = typer.Typer(cls=DefaultGroup, rich_markup_mode=None, add_completion=False)


class By(StrEnum):
    """What keys are grouped by."""

    TEMPLATE = "template"
    PREFIX = "prefix"


GroupedBy = Annotated[By, typer.Option("--by", help="Group keys by")]
Depth = Annotated[
    int | None,
    typer.Option("--depth", min=1, help="Levels of names to tell apart", show_default=False),
]


@app.command("memory")
def memory(
    ctx: typer.Context,
    keys: Annotated[
        bool, typer.Option("--keys/--no-keys", help="Read keys: namespaces, types, sizes")
    ] = True,
    by: GroupedBy = By.TEMPLATE,
    depth: Depth = None,
    policy: options.PolicyFile = None,
    sample: memory_pass.SampleSize = None,
    full: memory_pass.Full = False,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show where the bytes are: values, tables, buffers, fragmentation, by namespace and type.

    The parts add up to used_memory. Namespaces come from all keys, or from a sample where reading
    all would take more than 30 s: its figures carry 95 % intervals. Sizes of values come from the
    server's own histograms where it keeps them (Redis 8). A policy that names layers adds their
    totals.

    Examples:

      cachectl memory

      cachectl -p prod memory --sample 20000

      cachectl memory --no-keys -o json | jq '.parts'

      cachectl memory keys --limit 5

      cachectl memory cold
    """
    from cachectl.analysis.keyspace.valuesizes import from_keysizes
    from cachectl.analysis.memory.parts import all_memory, node_memory
    from cachectl.analysis.traffic.pressure import findings
    from cachectl.server.introspection.memory import memory_samples
    from cachectl.views.memory.where import memory_report

    app = context(ctx)
    rules = app.policy(policy) if keys else None
    with app.server() as server:
        taken = memory_samples(server)
        nodes = [node_memory(sample) for sample in taken.nodes]
        kept = from_keysizes(sample.info for sample in taken.nodes)
        done = found = None
        gaps = list(taken.unavailable)
        if keys:
            from cachectl.cli.memory.where import refused, where

            work = memory_pass.Work(app, server, pace, rate, sample, full)
            try:
                done, found, sizes = where(work, by.value, depth, rules)
                kept = kept or sizes
            except RefusedError as error:
                gaps.append(refused(error))
        limits = app.target.thresholds
        report = memory_report(
            all_memory(nodes),
            nodes,
            found,
            kept,
            server.facts,
            limit=limit,
            findings=[
                finding
                for node in nodes
                for finding in findings(
                    node.pressure,
                    "memory",
                    memory=limits.memory,
                    fragmentation=limits.fragmentation,
                )
            ],
            unavailable=gaps,
            partial=bool(gaps),
        )
    memory_pass.finish(app, report, done, output, fail_on)


@app.command("keys")
def biggest(
    ctx: typer.Context,
    pattern: Annotated[
        str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
    ] = None,
    per_namespace: Annotated[
        int,
        typer.Option("--per-namespace", min=0, max=1000, help="Also so many of each namespace"),
    ] = 0,
    elements: Annotated[
        bool, typer.Option("--elements/--no-elements", help="Count elements as well")
    ] = True,
    by: GroupedBy = By.TEMPLATE,
    depth: Depth = None,
    sample: memory_pass.SampleSize = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many keys")] = 10,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show the biggest keys, by bytes and by elements, in all and of each namespace.

    One paced pass over all keys with commands that walk no value: MEMORY USAGE looks at five
    elements, HLEN and its kin at none. Where counting would reset idle times (no CLIENT NO-TOUCH:
    before Redis 7.2), elements are left out. Ctrl-C shows what was seen by then.

    Examples:

      cachectl memory keys

      cachectl memory keys 'cart:*' --limit 50

      cachectl -p prod memory keys --per-namespace 3 --no-elements -o csv

      cachectl memory keys --fail-on warning
    """
    from cachectl.analysis.memory.giants import giant_findings
    from cachectl.cli.memory.biggest import biggest_of
    from cachectl.views.memory.biggest import memory_keys_report

    app = context(ctx)
    with app.server() as server:
        work = memory_pass.Work(
            app, server, pace, rate, sample, full=sample is None, pattern=pattern
        )
        done, found = biggest_of(
            work, by.value, depth, keep=limit, per_namespace=per_namespace, elements=elements
        )
        report = memory_keys_report(
            found,
            server.facts,
            read=done.facts.keys,
            counted=elements,
            sample=done.about,
            findings=giant_findings([*found.by_bytes, *found.by_elements]),
            unavailable=done.facts.unavailable,
            notes=memory_pass.notes_of(
                done, hint="giants that were not drawn are missing: without --sample all are seen"
            ),
            partial=not done.facts.complete,
        )
    memory_pass.finish(app, report, done, output, fail_on)


@app.command("cold")
def cold(
    ctx: typer.Context,
    pattern: Annotated[
        str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
    ] = None,
    by: GroupedBy = By.TEMPLATE,
    depth: Depth = None,
    sample: memory_pass.SampleSize = None,
    full: memory_pass.Full = False,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show bytes and keys that nobody has touched for an hour, a day, a week, by namespace.

    Exact from all keys, with 95 % intervals from a sample. Idle times are there under LRU policies
    and without one; under LFU policies keys are shown whose counter has decayed to nothing. Looking
    touches nothing.

    Examples:

      cachectl memory cold

      cachectl -p prod memory cold --sample 20000

      cachectl memory cold 'session:*' -o json | jq '.levels'
    """
    from cachectl.analysis.keyspace.cold import cold_findings
    from cachectl.cli.memory.cold import cold_of, notes_on
    from cachectl.views.memory.cold import memory_cold_report

    app = context(ctx)
    with app.server() as server:
        work = memory_pass.Work(app, server, pace, rate, sample, full, pattern)
        done, found = cold_of(work, by.value, depth)
        report = memory_cold_report(
            found,
            server.facts,
            sample=done.about,
            limit=limit,
            findings=cold_findings(found),
            unavailable=done.facts.unavailable,
            notes=[*notes_on(server, found), *memory_pass.notes_of(done)],
            partial=not (done.facts.complete and found.levels and found.sized),
        )
    memory_pass.finish(app, report, done, output, fail_on)


@app.command("advise")
def advise(
    ctx: typer.Context,
    sample: memory_pass.SampleSize = None,
    values: Annotated[
        bool, typer.Option("--values/--no-values", help="Look into values of drawn keys")
    ] = True,
    read: Annotated[
        str, typer.Option("--read", metavar="SIZE", help="Bytes of values to look into at most")
    ] = "16mb",
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Advise what would save memory: how much, how that is known, the risk, and how to do it.

    From 20,000 keys drawn at random, or all up to 100,000, and from what is in some of them:
    limits of compact encodings, small keys as hashes, compression, names, TTLs, namespaces that
    nobody reads, giants, fragmentation, maxmemory and its policy. Nothing is changed. Idle times
    stay as they are where the server has CLIENT NO-TOUCH; elsewhere --no-values leaves them alone.

    Examples:

      cachectl memory advise

      cachectl -p prod memory advise --sample 100000 --read 64mb

      cachectl memory advise -o json | jq '.advice[] | {id, subject, saves}'
    """
    from cachectl.cli.memory import advise
    from cachectl.views.memory.advise import memory_advise_report

    app = context(ctx)
    most = memory_pass.size_of("--read", read) if values else 0
    with app.server() as server:
        found = advise.advise(memory_pass.Work(app, server, pace, rate, sample), most)
        report = memory_advise_report(
            found.advice,
            server.facts,
            used=found.used,
            values_read=found.values_read,
            bytes_read=found.bytes_read,
            sample=found.done.about if found.done else None,
            limit=limit,
            unavailable=found.unavailable,
            notes=advise.said(found),
            partial=found.partial,
        )
    memory_pass.finish(app, report, found.done, output, fail_on)
