"""Which keys are meant: the options of `keys list`, `invalidate` and `ttl set`, declared once.

    @app.command()
    @selectors.selecting
    def list_keys(ctx: typer.Context, selection: Selection, ...) -> None:
        with app.server() as server, selectors.Chooser(server, selection) as chooser:
            scan = Scan(server, chooser.request({Field.TYPE, Field.TTL}))
            for item in scan:
                page = chooser.choose(item)
        chooser.check(scan.outcome.unavailable)

`selecting` puts PATTERN and the options below in the place of `selection`. A command adds nothing
but its own options, and meets the same keys as every other.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cachectl.cli.sharing import sharing
from cachectl.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.selecting.selection import Condition, Selection
    from cachectl.cli.options import PaceOption
    from cachectl.config.target import PaceName
    from cachectl.model.findings import Unavailable
    from cachectl.model.keys import Page
    from cachectl.policy import Policy, Rule
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.scan_types import ScanRequest
    from cachectl.server.topology.handle import Server

_Texts = list[str] | None


def selection(
    pattern: Annotated[
        str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
    ] = None,
    match: Annotated[
        _Texts,
        typer.Option("--match", metavar="PATTERN", help="Like PATTERN; several are alternatives"),
    ] = None,
    literal: Annotated[
        bool, typer.Option("--literal", help="Patterns are names: *, ? and [ mean themselves")
    ] = False,
    type_: Annotated[
        _Texts,
        typer.Option("--type", metavar="TYPE", help="Only this type; several are alternatives"),
    ] = None,
    namespace: Annotated[
        _Texts,
        typer.Option("--namespace", metavar="NAME", help="Only a namespace of scan or the policy"),
    ] = None,
    no_ttl: Annotated[bool, typer.Option("--no-ttl", help="Only keys that never expire")] = False,
    ttl_under: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Only keys that expire within this")
    ] = None,
    ttl_over: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Only keys that expire later than this")
    ] = None,
    larger_than: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Only keys of more memory, like 1mb")
    ] = None,
    elements_over: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Only keys of more members, fields or bytes of text"),
    ] = None,
    idle_over: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Only keys not used for longer (not under LFU)"),
    ] = None,
    freq_under: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Only keys of a lower LFU counter (under LFU)"),
    ] = None,
    freq_over: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Only keys of a higher LFU counter (under LFU)"),
    ] = None,
    where: Annotated[
        _Texts,
        typer.Option(metavar="CONDITION", help="Also ttl<5m, field:NAME=VALUE, json:$.PATH=VALUE"),
    ] = None,
    not_: Annotated[
        _Texts, typer.Option("--not", metavar="CONDITION", help="Not keys for which this is so")
    ] = None,
) -> Selection:
    """Return what these words mean. Raises UsageError."""
    from cachectl.analysis.selecting.selection import Condition, Selection
    from cachectl.config.durations import parse_duration
    from cachectl.config.sizes import parse_size

    patterns = [os.fsencode(one) for one in (pattern, *(match or ())) if one is not None]
    figures = (
        ("ttl", "<", "--ttl-under", ttl_under, parse_duration),
        ("ttl", ">", "--ttl-over", ttl_over, parse_duration),
        ("bytes", ">", "--larger-than", larger_than, parse_size),
        ("elements", ">", "--elements-over", elements_over, int),
        ("idle", ">", "--idle-over", idle_over, parse_duration),
        ("freq", "<", "--freq-under", freq_under, int),
        ("freq", ">", "--freq-over", freq_over, int),
    )
    return Selection(
        (
            *(Condition("match", "=", _glob(one, literal)) for one in patterns),
            *(Condition("type", "=", one.lower()) for one in type_ or ()),
            *(Condition("namespace", "=", os.fsencode(one)) for one in namespace or ()),
            *((Condition("ttl", "=", None),) if no_ttl else ()),
            *(
                Condition(subject, sign, _figure(option, parse, written))
                for subject, sign, option, written, parse in figures
                if written is not None
            ),
            *(_condition(one, negated=False) for one in where or ()),
            *(_condition(one, negated=True) for one in not_ or ()),
        )
    )


def _glob(pattern: bytes, literal: bool) -> bytes:
    from cachectl import glob

    return glob.escape(pattern) if literal else pattern


def _figure(option: str, parse: Callable[[Any], float], written: str | int) -> float:
    try:
        return parse(written)
    except ValueError as error:
        raise UsageError(f"{option} {written!r}: {error}") from None


def _condition(text: str, *, negated: bool) -> Condition:
    from cachectl.analysis.selecting.selection import ConditionError, parse_condition
    from cachectl.config.durations import parse_duration
    from cachectl.config.sizes import parse_size

    try:
        return parse_condition(text, duration=parse_duration, size=parse_size, negated=negated)
    except ConditionError as error:
        option = "--not" if negated else "--where"
        raise UsageError(f"{option} {error}", hint="cachectl help patterns") from None


def name_of(text: str, *, escaped: bool = False, b64: bool = False) -> bytes:
    """Return the name that one word of the command line writes. Raises UsageError."""
    if escaped and b64:
        raise UsageError("--escaped and --b64 exclude each other")
    try:
        if b64:
            return base64.b64decode(text, validate=True)
        if escaped:
            from cachectl.output.escape import unescape

            return unescape(text)
    except ValueError as error:
        raise UsageError(f"not a name: {error}") from None
    return os.fsencode(text)


selecting = sharing("selection", selection)
"""Puts PATTERN and the options above in the place of a command's parameter `selection`."""


