"""`cachectl demo`: an embedded server with a realistic cache in it, to try everything on."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.config.target import Target
    from cachectl.demo.dataset import Dataset
    from cachectl.demo.embedded import EmbeddedServer
    from cachectl.server.wire.connection import NodeConnection

app = typer.Typer(rich_markup_mode=None)

NEXT = (
    ("doctor", "what to mend first"),
    ("ttl audit", "TTLs against its policy"),
    ("keys show positions:all", "the giant hash"),
    ("memory advise", "what would save memory"),
    ("invalidate 'research:*' --dry-run", "what would be removed"),
)
"""What to try next: words after `cachectl -p PROFILE`, and why."""


@app.command()
def demo(
    ctx: typer.Context,
    keys: Annotated[
        int | None,
        typer.Option(
            "--keys",
            min=1_000,
            max=2_000_000,
            help="Size of the cache [default: 100,000]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other values")] = 1,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65_535,
            help="Port on 127.0.0.1 [default: a free one]",
            show_default=False,
        ),
    ] = None,
    traffic: Annotated[
        bool, typer.Option("--traffic/--no-traffic", help="Use the cache in the background")
    ] = True,
    once: Annotated[
        bool, typer.Option("--once", help="Do all of it and end, instead of staying")
    ] = False,
    output: options.Output = None,
) -> None:
    """Start a server with a realistic cache in it, and try everything on that.

    A trading platform's cache of three layers (sessions; market data, results and API responses;
    reference data), with faults in it for the other commands to find, and with traffic. The server
    listens on this machine alone, and keeps nothing: Ctrl-C ends it and leaves no trace.

    While it runs, the profile `demo` is it, in every terminal of yours.

    Examples:

      cachectl demo

      cachectl -p demo scan                  (in another terminal)

      cachectl demo --keys 1000000 --port 7777

      cachectl demo --once -o json | jq '.namespaces[].namespace'
    """
    from cachectl.demo import builds
    from cachectl.demo.dataset import DEFAULT_KEYS, max_memory
    from cachectl.demo.embedded import EmbeddedServer

    app = context(ctx)
    _refuse_a_named_server(app)
    build = builds.find()
    if build.shortcoming:
        app.terminal.warn(build.shortcoming)
    size = keys or build.default_keys or DEFAULT_KEYS
    with EmbeddedServer(build, port=port, max_memory=max_memory(size)) as server:
        stay = "" if once else "; Ctrl-C ends it"
        app.terminal.say(f"{build.name} listens on {server.address}{stay}")
        dataset = _fill(app, server, size, seed)
        name = _publish(app, server)
        target = _target(server, name)
        app.use(target)
        with _traffic(target, dataset) if traffic else contextlib.nullcontext():
            _show_scan(ctx, output, once)
            _say_next(app, name)
            if not once:
                _stay(server)


def _refuse_a_named_server(app: App) -> None:
    """What the environment names is left alone; an option can only be a misunderstanding."""
    from_environment = app.terminal.environ.get("CACHECTL_PROFILE")
    if app.url or (app.profile and app.profile != from_environment):
        raise UsageError("demo starts a server of its own", hint="leave out --profile and --url")


def _target(server: EmbeddedServer, name: str) -> Target:
    from cachectl.config.target import Target

    return Target(name=name, addresses=(server.address,), timeout=30.0)


def _fill(app: App, server: EmbeddedServer, size: int, seed: int) -> Dataset:
    """Load the cache, and say how large it is and what is wrong in it."""
    from cachectl.demo.dataset import Dataset
    from cachectl.demo.loading import load
    from cachectl.server.wire.connection import connect

    began = time.monotonic()
    target = _target(server, "demo")
    with app.progress("loading") as progress, connect(target, server.address) as connection:
        _forget_at_end(server, connection)
        dataset = Dataset(size, seed, int(connection.call("TIME")[0]))
        load(
            connection,
            dataset.entries(),
            ages=server.build.ages,
            on_loaded=lambda loaded: progress.update(loaded, size),
        )
    app.terminal.say(f"{size:,} keys in {time.monotonic() - began:.1f} s; planted among them:")
    for fault in dataset.planted:
        keys = f"{fault.keys:,} key{'' if fault.keys == 1 else 's'}"
        app.terminal.say(f"  {fault.name:14} {keys:>11}  {fault.namespace}")
    return dataset


def _forget_at_end(server: EmbeddedServer, connection: NodeConnection) -> None:
    """What cachectl notes down about this server is of no use when it has gone."""
    from cachectl.server.wire.info import parse_info
    from cachectl.server.wire.resp import ReplyError
    from cachectl.storage.lookups import files_of

    with contextlib.suppress(ReplyError):  # the stand-in has no INFO, nor what is noted by it
        run_id = parse_info(connection.call("INFO", "server")).get("run_id")
        if run_id:
            server.remove_at_end(files_of(run_id))


def _publish(app: App, server: EmbeddedServer) -> str:
    """Register the profile under the first name that is free; return the name."""
    from cachectl.config.locate import find_profiles, runtime_profiles_dir
    from cachectl.config.policy_template import example_path
    from cachectl.demo import profile

    environ = app.terminal.environ
    # A profile of the user's own with this name would be found in place of ours.
    own = {found.name for found in find_profiles(environ) if found.place == "user"}
    return server.publish(
        runtime_profiles_dir(environ, create=True),
        [name for name in profile.NAMES if name not in own],
        profile.text(server.address, server.build.name, example_path("trading")),
    )


def _traffic(target: Target, dataset: Dataset) -> contextlib.AbstractContextManager[object]:
    from cachectl.demo.traffic import Traffic

    return Traffic(target, dataset)


def _show_scan(ctx: typer.Context, output: options.OutputFormat | None, once: bool) -> None:
    from cachectl.cli.scan.command import scan

    try:
        scan(ctx, output=output)
    except typer.Exit:
        # A scan that has gaps is a reason to stay and look.
        if once:
            raise


def _say_next(app: App, name: str) -> None:
    say = app.terminal.say
    say("")
    say("Try next, in another terminal:")
    lines = [(words.format(profile=name), why) for words, why in NEXT]
    width = max(len(words) for words, _ in lines)
    for words, why in lines:
        say(f"  cachectl -p {name} {words:{width}}  {why}")


def _stay(server: EmbeddedServer) -> None:
    """Stay until Ctrl-C, which is how a demo ends and no failure."""
    try:
        server.wait()
    except KeyboardInterrupt as interruption:
        # SIGTERM and SIGHUP come as a subclass, and have an exit code of their own.
        if type(interruption) is not KeyboardInterrupt:
            raise
