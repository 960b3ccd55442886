"""The audit log: one JSON line for every run that changes a server, appended, never rewritten."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cachectl.storage.files import append_private, make_durable, private_directory, state_directory


def audit_line(event: str, facts: Mapping[str, Any], now: str) -> str:
    """Return one line: when, who, on which machine, what.

    facts: JSON-able; must hold no secret. now: the time as ISO 8601.
    """
    who = {"at": now, "event": event, "user": _user(), "machine": socket.gethostname()}
    return json.dumps(who | dict(facts), ensure_ascii=True)


def append_audit(line: str, base: Path | None = None) -> Path:
    """Append a line to the local log, durable. Return its path. Raises StorageError."""
    directory = private_directory(base or state_directory())
    path = directory / "audit.log"
    with append_private(path) as file:
        file.write(line.encode() + b"\n")
        make_durable(file)
    return path


def send_to_syslog(line: str) -> None:
    """Send a line to the machine's syslog, facility user."""
    import syslog

    syslog.syslog(syslog.LOG_NOTICE | syslog.LOG_USER, f"cachectl: {line}")


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
