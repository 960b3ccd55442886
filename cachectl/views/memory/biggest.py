"""The report of `memory keys`: the biggest keys by bytes and by elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cachectl.analysis.keyspace.biggest import Biggest, BigKey
from cachectl.analysis.naming.namespaces import TemplateGrouper
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.memory-keys/1"
KEYS = (
    Column("key", Kind.KEY),
    Column("type"),
    Column("bytes", Kind.BYTES),
    Column("elements", Kind.COUNT),
    Column("namespace", Kind.NAMESPACE, drop=2),
    Column("node", drop=1),
)


def memory_keys_report(
    found: Biggest,
    server: ServerFacts,
    *,
    read: int,
    counted: bool,
    sample: Mapping[str, object] | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. read: keys that were looked at; counted: elements were asked for."""
    group = TemplateGrouper().group

    def rows(keys: Sequence[BigKey]) -> list[Sequence[Any]]:
        return [
            (key.key, key.type, key.bytes, key.elements, group(key.key), key.node) for key in keys
        ]

    blocks: list[Block] = [
        Pairs(
            [
                (Column("keys_read", Kind.COUNT, title="keys looked at"), read),
                (Column("sample", Kind.DATA, audience="machines"), sample),
            ]
        ),
        Table(
            "biggest",
            KEYS,
            rows(found.by_bytes),
            title="Biggest keys by bytes",
            empty="No keys.",
        ),
        Table(
            "by_elements",
            KEYS,
            rows(found.by_elements),
            title="Biggest by elements",
            empty="No collections.",
            audience="all" if counted and found.by_elements else "machines",
        ),
        Table(
            "by_namespace",
            (KEYS[4], *KEYS[:4], KEYS[5]),
            [
                (name, key.key, key.type, key.bytes, key.elements, key.node)
                for name, keys in found.namespaces.items()
                for key in keys
            ],
            title="Biggest of each namespace",
            audience="all" if found.namespaces else "machines",
        ),
    ]
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="by_namespace" if found.namespaces else "biggest",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=notes,
    )
