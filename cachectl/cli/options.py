"""The options that several commands take: each declared once.

Whom to talk to stands at the root, what to print or do on the leaf.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """The values of --output; output.show.Format is the same list, a test compares them."""

    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"
    YAML = "yaml"
    MARKDOWN = "markdown"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"
    JUNIT = "junit"


class FailOn(StrEnum):
    """From which severity on findings make the exit code 1."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class PaceOption(StrEnum):
    """How hard a long job may work on the server."""

    GENTLE = "gentle"
    NORMAL = "normal"
    FLAT_OUT = "flat-out"


Output = Annotated[
    OutputFormat | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help=f"{', '.join(OutputFormat)} [default: table on a terminal, plain on a pipe]",
        show_default=False,
    ),
]
PluginOutput = Annotated[
    OutputFormat | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help=f"{', '.join(OutputFormat)} [default: table on a terminal, nagios on a pipe]",
        show_default=False,
    ),
]
Pace = Annotated[
    PaceOption | None,
    typer.Option(
        "--pace",
        help="How hard to work on the server [default: gentle on production, else normal]",
        show_default=False,
    ),
]
Rate = Annotated[int | None, typer.Option("--rate", min=1, help="At most this many keys a second")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many rows")]
Escaped = Annotated[
    bool,
    typer.Option("--escaped", help=r"The name is written as cachectl shows it, with \x00 or \\"),
]
B64 = Annotated[bool, typer.Option("--b64", help="The name is written in base64 (key_b64)")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, change nothing")]
Confirm = Annotated[
    str | None,
    typer.Option("--confirm", metavar="NAME", help="The server's name, to confirm on production"),
]
Fail = Annotated[
    FailOn,
    typer.Option("--fail-on", help="Exit with 1 when there are findings of this severity or worse"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Policy file [default: the profile's `policy`]",
        show_default=False,
    ),
]
