"""What a sample promises: 95 % intervals that hold in 93 to 97 of 100 draws, or nearly."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from cachectl.analysis.estimates import sizes
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.keyspace.sampling import SampledNamespace, SampledSummary, summarise_sample
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page

REPEATS = 300

# namespace, its share of the keys, and the sizes: lognormal with this mu and sigma.
NAMESPACES = (
    (b"user:%d:profile", 0.40, 6, 0.5),
    (b"order:%d", 0.35, 7, 1.0),
    (b"blob:%d", 0.20, 8, 1.5),
    (b"rare:%d", 0.05, 6, 1.0),
)


@dataclass(frozen=True)
class Key:
    name: bytes
    namespace: bytes
    size: int
    ttl: int


def keyspace(draw: random.Random, size: int, *, together: int = 1) -> list[Key]:
    """Keys in the order of their table; up to `together` of a namespace lie side by side."""
    found: list[Key] = []
    while len(found) < size:
        name, _, mu, sigma = draw.choices(NAMESPACES, [share for _, share, _, _ in NAMESPACES])[0]
        # What lies together has or lacks a TTL together, and is alike in size.
        eternal = draw.random() < 0.3
        mu += draw.gauss(0, 0.8) if together > 1 else 0.0
        for _ in range(draw.randint(1, together)):
            bytes_ = int(draw.lognormvariate(mu, sigma)) + 1
            ttl = -1 if eternal else draw.randrange(1, 3_600_000)
            space = name.replace(b"%d", b"{id}")
            found.append(Key(name % len(found), space, bytes_, ttl))
    return found[:size]


def drawn(draw: random.Random, table: list[Key], n: int, count: int, node: str) -> list[Page]:
    """Draw about n keys: places by lot, about `count` keys from each, none twice."""
    pages, seen = [], set()
    while len(seen) < n:
        start = draw.randrange(len(table))
        length = max(round(draw.gauss(count, math.sqrt(count))), 0)
        rows = {at % len(table) for at in range(start, start + length)} - seen
        seen |= rows
        keys = [table[at] for at in rows]
        if keys:
            pages.append(
                Page(
                    node,
                    [key.name for key in keys],
                    ["string"] * len(keys),
                    [key.ttl for key in keys],
                    [key.size for key in keys],
                )
            )
    return pages


def sample(draw: random.Random, tables: list[list[Key]], n: int, count: int) -> SampledSummary:
    pages: list[Page] = []
    strata = {}
    total = sum(map(len, tables))
    for at, table in enumerate(tables):
        own = drawn(draw, table, n * len(table) // total, count, f"n{at}")
        strata[f"n{at}"] = Stratum(len(table), sum(map(len, own)))
        pages += own
    return summarise_sample(pages, strata)


def truths(tables: list[list[Key]]) -> dict[tuple[str, bytes], float]:
    """The figures of all keys, by what they are and of which namespace."""
    keys = [key for table in tables for key in table]
    found: Counter[tuple[str, bytes]] = Counter()
    for key in keys:
        for space in (key.namespace, b""):
            found["keys", space] += 1
            found["bytes", space] += key.size
            found["no_ttl", space] += key.ttl < 0
    ttls = sorted(key.ttl for key in keys if key.ttl > 0)
    return {
        **found,
        **{
            ("bytes_share", n): v / found["bytes", b""]
            for (w, n), v in found.items()
            if w == "bytes"
        },
        ("ttl_p50_ms", b""): ttls[len(ttls) // 2],
        ("ttl_p95_ms", b""): ttls[int(len(ttls) * 0.95)],
    }


@pytest.mark.parametrize(
    ("nodes", "count", "together"),
    [(1, 60, 1), (1, 20, 15), (2, 20, 1)],
    ids=["by hash", "by slot", "two nodes"],
)
def test_intervals_hold_as_often_as_they_promise(nodes: int, count: int, together: int) -> None:
    draw = random.Random(7)
    tables = [keyspace(draw, 20_000, together=together) for _ in range(nodes)]
    truth = truths(tables)
    held: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for _ in range(REPEATS):
        summary = sample(draw, tables, 600, count)
        for space in (summary.whole, *summary.namespaces):
            for (what, name), value in truth.items():
                if name != space.namespace or (what in ("keys", "bytes_share") and not name):
                    continue
                estimate = getattr(space, what)
                tried[what] += 1
                held[what] += estimate.low <= value <= estimate.high
    shares = {what: held[what] / tried[what] for what in tried}
    # 300 draws leave the share itself uncertain by 2.5 %, those of all namespaces by half of that.
    for what, share in shares.items():
        slack = 0.025 if tried[what] == REPEATS else 0.0125
        assert 0.93 - slack <= share <= 0.97 + slack, shares


@pytest.mark.parametrize(
    ("sigma", "keys"), [(0.5, 300), (1.0, 30), (1.0, 300), (1.5, 300), (2.0, 300)]
)
def test_means_of_skewed_sizes_hold(sigma: float, keys: int) -> None:
    draw = random.Random(11)
    truth = math.exp(6 + sigma * sigma / 2)
    held = 0
    for _ in range(REPEATS):
        moments = sizes.Moments()
        moments.add_sizes([int(draw.lognormvariate(6, sigma)) for _ in range(keys)])
        mean = sizes.mean_size(moments, keys, 1.0, moments)
        held += mean.low <= truth <= mean.high
    assert 0.925 <= held / REPEATS <= 0.985


def test_a_sample_of_all_is_exact() -> None:
    draw = random.Random(3)
    table = keyspace(draw, 500)
    page = Page("n", [key.name for key in table], sizes=[key.size for key in table])
    summary = summarise_sample([page], {"n": Stratum(500, 500)})
    assert summary.exact
    assert summary.blind_spot == 0
    truth = truths([table])
    for space in (summary.whole, *summary.namespaces):
        for what in ("keys", "bytes"):
            estimate = getattr(space, what)
            assert estimate.low == pytest.approx(estimate.high)
            assert estimate.value == pytest.approx(truth[what, space.namespace])


def test_what_was_drawn_is_the_least() -> None:
    pages = [Page("n", [b"giant:1"], sizes=[10**9]), Page("n", [b"a:%d" % at for at in range(99)])]
    pages[1].sizes = [100] * 99
    summary = summarise_sample(pages, {"n": Stratum(200, 100)})
    giant = next(space for space in summary.namespaces if space.namespace == b"giant:{id}")
    assert giant.keys.low >= 1
    assert giant.bytes is not None
    assert giant.bytes.low >= 10**9
    assert summary.largest[0].key == b"giant:1"
    assert summary.whole.heavy_tail
    small = next(space for space in summary.namespaces if space.namespace == b"a:{id}")
    assert not small.heavy_tail
    assert small.keys.high <= 199


def test_the_whole_is_known_unless_something_was_left_out() -> None:
    keys = [b"a:%d" % at for at in range(50)]
    summary = summarise_sample([Page("n", keys)], {"n": Stratum(1_000, 50)})
    assert summary.whole.keys == Estimate(1_000, 1_000, 1_000)
    filtered = summarise_sample([Page("n", keys)], {"n": Stratum(1_000, 100)})
    assert filtered.whole.keys.value == 500
    assert filtered.whole.keys.low < 450 < 550 < filtered.whole.keys.high


def test_nodes_with_unequal_samples_are_weighted() -> None:
    pages = [
        Page("n1", [b"a:%d" % at for at in range(100)], ttls=[1_000] * 100, sizes=[10] * 100),
        Page("n2", [b"b:%d" % at for at in range(100)], ttls=[9_000] * 100, sizes=[10] * 100),
    ]
    summary = summarise_sample(pages, {"n1": Stratum(9_000, 100), "n2": Stratum(1_000, 100)})
    values = {space.namespace: space.keys.value for space in summary.namespaces}
    assert values == {b"a:{id}": 9_000, b"b:{id}": 1_000}
    assert summary.whole.bytes is not None
    assert summary.whole.bytes.value == pytest.approx(100_000)
    assert summary.whole.ttl_p50_ms is not None
    assert summary.whole.ttl_p50_ms.value == 1_000
    by_node = summarise_sample(
        pages, {"n1": Stratum(9_000, 100), "n2": Stratum(1_000, 100)}, "node"
    )
    assert [space.keys for space in by_node.namespaces] == [
        Estimate(9_000, 9_000, 9_000),
        Estimate(1_000, 1_000, 1_000),
    ]


def test_too_few_values_bound_no_quantile() -> None:
    def of(n: int) -> SampledNamespace:
        page = Page("n", [b"a:%d" % at for at in range(n)], ttls=list(range(1, n + 1)))
        return summarise_sample([page], {"n": Stratum(10_000, n)}).whole

    assert of(5).ttl_p50_ms is None
    assert of(6).ttl_p50_ms is not None
    assert of(71).ttl_p95_ms is None
    assert of(72).ttl_p95_ms is not None


def test_nothing_drawn() -> None:
    for strata in ({}, {"n": Stratum(0, 0)}, {"n": Stratum(100, 0)}):
        summary = summarise_sample([], strata)
        assert summary.namespaces == ()
        assert summary.whole.sample_keys == 0


def test_depth_and_folding_are_those_of_a_scan() -> None:
    draw = random.Random(5)
    people = [bytes(draw.choices(b"abcdefghijklmnop", k=6)) for _ in range(400)]
    page = Page("n", [b"user:%s:cart" % name for name in people])
    (space,) = summarise_sample([page], {"n": Stratum(9_000, 400)}).namespaces
    assert space.namespace == b"user:{*}:cart"
    (space,) = summarise_sample([page], {"n": Stratum(9_000, 400)}, depth=1).namespaces
    assert space.namespace == b"user:*"
    (space,) = summarise_sample([page], {"n": Stratum(9_000, 400)}, "prefix").namespaces
    assert space.namespace == b"user:*"


def test_a_namespace_may_hide_in_the_blind_spot() -> None:
    """Rule of three: what 3 keys in 1,000 have is drawn in 1,000 draws, 95 times in 100."""
    page = Page("n", [b"a:%d" % at for at in range(1_000)])
    summary = summarise_sample([page], {"n": Stratum(1_000_000, 1_000)})
    assert summary.blind_spot == pytest.approx(3_000, rel=0.01)
    assert summary.coverage == 0.001


def test_more_groups_than_can_live_at_once() -> None:
    draw = random.Random(6)
    pages = []
    for at in range(20):
        names = [bytes(draw.choices(b"abcdefghijklmnop", k=7)) for _ in range(30)]
        keys = [b"%s:%d" % (name, at) for name in names] + [b"big:%d" % (at * 10)]
        pages.append(Page("n", keys, sizes=[10] * 31))
    summary = summarise_sample(pages, {"n": Stratum(6_200, 620)}, limit=100)
    found = {space.namespace: space.keys.value for space in summary.namespaces}
    assert sum(found.values()) == pytest.approx(6_200)
    assert found[b"{*}:{id}"] >= 6_000
    assert summary.folds[0].names >= 100


def test_a_giant_that_was_not_drawn_shows_in_what_the_server_says() -> None:
    page = Page(
        "n", [b"a:%d" % at for at in range(1_000)], sizes=[90 + at % 20 for at in range(1_000)]
    )
    strata = {"n": Stratum(100_001, 1_000)}
    giant = 50_000_000
    summary = summarise_sample([page], strata, dataset_bytes=9_000_000 + giant)
    assert summary.unexplained_bytes is not None
    assert giant * 0.95 < summary.unexplained_bytes < giant
    assert summarise_sample([page], strata, dataset_bytes=9_000_000).unexplained_bytes == 0
    assert summarise_sample([page], strata).unexplained_bytes is None
