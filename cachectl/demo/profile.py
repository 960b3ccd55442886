"""The profile that the demo registers for as long as it runs."""

from __future__ import annotations

import json
from pathlib import Path

from cachectl.config.target import Address

NAMES = ["demo", *(f"demo-{number}" for number in range(2, 10))]


def text(address: Address, server: str, policy: Path) -> str:
    """Return the profile as YAML. server: the flavour and version, for the comment."""
    return (
        f"# The server of a running `cachectl demo` ({server}). It goes when the demo ends.\n"
        "description: the demo's cache of a trading platform\n"
        f"url: redis://{address}\n"
        "environment: development\n"
        f"policy: {json.dumps(str(policy))}\n"
    )
