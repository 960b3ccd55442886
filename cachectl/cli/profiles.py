"""`cachectl profiles`: named connections."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import completing, options
from cachectl.cli.context import App, context

if TYPE_CHECKING:
    from cachectl.config.locate import FoundProfile
    from cachectl.views.profiles import ListedProfile

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)


class EnvironmentOption(StrEnum):
    """How careful to be with a server."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


@app.command("list")
def list_profiles(ctx: typer.Context, output: options.Output = None) -> None:
    """List all profiles, in the order in which they are looked for.

    A profile that is not valid is listed with what is wrong in it.

    Examples:

      cachectl profiles list

      cachectl profiles list -o json | jq -r '.profiles[].name'
    """
    from cachectl.config.locate import find_profiles
    from cachectl.views.profiles import list_report

    app = context(ctx)
    found = find_profiles(app.terminal.environ)
    app.finish(list_report([_listed(app, profile) for profile in found]), output)


def _listed(app: App, found: FoundProfile) -> ListedProfile:
    from cachectl.config.locate import load_found
    from cachectl.errors import CachectlError
    from cachectl.views.profiles import ListedProfile

    target, problem = None, None
    try:
        target = load_found(found, app.terminal.environ, check_files=False)
    except CachectlError as error:
        problem = " ".join(error.message.split())
    path = str(found.path) if found.path else None
    return ListedProfile(found.name, found.place, path, found.hidden, target, problem)


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="A profile [default: the one that --profile or the environment names]",
            show_default=False,
            autocompletion=completing.profiles_or_files,
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Show what a profile means: every value in force, defaults included, secrets left out.

    Reads no secret and connects to nothing; `profiles check` does.

    Examples:

      cachectl profiles show prod

      cachectl --url rediss://cache.example.com profiles show -o json
    """
    from cachectl.config.locate import resolve
    from cachectl.views.profiles import show_report

    app = context(ctx)
    target = resolve(
        profile=name or app.profile,
        url=None if name else app.url,
        timeout=app.timeout,
        environ=app.terminal.environ,
        check_files=False,
    )
    app.finish(show_report(target), output)


@app.command()
def check(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="A profile [default: the one that --profile or the environment names]",
            show_default=False,
            autocompletion=completing.profiles_or_files,
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Connect, and say who answered, how fast, and which features work with this login.

    Changes nothing. For what does not work there is the reason, and the ACL rule that would
    allow it. Exit code 4: nobody answers, or the login is refused.

    Examples:

      cachectl profiles check prod

      cachectl --url redis://cache.example.com profiles check -o json | jq .capabilities
    """
    from cachectl.config.locate import resolve
    from cachectl.server.rights.check import check as check_server
    from cachectl.views.health.profile_check import check_report

    app = context(ctx)
    target = resolve(
        profile=name or app.profile,
        url=None if name else app.url,
        timeout=app.timeout,
        environ=app.terminal.environ,
    )
    with app.progress("waiting for the server to load its data", unit="%") as progress:
        result = check_server(
            target,
            on_loading=lambda percent, _eta: progress.update(percent or 0, 100),
            on_open=app.tidy,
        )
    app.finish(check_report(result), output)


@app.command()
def init(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="How the profile will be called")],
    from_url: Annotated[
        str | None,
        typer.Option("--from-url", help="Where the server is, without the password"),
    ] = None,
    environment: Annotated[
        EnvironmentOption | None,
        typer.Option("--environment", help="How careful to be [default: development]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the profile")] = False,
) -> None:
    """Write a new profile with comments into your own directory, readable by you alone.

    At a terminal it asks for what was not given; elsewhere it asks nothing.

    Examples:

      cachectl profiles init staging --from-url rediss://me@cache.example.com
    """
    from cachectl.config.files import write_private
    from cachectl.config.locate import is_profile_name, user_profiles_dir
    from cachectl.config.template import DEFAULT_URL, profile_text
    from cachectl.config.url_target import target_of_url
    from cachectl.errors import UsageError

    app = context(ctx)
    if not is_profile_name(name):
        raise UsageError(
            "a profile's name has letters, digits, `.`, `_` and `-`, and starts with one of the "
            "first two",
            hint="it is a name, not a file: cachectl profiles init staging",
        )
    url = from_url or _ask(app, "URL of the server", DEFAULT_URL)
    target_of_url(url)
    chosen = environment or EnvironmentOption.DEVELOPMENT
    if environment is None:
        chosen = _ask_environment(app)
    path = user_profiles_dir(app.terminal.environ) / f"{name}.yaml"
    write_private(path, profile_text(url, chosen.value), overwrite=force)
    app.terminal.write(f"{path}\n")
    app.terminal.say(f"next: edit it, then run `cachectl -p {name} profiles check`")


def _ask_environment(app: App) -> EnvironmentOption:
    from cachectl.errors import UsageError

    answer = _ask(app, "Environment (production, staging, development)", "development")
    try:
        return EnvironmentOption(answer)
    except ValueError:
        raise UsageError("the environment is production, staging or development") from None


def _ask(app: App, question: str, default: str) -> str:
    if not app.terminal.can_ask:
        return default
    app.terminal.stderr.write(f"{question} [{default}]: ")
    app.terminal.stderr.flush()
    return app.terminal.stdin.readline().strip() or default


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a profile file, for editors that check YAML while you type.

    Examples:

      cachectl profiles schema > profile.schema.json
    """
    import json

    from cachectl.config.profile_model import profile_schema

    context(ctx).terminal.write(json.dumps(profile_schema(), indent=2) + "\n")
