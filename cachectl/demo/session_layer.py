"""The session layer: who is logged in, and what they prefer."""

from __future__ import annotations

from cachectl.demo import entries, trading
from cachectl.demo.encodings import as_json, as_jwt, as_pickle
from cachectl.demo.entries import Value
from cachectl.demo.families import DAY, HOUR, MINUTE, Family, World
from cachectl.demo.trading import ticker, user_id


def _session(i: int, world: World) -> Value:
    random = world.random
    session = {
        "user": user_id(random.randrange(20_000)),
        "created": world.now - random.randrange(1800),
        "ip": f"10.{random.randrange(64)}.{random.randrange(256)}.{random.randrange(1, 255)}",
        "csrf": f"{random.getrandbits(128):032x}",
        "roles": ["trader"] if i % 9 else ["trader", "risk"],
        "last_view": f"/portfolio/{random.randrange(1, 8000)}",
    }
    return entries.string(as_json(session))


def _prefs(i: int, world: World) -> Value:
    random = world.random
    return entries.hash_of(
        {
            "theme": ("dark", "light")[i % 2],
            "locale": random.choice(("en-US", "en-GB", "de-DE", "fr-FR", "ja-JP")),
            "currency": random.choice(trading.CURRENCIES),
            "layout": random.choice(("grid", "blotter", "charts")),
            "alerts": random.randrange(12),
        }
    )


def _recent(i: int, world: World) -> Value:
    del i
    count = world.random.randint(3, 20)
    return entries.list_of(ticker(world.random.randrange(900)) for _ in range(count))


def _watchlist(i: int, world: World) -> Value:
    del i
    chosen = world.random.sample(range(900), world.random.randint(4, 40))
    return entries.set_of(ticker(number) for number in chosen)


def _token(i: int, world: World) -> Value:
    claims = {"sub": str(user_id(i)), "exp": world.now + 900, "scope": "trade read"}
    return entries.string(as_jwt(claims, world.random))


def _refresh(i: int, world: World) -> Value:
    token = {"user_id": user_id(i), "device": f"{world.random.getrandbits(48):012x}", "uses": i % 7}
    return entries.string(as_pickle(token))


SESSIONS = Family(
    "session:{hex}",
    "session",
    lambda i, _: f"session:{trading.hex_id(i)}",
    _session,
    (5 * MINUTE, 30 * MINUTE),
    share=0,  # as many as are missing from the whole
    idle=(0, 25 * MINUTE),
    distinct=400,
)
RATES = Family(
    "rate:api:{id}",
    "session",
    lambda i, _: f"rate:api:{user_id(i)}",
    lambda _, world: entries.string(world.random.randint(1, 600)),
    (MINUTE, 5 * MINUTE),
    share=20,
    distinct=50,
)

FAMILIES: tuple[Family, ...] = (
    Family(
        "user:{id}:prefs",
        "session",
        lambda i, _: f"user:{user_id(i)}:prefs",
        _prefs,
        (4 * HOUR, DAY),
        share=60,
        idle=(0, 8 * HOUR),
        distinct=200,
    ),
    Family(
        "user:{id}:recent",
        "session",
        lambda i, _: f"user:{user_id(i)}:recent",
        _recent,
        (4 * HOUR, DAY),
        share=30,
        idle=(0, 8 * HOUR),
        distinct=150,
    ),
    Family(
        "user:{id}:watchlist",
        "session",
        lambda i, _: f"user:{user_id(i)}:watchlist",
        _watchlist,
        (4 * HOUR, DAY),
        share=30,
        idle=(0, 8 * HOUR),
        distinct=150,
    ),
    Family(
        "auth:token:{uuid}",
        "session",
        lambda i, _: f"auth:token:{trading.uuid(i)}",
        _token,
        (5 * MINUTE, 15 * MINUTE),
        share=50,
        idle=(0, 10 * MINUTE),
        distinct=200,
    ),
    Family(
        "auth:refresh:{hex}",
        "session",
        lambda i, _: f"auth:refresh:{trading.hex_id(i + 2**32)}",
        _refresh,
        (12 * HOUR, DAY),
        share=30,
        idle=(0, 10 * HOUR),
        distinct=150,
    ),
    RATES,
)
"""All but SESSIONS, which fills the cache up to its size."""