def _falls_under(policy: Policy | None, rule: Rule) -> Callable[[bytes], bool]:
    return lambda key: policy is not None and policy.rule_for(key) is rule


def _narrowed(selection: Selection, declared: Collection[bytes]) -> Selection:
    """Add what one namespace says of the names: the server need not send the others.

    A template keeps what stands before its first placeholder as the key has it.
    """
    from cachectl import glob
    from cachectl.analysis.selecting.selection import Condition, Selection

    named = [c for c in selection.conditions if c.subject == "namespace" and not c.negated]
    matched = [c for c in selection.conditions if c.subject == "match" and not c.negated]
    if len(named) != 1 or matched or not isinstance(named[0].value, bytes):
        return selection
    if named[0].value in declared:  # its patterns may begin in several ways
        return selection
    pattern = glob.escape(named[0].value.partition(b"{")[0]) + b"*"
    return Selection((*selection.conditions, Condition("match", "=", pattern)))


class Chooser:
    """Finds the keys of a selection on one server: by its SCAN, by their figures, by their values.

    policy: its rules are namespaces, too. Raises RefusedError right away when the server cannot
    know what a condition asks.
    """

    def __init__(
        self,
        server: Server,
        selection: Selection,
        *,
        pace: PaceOption | None = None,
        rate: int | None = None,
        policy: Policy | None = None,
    ) -> None:
        from cachectl import glob
        from cachectl.analysis.naming.namespaces import TemplateGrouper
        from cachectl.analysis.selecting.contents import holding
        from cachectl.server.values.contents import ContentReader

        rules = policy.rules if policy else ()
        declared = {os.fsencode(rule.name): _falls_under(policy, rule) for rule in rules}
        self.policy = policy
        self.selection = selection = _narrowed(selection, declared)
        self._pace: PaceName | None = pace.value if pace else None
        self._rate = rate
        self._refuse_figures_of_other_policy(server)
        options: Any = {
            "glob": glob.matcher,
            "namespace_of": TemplateGrouper().group,
            "declared": declared,
        }
        self._match = selection.server_match
        self._type = selection.server_type
        names = selection.about("match", "namespace")
        rest = selection.without("match", "namespace", "type")
        types = selection.about("type")
        self._names = names.filter(**options) if names.conditions else None
        self._sifts = len(names.conditions) > (self._match is not None)
        self._types = types.filter(**options) if types.conditions else None
        self._figures = rest.filter(**options)
        # A lone type is for SCAN to tell.
        self._asked = rest.columns if self._type else rest.columns | types.columns
        self._reader = ContentReader(server, pace=self._pace, max_rate=rate)
        self._holding = holding(selection.value_conditions, self._read)

    def request(self, fields: Collection[Field]) -> ScanRequest:
        """Return what to scan for: no more than `fields` and what the conditions need."""
        from cachectl.server.scanning.columns import Field
        from cachectl.server.scanning.scan_types import ScanRequest

        return ScanRequest(
            fields=frozenset(fields) | {Field(column) for column in self._asked},
            match=self._match,
            type=self._type,
            sift=self._sift if self._sifts else None,
            pace=self._pace,
            max_rate=self._rate,
        )

    def choose(self, page: Page, *, found: bool = False) -> Page:
        """Return the keys of a page that are meant, also when no scan has found it.

        found: by a scan for `request`, which has looked at the names already. Pages that were not
        scanned have to bring the types. Raises RefusedError, ConnectionLostError.
        """
        if self._names is not None and not found:
            page = page.take(self._names(page))
        if self._types is not None and (page.types is not None or self._type is None):
            page = page.take(self._types(page))
        return self._holding(page.take(self._figures(page)))

    def check(self, unavailable: Sequence[Unavailable]) -> None:
        """Raise RefusedError when a condition could not be judged at all, on any node."""
        for gap in unavailable:
            if gap.what in self._asked and gap.node is None:
                raise RefusedError(
                    f"cannot choose keys by {gap.what}: {gap.reason}", hint=gap.remedy
                )

    def gaps(self, unavailable: Sequence[Unavailable]) -> list[Unavailable]:
        """Return what kept some keys from being judged; the answer is partial when there is any."""
        return [gap for gap in unavailable if gap.what in self._asked] + self._reader.gaps

    def close(self) -> None:
        """Close the connections that values were read over."""
        self._reader.close()

    def __enter__(self) -> Chooser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _sift(self, keys: list[bytes]) -> list[bytes]:
        from cachectl.model.keys import Page

        assert self._names is not None  # noqa: S101 - see request
        return [keys[i] for i in self._names(Page(node="", keys=keys))]

    def _read(self, node: str, keys: Any, condition: Condition) -> list[bytes | None]:
        if condition.subject == "field":
            return self._reader.fields(node, keys, condition.path)
        return self._reader.strings(node, keys)

    def _refuse_figures_of_other_policy(self, server: Server) -> None:
        asked = self.selection.columns
        for node in server.primaries:
            policy = node.facts.policy
            if policy is None:
                continue
            if "idle" in asked and "lfu" in policy:
                raise RefusedError(
                    f"cannot choose keys by idle time: under the policy {policy} the server keeps "
                    "frequencies instead",
                    hint="use --freq-under",
                    target=node.name,
                )
            if "freq" in asked and "lfu" not in policy:
                raise RefusedError(
                    f"cannot choose keys by frequency: under the policy {policy} the server keeps "
                    "idle times instead",
                    hint="use --idle-over",
                    target=node.name,
                )
