"""A secret: where it comes from, and how it stays out of every output.

The text is fetched when it is needed, once, and is never part of a repr, an error or a report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn


class Secret:
    """A password that is fetched on first use and shown nowhere.

    origin: a phrase for people (`environment variable CACHE_PASSWORD`); fetch: returns the text,
    raises ConfigError or RefusedError when it can't be had. Threads that log in at the same time
    fetch it once, so that one person is asked one time.
    """

    __slots__ = ("_fetch", "_lock", "_text", "origin")

    def __init__(self, origin: str, fetch: Callable[[], str]) -> None:
        self.origin = origin
        self._fetch = fetch
        self._text: str | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, text: str, origin: str = "given") -> Secret:
        """Return a secret whose text is already known."""
        return cls(origin, lambda: text)

    def reveal(self) -> str:
        """Return the text. Only the code that logs in calls this."""
        with self._lock:
            if self._text is None:
                self._text = self._fetch()
            return self._text

    def forget(self) -> None:
        """Fetch the text anew next time: a token that a command printed may have expired."""
        with self._lock:
            self._text = None

    def __repr__(self) -> str:
        return f"<secret from {self.origin}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")
