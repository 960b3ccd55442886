"""How the commands of `warm` are told which manifest is meant, and what it may read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli.context import App
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.config.manifest import Allowed, Manifest, Network

File = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest: YAML or JSON")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Give a variable of the manifest a value"),
]
AllowPath = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-path",
        metavar="DIR",
        help="Another directory than the manifest's that its files may lie in",
    ),
]
AllowNetwork = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-network",
        metavar="CIDR",
        help="Loopback or link-local addresses that HTTP sources may ask",
    ),
]


def allowed(paths: Sequence[Path] | None, networks: Sequence[str] | None) -> Allowed:
    """Return what the options allow. Raises UsageError."""
    from cachectl.config.manifest import Allowed

    return Allowed(tuple(paths or ()), tuple(_network(text) for text in networks or ()))


def _network(text: str) -> Network:
    import ipaddress

    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(
            f"--allow-network {text}: this is no network", hint="like 127.0.0.1 or 127.0.0.0/8"
        ) from None


def load(app: App, path: Path, given: Sequence[str] | None, allowed: Allowed) -> Manifest:
    """Return the manifest with its variables set. Raises ConfigError, RefusedError, UsageError."""
    from cachectl.config.manifests import load_manifest

    return load_manifest(
        path, variables=_variables(given or ()), environ=app.terminal.environ, allowed=allowed
    )


def _variables(given: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"--set {name or '…'}: write it as NAME=VALUE")
        values[name] = value
    return values
