"""`cachectl ttl`: TTLs as they are against the policy, when keys expire, and the repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options, selectors
from cachectl.cli.context import context
from cachectl.cli.invalidate.invalidating import carry
from cachectl.cli.invalidate.orders import Orders, ordering
from cachectl.cli.memory import memory_pass
from cachectl.cli.memory.command import By, Depth, GroupedBy
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.analysis.selecting.selection import Selection

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)

Pattern = Annotated[
    str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
]


@app.command()
def audit(
    ctx: typer.Context,
    pattern: Pattern = None,
    policy: options.PolicyFile = None,
    sample: memory_pass.SampleSize = None,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Compare TTLs with the policy: missing, too long, too short, unexpected, no rule at all.

    Every key, or a sample. What is left of a TTL counts, by the server's clock: a key that has
    less than the least left is too short only when it was used too recently to be old. Bytes are
    those of the keys that violate a rule. A policy comes from --policy or the profile; `cachectl
    policy init --from-scan` writes one.

    Examples:

      cachectl -p prod ttl audit

      cachectl ttl audit --policy policy.yaml --fail-on warning

      cachectl ttl audit 'session:*' --sample 20000

      cachectl ttl audit -o json | jq '.violations[] | select(.kind == "missing")'
    """
    app = context(ctx)
    rules = app.needed_policy(policy)
    with app.server() as server:
        from cachectl.cli.stats import measuring
        from cachectl.cli.ttl.auditing import audited
        from cachectl.views.audits.ttl_audit import Remedies, audit_report

        work = memory_pass.Work(app, server, pace, rate, sample, sample is None, pattern)
        done = audited(work, rules)
        remedies = Remedies(app.words, str(policy) if policy else None)
        report = audit_report(done, server.facts, remedies, limit=limit)
        measuring.finish(app, report, done.interruption, output, fail_on)


@app.command()
def histogram(
    ctx: typer.Context,
    pattern: Pattern = None,
    by: GroupedBy = By.TEMPLATE,
    depth: Depth = None,
    sample: memory_pass.SampleSize = None,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    output: options.Output = None,
) -> None:
    """Draw how long keys have left, on a logarithmic axis, by namespace.

    Every key, or a sample with 95 % intervals. Machine formats have a row for each namespace and
    bin that holds keys.

    Examples:

      cachectl ttl histogram

      cachectl -p prod ttl histogram 'user:*' --depth 2 --sample 20000

      cachectl ttl histogram -o csv
    """
    app = context(ctx)
    with app.server() as server:
        from cachectl.cli.stats import measuring
        from cachectl.cli.ttl.histogram import distributed
        from cachectl.views.audits.histogram import histogram_report

        work = memory_pass.Work(app, server, pace, rate, sample, sample is None, pattern)
        done, found = distributed(work, by.value, depth)
        report = histogram_report(
            found,
            done.facts,
            server.facts,
            by=by.value,
            limit=limit,
            sample=done.about,
            notes=memory_pass.notes_of(done, hint=memory_pass.ALL_KEYS),
        )
        measuring.finish(app, report, done.interruption, output, options.FailOn.NONE)


