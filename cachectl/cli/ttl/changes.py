"""From the options of `ttl set` and `ttl spread` to the change that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cachectl.cli.invalidate.invalidating import seconds_of
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.actions.planning.changes import Change
    from cachectl.policy import Policy

Maker = Callable[[str], "Change"]
"""Makes a change for a run."""


def retiming(asked: Mapping[str, Any], jitter: str, policy: Policy | None, now: float) -> Maker:
    """Return what makes the change of `ttl set`.

    asked: option → its value, None where it was not given. jitter: a share, as written. now: Unix
    seconds. Raises UsageError unless exactly one of the options was given.
    """
    from cachectl.actions.planning.retiming import Bounds, Retime

    given = [option for option, value in asked.items() if value is not None]
    if len(given) != 1:
        raise UsageError(f"give one of {', '.join(asked)}", hint="cachectl ttl set --help")
    (option,) = given
    text, share = asked[option], _share(jitter)
    if share and option not in ("--ttl", "--extend"):
        raise UsageError("--jitter goes with --ttl and --extend only")
    match option:
        case "--ttl":
            least, most = _span(text, share)
            return lambda run: Retime("range", least, most, seed=run)
        case "--tier":
            least, most = _tier(text, policy)
            return lambda run: Retime("range", least, most, seed=run)
        case "--extend":
            most = _milliseconds("--extend", text)
            return lambda run: Retime("extend", _less(most, share), most, seed=run)
        case "--at":
            at = _moment(text, now)
            return lambda _run: Retime("at", at=at)
        case "--persist":
            return lambda _run: Retime("persist")
    rules = policy.rules if policy else ()
    bounds = tuple(map(Bounds.of, rules))
    return lambda run: Retime("policy", bounds=bounds, seed=run)


def spreading(over: str, policy: Policy | None) -> Maker:
    """Return what makes the change of `ttl spread`. Raises UsageError."""
    from cachectl.actions.planning.retiming import Bounds, Retime

    most = _milliseconds("--over", over)
    bounds = tuple(map(Bounds.of, policy.rules if policy else ()))
    return lambda run: Retime("spread", most=most, bounds=bounds, seed=run)


def _share(text: str) -> float:
    written = text.strip()
    try:
        share = float(written.removesuffix("%")) / (100 if written.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError(f"--jitter {text!r}: must be a share like 10% or 0.1, less than 1")
    return share


def _less(milliseconds: int, share: float) -> int:
    from cachectl.actions.planning.ranges import shorter

    return shorter(milliseconds, share)


def _milliseconds(option: str, text: str) -> int:
    milliseconds = round(seconds_of(option, text) * 1000)
    if milliseconds < 1:
        raise UsageError(f"{option} {text!r}: must be longer than that: it would remove the keys")
    return milliseconds


def _span(text: str, share: float) -> tuple[int, int]:
    low, dots, high = text.partition("..")
    least = _milliseconds("--ttl", low)
    if not dots:
        return _less(least, share), least
    most = _milliseconds("--ttl", high)
    if share:
        raise UsageError("--jitter goes with one TTL, not with a range")
    if least > most:
        raise UsageError(f"--ttl {text!r}: the shorter TTL comes first")
    return least, most


def _tier(name: str, policy: Policy | None) -> tuple[int, int]:
    from cachectl.policy import TIERS

    tiers = policy.tiers if policy else TIERS
    for tier in tiers:
        if tier.name == name:
            return round(tier.least * 1000), round(tier.most * 1000)
    known = ", ".join(tier.name for tier in tiers)
    raise UsageError(f"there is no tier {name!r}", hint=f"the tiers are: {known}")


def _moment(text: str, now: float) -> int:
    """Return a time in Unix milliseconds. Without a zone it is UTC."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else _iso(text)
    except ValueError:
        hint = "write it like 2030-01-31T04:00Z, or in Unix seconds"
        raise UsageError(f"--at {text!r}: not a time", hint=hint) from None
    if seconds <= now:
        raise UsageError(f"--at {text!r}: is in the past, so it would remove the keys")
    return round(seconds * 1000)


def _iso(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
