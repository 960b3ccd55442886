"""From a policy file to a Policy: what its fields mean together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachectl.config.policy_model import (
    PolicyFile,
    RuleSection,
    TtlSection,
    ValueSection,
    policy_schema,
)
from cachectl.config.problems import Problem, nearest, reject, validate
from cachectl.config.yamlfile import NodePath, YamlDocument, load_bytes, load_file
from cachectl.errors import ConfigError
from cachectl.policy import (
    TIERS,
    NamingRule,
    Policy,
    Rule,
    Tier,
    TtlRule,
    ValueRule,
    allowed_bytes,
)

__all__ = ["load_policy", "policy_of", "policy_schema"]

_STRUCTURED = ("json", "messagepack")


def load_policy(path: Path) -> Policy:
    """Return what the policy file at `path` means. Raises ConfigError with all of its problems."""
    return _Reader(load_file(path), path).policy()


def policy_of(content: bytes, name: str) -> Policy:
    """Return what a policy in memory means. name: what messages call it. Raises ConfigError."""
    return _Reader(load_bytes(content, name), None).policy(name)


@dataclass(slots=True)
class _Reader:
    """One policy's document (for positions) and its path (for the files that it names)."""

    document: YamlDocument
    path: Path | None
    problems: list[Problem] = field(default_factory=list)

    def policy(self, name: str = "") -> Policy:
        """Return the policy. Raises ConfigError."""
        written = validate(PolicyFile, self.document)
        tiers = self._tiers(written)
        rules = tuple(self._rule(n, rule, tiers) for n, rule in enumerate(written.rules))
        self.problems += _named_twice(written.rules)
        if self.problems:
            raise reject(self.document, self.problems)
        return Policy(
            name=written.name or name or (self.path.stem if self.path else ""),
            rules=rules,
            tiers=tuple(tiers.values()),
            thresholds={
                name: (ranges.warn, ranges.critical)
                for name, ranges in (written.thresholds or {}).items()
            },
            description=written.description or "",
            source=self.path,
        )

    def _tiers(self, written: PolicyFile) -> dict[str, Tier]:
        tiers = {tier.name: tier for tier in TIERS}
        for name, section in (written.tiers or {}).items():
            if section.min > section.max:
                self._problem(("tiers", name, "max"), "is less than `min`")
            tiers[name] = Tier(name, section.min, section.max)
        return tiers

    def _rule(self, number: int, rule: RuleSection, tiers: Mapping[str, Tier]) -> Rule:
        place: NodePath = ("rules", number)
        naming = rule.naming
        return Rule(
            name=rule.name,
            match=tuple(pattern.encode() for pattern in rule.match),
            layer=rule.layer,
            ttl=self._ttl((*place, "ttl"), rule.ttl, tiers),
            types=tuple(name.lower() for name in rule.types or ()),
            max_bytes=rule.max_bytes,
            max_elements=rule.max_elements,
            value=self._value((*place, "value"), rule.value),
            owner=rule.owner,
            protected=rule.protected is True,
            max_memory_share=rule.max_memory_share,
            naming=None
            if naming is None
            else NamingRule(
                max_length=naming.max_length,
                characters=allowed_bytes(naming.characters) if naming.characters else None,
                written=naming.characters or "",
                hash_tag=naming.hash_tag or "optional",
            ),
            description=rule.description or "",
            line=self.document.position(place).line,
        )

    def _ttl(self, place: NodePath, ttl: TtlSection | None, tiers: Mapping[str, Tier]) -> TtlRule:
        if ttl is None:
            return TtlRule()
        self.problems += _ttl_conflicts(place, ttl, tiers)
        tier = tiers.get(ttl.tier) if ttl.tier else None
        return TtlRule(
            presence=ttl.presence or "required",
            least=tier.least if tier else ttl.min,
            most=tier.most if tier else ttl.max,
            tier=ttl.tier,
            jitter=ttl.jitter,
            expiry=ttl.expiry,
        )

    def _value(self, place: NodePath, value: ValueSection | None) -> ValueRule | None:
        if value is None:
            return None
        schema: Mapping[str, Any] | None = value.json_schema
        for name, given in (("schema", schema), ("schema_file", value.schema_file)):
            if given is not None and value.format not in _STRUCTURED:
                self._problem((*place, name), f"needs `format` {' or '.join(_STRUCTURED)}")
        if value.schema_file is not None:
            if schema is not None:
                self._problem((*place, "schema_file"), "says again what `schema` says")
            schema = self._schema_of(place, value.schema_file)
        return ValueRule(value.format, schema)

    def _schema_of(self, place: NodePath, name: str) -> Mapping[str, Any] | None:
        if self.path is None:
            self._problem((*place, "schema_file"), "needs a policy that is a file")
            return None
        path = self.path.absolute().parent / os.path.expanduser(name)
        try:
            # JSON is YAML, and read as strictly.
            data = load_file(path).data
        except ConfigError as error:
            self._problem((*place, "schema_file"), f"cannot be read: {error.message}")
            return None
        if not isinstance(data, dict):
            self._problem((*place, "schema_file"), f"names a file that is no JSON Schema: {path}")
            return None
        return data

    def _problem(self, place: NodePath, what: str, hint: str | None = None) -> None:
        self.problems.append(Problem(place, what, hint))


def _ttl_conflicts(
    place: NodePath, ttl: TtlSection, tiers: Mapping[str, Tier]
) -> Iterator[Problem]:
    if ttl.tier is not None and ttl.tier not in tiers:
        close = nearest(ttl.tier, tiers)
        guess = f"; did you mean {close}?" if close else ""
        yield Problem((*place, "tier"), f"names no tier{guess}", f"there are {', '.join(tiers)}")
    for name in ("min", "max"):
        if ttl.tier is not None and getattr(ttl, name) is not None:
            yield Problem((*place, name), "says again what `tier` says")
    if ttl.min is not None and ttl.max is not None and ttl.min > ttl.max:
        yield Problem((*place, "max"), "is less than `min`")
    if ttl.presence == "forbidden":
        for name in ("tier", "min", "max", "jitter", "expiry"):
            if getattr(ttl, name) is not None:
                yield Problem((*place, name), "cannot be, where a TTL is forbidden")


def _named_twice(rules: list[RuleSection]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules):
        if rule.name in seen:
            yield Problem(("rules", number, "name"), f"is the name of rule {seen[rule.name]} too")
        seen.setdefault(rule.name, number + 1)
