"""Pages of keys that were named one by one, instead of found by a scan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.asking import columns_for
from cachectl.server.scanning.columns import Columns, Field, Tally
from cachectl.server.scanning.fetch import fetch
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node

_AT_ONCE = 500


class NamedKeys:
    """Asks for the columns of named keys. tally: keys that were gone or unreadable, our lookups.

    Without any column to ask for, TYPE is asked all the same: it tells whether a key is there.
    """

    def __init__(self, server: Server, fields: Collection[Field], pace: Pace) -> None:
        self.tally = Tally()
        self._server = server
        self._fields = frozenset(fields) | {Field.TYPE}
        self._pace = pace
        self._columns: dict[str, Columns] = {}
        self._lanes = Lanes(server)

    @property
    def unavailable(self) -> list[Unavailable]:
        """Columns that could not be had."""
        return [gap for columns in self._columns.values() for gap in columns.unavailable]

    def pages(self, keys: Iterable[bytes]) -> Iterator[Page]:
        """Yield the keys that exist. Raises ConnectionLostError, NotNowError, TooSlowError."""
        with self._lanes:
            for some in _in_pages(keys):
                by_node: dict[str, tuple[Node, list[bytes]]] = {}
                for key in some:
                    node = self._server.node_of(key)
                    by_node.setdefault(node.name, (node, []))[1].append(key)
                for node, names in by_node.values():
                    columns = self._columns_of(node)
                    lane = self._lanes.lane(node)
                    for page, _ in fetch(lane, columns, names, self._pace):
                        yield page

    def _columns_of(self, node: Node) -> Columns:
        if node.name not in self._columns:
            request = ScanRequest(fields=self._fields)
            self._columns[node.name] = columns_for(
                node, self._lanes.lane(node), request, self.tally
            )
        return self._columns[node.name]


def _in_pages(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield keys in pages, a key that is repeated within one only once."""
    page: dict[bytes, None] = {}
    for key in keys:
        page[key] = None
        if len(page) >= _AT_ONCE:
            yield list(page)
            page = {}
    if page:
        yield list(page)
