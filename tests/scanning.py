"""Running scans in tests: what was yielded, with the keys of restarted nodes dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from servers import TestServer
from targets import target_of

from cachectl.config.target import Target
from cachectl.model.keys import KeyRecord, Page
from cachectl.server.scanning.scan import Restarted, Scan, ScanOutcome, ScanRequest
from cachectl.server.topology.connect import open_server


@dataclass(slots=True)
class Seen:
    """keys: in the order of arrival, repetitions included; restarts: as they came."""

    outcome: ScanOutcome
    records: list[KeyRecord] = field(default_factory=list)
    restarts: list[Restarted] = field(default_factory=list)

    @property
    def keys(self) -> list[bytes]:
        return [record.key for record in self.records]

    @property
    def by_key(self) -> dict[bytes, KeyRecord]:
        return {record.key: record for record in self.records}


def scan(
    target: Target | TestServer,
    request: ScanRequest | None = None,
    *,
    on_page: Callable[[int], None] | None = None,
    stop_after: int | None = None,
    **request_fields: Any,
) -> Seen:
    """Scan to the end, or for so many pages. on_page: called with 1, 2, … after each page."""
    resolved = target if isinstance(target, Target) else target_of(target)
    with open_server(resolved) as server:
        running = Scan(server, request or ScanRequest(**request_fields))
        seen = Seen(running.outcome)
        pages = 0
        with running:
            for item in running:
                if isinstance(item, Page):
                    seen.records += item.records()
                    pages += 1
                    if on_page is not None:
                        on_page(pages)
                    if pages == stop_after:
                        break
                else:
                    seen.restarts.append(item)
                    seen.records = [one for one in seen.records if one.node != item.node]
        return seen
