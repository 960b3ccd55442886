"""What the commands of `invalidate` share: from words to a plan, from a plan to what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachectl.cli.context import App
from cachectl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from cachectl.actions.execution.run import RunResult, Settings
    from cachectl.actions.planning.changes import Change
    from cachectl.actions.planning.guards import Protection
    from cachectl.actions.planning.plan import Meant
    from cachectl.actions.trail import Trail
    from cachectl.analysis.selecting.selection import Selection
    from cachectl.cli.invalidate.orders import Orders
    from cachectl.cli.selectors import Chooser
    from cachectl.policy import Policy
    from cachectl.server.topology.handle import Server
    from cachectl.storage.runs import RunDirectory, Runs


class Job:
    """One change on its way: from what is meant to what was done.

    change: makes it for a run. archives: whether copies are kept. tags: tag sets that are trimmed.
    """

    def __init__(
        self,
        app: App,
        server: Server,
        chooser: Chooser,
        orders: Orders,
        change: Callable[[str], Change],
        *,
        archives: bool = True,
        trims: bool = False,
    ) -> None:
        import os

        from cachectl.actions.execution.run import Settings
        from cachectl.actions.planning.guards import Allowance

        selection = chooser.selection
        self.app, self.server, self.chooser, self.orders = app, server, chooser, orders
        self.settings = Settings(
            archives, False, orders.pace.value if orders.pace else None, orders.rate
        )
        self.allowance = Allowance(orders.max_keys, orders.max_percent)
        self.protection = protection_of(server, chooser.policy, selection, orders.key)
        self.words = in_words(selection, orders)
        self.change = change
        whole = trims and not selection.conditions
        self.named = with_tags(server, named_keys(app, orders), orders.tag, whole=whole)
        self.tags = tuple(os.fsencode(one) for one in orders.tag if trims)

    def go(self) -> None:
        """Show what would be done, or do it."""
        orders = self.orders
        if orders.dry_run or orders.plan:
            valid_for = seconds_of("--valid-for", orders.valid_for)
            self.show_plan(orders.plan, valid_for, orders.output)
        else:
            trail = trail_of(orders.syslog, orders.audit_stream)
            self.run(trail, orders.output, yes=orders.yes, confirm=orders.confirm)

    def collect(self, path: Path, change: Change, *, fully: bool, header: Any) -> Meant:
        """Write the plan and return what it holds; check how much that is.

        fully: everything is asked of each key, and its value kept in mind, for a plan on paper.
        """
        from cachectl.actions.planning.guards import check_amount
        from cachectl.actions.planning.plan import Planner
        from cachectl.server.scanning.columns import Field
        from cachectl.server.scanning.scan_types import ALL

        fields: frozenset[Field] = frozenset()
        if fully:
            fields = ALL
        elif change.is_choosy:
            fields = frozenset({Field.TTL})
        elif self.settings.archives:
            fields = frozenset({Field.BYTES})
        with self.app.progress("looking for keys") as progress:
            planner = Planner(
                server=self.server,
                chooser=self.chooser,
                fields=fields,
                protection=self.protection,
                named=self.named,
                guarded=fully and self.orders.plan is not None and change.copies_value,
                summarises=fully,
                change=change,
                on_progress=lambda now: progress.update(now.done, now.total),
            )
            meant = planner.collect(path, header)
        check_amount(self.server, meant.keys, meant.total, self.allowance)
        return meant

    def show_plan(self, file: Path | None, valid_for: float, output: Any) -> None:
        """Show what would be done; save it when a file is named."""
        import tempfile

        from cachectl.actions.execution.planfile import plan_header
        from cachectl.views.invalidate import PlanFacts, plan_report

        if file is not None:
            _check_new(file)
        change = self.change("")
        with tempfile.TemporaryDirectory(prefix="cachectl-") as directory:
            path = file or Path(directory) / "plan"
            header = plan_header(
                self.server, change, self.settings, self.words, valid_for, self.tags
            )
            try:
                meant = self.collect(path, change, fully=True, header=header)
            except BaseException:
                if file is not None:
                    path.unlink(missing_ok=True)
                raise
        facts = PlanFacts(
            change=change.verb,
            archives=self.settings.archives,
            seconds=_estimate(self.server, meant, self.settings),
            pace=self.settings.pace or self.server.target.pace,
            file=str(file) if file else None,
            removes=change.copies_value,
        )
        self.app.finish(plan_report(meant, facts, self.server.facts), output)

    def run(self, trail: Trail, output: Any, *, yes: bool, confirm: str | None) -> None:
        """Check the guards, ask, do it, and say what was done."""
        from cachectl.actions.execution.run import describe
        from cachectl.actions.planning.guards import check_target
        from cachectl.storage.runs import Runs

        check_target(self.server)
        with new_run(Runs()) as run:
            change = self.change(run.id)
            check_rights(self.server, change, self.settings, self.tags)
            meant = self.collect(run.plan, change, fully=False, header={"run": run.id})
            if not meant.keys and not self.tags:
                self.app.terminal.say("no key is meant: nothing was changed")
            else:
                check_archive_fits(self.server, meant.size, change, self.settings)
                ask(self.app, self.server, meant, change, self.settings, yes, confirm)
            facts = describe(self.server, run, change, self.settings, meant, self.words, self.tags)
            carry_out(self.app, self.server, run, facts, trail, output)


def _check_new(file: Path) -> None:
    """Refuse a file that exists, before anything is written to it or in its place."""
    import os

    if os.path.lexists(file):
        raise UsageError(f"{file} exists already", hint="name another file", target=str(file))
    if not file.parent.is_dir():
        raise UsageError(f"there is no directory {file.parent}", target=str(file))


def carry(
    app: App,
    selection: Selection,
    orders: Orders,
    change: Callable[[str], Change],
    *,
    archives: bool = True,
    trims: bool = False,
) -> None:
    """Do what a command means, or show it. change: makes the change for a run.

    archives: whether copies are kept. trims: whether tag sets lose the members that are gone.
    """
    from cachectl.cli.selectors import Chooser

    if not (selection.conditions or orders.names_keys or orders.everything):
        raise UsageError("say which keys: a PATTERN, an option, or --all for every key")
    policy = app.policy(orders.policy)
    with (
        app.server() as server,
        # --rate is about keys that are changed: finding ten of them may take a million looks.
        Chooser(server, selection, pace=orders.pace, policy=policy) as chooser,
    ):
        Job(app, server, chooser, orders, change, archives=archives, trims=trims).go()


@contextmanager
def new_run(runs: Runs) -> Iterator[RunDirectory]:
    """Make a run's directory, and take it away again when the run never began."""
    run = runs.create()
    try:
        yield run
    except BaseException:
        if not run.journal.exists():
            run.remove()
        raise


