"""Saved plans: what they say of themselves, and when they are refused."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachectl import __version__
from cachectl.actions.execution.run import Settings
from cachectl.actions.planning.changes import Change
from cachectl.actions.planning.guards import Protection
from cachectl.actions.planning.plan import Meant
from cachectl.actions.planning.registry import change_from_json, change_of, change_to_json
from cachectl.actions.whereabouts import check_same_server, identity_of
from cachectl.errors import DamagedError, RefusedError
from cachectl.server.topology.handle import Server
from cachectl.storage.spool import create_plan, read_plan

SCHEMA = "cachectl.plan-file/1"


def plan_header(
    server: Server,
    change: Change,
    settings: Settings,
    words: Sequence[str],
    valid_for: float,
    tags: Sequence[bytes] = (),
) -> dict[str, Any]:
    """Return what a plan says of itself: for whom it is, what it does, and until when it holds."""
    now = time.time()
    return {
        "schema": SCHEMA,
        "id": f"plan of {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now))}",
        "cachectl": __version__,
        "server": server.target.name,
        "database": server.target.database,
        "nodes": identity_of(server),
        "created_at": now,
        "expires_at": now + valid_for,
        "selection": list(words),
        "tags": [base64.b64encode(tag).decode() for tag in tags],
        "change": change_to_json(change),
        "archives": settings.archives,
    }


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that was read to the end and fits this server."""

    path: Path
    header: Mapping[str, Any]
    total: int

    @property
    def words(self) -> list[str]:
        """What was selected, in words."""
        return list(self.header["selection"])

    @property
    def tags(self) -> list[bytes]:
        """The tag sets to trim."""
        return [base64.b64decode(tag) for tag in self.header.get("tags", ())]

    def change_for(self, run: str) -> Change:
        """Return the change, as that of a run."""
        return change_of(run, change_from_json(self.header["change"]))

    def copy_to(self, path: Path, protection: Protection) -> Meant:
        """Write the plan's keys as a run's plan. Return what they are.

        Raises RefusedError when one of them is protected by now, or by this profile.
        """
        meant = Meant(total=self.total)
        with closing(create_plan(path, self.header)) as spool, closing(read_plan(self.path)) as old:
            for page in old.pages():
                protection.check(page.keys)
                spool.add(page)
                meant.keys += len(page)
                meant.size += sum(page.sizes)
            meant.digest = spool.end()
        return meant


def open_plan(path: Path, server: Server, now: float) -> SavedPlan:
    """Read and check a whole plan. now: Unix seconds.

    Raises DamagedError when a byte of it is not as it was written, RefusedError when it has expired
    or was made for another server, ConfigError when it can't be read.
    """
    plan = read_plan(path)
    plan.verify()
    header = plan.header
    if header.get("schema") != SCHEMA:
        raise DamagedError(f"{path} is no plan that can be applied", target=str(path))
    if now > header["expires_at"]:
        raise RefusedError(
            f"{path} has expired: it was made to be applied until "
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(header['expires_at']))}",
            hint="make a new one; --valid-for says for how long",
            target=str(path),
        )
    check_same_server(server, header)
    total = sum(node.connection.call("DBSIZE") for node in server.primaries)
    return SavedPlan(path, header, total)
