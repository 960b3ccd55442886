"""The shared layer: reference data and price history, good for hours."""

from __future__ import annotations

from cachectl.demo import entries, trading
from cachectl.demo.encodings import as_gzip
from cachectl.demo.entries import Value
from cachectl.demo.families import DAY, HOUR, Family, World, price
from cachectl.demo.trading import ticker


def _instrument(i: int, world: World) -> Value:
    return entries.hash_of(
        {
            "ticker": ticker(i),
            "venue": trading.VENUES[i % len(trading.VENUES)],
            "sector": trading.SECTORS[i % len(trading.SECTORS)],
            "currency": trading.CURRENCIES[i % len(trading.CURRENCIES)],
            "lot": (1, 10, 100)[i % 3],
            "tick": "0.01",
            "listed": 1980 + world.random.randrange(45),
        }
    )


def _history(i: int, world: World) -> Value:
    del i
    at = price(world.random)
    lines = ["time,open,high,low,close,volume"]
    for minute in range(0, 390, 15):
        step = world.random.gauss(0, at / 400)
        time = f"{9 + (30 + minute) // 60:02d}:{(30 + minute) % 60:02d}"
        high, low = max(at, at + step), min(at, at + step)
        volume = world.random.randrange(90_000)
        lines.append(f"{time},{at:.2f},{high:.2f},{low:.2f},{at + step:.2f},{volume}")
        at += step
    return entries.string(as_gzip("\n".join(lines).encode()))


def _history_key(i: int, world: World) -> str:
    number, day = divmod(i, trading.DAYS_OF_HISTORY)
    return f"hist:{ticker(number)}:{trading.trading_days(world.now)[day]}"


def _fx(i: int, world: World) -> Value:
    del i
    return entries.string(round(world.random.lognormvariate(0, 0.5), 5))


def _holidays(i: int, world: World) -> Value:
    del i
    days = trading.trading_days(world.now)
    return entries.set_of(world.random.sample(days, 9))


def _members(i: int, world: World) -> Value:
    return entries.set_of(ticker(n) for n in range(40 * i, 40 * i + world.random.randint(40, 500)))


HISTORY = Family(
    "hist:{ticker}:{date}",
    "shared",
    _history_key,
    _history,
    (4 * HOUR, DAY),
    share=110,
    idle=(0, 16 * HOUR),
    distinct=200,
)

FAMILIES: tuple[Family, ...] = (
    Family(
        "ref:instrument:{isin}",
        "shared",
        lambda i, _: f"ref:instrument:{trading.isin(i)}",
        _instrument,
        (4 * HOUR, DAY),
        share=60,
        idle=(0, 12 * HOUR),
        distinct=400,
    ),
    HISTORY,
    Family(
        "fx:rate:{pair}",
        "shared",
        lambda i, _: f"fx:rate:{trading.currency_pair(i)}",
        _fx,
        (HOUR, 4 * HOUR),
        number=trading.CURRENCY_PAIRS,
    ),
    Family(
        "cal:holidays:{venue}",
        "shared",
        lambda i, _: f"cal:holidays:{trading.VENUES[i]}",
        _holidays,
        (12 * HOUR, DAY),
        number=len(trading.VENUES),
    ),
    Family(
        "ref:index:{name}",
        "shared",
        lambda i, _: f"ref:index:{trading.INDICES[i]}",
        _members,
        (12 * HOUR, DAY),
        number=len(trading.INDICES),
    ),
)
