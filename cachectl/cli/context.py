"""What every command receives: the root options, the terminal, and the ways to use them.

A command reads like a paragraph: words in, one call, one report out.

    def scan(ctx: typer.Context, output: options.Output = None) -> None:
        app = context(ctx)
        with app.server() as server:
            ...
        app.finish(view(result), output)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

import typer

from cachectl.cli.options import FailOn, OutputFormat
from cachectl.errors import EXIT_FINDINGS, EXIT_PARTIAL, UsageError
from cachectl.output.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from cachectl.config.target import Target
    from cachectl.output.progress import Progress
    from cachectl.output.report import Report, RowStream
    from cachectl.policy import Policy
    from cachectl.server.topology.connect import Server


@dataclass(slots=True)
class App:
    """The root options and the world. Tests make one with a Terminal of their own."""

    profile: str | None = None
    url: str | None = None
    timeout: float | None = None
    terminal: Terminal = field(default_factory=Terminal.of_process)
    _target: Target | None = None

    @property
    def target(self) -> Target:
        """The server that --profile, --url or the environment name. Raises ConfigError."""
        if self._target is None:
            from cachectl.config.locate import resolve

            self._target = resolve(
                profile=self.profile,
                url=self.url,
                timeout=self.timeout,
                environ=self.terminal.environ,
            )
        return self._target

    @property
    def words(self) -> list[str]:
        """The beginning of a command line that talks to the same server, without any secret."""
        if self.profile:
            return ["cachectl", "-p", self.profile]
        if self.url and "@" not in self.url:
            return ["cachectl", "--url", self.url]
        return ["cachectl"]

    def use(self, target: Target) -> None:
        """Talk to this server, whatever the options and the environment name."""
        self._target = target

    def policy(self, file: Path | None = None) -> Policy | None:
        """Return the policy in `file` (--policy), else the profile's; None when there is none.

        Raises ConfigError.
        """
        path = file or self.target.policy_file
        if path is None:
            return None
        from cachectl.config.policies import load_policy

        return load_policy(path)

    def needed_policy(self, file: Path | None = None) -> Policy:
        """Return the policy, for a command that can do nothing without. Raises UsageError."""
        policy = self.policy(file)
        if policy is None:
            raise UsageError(
                f"there is no policy: the profile {self.target.name} names none",
                hint="give --policy FILE, or write one: cachectl policy init --from-scan",
            )
        return policy

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Connect to the target, and close it at the end. Raises CannotConnectError."""
        from cachectl.actions.gates import counted
        from cachectl.server.topology.connect import open_server

        with self.progress("waiting for the server to load its data", unit="%") as progress:
            server = open_server(
                self.target,
                on_loading=lambda percent, _eta: progress.update(percent or 0, 100),
            )
        server.gates = counted
        with server:
            for warning in server.warnings:
                self.terminal.warn(warning)
            self.tidy(server)
            yield server

    def tidy(self, server: Server) -> None:
        """Put back what a command of ours that was killed has left changed at this server."""
        from cachectl.storage.borrowed import any_notes

        if any_notes():
            from cachectl.actions.notifying import recover

            for sentence in recover(server):
                self.terminal.warn(sentence)

    def progress(self, title: str, *, unit: str = "keys") -> Progress:
        """Return a progress bar on stderr."""
        from cachectl.output.progress import Progress

        return Progress(self.terminal, title, unit=unit)

    def show(self, report: Report, output: OutputFormat | None = None) -> None:
        """Write a report in the chosen format."""
        from cachectl.output.show import Format, show

        show(report, Format(output) if output else None, self.terminal)

    def stream(self, rows: RowStream, output: OutputFormat | None = None) -> None:
        """Write rows while they come, in the chosen format."""
        from cachectl.cli.tidying import tidily
        from cachectl.output.show import Format, stream

        if rows.live:
            rows = replace(rows, rows=tidily(rows.rows))
        stream(rows, Format(output) if output else None, self.terminal)

    def finish(
        self,
        report: Report,
        output: OutputFormat | None = None,
        fail_on: FailOn = FailOn.NONE,
    ) -> None:
        """Write a report and end with the exit code that its findings and gaps ask for."""
        self.show(report, output)
        if output is OutputFormat.NAGIOS:
            self.end_as_plugin(report)
        self.end(report, fail_on)

    def end_as_plugin(self, report: Report) -> NoReturn:
        """End with the state of a report that is shown: 0 OK to 3 UNKNOWN."""
        from cachectl.output.verdicts import overall, verdicts_of

        raise typer.Exit(int(overall(verdicts_of(report))))

    def end(self, report: Report, fail_on: FailOn = FailOn.NONE) -> None:
        """End with the exit code that a report which is shown asks for."""
        if report.partial:
            raise typer.Exit(EXIT_PARTIAL)
        if fail_on is not FailOn.NONE and any(
            str(finding.severity) in _AT_LEAST[fail_on] for finding in report.findings
        ):
            raise typer.Exit(EXIT_FINDINGS)


_AT_LEAST: dict[FailOn, tuple[str, ...]] = {
    FailOn.INFO: ("info", "warning", "critical"),
    FailOn.WARNING: ("warning", "critical"),
    FailOn.CRITICAL: ("critical",),
}


def context(ctx: typer.Context) -> App:
    """Return the App that the root callback, or a test, has put on the context."""
    app = ctx.obj
    assert isinstance(app, App)  # noqa: S101 - the root callback sets nothing else
    return app
