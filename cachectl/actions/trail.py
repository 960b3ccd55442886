"""The audit trail: one line for every run, in the local log, and where else it was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cachectl.errors import CachectlError
from cachectl.server.topology.handle import Server
from cachectl.server.wire.connection import ReplyError
from cachectl.storage.audit import append_audit, audit_line, send_to_syslog

_KEPT = ("id", "server", "environment", "database", "selection", "change", "archives", "keys")
_MOST_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Trail:
    """Where audit lines go besides the local log. stream: a stream in the server itself."""

    syslog: bool = False
    stream: str | None = None

    def record(
        self, server: Server, event: str, facts: Mapping[str, Any], outcome: Mapping[str, Any]
    ) -> list[str]:
        """Write one line. Return what went wrong with the places besides the log, in words.

        Raises StorageError when the local log can't be written.
        """
        kept = {name: facts[name] for name in _KEPT if name in facts}
        kept |= {"plan": facts.get("plan_digest", ""), "outcome": dict(outcome)}
        line = audit_line(event, kept, datetime.now(UTC).isoformat(timespec="seconds"))
        append_audit(line)
        problems: list[str] = []
        if self.syslog:
            send_to_syslog(line)
        if self.stream:
            problems += self._to_stream(server, self.stream.encode(), line)
        return problems

    @contextmanager
    def following(self, server: Server, facts: Mapping[str, Any], what: str = "") -> Iterator[None]:
        """Write a line when what is done in the block does not come to its end.

        what: before the event's name, when it is not a run that stops.
        """
        try:
            yield
        except KeyboardInterrupt:
            self.record(server, f"{what} interrupted".strip(), facts, {})
            raise
        except CachectlError as error:
            self.record(server, f"{what} stopped".strip(), facts, {"error": error.message})
            raise

    def _to_stream(self, server: Server, stream: bytes, line: str) -> list[str]:
        try:
            with server.new_connection(server.node_of(stream)) as connection:
                connection.call("XADD", stream, "MAXLEN", "~", _MOST_ENTRIES, "*", "line", line)
        except (CachectlError, ReplyError) as error:
            return [f"the audit line could not be added to the stream {stream!r}: {error}"]
        return []
