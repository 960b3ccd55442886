"""`cachectl warm`: load a cache from a manifest, prove that it is warm, keep it so."""

from __future__ import annotations

from typing import Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import context
from cachectl.cli.warm import manifests, refresh, run, verify

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)
app.command()(run.run)
app.command()(verify.verify)
app.command()(refresh.refresh)


@app.command()
def check(
    ctx: typer.Context,
    manifest: manifests.File,
    set_: manifests.Set = None,
    allow_path: manifests.AllowPath = None,
    allow_network: manifests.AllowNetwork = None,
    services: Annotated[
        bool, typer.Option("--services", help="Read the first rows of databases and services too")
    ] = False,
    fail_on: options.Fail = options.FailOn.CRITICAL,
    output: options.Output = None,
) -> None:
    """Say whether a manifest is valid, and which keys it would write. No server is needed.

    Reads the first rows of files; of databases and HTTP services with --services; of caches never.
    What is wrong is told with file, line and field (exit code 2), what is wrong with rows as
    findings.

    Examples:

      cachectl warm check catalogue.yaml

      cachectl warm check catalogue.yaml --set region=eu --services -o json
    """
    from cachectl.actions.warming.manifest_check import check_manifest
    from cachectl.views.warm.check import check_report

    app = context(ctx)
    allowed = manifests.allowed(allow_path, allow_network)
    loaded = manifests.load(app, manifest, set_, allowed)
    result = check_manifest(
        loaded, allowed=allowed, services=services, environ=app.terminal.environ
    )
    app.finish(check_report(result), output, fail_on)


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a manifest, for editors that check YAML while you type.

    Examples:

      cachectl warm schema > manifest.schema.json
    """
    import json

    from cachectl.config.manifest_model import manifest_schema

    context(ctx).terminal.write(json.dumps(manifest_schema(), indent=2) + "\n")
