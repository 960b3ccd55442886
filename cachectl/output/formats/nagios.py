"""nagios: the language of monitoring plugins (Nagios, Icinga, Naemon, Checkmk).

One line with the state, what is wrong and the figures, then one line for each thing that was
tested. Source: the Monitoring Plugins Development Guidelines, "Plugin Output for Nagios".
"""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.model.findings import State, Verdict
from cachectl.output.escape import escape_text, escape_unencodable
from cachectl.output.formats.collected import show_at_end
from cachectl.output.formats.lines import drawn, unavailable_text
from cachectl.output.report import Report, RowStream
from cachectl.output.terminal import Terminal
from cachectl.output.verdicts import overall, verdicts_of, worst_first

SERVICE = "CACHE"
_NAMED = 4
"""So many of what is wrong the first line tells; where it is cut off depends on the monitor."""


def show_nagios(report: Report, terminal: Terminal) -> None:
    """Write a report as a plugin does."""
    verdicts = worst_first(verdicts_of(report))
    figures = " ".join(performance(one) for one in verdicts_of(report) if _has_figure(one))
    first = plugin_line(overall(verdicts), _summary(verdicts))
    lines = [f"{first} | {figures}" if figures else first]
    lines += [_sentence(f"{one.state.name} {one.name}: {one.text}") for one in verdicts]
    lines += [_sentence(unavailable_text(gap)) for gap in report.unavailable]
    lines += [_sentence(note) for note in report.notes]
    text = "\n".join(lines) + "\n"
    encoding = terminal.encoding
    terminal.write(escape_unencodable(drawn(text, encoding), encoding))


def stream_nagios(stream: RowStream, terminal: Terminal) -> None:
    """Write what a stream comes to in the end."""
    show_at_end(stream, show_nagios, terminal)


def plugin_line(state: int, text: str) -> str:
    """Return the line that a monitor reads first, harmless. state: 0–3, as the exit code."""
    return f"{SERVICE} {State(state).name} - {_sentence(text)}"


def performance(verdict: Verdict) -> str:
    """Return one item of performance data: 'label'=value[UOM];[warn];[crit];[min];[max]."""
    label = _sentence(verdict.name).replace("=", "\\x3d").replace("'", "''")
    value = "U" if verdict.value is None else figure(verdict.value) + verdict.unit
    bounds = ["" if bound is None else figure(bound) for bound in (verdict.low, verdict.high)]
    return ";".join([f"'{label}'={value}", verdict.warn, verdict.critical, *bounds]).rstrip(";")


def figure(value: float) -> str:
    """Return a number in digits alone, as the guidelines want it: no exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def _has_figure(verdict: Verdict) -> bool:
    return verdict.value is not None or bool(verdict.warn or verdict.critical)


def _summary(verdicts: Sequence[Verdict]) -> str:
    """Return what is wrong, and how much is not."""
    bad = [one for one in verdicts if one.state is not State.OK]
    fine = len(verdicts) - len(bad)
    if not verdicts:
        return "no findings"
    if not bad:
        return "; ".join(one.text for one in verdicts[:_NAMED] if one.text) or f"{fine} fine"
    parts = [f"{one.name}: {one.text}" for one in bad[:_NAMED]]
    if len(bad) > _NAMED:
        parts.append(f"{len(bad) - _NAMED} more")
    return "; ".join([*parts, f"{fine} OK"] if fine else parts)


def _sentence(text: str) -> str:
    # A bar begins performance data, wherever it stands.
    return escape_text(text.replace("\n", " ")).replace("|", "\\x7c")
