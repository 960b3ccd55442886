"""How a change of keys goes: the options of `invalidate` and `ttl set`, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cachectl.cli import options
from cachectl.cli.sharing import sharing


class KeyFormat(StrEnum):
    """How a list of keys is written."""

    LINES = "lines"
    NUL = "nul"
    NDJSON = "ndjson"


NoArchive = Annotated[
    bool, typer.Option("--no-archive", help="Keep no copies: what is removed stays removed")
]
MaxKeys = Annotated[
    int | None,
    typer.Option("--max-keys", min=0, help="Refuse to change more keys [default: the profile's]"),
]
MaxPercent = Annotated[
    float | None,
    typer.Option(
        "--max-percent",
        min=0,
        max=100,
        help="Refuse to change a larger share of all keys [default: the profile's]",
    ),
]
Syslog = Annotated[bool, typer.Option("--syslog", help="Write the audit line to syslog as well")]
AuditStream = Annotated[
    str | None,
    typer.Option("--audit-stream", metavar="KEY", help="Add the audit line to a stream, too"),
]


@dataclass(frozen=True, slots=True)
class Orders:
    """Which keys are named besides a selection, and how the change is to go: as the options say."""

    key: Sequence[str]
    keys_from: Path | None
    keys_format: KeyFormat
    tag: Sequence[str]
    everything: bool
    dry_run: bool
    plan: Path | None
    valid_for: str
    max_keys: int | None
    max_percent: float | None
    yes: bool
    confirm: str | None
    pace: options.PaceOption | None
    rate: int | None
    policy: Path | None
    syslog: bool
    audit_stream: str | None
    output: options.OutputFormat | None

    @property
    def names_keys(self) -> bool:
        """Whether keys are named one by one, or by a tag set."""
        return bool(self.key or self.keys_from or self.tag)


def orders(
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="This key; can be repeated")
    ] = None,
    keys_from: Annotated[
        Path | None,
        typer.Option("--keys-from", metavar="FILE", help="The keys in a file, - for stdin"),
    ] = None,
    keys_format: Annotated[
        KeyFormat, typer.Option("--keys-format", help="How the file lists them")
    ] = KeyFormat.LINES,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="SET", help="The keys in a tag set; can be repeated"),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every key; still bounded by --max-percent")
    ] = False,
    dry_run: options.DryRun = False,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Save the dry run, for `invalidate apply`"),
    ] = None,
    valid_for: Annotated[
        str, typer.Option(metavar="DURATION", help="With --plan: how long it may be applied")
    ] = "1d",
    max_keys: MaxKeys = None,
    max_percent: MaxPercent = None,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    policy: options.PolicyFile = None,
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> Orders:
    """Return what these words mean."""
    return Orders(
        key=key or (),
        keys_from=keys_from,
        keys_format=keys_format,
        tag=tag or (),
        everything=everything,
        dry_run=dry_run,
        plan=plan,
        valid_for=valid_for,
        max_keys=max_keys,
        max_percent=max_percent,
        yes=yes,
        confirm=confirm,
        pace=pace,
        rate=rate,
        policy=policy,
        syslog=syslog,
        audit_stream=audit_stream,
        output=output,
    )


ordering = sharing("orders", orders)
"""Puts these options in the place of a command's parameter `orders`."""
