"""`cachectl policy`: the rules, what is wrong with them, which one a key falls under, the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cachectl.cli import completing, options, selectors
from cachectl.cli.context import context
from cachectl.cli.memory import memory_pass
from cachectl.errors import UsageError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)

File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The same as --policy", show_default=False)
]
FromScan = Annotated[
    bool, typer.Option("--from-scan", help="Look at the keys of the server as well")
]
FromSnapshot = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="The same from a snapshot that `scan --save` wrote",
        show_default=False,
    ),
]


@app.command()
def show(
    ctx: typer.Context,
    file: File = None,
    policy: options.PolicyFile = None,
    output: options.Output = None,
) -> None:
    """Show the rules in the order in which they are asked, and the tiers.

    Examples:

      cachectl policy show policy.yaml

      cachectl -p prod policy show -o json | jq -r '.rules[].name'
    """
    from cachectl.views.audits.rules import show_report

    app = context(ctx)
    app.finish(show_report(app.needed_policy(_one(file, policy))), output)


@app.command()
def lint(
    ctx: typer.Context,
    file: File = None,
    policy: options.PolicyFile = None,
    from_scan: FromScan = False,
    snapshot: FromSnapshot = None,
    fail_on: options.Fail = options.FailOn.WARNING,
    output: options.Output = None,
) -> None:
    """Find rules that never apply, contradict themselves or each other, or match no key.

    A file that is not valid at all is an error (exit code 2). With --from-scan or --from, keys
    are counted under each rule: rules that match none are named.

    Examples:

      cachectl policy lint policy.yaml

      cachectl -p prod policy lint --from-scan -o json

      cachectl policy lint policy.yaml --from monday.ndjson.gz
    """
    from cachectl.cli.policy.keys import linted
    from cachectl.views.audits.rules import lint_report

    app = context(ctx)
    rules = app.needed_policy(_one(file, policy))
    found = linted(app, rules, from_scan=from_scan, snapshot=snapshot)
    app.finish(lint_report(rules, found), output, fail_on)


@app.command("test")
def which_rule(
    ctx: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Names of keys")],
    policy: options.PolicyFile = None,
    escaped: options.Escaped = False,
    b64: options.B64 = False,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Say which rule each key falls under, why, and what the rule asks.

    Nobody is asked whether the keys exist. A key without a rule, or with a name that its rule does
    not allow, is a finding of severity warning.

    Examples:

      cachectl policy test user:42:profile --policy policy.yaml

      cachectl -p prod policy test 'cart:{7}:items' session:9 --fail-on warning -o json
    """
    from cachectl.analysis.audits.policy_lint import explain
    from cachectl.views.audits.rules import tested_report

    app = context(ctx)
    rules = app.needed_policy(policy)
    names = [selectors.name_of(key, escaped=escaped, b64=b64) for key in keys]
    app.finish(tested_report(rules, [explain(rules, name) for name in names]), output, fail_on)


@app.command()
def audit(
    ctx: typer.Context,
    pattern: Annotated[
        str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
    ] = None,
    policy: options.PolicyFile = None,
    sample: memory_pass.SampleSize = None,
    values: Annotated[
        int | None,
        typer.Option(
            "--values",
            min=0,
            max=10_000,
            metavar="N",
            help="Values of each rule to read, 0 for none [default: 200 if that leaves no trace]",
            show_default=False,
        ),
    ] = None,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Compare keys with the policy: types, sizes, elements, names, shares of memory, values.

    Every key, or a sample with 95 % intervals; and keys that no rule names. Values are judged
    from some of each rule, drawn at random, without touching idle times where the server has
    CLIENT NO-TOUCH (elsewhere only with --values). TTLs are for `cachectl ttl audit`.

    Examples:

      cachectl -p prod policy audit

      cachectl policy audit --policy policy.yaml --fail-on warning

      cachectl policy audit 'cart:*' --sample 20000 --values 0

      cachectl policy audit -o json | jq '.violations[] | select(.kind == "poisoned")'
    """
    app = context(ctx)
    rules = app.needed_policy(policy)
    with app.server() as server:
        from cachectl.cli.policy.auditing import audited
        from cachectl.cli.stats import measuring
        from cachectl.views.audits.policy_audit import Remedies, policy_audit_report

        work = memory_pass.Work(app, server, pace, rate, sample, sample is None, pattern)
        done = audited(work, rules, values)
        remedies = Remedies(app.words, str(policy) if policy else None)
        report = policy_audit_report(done, server.facts, remedies, limit=limit)
        measuring.finish(app, report, done.interruption, output, fail_on)


@app.command()
def init(
    ctx: typer.Context,
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            metavar="NAME",
            help="An example that ships [default: layers]",
            autocompletion=completing.policies,
            show_default=False,
        ),
    ] = None,
    from_scan: FromScan = False,
    snapshot: FromSnapshot = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=500, help="At most this many rules")
    ] = 40,
) -> None:
    """Print a first policy, with comments, to be mended and kept beside the application's code.

    From what is in the cache (--from-scan, or a snapshot with --from), or an example: layers (the
    three layers of a cache), django, sessions, rate-limiter, trading (what the demo is held to).

    Examples:

      cachectl -p prod policy init --from-scan > policy.yaml

      cachectl policy init --from monday.ndjson.gz > policy.yaml

      cachectl policy init --example django > policy.yaml
    """
    from cachectl.config.policy_template import example_names, example_text

    app = context(ctx)
    if sum((example is not None, from_scan, snapshot is not None)) > 1:
        raise UsageError("--example, --from-scan and --from exclude each other")
    if from_scan or snapshot is not None:
        from cachectl.cli.policy.keys import observed_policy

        app.terminal.write(observed_policy(app, snapshot, limit))
        app.terminal.say("next: mend it, then run `cachectl policy lint FILE`")
        return
    name = example or "layers"
    if name not in example_names():
        known = ", ".join(example_names())
        raise UsageError(f"there is no example called {name}", hint=f"there are {known}")
    app.terminal.write(example_text(name))


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a policy file, for editors that check YAML while you type.

    Examples:

      cachectl policy schema > policy.schema.json
    """
    import json

    from cachectl.config.policies import policy_schema

    context(ctx).terminal.write(json.dumps(policy_schema(), indent=2) + "\n")


def _one(file: Path | None, policy: Path | None) -> Path | None:
    if file is not None and policy is not None:
        raise UsageError("FILE and --policy are the same: give one of them")
    return file or policy
