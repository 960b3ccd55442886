"""nagios, prometheus and junit: read back by rules written down from their specifications."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hostile import NAMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports import SERVER, named, sample, shown

from cachectl.model.findings import Finding, Severity, State, Unavailable, Verdict
from cachectl.output.report import Column, Kind, Metric, Report, Table
from cachectl.output.show import Format
from cachectl.output.verdicts import overall

# 'label'=value[UOM];[warn];[crit];[min];[max], a quote in a label doubled.
ITEM = re.compile(r"'((?:[^'=|]|'')+)'=([^ ']*)(?: |$)")
FIELDS = (r"U|-?\d+(?:\.\d+)?(?:s|%|B|c)?", *2 * [r"[0-9.:~@-]*"], *2 * [r"-?\d+(?:\.\d+)?|"])
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)'
)

VERDICTS = [
    Verdict("hit_ratio", State.OK, "93.1 % of 1,000 look-ups", 93.1, "%", "80:", "", 0, 100),
    Verdict("latency", State.WARNING, "p99 0.2 s", 0.2, "s", "0.1", "1"),
    Verdict("backlog:it's a|b=c", State.CRITICAL, "12|3 wait", 1e16, "", "1000", "", 0),
    Verdict("ttl", State.UNKNOWN, "there is no\npolicy"),
]


def report(*verdicts: Verdict) -> Report:
    return Report("cachectl.check/1", server=SERVER, verdicts=verdicts)


def figures(text: str) -> list[tuple[str, ...]]:
    _, bar, performance = text.splitlines()[0].partition(" | ")
    assert bar
    found = [(match[1], *match[2].split(";")) for match in ITEM.finditer(performance)]
    assert ITEM.sub("", performance) == "", performance
    for _, *fields in found:
        assert len(fields) <= len(FIELDS)
        for field, pattern in zip(fields, FIELDS, strict=False):
            assert re.fullmatch(pattern, field), performance
    return found


def test_nagios_says_what_is_wrong_first_and_gives_every_figure() -> None:
    text = shown(report(*VERDICTS), Format.NAGIOS)
    first, *rest = text.splitlines()
    assert first.startswith("CACHE CRITICAL - backlog:it's a\\x7cb=c: 12\\x7c3 wait; latency: p99")
    assert rest[0] == "CRITICAL backlog:it's a\\x7cb=c: 12\\x7c3 wait"
    assert rest[2] == "UNKNOWN ttl: there is no policy"
    assert figures(text) == [
        ("hit_ratio", "93.1%", "80:", "", "0", "100"),
        ("latency", "0.2s", "0.1", "1"),
        ("backlog:it''s a\\x7cb\\x3dc", "10000000000000000", "1000", "", "0"),
    ]


def test_nagios_of_nothing_wrong_tells_the_figures() -> None:
    text = shown(report(VERDICTS[0]), Format.NAGIOS)
    assert text.startswith("CACHE OK - 93.1 % of 1,000 look-ups | 'hit_ratio'=93.1%;80:;;0;100\n")


@given(
    st.lists(
        st.builds(
            Verdict,
            st.text(min_size=1),
            st.sampled_from(State),
            st.text(),
            st.none() | st.floats(-1e15, 1e15),
            st.sampled_from(["", "s", "%", "B"]),
            st.sampled_from(["", "80:", "@10:20", "~:5"]),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nagios_is_one_bar_whatever_is_told(verdicts: list[Verdict]) -> None:
    text = shown(report(*verdicts), Format.NAGIOS)
    assert text.count("|") == any(one.value is not None or one.warn for one in verdicts)
    if "|" in text:
        shown_figures = [one for one in verdicts if one.value is not None or one.warn]
        assert len(figures(text)) == len(shown_figures)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], State.OK),
        ([State.OK, State.UNKNOWN], State.UNKNOWN),
        ([State.UNKNOWN, State.WARNING], State.WARNING),
        ([State.UNKNOWN, State.CRITICAL, State.WARNING], State.CRITICAL),
    ],
)
def test_the_state_of_all(states: list[State], expected: State) -> None:
    assert overall(Verdict("x", state) for state in states) is expected


def test_a_report_without_verdicts_is_judged_by_its_findings() -> None:
    finding = Finding("a.b", Severity.INFO, "so it is")
    assert shown(Report("x/1", findings=[finding]), Format.NAGIOS).startswith("CACHE OK - so it is")
    assert shown(sample(), Format.NAGIOS).startswith("CACHE WARNING - ")
    assert shown(Report("x/1"), Format.NAGIOS) == "CACHE OK - no findings\n"
    assert shown(Report("x/1", partial=True), Format.NAGIOS).startswith("CACHE UNKNOWN - ")


def parsed(text: str) -> dict[str, list[tuple[str, float]]]:
    """Return metric → samples; fail where a reader of the text format would."""
    found: dict[str, list[tuple[str, float]]] = {}
    described: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, _ = line.split(" ", 3)
            assert what not in described.setdefault(name, set()), line
            described[name].add(what)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match[1], match[2] or "", float(match[3])
        assert described[name] == {"HELP", "TYPE"}, line
        assert labels not in [known for known, _ in found.get(name, [])], line
        assert name == list(described)[-1], f"samples of one metric stand together: {line}"
        found.setdefault(name, []).append((labels, value))
    assert text.endswith("\n")
    return found


@pytest.mark.parametrize("report", [named(NAMES), sample()], ids=["names", "sample"])
def test_prometheus_can_be_read_whatever_the_names_are(report: Report) -> None:
    text = shown(report, Format.PROMETHEUS)
    assert text.isascii()
    assert parsed(text)


def test_prometheus_tells_the_figures_of_any_report() -> None:
    found = parsed(shown(sample(), Format.PROMETHEUS))
    assert found["cachectl_sample_keys"] == [("", 1_235_767)]
    assert found["cachectl_sample_namespaces_bytes"][1][1] == 1e6
    assert found["cachectl_check_state"][0] == ('{check="ttl.missing[session:{id}]"}', 1)


def test_prometheus_takes_a_reports_own_metrics_and_merges_what_is_alike() -> None:
    one = Metric("redis_up", "Whether it answers.", [({"node": "a"}, 1), ({"node": "b"}, 0)])
    other = Metric("redis_up", "Whether it answers.", [({"node": "b"}, 1)])
    text = shown(Report("x/1", metrics=[one, other]), Format.PROMETHEUS)
    assert parsed(text) == {"redis_up": [('{node="a"}', 1), ('{node="b"}', 0)]}
    assert "cachectl_check_state" not in text


def test_prometheus_escapes_labels() -> None:
    metric = Metric("m", "h", [({"a": 'x"\\\n\x1b'}, 1.5)])
    text = shown(Report("x/1", metrics=[metric]), Format.PROMETHEUS)
    assert text.splitlines()[2] == r'm{a="x\"\\\\\\x0a\\x1b"} 1.5'


def test_junit_has_a_case_for_each_test_and_says_what_could_not_be_tested() -> None:
    found = report(*VERDICTS)
    found.unavailable = [Unavailable("persistence", "no CONFIG"), Unavailable("ttl", "the same")]
    root = ElementTree.fromstring(shown(found, Format.JUNIT))
    (suite,) = root
    assert suite.attrib | {"tests": "5", "failures": "2", "errors": "1", "skipped": "1"} == (
        suite.attrib
    )
    assert suite.attrib["hostname"] == "cache"
    cases = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert cases == {
        "hit_ratio": [],
        "latency": ["failure"],
        "backlog:it's a|b=c": ["failure"],
        "ttl": ["error"],
        "persistence": ["skipped"],
    }
    assert suite[1][0].attrib == {"type": "WARNING", "message": "p99 0.2 s"}


def test_junit_is_xml_whatever_the_names_are() -> None:
    root = ElementTree.fromstring(shown(named(NAMES), Format.JUNIT))
    assert len(root[0]) == 2 * len(NAMES)


def test_a_table_of_figures_alone_has_no_labels() -> None:
    table = Table("rows", [Column("share", Kind.RATIO), Column("x", Kind.BOOL)], [(0.5, True)])
    found = parsed(shown(Report("cachectl.a-b/1", [table]), Format.PROMETHEUS))
    assert found == {"cachectl_a_b_rows_share_ratio": [("", 0.5)], "cachectl_a_b_rows_x": [("", 1)]}
