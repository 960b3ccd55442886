"""The layers of a cache (session, application, shared) as groups of keys, by a policy's rules."""

from __future__ import annotations

from collections.abc import Iterable

from cachectl.analysis.naming.namespaces import NamedIndex
from cachectl.model.keys import Page
from cachectl.policy import NO_RULE, Policy

NO_LAYER = b"(no layer)"
UNRULED = b"(no rule)"


class LayerGrouper:
    """Groups keys by the layer of the rule that they fall under."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._names = {
            NO_RULE: UNRULED,
            **{
                number: rule.layer.encode() if rule.layer else NO_LAYER
                for number, rule in enumerate(policy.rules)
            },
        }

    def group(self, key: bytes) -> bytes:
        """Return the layer of one key."""
        return self._names[self._policy.rule_numbers([key])[0]]

    def index(self) -> NamedIndex:
        """Return an index over layers, which judges keys by the page."""
        return NamedIndex(self._groups, lambda name: (name,))

    def _groups(self, page: Page) -> Iterable[bytes]:
        return map(self._names.__getitem__, self._policy.rule_numbers(page.keys))


def names_layers(policy: Policy) -> bool:
    """Whether any rule of a policy says which layer it is about."""
    return any(rule.layer for rule in policy.rules)
