"""junit: test results for CI servers: one case for each thing that was tested.

Source: the schema that Jenkins' xunit plugin publishes (junit-10.xsd), and what GitLab reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape as escape_xml
from xml.sax.saxutils import quoteattr

from cachectl.model.findings import State, Unavailable, Verdict
from cachectl.output.escape import escape_text
from cachectl.output.formats.collected import show_at_end
from cachectl.output.formats.lines import unavailable_text
from cachectl.output.report import Report, RowStream
from cachectl.output.terminal import Terminal
from cachectl.output.units import show_time
from cachectl.output.verdicts import verdicts_of


def show_junit(report: Report, terminal: Terminal) -> None:
    """Write one document; in ASCII, like JSON."""
    lines = _document(report, report.generated_at or terminal.now())
    text = "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode()
    terminal.write(text + "\n")


def stream_junit(stream: RowStream, terminal: Terminal) -> None:
    """Write what a stream comes to in the end."""
    show_at_end(stream, show_junit, terminal)


def _document(report: Report, now: float) -> Iterator[str]:
    verdicts = verdicts_of(report)
    suite = report.schema.partition("/")[0]
    tested = {verdict.name for verdict in verdicts}
    gaps = [gap for gap in report.unavailable if gap.what not in tested]
    failures = sum(one.state in (State.WARNING, State.CRITICAL) for one in verdicts)
    errors = sum(one.state is State.UNKNOWN for one in verdicts)
    counts = {
        "name": suite,
        "tests": str(len(verdicts) + len(gaps)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(len(gaps)),
        "time": "0",
    }
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites{_attributes(counts)}>"
    more = {"timestamp": show_time(now).removesuffix("Z")}
    if report.server is not None:
        more["hostname"] = report.server.name
    yield f"  <testsuite{_attributes(counts | more)}>"
    for verdict in verdicts:
        yield from _case(suite, verdict)
    for gap in gaps:
        yield from _skipped(suite, gap)
    yield "  </testsuite>"
    yield "</testsuites>"


def _case(suite: str, verdict: Verdict) -> Iterator[str]:
    area = verdict.name.partition(".")[0] if "." in verdict.name else ""
    attributes = {"classname": f"{suite}.{area}" if area else suite, "name": verdict.name}
    kind = {State.OK: "", State.UNKNOWN: "error"}.get(verdict.state, "failure")
    if not kind:
        yield f'    <testcase{_attributes(attributes)} time="0"/>'
        return
    said = {"type": verdict.state.name, "message": verdict.text}
    yield f'    <testcase{_attributes(attributes)} time="0">'
    yield f"      <{kind}{_attributes(said)}>{_text(verdict.text)}</{kind}>"
    yield "    </testcase>"


def _skipped(suite: str, gap: Unavailable) -> Iterator[str]:
    attributes = {"classname": suite, "name": gap.what}
    yield f'    <testcase{_attributes(attributes)} time="0">'
    yield f"      <skipped{_attributes({'message': unavailable_text(gap)})}/>"
    yield "    </testcase>"


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f" {name}={quoteattr(_line(text))}" for name, text in values.items())


def _text(text: str) -> str:
    return escape_xml(_line(text))


def _line(text: str) -> str:
    return escape_text(text.replace("\n", " "))
