"""The application layer: market data, portfolios, results, API responses, work under way."""

from __future__ import annotations

from cachectl.demo import entries, trading
from cachectl.demo.encodings import as_gzip, as_json, as_msgpack
from cachectl.demo.entries import Value
from cachectl.demo.families import DAY, HOUR, MINUTE, Family, World, price
from cachectl.demo.trading import ticker


def quote(i: int, world: World) -> Value:
    """Return the quote of a ticker, as a hash."""
    bid = price(world.random)
    return entries.hash_of(
        {
            "symbol": ticker(i),
            "bid": bid,
            "ask": round(bid * 1.0004, 2),
            "volume": world.random.randrange(1_000, 5_000_000),
            "ts": world.now * 1000 + world.random.randrange(1000),
        }
    )


def book(i: int, world: World) -> Value:
    """Return an order book: orders by price."""
    del i
    middle = price(world.random)
    count = world.random.randint(20, 60)
    return entries.sorted_set(
        {
            f"{'B' if level < count // 2 else 'S'}{world.random.randrange(10**8):08d}": round(
                middle + (level - count / 2) / 100, 2
            )
            for level in range(count)
        }
    )


def portfolio_value(i: int, world: World) -> Value:
    """Return what a portfolio is worth, as JSON."""
    value = round(world.random.lognormvariate(12, 1), 2)
    worth = {
        "portfolio": 1 + i,
        "value": value,
        "currency": trading.CURRENCIES[i % 4],
        "day_change": round(world.random.gauss(0, value / 100), 2),
        "as_of": world.now - world.random.randrange(300),
    }
    return entries.string(as_json(worth))


def _positions(i: int, world: World) -> Value:
    del i
    chosen = world.random.sample(range(900), world.random.randint(3, 30))
    return entries.hash_of({ticker(n): world.random.randint(-500, 5000) for n in chosen})


def _result(i: int, world: World) -> Value:
    random = world.random
    result = {
        "strategy": trading.strategy(i),
        "sharpe": random.gauss(1.1, 0.6),
        "drawdown": random.random() / 4,
        "signals": [[ticker(random.randrange(900)), random.gauss(0, 1)] for _ in range(12)],
        "converged": random.random() < 0.9,
        "ran_at": world.now - random.randrange(3600),
    }
    return entries.string(as_msgpack(result))


def _orders(world: World, count: int) -> bytes:
    random = world.random
    orders = [
        {
            "id": trading.uuid(random.getrandbits(40)),
            "symbol": ticker(random.randrange(900)),
            "side": random.choice(("buy", "sell")),
            "quantity": random.randrange(1, 50) * 100,
            "price": price(random),
            "status": random.choice(("new", "filled", "partial", "cancelled")),
        }
        for _ in range(count)
    ]
    return as_json({"page": 1, "items": orders})


def _api_orders(i: int, world: World) -> Value:
    del i
    return entries.string(as_gzip(_orders(world, world.random.randint(5, 40))))


def _api_positions(i: int, world: World) -> Value:
    del i
    return entries.string(_orders(world, world.random.randint(2, 6)))


def _rank(i: int, world: World) -> Value:
    del i
    return entries.sorted_set(
        {f"portfolio:{1 + n}": round(world.random.gauss(0, 4), 3) for n in range(50)}
    )


def _queue(i: int, world: World) -> Value:
    jobs = ({"job": "var", "portfolio": world.random.randrange(1, 8000)} for _ in range(40 + i))
    return entries.list_of(as_json(job) for job in jobs)


def order(world: World) -> dict[str, str | int | float]:
    """Return one order, as an entry of a stream."""
    return {
        "symbol": ticker(world.random.randrange(200)),
        "side": world.random.choice(("buy", "sell")),
        "quantity": world.random.randrange(1, 50) * 100,
        "price": price(world.random),
    }


def _stream(i: int, world: World) -> Value:
    groups = {"risk": 20 + 30 * i, "settlement": 400}
    first = (world.now - 60) * 1000
    return entries.stream(first, (order(world) for _ in range(500)), groups)


def _rank_key(i: int, world: World) -> str:
    days = trading.trading_days(world.now)
    return f"rank:{trading.strategy(i)}:{days[i // len(trading.STRATEGIES)]}"


QUOTES = Family(
    "md:quote:{ticker}",
    "application",
    lambda i, _: f"md:quote:{ticker(i)}",
    quote,
    (MINUTE, 5 * MINUTE),
    share=15,
)
BOOKS = Family(
    "md:book:{ticker}",
    "application",
    lambda i, _: f"md:book:{ticker(i)}",
    book,
    (MINUTE, 5 * MINUTE),
    share=10,
    distinct=90,
)
PORTFOLIO_VALUES = Family(
    "portfolio:{id}:value",
    "application",
    lambda i, _: f"portfolio:{1 + i}:value",
    portfolio_value,
    (5 * MINUTE, HOUR),
    share=70,
)
API_ORDERS = Family(
    "api:v1:orders:{uuid}",
    "application",
    lambda i, _: f"api:v1:orders:{trading.uuid(i)}",
    _api_orders,
    (MINUTE, HOUR),
    share=60,
    idle=(0, 30 * MINUTE),
    distinct=150,
)
STREAMS = Family(
    "stream:orders:{id}",
    "application",
    lambda i, _: f"stream:orders:{i}",
    _stream,
    None,
    number=8,
)
QUEUES = Family(
    "queue:risk:{id}", "application", lambda i, _: f"queue:risk:{i}", _queue, None, number=12
)

FAMILIES: tuple[Family, ...] = (
    QUOTES,
    BOOKS,
    PORTFOLIO_VALUES,
    Family(
        "portfolio:{id}:positions",
        "application",
        lambda i, _: f"portfolio:{1 + i}:positions",
        _positions,
        (5 * MINUTE, HOUR),
        share=50,
        idle=(0, 30 * MINUTE),
        distinct=150,
    ),
    Family(
        "strategy:{name}:result:{id}",
        "application",
        lambda i, _: f"strategy:{trading.strategy(i)}:result:{5001 + i}",
        _result,
        (15 * MINUTE, HOUR),
        share=70,
        idle=(0, 30 * MINUTE),
        # A multiple of the number of strategies, so that names and values agree.
        distinct=36 * len(trading.STRATEGIES),
    ),
    API_ORDERS,
    Family(
        "api:v1:positions:{uuid}",
        "application",
        lambda i, _: f"api:v1:positions:{trading.uuid(i + 2**33)}",
        _api_positions,
        (MINUTE, HOUR),
        share=50,
        idle=(0, 30 * MINUTE),
        distinct=150,
    ),
    Family(
        "rank:{name}:{date}",
        "application",
        _rank_key,
        _rank,
        (HOUR, DAY),
        share=2,
        most=len(trading.STRATEGIES) * trading.DAYS_OF_HISTORY,
        distinct=40,
    ),
    QUEUES,
    STREAMS,
)
