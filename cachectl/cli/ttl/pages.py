"""Pages of a pass that have to have TTLs, whatever the login may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachectl.cli.scan.scanning import Accumulator
from cachectl.errors import PermissionDeniedError

if TYPE_CHECKING:
    from cachectl.model.keys import Page


def with_ttls(page: Page) -> Page:
    """Return the page. Raises PermissionDeniedError when the node told no TTLs."""
    if page.ttls is None:
        raise PermissionDeniedError(
            "the TTLs of keys can't be read: this login may not run PTTL",
            hint="ACL SETUSER … +pttl",
            target=page.node,
        )
    return page


class NeedsTtls:
    """Hands pages on to an accumulator that can do nothing without TTLs."""

    def __init__(self, part: Accumulator) -> None:
        self._part = part

    def add(self, page: Page) -> Sequence[int]:
        """Count a page."""
        return self._part.add(with_ttls(page))

    def drop(self, node: str) -> None:
        """Forget a node: it is read again."""
        self._part.drop(node)
