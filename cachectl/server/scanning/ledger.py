"""Which keys a scan of a cluster has yielded, and which slots have to be looked at again.

While slots move, a key can be passed by on both nodes: on the old one after it left, on the new one
before it came. So each pass yields only keys of slots that its node served at the start, and what
moved meanwhile is read at the end from where it is then, without what was yielded before.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable

from cachectl.server.topology.slots import SlotMap, slot_of

MAX_REMEMBERED = 8_000_000
"""Keys that are remembered, by 8 bytes of hash each."""


class Ledger:
    """The memory of one scan of a cluster.

    readers: the node id that each slot was read from so far. overflowed: more keys were yielded
    than are remembered, so that keys of moved slots can't be told from those yielded before.
    """

    def __init__(self, slot_map: SlotMap) -> None:
        self.readers: list[str | None] = slot_map.owners
        self.overflowed = False
        self.suspects: set[int] = set()
        self._hashes: dict[str, array[int]] = {}
        self._total = 0

    def sifter(self, node_id: str) -> Callable[[list[bytes]], list[bytes]]:
        """Return a filter that leaves only keys of slots that the node served at the start.

        The slots of other keys become suspects: such keys have no business on this node.
        """
        owned = bytearray(owner == node_id for owner in self.readers)

        def sift(keys: list[bytes]) -> list[bytes]:
            own = [key for key in keys if owned[slot_of(key)]]
            if len(own) < len(keys):
                self.suspects.update(slot for slot in map(slot_of, keys) if not owned[slot])
            return own

        return sift

    def note(self, node: str, keys: Iterable[bytes]) -> None:
        """Remember keys that were yielded as coming from `node`."""
        if self.overflowed:
            return
        hashes = self._hashes.setdefault(node, array("q"))
        before = len(hashes)
        hashes.extend(map(hash, keys))
        self._total += len(hashes) - before
        if self._total > MAX_REMEMBERED:
            self.overflowed = True
            self._hashes.clear()

    def forget(self, node: str) -> None:
        """Forget the keys of a node: its pass starts over."""
        self._total -= len(self._hashes.pop(node, ()))

    def unseen(self, keys: Collection[bytes]) -> list[bytes]:
        """Return the keys that were not yielded yet, in order, each once."""
        wanted = {hash(key) for key in keys}
        seen: set[int] = set()
        for hashes in self._hashes.values():
            seen |= wanted.intersection(hashes)
        return [key for key in dict.fromkeys(keys) if hash(key) not in seen]

    def read_by(self, began_as: str, ended_as: str) -> None:
        """Note who has read the slots of a node: another one, when it failed over meanwhile."""
        if began_as != ended_as:
            self.readers = [ended_as if one == began_as else one for one in self.readers]

    def take_over(self, slots: Iterable[int], now: SlotMap) -> None:
        """Note that slots have been read from the nodes that serve them now."""
        owners = now.owners
        for slot in slots:
            self.readers[slot] = owners[slot]

    def moved(self, now: SlotMap) -> dict[str, set[int]]:
        """Return node id → slots to read from it: served by another reader before, or suspect."""
        moved: dict[str, set[int]] = {}
        for slot, (owner, reader) in enumerate(zip(now.owners, self.readers, strict=True)):
            if owner is not None and (owner != reader or slot in self.suspects):
                moved.setdefault(owner, set()).add(slot)
        return moved