def check_rights(
    server: Server, change: Change, settings: Settings, tags: Sequence[bytes] = ()
) -> None:
    """Refuse before the first change what the login would be refused in the middle."""
    from cachectl.actions.planning.guards import check_permissions

    commands = [*change.needs, "EXISTS"]
    if settings.archives or not change.copies_value or settings.checks_guards:
        commands += ["TYPE", "PTTL", "TIME", "WATCH", "MULTI", "EXEC"]
    if tags:
        commands += ["TYPE", "PTTL", "TIME", "SREM"]
    if change.copies_value and settings.archives:
        commands += ["DUMP", "MEMORY USAGE"]  # the latter tells giants, of which no DUMP is made
    check_permissions(server, commands)


def check_archive_fits(server: Server, size: int, change: Change, settings: Settings) -> None:
    """Refuse an archive that would be larger than the profile allows, or than the disk has room."""
    import shutil

    from cachectl.output.units import show_bytes
    from cachectl.storage.files import state_directory

    if not (settings.archives and change.copies_value):
        return
    limit = server.target.limits.max_archive
    if size > limit:
        raise RefusedError(
            f"the copies could take up to {show_bytes(size)}, more than the {show_bytes(limit)} "
            "that an archive may have",
            hint="raise `limits.max_archive` in the profile, or narrow the selection",
        )
    free = shutil.disk_usage(state_directory()).free
    if size > free:
        raise RefusedError(
            f"the copies could take up to {show_bytes(size)}, and the disk has {show_bytes(free)}",
            hint="free space, or name another directory with XDG_STATE_HOME",
        )


def ask(
    app: App,
    server: Server,
    meant: Meant,
    change: Change,
    settings: Settings,
    yes: bool,
    confirm: str | None,
) -> None:
    """Let the user agree: by --yes, and on production by the server's name."""
    from cachectl.output.confirm import confirm as confirmed
    from cachectl.output.confirm import confirm_by_name

    name = server.target.name
    share = f" ({100 * meant.keys / meant.total:.1f} % of all)" if meant.total else ""
    question = f"{meant.keys:,} keys of {name}{share} will be {change.verb}."
    if not settings.archives and change.copies_value:
        question += " No copies are kept: this can't be undone."
    if server.target.environment == "production":
        if not settings.archives and change.copies_value and confirm is None:
            raise RefusedError(
                f"nothing was changed: without an archive this can't be undone, and {name} is "
                "production",
                hint=f"leave out --no-archive, or give --confirm {name}",
                target=name,
            )
        confirm_by_name(app.terminal, question, name=name, given=confirm)
        return
    if confirm is not None:
        confirm_by_name(app.terminal, question, name=name, given=confirm)
        yes = True
    confirmed(app.terminal, f"{question} Go on?", yes=yes)


