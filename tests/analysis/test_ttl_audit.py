"""The verdicts of the TTL audit, against a judge that takes keys one by one, and its promises."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from cachectl.analysis.audits.rule_tally import Short
from cachectl.analysis.audits.ttl_audit import Audit, Kind, TtlAudit, audit_sample
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page
from cachectl.policy import Policy, Rule, TtlRule

POLICY = Policy(
    "shop",
    (
        Rule("profile", (b"user:{id}:profile",), ttl=TtlRule("required", 300, 3600, "medium")),
        Rule("session", (b"session:{id}",), ttl=TtlRule("required", 60, None, expiry="sliding")),
        Rule("hint", (b"hint:*",), ttl=TtlRule("optional", None, 60)),
        Rule("reference", (b"ref:*",), ttl=TtlRule("forbidden")),
        Rule("any", (b"any:*",), ttl=TtlRule("required")),
    ),
)


def page(*keys: tuple[bytes, int], idle: int | None = 0, kind: str = "string") -> Page:
    """One page of (key, TTL in milliseconds), each of 10 bytes."""
    n = len(keys)
    names, ttls = [key for key, _ in keys], [ttl for _, ttl in keys]
    idles = None if idle is None else [idle] * n
    return Page("a", names, [kind] * n, ttls, [10] * n, idles)  # type: ignore[arg-type]


def audited(*pages: Page) -> Audit:
    audit = TtlAudit(POLICY)
    for one in pages:
        audit.add(one)
    return audit.result()


def found(audit: Audit) -> list[tuple[str, bytes, str, int, int]]:
    return [  # type: ignore[misc]
        (one.rule.name, one.namespace, str(one.kind), one.keys, one.bytes)
        for one in audit.violations
    ]


@pytest.mark.parametrize(
    ("key", "ttl", "kind"),
    [
        (b"user:1:profile", -1, "missing"),
        (b"user:1:profile", 0, "too_short"),
        (b"user:1:profile", 298_999, "too_short"),
        (b"user:1:profile", 299_000, None),  # the server counts idle time in whole seconds
        (b"user:1:profile", 3_600_000, None),
        (b"user:1:profile", 3_600_001, "too_long"),
        (b"session:1", 58_999, "too_short"),
        (b"session:1", 10**12, None),
        (b"hint:1", -1, None),
        (b"hint:1", 60_001, "too_long"),
        (b"ref:1", -1, None),
        (b"ref:1", 0, "unexpected"),
        (b"any:1", -1, "missing"),
        (b"any:1", 1, None),
        (b"other", -1, None),
    ],
)
def test_each_border(key: bytes, ttl: int, kind: str | None) -> None:
    audit = audited(page((key, ttl)))
    assert [str(one.kind) for one in audit.violations] == ([kind] if kind else [])
    assert audit.violating == (1 if kind else 0)


def judge(key: bytes, ttl: int, idle: int | None) -> tuple[str | None, str | None]:
    """Return (rule, kind) of one key, written down as the documentation has it."""
    rule = POLICY.rule_for(key)
    if rule is None:
        return None, None
    asked = rule.ttl
    if asked.presence == "forbidden":
        return rule.name, "unexpected" if ttl >= 0 else None
    if ttl < 0:
        return rule.name, "missing" if asked.presence == "required" else None
    if asked.most is not None and ttl > asked.most * 1000:
        return rule.name, "too_long"
    if asked.least is not None and ttl < asked.least * 1000:
        old_enough = idle is not None and ttl + idle * 1000 + 1000 >= asked.least * 1000
        return rule.name, None if old_enough else "too_short"
    return rule.name, None


def test_counts_are_those_of_a_judge_who_takes_keys_one_by_one() -> None:
    rng = random.Random(5)
    names = (b"user:%d:profile", b"session:%d", b"hint:%d", b"ref:%d", b"any:%d", b"other:%d")
    audit = TtlAudit(POLICY)
    expected: Counter[tuple[str | None, str | None]] = Counter()
    size: Counter[str] = Counter()
    for number in range(60):
        keys = [rng.choice(names) % rng.randrange(10**6) for _ in range(50)]
        ttls = [rng.choice((-1, rng.randrange(400_000), rng.randrange(5_000_000))) for _ in keys]
        idles = [rng.choice((None, 0, 5, 200, 10_000)) for _ in keys]
        sizes = [rng.randrange(50, 500) for _ in keys]
        for key, ttl, idle, one in zip(keys, ttls, idles, sizes, strict=True):
            verdict = judge(key, ttl, idle)
            expected[verdict] += 1
            if verdict[1] is not None:
                size[verdict[1]] += one
        node = f"node{number % 3}"
        audit.add(Page(node, keys, ["string"] * 50, ttls, list(sizes), idles))  # type: ignore[arg-type]
    result = audit.result()
    bad = {key: count for key, count in expected.items() if key[1] is not None}
    counted: Counter[tuple[str | None, str | None]] = Counter()
    bytes_: Counter[str] = Counter()
    for one in result.violations:
        counted[one.rule.name, str(one.kind)] += one.keys  # type: ignore[assignment]
        bytes_[str(one.kind)] += one.bytes  # type: ignore[assignment, operator]
    assert counted == bad
    assert bytes_ == size
    assert result.keys == 3000
    assert result.violating == sum(bad.values())
    assert result.held_bytes == size["missing"] + size["too_long"]
    assert result.no_rule == expected[None, None] == sum(one.keys for one in result.unruled)  # type: ignore[misc]
    by_rule = {one.rule.name: one.keys for one in result.rules}
    assert by_rule == {
        name: sum(count for (rule, _), count in expected.items() if rule == name)
        for name in by_rule
    }


def test_what_is_named() -> None:
    audit = audited(
        page(*((b"user:%d:profile" % n, -1) for n in range(5))),
        page((b"user:9:profile", 7_200_000), (b"user:8:profile", 90_000_000)),
        page((b"cart:1", -1), (b"cart:2", 5), (b"x", 5)),
    )
    assert found(audit) == [
        ("profile", b"user:{id}:profile", "missing", 5, 50),
        ("profile", b"user:{id}:profile", "too_long", 2, 20),
    ]
    missing, long = audit.violations
    assert [example.key for example in missing.examples] == [
        b"user:%d:profile" % n for n in (0, 1, 2)
    ]
    assert long.tiers == {"low": 1}
    assert [(one.namespace, one.keys, one.no_ttl) for one in audit.unruled] == [
        (b"cart:{id}", 2, 1),
        (b"x", 1, 0),
    ]


def test_a_node_that_is_read_again_counts_once() -> None:
    audit = TtlAudit(POLICY)
    audit.add(page((b"any:1", -1)))
    audit.add(replace(page((b"any:2", -1)), node="b"))
    audit.drop("a")
    audit.add(page((b"any:1", -1)))
    assert audit.result().violating == 2


def test_hashes_whose_fields_expire() -> None:
    audit = TtlAudit(POLICY)
    hashes = page((b"any:1", -1), (b"ref:2", -1), (b"hint:3", -1), (b"x", -1), kind="hash")
    assert audit.doubtful(hashes) == [0, 1]
    assert audit.doubtful(page((b"any:1", -1))) == []
    audit.add(hashes, {0, 1})
    assert {(one.rule.name, one.kind) for one in audit.result().violations} == {
        ("any", Kind.PARTLY),
        ("reference", Kind.UNEXPECTED),
    }


def test_more_groups_than_are_kept() -> None:
    audit = TtlAudit(POLICY)
    audit.index.limit = 50
    names = ["".join(random.Random(n).choices("abcdefgh", k=7)) for n in range(400)]
    for at in range(0, 400, 40):
        audit.add(page(*((f"any:{name}:{name}".encode(), -1) for name in names[at : at + 40])))
    result = audit.result()
    assert result.violating == 400
    assert sum(one.keys for one in result.violations) == 400  # type: ignore[misc]


# --- Age ----------------------------------------------------------------------------------------


def test_keys_near_their_end_are_not_taken_for_short_ones() -> None:
    """Keys that come and go at a steady rate, with TTLs as the rule wants them, read or not."""
    alarms = 0
    for seed in range(300):
        rng = random.Random(seed)
        short, enough = Short(), 0
        for _ in range(rng.choice((5, 30, 300))):
            left = rng.uniform(0, rng.choice((300, 600, 3600))) * 1000
            if left < 300_000:
                short.note(int(left), 300_000)
            else:
                enough += 1
        alarms += short.lower + short.upper > 0 and not short.may_be_age(300_000, enough)
    assert alarms <= 3


@pytest.mark.parametrize(("ttls", "enough"), [([10_000] * 20, 900), ([150_000] * 12, 0)])
def test_keys_that_are_too_short_together(ttls: list[int], enough: int) -> None:
    short = Short()
    for ttl in ttls:
        short.note(ttl, 300_000)
    assert not short.may_be_age(300_000, enough)


def test_where_access_renews_the_ttl_nothing_excuses_a_short_one() -> None:
    (one,) = audited(page((b"session:1", 50_000))).violations
    assert (one.kind, one.may_be_age) == (Kind.TOO_SHORT, False)
    (one,) = audited(page((b"user:1:profile", 290_000))).violations
    assert one.may_be_age


# --- Samples ------------------------------------------------------------------------------------


def test_intervals_hold_as_often_as_promised() -> None:
    """The audit of a sample against that of all keys: 95 % intervals, nearly."""
    rng = random.Random(11)
    names = (b"user:%d:profile", b"session:%d", b"ref:%d", b"other:%d")
    table = []
    for number in range(4000):
        ttl = rng.choice((-1, 30_000, 1_800_000, 1_800_000, 9_000_000))
        table.append((rng.choice(names) % number, ttl))
    truth = audited(page(*table))
    wanted = {(one.rule.name, one.kind): one.keys for one in truth.violations}
    inside = total = 0
    for _ in range(100):
        rows = rng.sample(range(len(table)), 400)
        pages = [
            page(*(table[at] for at in rows[start : start + 20])) for start in range(0, 400, 20)
        ]
        estimate = audit_sample(pages, {"a": Stratum(len(table), 400)}, POLICY)
        assert estimate.drawn == 400
        assert estimate.keys == Estimate(4000, 4000, 4000)
        got = {(one.rule.name, one.kind): one.keys for one in estimate.violations}
        got |= {("", "violating"): estimate.violating, ("", "no rule"): estimate.no_rule}  # type: ignore[dict-item]
        expected = wanted | {("", "violating"): truth.violating, ("", "no rule"): truth.no_rule}
        for place, figure in got.items():
            assert isinstance(figure, Estimate)
            total += 1
            inside += figure.low <= expected[place] <= figure.high  # type: ignore[operator]
    assert total == 100 * 8
    assert inside / total >= 0.93


def test_a_sample_of_more_groups_than_are_kept() -> None:
    names = ["".join(random.Random(n).choices("abcdefgh", k=7)) for n in range(300)]
    pages = [
        page(*((f"any:{n}:{n}".encode(), -1) for n in names[at : at + 30]))
        for at in range(0, 300, 30)
    ]
    audit = TtlAudit(POLICY)
    audit.index.limit = 50
    places = [audit.add(one) for one in pages]
    assert audit.index.capped
    again = TtlAudit(POLICY, audit.index)
    places = [again.add(one) for one in pages]
    estimate = again.estimate(pages, places, {"a": Stratum(600, 300)})
    assert isinstance(estimate.violating, Estimate)
    assert estimate.violating.value == pytest.approx(600)
