"""TTLs of a manifest's keys: within what was asked for, spread, and the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warmable import entry, manifest

from cachectl.actions.warming.lifetimes import Lifetimes, lifetimes_of, place
from cachectl.config.manifest import Ttl
from cachectl.errors import ConfigError
from cachectl.model.changes import NEVER
from cachectl.policy import Policy, Tier
from cachectl.sources.rendered import Rendered

NOW = 1_800_000_000_000


def rendered(ttl, ttls=None, count=1000):
    one = entry(ttl=ttl)
    keys = [b"key:%d" % i for i in range(count)]
    return one, Rendered(one, keys, [b"v"] * count, list(range(1, count + 1)), ttls)


def left(ttl, ttls=None, policy=None):
    one, keys = rendered(ttl, ttls)
    return [at - NOW for at in Lifetimes.of(one, policy).expiries(keys, NOW)]


@given(key=st.binary(), low=st.integers(1, 10**9), span=st.integers(0, 10**9))
def test_a_place_is_within_its_range_and_stays(key, low, span):
    found = place(key, (low, low + span))
    assert low <= found <= low + span
    assert found == place(key, (low, low + span))


@pytest.mark.parametrize(
    ("ttl", "low", "high"),
    [
        (Ttl("range", 100, 100, 0.1), 90_000, 100_000),
        (Ttl("range", 100, 200, 0.0), 100_000, 200_000),
        (Ttl("tier", tier="high"), 60_000, 300_000),
        (Ttl("at", at=NOW / 1000 + 50, jitter=0.2), 40_000, 50_000),
    ],
)
def test_ttls_fill_their_range_evenly(ttl, low, high):
    found = left(ttl)
    assert low <= min(found)
    assert max(found) <= high
    quarter = (high - low) / 4
    counts = [0] * 4
    for one in found:
        counts[min(3, int((one - low) / quarter))] += 1
    assert all(190 < count < 310 for count in counts), counts


def test_a_column_says_it_key_by_key():
    found = left(Ttl("column", jitter=0.5, column="t"), [NEVER, *[10_000] * 999])
    assert found[0] == NEVER - NOW
    assert min(found[1:]) >= 5_000
    assert max(found[1:]) <= 10_000


def test_never_is_never():
    assert set(left(Ttl("never"))) == {NEVER - NOW}


def test_a_time_that_is_over_gives_no_key():
    one, keys = rendered(Ttl("at", at=NOW / 1000 - 1))
    assert set(Lifetimes.of(one, None).expiries(keys, NOW)) == {
        "expired before it could be written"
    }


def test_tiers_are_those_of_the_policy_where_there_is_one():
    policy = Policy("p", (), (Tier("weekly", 600_000, 700_000),))
    assert min(left(Ttl("tier", tier="weekly"), policy=policy)) >= 600_000_000
    with pytest.raises(ConfigError, match="no tier 'high'"):
        left(Ttl("tier", tier="high"), policy=policy)


def test_no_ttl_and_no_policy_is_an_invalid_manifest():
    with pytest.raises(ConfigError, match=r"test.yaml, line 1.*how long"):
        lifetimes_of(manifest(entry(ttl=Ttl("policy"))), None)
