"""Reports and terminals for the tests of output."""

from __future__ import annotations

import io
from collections.abc import Sequence

from cachectl.model.figures import Estimate
from cachectl.model.findings import Finding, Severity, Unavailable
from cachectl.model.servers import NodeFacts, ServerFacts
from cachectl.output.report import Column, Histogram, Kind, Pairs, Report, Table, Text
from cachectl.output.show import Format, show
from cachectl.output.terminal import Terminal

NOW = 1_790_000_000.0
FORMATS = list(Format)
OF_STATES = (Format.NAGIOS, Format.JUNIT)
"""Formats that tell what was tested, and no rows."""

COLUMNS = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO, drop=1),
    Column("bar", Kind.BAR, audience="people", drop=4),
    Column("types", Kind.COUNTS, drop=3),
    Column("no_ttl", Kind.COUNT),
    Column("ttl_p50", Kind.TTL, drop=2),
    Column("idle_p50", Kind.SECONDS, drop=2),
    Column("samples", Kind.DATA, audience="machines"),
)

SERVER = ServerFacts(
    name="cache",
    topology="standalone",
    flavour="valkey",
    version="9.1.0",
    nodes=(
        NodeFacts("127.0.0.1:6379", "primary", "r" * 40, "9.1.0", "valkey", keys=3, maxmemory=0),
    ),
)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Bytes(io.TextIOWrapper):
    """A pipe of a certain encoding; `content` is what arrived."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    @property
    def content(self) -> bytes:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


def terminal(
    *, tty: bool = False, columns: int = 80, environ: dict[str, str] | None = None
) -> Terminal:
    """Return a terminal on strings, of fixed time and width."""
    stream = Tty if tty else io.StringIO
    return Terminal(
        stdin=stream(),
        stdout=stream(),
        stderr=stream(),
        environ={"COLUMNS": str(columns), "TERM": "xterm-256color"} | (environ or {}),
        now=lambda: NOW,
    )


def written(stream: object) -> str:
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def shown(report: Report, chosen: Format, columns: int = 80, *, tty: bool = False) -> str:
    """Return what a report looks like on stdout."""
    screen = terminal(columns=columns, tty=tty)
    show(report, chosen, screen)
    return written(screen.stdout)


def named(names: Sequence[bytes]) -> Report:
    """Return a report in which these names stand wherever a name or a server's text can."""
    texts = [name.decode("utf-8", "surrogateescape") for name in names]
    return Report(
        "cachectl.names/1",
        blocks=[
            Pairs([(Column(f"pair_{i}", Kind.TEXT), text) for i, text in enumerate(texts)]),
            Pairs([(Column(f"key_{i}", Kind.KEY), name) for i, name in enumerate(names)]),
            Table(
                "names",
                (
                    Column("key", Kind.KEY),
                    Column("text", Kind.TEXT),
                    Column("types", Kind.COUNTS),
                    Column("data", Kind.DATA),
                    Column("bytes", Kind.BYTES),
                ),
                [(n, t, {t: 1}, {"a": [t]}, 7) for n, t in zip(names, texts, strict=True)],
                title=texts[-1][:40],
            ),
            Histogram("plot", [(text, 1.0) for text in texts], title=texts[-1][:40]),
            *(Text(text, name=f"text_{i}") for i, text in enumerate(texts)),
        ],
        main="names",
        findings=[Finding("area.name", Severity.WARNING, text, text, text, text) for text in texts],
        unavailable=[Unavailable(text, text, text, text) for text in texts],
        notes=texts,
    )


def sample() -> Report:
    """Return a report with one of everything, exact and estimated figures mixed."""
    return Report(
        "cachectl.sample/1",
        blocks=[
            Pairs(
                [
                    (Column("keys", Kind.COUNT), 1_235_767),
                    (Column("address", Kind.TEXT), "cache.example.net:6379"),
                    (Column("memory", Kind.BYTES), None),
                ],
                title="Cache",
            ),
            Table(
                "namespaces",
                COLUMNS,
                [
                    (
                        b"session:{id}:\xff\x1b[31m",
                        1_234_567,
                        123_456_789,
                        0.999,
                        0.999,
                        {"hash": 1_000_000, "string": 234_567},
                        12,
                        300.0,
                        4.5,
                        [1, 2],
                    ),
                    (
                        "user:名前:profile".encode(),
                        Estimate(1200, 1000, 1400),
                        Estimate(1e6, 0.8e6, 1.9e6),
                        0.001,
                        0.001,
                        {"string": 1200},
                        0,
                        None,
                        None,
                        None,
                    ),
                    (b"", 0, 0, 0.0, 0.0, {}, 0, float("nan"), 1e7, []),
                ],
                title="Namespaces",
                total=(b"total", 1_235_767, 124_456_789, 1.0, None, {}, 12, None, None, None),
            ),
            Histogram(
                "ttls",
                [("1 min", 3), ("5 min", 100), ("1 h", 7)],
                title="TTL",
                marks=frozenset({"5 min"}),
            ),
            Text('{\n  "a": 1\n}', title="Value", name="value"),
        ],
        server=SERVER,
        main="namespaces",
        partial=True,
        findings=[
            Finding(
                "ttl.missing",
                Severity.WARNING,
                "keys without a TTL",
                "12 keys, 3.1 KiB",
                "cachectl ttl set 'session:*' --ttl 30m",
                "session:{id}",
            )
        ],
        unavailable=[Unavailable("idle", "the policy is LFU", "CONFIG SET maxmemory-policy …")],
        notes=["own look-ups: 12"],
    )
