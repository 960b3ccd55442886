"""Other TTLs for keys: what each gets, whatever it has; pure, without a server."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cachectl.actions.planning.changes import TTL_SLACK
from cachectl.actions.planning.registry import change_from_json, change_of, change_to_json
from cachectl.actions.planning.retiming import Bounds, Retime
from cachectl.actions.undoing.putback import PutBack
from cachectl.config.target import Address, Target
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.policy import Policy, Rule, TtlRule
from cachectl.server.topology.connect import open_server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.values.logical import Abilities

NOW = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000
keys = st.binary(max_size=12)
ttls = st.integers(1, 100 * HOUR)


def bounds(presence="required", least=None, most=None, match=b"*", jitter=None):
    rule = Rule("r", (match,), ttl=TtlRule(presence, least, most, jitter=jitter))
    return Bounds.of(rule)


@given(keys, ttls, ttls, st.text(max_size=10))
def test_a_range_is_kept_and_the_same_for_the_same_run(key, one, other, seed):
    least, most = sorted((one, other))
    change = Retime("range", least, most, seed=seed)
    target = change.target(key, NEVER, NOW)
    assert least <= target - NOW <= most
    assert change.target(key, NEVER, NOW) == target


def test_a_wave_is_drawn_apart_evenly():
    """Of 20,000 keys each twentieth of the time gets its share, within five deviations."""
    change = Retime("spread", most=20 * MINUTE, seed="run")
    at = [change.target(b"user:%d" % i, NOW + HOUR, NOW) - NOW - HOUR for i in range(20_000)]
    assert all(0 <= later <= 20 * MINUTE for later in at)
    shares = [sum(1 for later in at if later // MINUTE == minute) for minute in range(20)]
    assert all(abs(share - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5 for share in shares)


@given(keys, ttls, ttls, st.integers(1, 50), st.integers(0, 50))
def test_spreading_stays_within_the_policy(key, left, over, hours, fewer):
    most, least = hours * HOUR, max(0, hours - fewer) * HOUR
    change = Retime(
        "spread", most=over, bounds=(bounds(least=least / 1000, most=most / 1000),), seed="x"
    )
    new = change.target(key, NOW + left, NOW) - NOW
    if left <= most:
        assert new <= most
    assert new >= min(left, least)  # never shortened below the least
    assert new <= max(most, 1) or new <= left
    assert new <= left + over
    if left + over <= most:
        assert new >= left


@given(keys, ttls)
def test_without_a_policy_nothing_expires_earlier(key, left):
    assert Retime("spread", most=MINUTE, seed="x").target(key, NOW + left, NOW) >= NOW + left


def test_keys_without_a_ttl_are_neither_spread_nor_extended():
    for how in ("spread", "extend"):
        assert not Retime(how, MINUTE, MINUTE).wants(b"k", NEVER, NOW)


@given(keys, ttls, ttls)
def test_extending_adds_to_what_there_is(key, left, more):
    assume(more > TTL_SLACK)
    change = Retime("extend", more, more)
    assert change.target(key, NOW + left, NOW) == NOW + left + more
    assert change.wants(key, NOW + left, NOW)


def test_what_is_so_already_is_left_alone():
    assert not Retime("persist").wants(b"k", NEVER, NOW)
    assert Retime("persist").wants(b"k", NOW + 1, NOW)
    assert not Retime("at", at=NOW + HOUR).wants(b"k", NOW + HOUR + 10, NOW)
    assert Retime("at", at=NOW + HOUR).wants(b"k", NEVER, NOW)


@pytest.mark.parametrize(
    ("rule", "left", "between"),
    [
        (bounds("required", 60, 3600), None, (3240, 3600)),  # ten percent below the most
        (bounds("required", 60, 3600), 7200, (3240, 3600)),
        (bounds("required", 60, 3600), 1800, None),
        (bounds("required", 60, 3600), 10, None),  # old, not too short
        (bounds("required", 3500, 3600), 7200, (3500, 3600)),  # never below the least
        (bounds("optional", None, 3600, jitter=0.5), None, None),
        (bounds("optional", None, 3600, jitter=0.5), 7200, (1800, 3600)),
        (bounds("required", 600, None), None, (600, 660)),
        (bounds("required"), None, None),  # which TTL it should be, nobody says
        (bounds("forbidden"), None, None),
        (bounds("forbidden"), 100, "never"),
        (bounds("required", 60, 3600, match=b"other:*"), None, None),
    ],
)
def test_the_policy_is_followed_and_nothing_more(rule, left, between):
    change = Retime("policy", bounds=(rule,), seed="run")
    expires_at = NEVER if left is None else NOW + left * 1000
    target = change.target(b"k", expires_at, NOW)
    assert change.wants(b"k", expires_at, NOW) is (between is not None)
    if between is None:
        return
    if between == "never":
        assert target == NEVER
    else:
        assert between[0] * 1000 <= target - NOW <= between[1] * 1000


def test_the_first_rule_that_fits_counts():
    rules = (bounds("forbidden", match=b"a:*"), bounds("required", 60, 3600))
    change = Retime("policy", bounds=rules, seed="run")
    assert not change.wants(b"a:1", NEVER, NOW)
    assert change.wants(b"b:1", NEVER, NOW)


def test_a_change_survives_run_json():
    import json

    rules = Policy("p", (Rule("r\xff", (b"a:\xff*",), ttl=TtlRule("required", 60, 3600)),)).rules
    for change in (
        Retime("policy", bounds=tuple(map(Bounds.of, rules)), seed="run"),
        Retime("spread", most=5),
        Retime("at", at=NOW),
    ):
        again = change_from_json(json.loads(json.dumps(change_to_json(change))))
        assert again == change
        assert asdict(again) == asdict(change)
    assert change_of("run 7", Retime("spread", most=5)).seed == "run 7"


def test_a_lost_reply_is_told_by_the_ttl():
    change = Retime("range", HOUR, HOUR, seed="run")
    copy = change.archived(KeyCopy(b"k", "string", "ttl", expires_at=NEVER), NOW)
    assert copy.extra == {"to": NOW + HOUR}
    assert change.commands([copy], NOW) == [("PEXPIREAT", b"k", NOW + HOUR)]
    assert change.happened(copy, copy._replace(expires_at=NOW + HOUR + 5), None)
    assert not change.happened(copy, copy, None)
    assert not change.happened(copy, None, None)


def test_undo_removes_no_key_whose_old_ttl_is_over(any_server):
    client = any_server.client()
    client.set("k", "v", pxat=4 * NOW)
    copy = KeyCopy(b"k", "string", "ttl", expires_at=1000, extra={"to": 4 * NOW})
    target = Target("here", addresses=(Address(any_server.host, any_server.port),))
    with open_server(target) as server, Lanes(server) as lanes:
        abilities = Abilities(field_ttls=True, stream_counters=True)
        back = PutBack(lanes, Retime("at", at=4 * NOW), "run", True, abilities, overwrite=True)
        assert back.restore([[copy]]) == [(b"k", ("expired", ""))]
    assert back.overdue == 1
    assert client.get("k") == b"v"
