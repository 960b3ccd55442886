"""How long the keys of a manifest are to live: TTLs of entries and policies, spread by jitter.

What was loaded together must not expire together, so each key takes its place within the range
that its entry allows. The place follows from the key's name: a run that is resumed, or done
again, chooses the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from cachectl.actions.planning.ranges import UNLIMITED, Range, range_of, shorter
from cachectl.config.manifest import Entry, Manifest
from cachectl.errors import ConfigError
from cachectl.model.changes import NEVER
from cachectl.policy import TIERS, Policy
from cachectl.sources.rendered import Rendered


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Knows the TTLs of one entry's keys.

    fixed: the range of all its keys, where that does not depend on the key.
    """

    entry: Entry
    policy: Policy | None
    fixed: Range | None

    @classmethod
    def of(cls, entry: Entry, policy: Policy | None) -> Lifetimes:
        """Return them. Raises ConfigError when nothing says what the TTL is."""
        ttl = entry.ttl
        if ttl.kind == "policy" and policy is None:
            raise ConfigError(
                f"{entry.place}: nothing says how long the keys of entry {entry.name} live",
                hint="give `ttl` (`never` is one), or a policy: --policy, or in the profile",
                target=str(entry.place.file),
            )
        return cls(entry, policy, _fixed(entry, policy))

    def ranges(self, rendered: Rendered, now: int) -> list[Range | str]:
        """Return each key's range, or a sentence that says why it has none.

        now: Unix milliseconds, which absolute times count from.
        """
        if self.fixed is not None:
            return [self.fixed] * len(rendered)
        ttl = self.entry.ttl
        if ttl.kind == "at":
            left = round(ttl.at * 1000) - now
            if left <= 0:
                return ["expired before it could be written"] * len(rendered)
            return [(shorter(left, ttl.jitter), left)] * len(rendered)
        if ttl.kind in ("column", "kept") and rendered.ttls is not None:
            return [UNLIMITED if ms < 0 else (shorter(ms, ttl.jitter), ms) for ms in rendered.ttls]
        return self._by_policy(rendered.keys)

    def expiries(self, rendered: Rendered, now: int) -> list[int | str]:
        """Return when each key is to expire (Unix milliseconds, NEVER), or why it can't be said."""
        if self.fixed == UNLIMITED:
            return [NEVER] * len(rendered)
        if self.fixed is not None:
            low, high = self.fixed
            base, span = now + low, high - low + 1
            return [base + (one * span >> 32) for one in map(crc32, rendered.keys)]
        return [
            one if isinstance(one, str) else NEVER if one == UNLIMITED else now + place(key, one)
            for key, one in zip(rendered.keys, self.ranges(rendered, now), strict=True)
        ]

    def _by_policy(self, keys: Sequence[bytes]) -> list[Range | str]:
        policy = self.policy
        assert policy is not None  # noqa: S101 - `of` has refused an entry without one
        ranges = [range_of(rule.ttl) for rule in policy.rules]
        nobody = "has no TTL: neither its entry nor a rule of the policy says one"
        return [nobody if n < 0 else ranges[n] or nobody for n in policy.rule_numbers(keys)]


def place(key: bytes, among: Range) -> int:
    """Return the TTL in milliseconds that a key takes within a range: always the same one."""
    low, high = among
    return low + (crc32(key) * (high - low + 1) >> 32)


def lifetimes_of(manifest: Manifest, policy: Policy | None) -> dict[str, Lifetimes]:
    """Return entry name → its lifetimes. Raises ConfigError."""
    return {entry.name: Lifetimes.of(entry, policy) for entry in manifest.entries}


def _fixed(entry: Entry, policy: Policy | None) -> Range | None:
    ttl = entry.ttl
    match ttl.kind:
        case "never":
            return UNLIMITED
        case "range":
            return shorter(round(ttl.low * 1000), ttl.jitter), round(ttl.high * 1000)
        case "tier":
            tiers = policy.tiers if policy else TIERS
            tier = next((one for one in tiers if one.name == ttl.tier), None)
            if tier is None:
                known = ", ".join(one.name for one in tiers)
                raise ConfigError(
                    f"{entry.place}: there is no tier {ttl.tier!r}",
                    hint=f"the tiers are: {known}",
                    target=str(entry.place.file),
                )
            return round(tier.least * 1000), round(tier.most * 1000)
        case _:
            return None