@app.command()
def storms(
    ctx: typer.Context,
    pattern: Pattern = None,
    within: Annotated[
        str, typer.Option("--within", metavar="DURATION", help="How far to look ahead")
    ] = "6h",
    width: Annotated[
        str | None,
        typer.Option(
            "--bin",
            metavar="DURATION",
            help="Width of a bin, 1s to 1m [default: as fine as the time ahead allows]",
            show_default=False,
        ),
    ] = None,
    sample: memory_pass.SampleSize = None,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Foresee when many keys expire together, and how to keep them apart.

    Expiry times are counted in bins; a bin that holds far more than those around it, beyond
    chance, is a storm: whoever reads its keys goes to the database behind the cache at once. The
    plot shows the worst bin of each row. A sample finds the larger storms, with 95 % intervals.

    Examples:

      cachectl -p prod ttl storms

      cachectl ttl storms 'session:*' --within 30m --bin 1s

      cachectl ttl storms --sample 50000 --fail-on warning -o json
    """
    app = context(ctx)
    ahead, wide = _horizon(within), _width(width)
    with app.server() as server:
        from cachectl.cli.stats import measuring
        from cachectl.cli.ttl.storming import forecast
        from cachectl.views.audits.storms import storms_report

        work = memory_pass.Work(app, server, pace, rate, sample, sample is None, pattern)
        done, found = forecast(work, ahead, wide)
        report = storms_report(
            found,
            done.facts,
            server.facts,
            words=app.words,
            sample=done.about,
            limit=limit,
            notes=memory_pass.notes_of(done, hint=memory_pass.ALL_KEYS),
        )
        measuring.finish(app, report, done.interruption, output, fail_on)


def _horizon(text: str) -> float:
    seconds = _seconds("--within", text)
    if not 60 <= seconds <= 7 * 86_400:
        raise UsageError("--within is a minute at least, and a week at most")
    return seconds


def _width(text: str | None) -> int | None:
    if text is None:
        return None
    seconds = _seconds("--bin", text)
    if seconds != int(seconds) or not 1 <= seconds <= 60:
        raise UsageError("--bin is a whole number of seconds from 1s to 1m")
    return int(seconds)


def _seconds(option: str, text: str) -> float:
    from cachectl.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from None


@app.command("set")
@selectors.selecting
@ordering
def set_ttl(
    ctx: typer.Context,
    selection: Selection,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="DURATION", help="The new TTL, or a range: 50m..70m"),
    ] = None,
    tier: Annotated[
        str | None, typer.Option("--tier", metavar="NAME", help="A TTL within this tier")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Expire then: 2030-01-31T04:00Z or Unix seconds"),
    ] = None,
    extend: Annotated[
        str | None,
        typer.Option("--extend", metavar="DURATION", help="So much more than they have"),
    ] = None,
    persist: Annotated[bool, typer.Option("--persist", help="No TTL: they never expire")] = False,
    from_policy: Annotated[
        bool, typer.Option("--from-policy", help="What the policy asks, where it is something else")
    ] = False,
    jitter: Annotated[
        str,
        typer.Option("--jitter", metavar="SHARE", help="With --ttl, --extend: up to so much less"),
    ] = "0%",
    *,
    orders: Orders,
) -> None:
    """Give keys another TTL, so that `cachectl undo` can put the old ones back.

    Chosen, planned, guarded and journalled as `cachectl invalidate` does it. Values are not
    touched, and keys whose TTL is as it should be are left alone.

    Examples:

      cachectl ttl set 'session:*' --no-ttl --ttl 30m --jitter 10% --dry-run

      cachectl ttl set --namespace 'user:{id}' --ttl-over 1d --tier low --yes

      cachectl ttl set 'price:*' --from-policy --policy policy.yaml --yes

      cachectl -p prod ttl set 'cart:*' --extend 2h --yes --confirm prod

      cachectl ttl set 'config:*' --persist --yes
    """
    from cachectl.cli.ttl.changes import retiming

    app = context(ctx)
    asked = {
        "--ttl": ttl,
        "--tier": tier,
        "--at": at,
        "--extend": extend,
        "--persist": persist or None,
        "--from-policy": from_policy or None,
    }
    policy = (app.needed_policy if from_policy else app.policy)(orders.policy)
    change = retiming(asked, jitter, policy, app.terminal.now())
    carry(app, selection, orders, change)


@app.command()
@selectors.selecting
@ordering
def spread(
    ctx: typer.Context,
    selection: Selection,
    over: Annotated[
        str, typer.Option("--over", metavar="DURATION", help="How far apart the wave is drawn")
    ],
    *,
    orders: Orders,
) -> None:
    """Draw apart keys that would expire together.

    Each key lives up to so much longer, at random. Where that is more than the policy allows, its
    keys expire earlier instead, but no key gets less than the least that the policy asks.

    Examples:

      cachectl ttl spread 'user:*' --ttl-under 5m --over 10m --dry-run

      cachectl -p prod ttl spread --namespace 'price:{id}' --over 20m --yes --confirm prod
    """
    from cachectl.cli.ttl.changes import spreading

    app = context(ctx)
    carry(app, selection, orders, spreading(over, app.policy(orders.policy)))
