"""`cachectl ttl`: TTLs as they are against the policy, and when keys expire."""

from __future__ import annotations

from typing import Annotated

import typer

from cachectl.cli import memory_pass, options
from cachectl.cli.context import context
from cachectl.cli.memory import By, Depth, GroupedBy

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
        from cachectl.cli import measuring
        from cachectl.cli.ttl_auditing import audited
        from cachectl.views.ttl_audit import Remedies, audit_report

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
        from cachectl.cli import measuring
        from cachectl.cli.ttl_histogram import distributed
        from cachectl.views.ttl_histogram import histogram_report

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
