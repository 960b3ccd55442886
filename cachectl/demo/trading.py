"""The vocabulary of a trading platform: tickers, ISINs, strategies, ids and trading days.

Each name depends on its index alone, and differs for each index.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TICKERS = _words(
    "AAPL MSFT NVDA AMZN GOOG META TSLA AVGO JPM V MA UNH XOM JNJ WMT PG HD COST ORCL KO PEP "
    "MRK ABBV BAC CVX NFLX AMD CRM ADBE TMO LIN ACN MCD CSCO ABT QCOM INTU TXN IBM GE CAT DIS "
    "NOW VZ PFE GS MS AXP NEE UNP LOW SPGI HON RTX BLK SYK LMT"
)
STRATEGIES = ("momentum", "pairs", "carry", "stat-arb")
SECTORS = ("Technology", "Financials", "Energy", "Health Care", "Industrials", "Utilities")
VENUES = ("XNYS", "XNAS", "XLON", "XETR", "XPAR", "XTKS", "XHKG", "XSWX")
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "HKD", "AUD", "CAD", "SEK", "NOK")
INDICES = ("SPX", "NDX", "DAX", "CAC", "UKX", "SMI", "NKY", "HSI")
CURRENCY_PAIRS = len(CURRENCIES) * (len(CURRENCIES) - 1)
DAYS_OF_HISTORY = 60
_WELL_KNOWN = frozenset(TICKERS)

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_OTHER = 0x5DEE_CE66_D1CE_4E5B
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def scramble(i: int) -> int:
    """Map i to a 64-bit number that looks random and differs for each i (SplitMix64)."""
    i = (i * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK
    i = ((i ^ (i >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    i = ((i ^ (i >> 27)) * 0x94D049BB133111EB) & _MASK
    return i ^ (i >> 31)


def hex_id(i: int) -> str:
    """Return 32 hexadecimal digits."""
    return f"{scramble(i):016x}{scramble(i ^ _OTHER):016x}"


def uuid(i: int) -> str:
    """Return a UUID of version 4."""
    digits = hex_id(i)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def user_id(i: int) -> int:
    """Return a user's number."""
    return 10_001 + i


@lru_cache(maxsize=8192)
def ticker(i: int) -> str:
    """Return a ticker: well-known ones first, then made-up ones of four letters."""
    if i < len(TICKERS):
        return TICKERS[i]
    # The factor shares no divisor with 26, so each number below 26**4 comes once.
    number = i * 75_521 % 26**4
    letters = "".join(_LETTERS[number // 26**place % 26] for place in (3, 2, 1, 0))
    return letters + "X" if letters in _WELL_KNOWN else letters


def isin(i: int) -> str:
    """Return an ISIN of ISO 6166: country, nine digits, and the check digit (Luhn)."""
    body = f"{('US', 'DE', 'GB', 'FR')[i % 4]}{scramble(i) % 10**4:04d}{i:05d}"
    digits = "".join(str(int(char, 36)) for char in body)
    doubled = (
        sum(divmod(2 * int(d), 10)) if place % 2 == 0 else int(d)
        for place, d in enumerate(reversed(digits))
    )
    return f"{body}{-sum(doubled) % 10}"


def strategy(i: int) -> str:
    """Return the name of a strategy; there are a few, in turn."""
    return STRATEGIES[i % len(STRATEGIES)]


def currency_pair(i: int) -> str:
    """Return a pair of two different currencies, of which there are CURRENCY_PAIRS."""
    base, step = divmod(i, len(CURRENCIES) - 1)
    return CURRENCIES[base] + CURRENCIES[(base + 1 + step) % len(CURRENCIES)]


@lru_cache(maxsize=4)
def trading_days(now: int, count: int = DAYS_OF_HISTORY) -> tuple[str, ...]:
    """Return the dates of the last weekdays before now (Unix seconds), newest first."""
    day = datetime.fromtimestamp(now, UTC).date()
    days: list[str] = []
    while len(days) < count:
        day -= timedelta(days=1)
        if day.weekday() < 5:
            days.append(day.isoformat())
    return tuple(days)