def carry_out(
    app: App,
    server: Server,
    run: RunDirectory,
    facts: dict[str, Any],
    trail: Trail,
    output: Any,
    how: Callable[..., RunResult] | None = None,
) -> None:
    """Begin or resume a run, write the audit line whatever becomes of it, and report."""
    from cachectl.actions.execution.run import begin, troubled_keys
    from cachectl.errors import CachectlError
    from cachectl.model.findings import Unavailable
    from cachectl.views.invalidate import run_report

    def resumable() -> str:
        return f"nothing is lost; go on with: cachectl invalidate resume {run.id}"

    try:
        with trail.following(server, facts), app.progress(f"run {run.id}") as progress:

            def on_progress(done: int, note: str) -> None:
                progress.update(max(0, done), facts["keys"], note)

            result = (
                how(server, run, on_progress) if how else begin(server, run, facts, on_progress)
            )
    except KeyboardInterrupt:
        app.terminal.warn(f"interrupted: {resumable()}")
        raise
    except CachectlError as error:
        if run.journal.exists() and error.exit_code != 2:
            error.hint = f"{error.hint}; {resumable()}" if error.hint else resumable()
        raise
    problems = trail.record(server, "invalidate", facts, result.tally.counts)
    for problem in problems:
        app.terminal.warn(problem)
    left_out = [Unavailable(**gap) for gap in facts.get("left_out", ())]
    app.finish(run_report(result, server.facts, troubled_keys(run), left_out), output)


def protection_of(
    server: Server,
    policy: Policy | None,
    selection: Selection | None = None,
    key: Sequence[str] | None = None,
) -> Protection:
    """Return what no run may change. A quarantine is free for whoever names it."""
    import os

    from cachectl import glob
    from cachectl.actions.planning.changes import QUARANTINE
    from cachectl.actions.planning.guards import Protection

    named = [os.fsencode(one) for one in key or ()]
    patterns = selection.about("match").conditions if selection else ()
    named += (
        glob.literal_prefix(one.value)
        for one in patterns
        if isinstance(one.value, bytes) and not one.negated
    )
    frees = any(name.startswith(QUARANTINE) for name in named)
    return Protection(server.target.protected, policy, frees_quarantine=frees)


def trail_of(syslog: bool, stream: str | None) -> Trail:
    """Return where audit lines go."""
    from cachectl.actions.trail import Trail

    return Trail(syslog, stream)


def seconds_of(option: str, text: str) -> float:
    """Return a duration that was written as an option, in seconds. Raises UsageError."""
    from cachectl.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from None


def in_words(selection: Selection, orders: Orders) -> list[str]:
    """Return what is meant, in words, for run.json and the audit log."""
    words = [str(condition) for condition in selection.conditions]
    words += [f"key={one}" for one in orders.key][:20]
    words += [f"keys from {orders.keys_from}"] if orders.keys_from else []
    words += [f"tag={one}" for one in orders.tag]
    return words or ["all"]


def named_keys(app: App, orders: Orders) -> Callable[[], Iterator[bytes]] | None:
    """Return what yields the keys that were named one by one; None when none were."""
    from cachectl.cli.keys.keylists import read_keys

    if not orders.key and orders.keys_from is None:
        return None

    def names() -> Iterator[bytes]:
        import os

        yield from (os.fsencode(one) for one in orders.key)
        if orders.keys_from is not None:
            yield from read_keys(app.terminal, orders.keys_from, orders.keys_format.value)

    return names


def with_tags(
    server: Server, named: Callable[[], Iterator[bytes]] | None, tags: Any, *, whole: bool
) -> Callable[[], Iterator[bytes]] | None:
    """Add the members of tag sets, and the sets themselves unless only some members are meant.

    Either way the sets are trimmed when their members are gone.
    """
    if not tags:
        return named

    def names() -> Iterator[bytes]:
        import os

        from cachectl.server.values.tags import members

        if named is not None:
            yield from named()
        for tag in tags:
            yield from members(server, os.fsencode(tag))
            if whole:
                yield os.fsencode(tag)

    return names


_COSTS = {"archive": 20e-6, "plain": 4e-6}
"""Seconds of a key, measured; see tests/benchmarks/bench_invalidate.py."""


def _estimate(server: Server, meant: Meant, settings: Settings) -> float:
    """Return about how many seconds a run takes: measured costs a key, and the pace's share."""
    from cachectl.server.pace import GEARS

    cost = _COSTS["archive" if settings.archives else "plain"]
    seconds = meant.keys * cost / GEARS[settings.pace or server.target.pace].share
    rate = settings.max_rate or server.target.limits.max_rate
    if rate:
        seconds = max(seconds, meant.keys / rate)
    return round(seconds, 1)
