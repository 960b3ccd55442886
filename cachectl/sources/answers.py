"""One HTTP answer: asked for at a pinned address, held to a deadline and a size, tried again.

Every wait has a deadline for the whole answer, so that a service that sends a byte now and then
does not keep us. A redirect is followed to the same host alone.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import ssl
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from cachectl import __version__
from cachectl.config.manifest import HttpSpec, Network
from cachectl.sources.addresses import resolve
from cachectl.sources.interface import SourceError

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_PIECE = 256 * 1024
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, whatever a service asks for."""
_FIRST_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. url: where it came from in the end; link: its Link header's next."""

    url: httpx.URL
    status: int
    body: bytes
    link: str | None


class TryAgainError(Exception):
    """The attempt failed in a way that may pass. after: seconds that the service asked for."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.after = after


@dataclass(slots=True)
class Client:
    """Asks one service. headers: with the secrets in them."""

    spec: HttpSpec
    networks: Sequence[Network]
    headers: Mapping[str, str]
    _client: httpx.AsyncClient = field(init=False)
    _addresses: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Client:
        ca_file = self.spec.ca_file
        try:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except OSError as error:
            raise SourceError(f"cannot use its ca_file: {error.strerror or error}") from None
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None),
            limits=httpx.Limits(max_connections=self.spec.concurrency),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.aclose()

    async def whole(self, url: httpx.URL, *, missing_is_end: bool = False) -> Answer:
        """Return an answer with its body, after as many attempts as the spec allows.

        missing_is_end: 404 is an answer too. Raises SourceError.
        """

        async def attempt() -> Answer:
            async with asyncio.timeout(self.spec.request_timeout), self._opened(url) as response:
                if missing_is_end and response.status_code == 404:
                    return Answer(url, 404, b"", None)
                _check_status(response)
                async with aclosing(self._pieces(response, self.spec.max_answer)) as pieces:
                    body = b"".join([piece async for piece in pieces])
                link = response.links.get("next", {}).get("url")
                return Answer(url, response.status_code, body, link)

        pauses = _pauses(self.spec.limits.retries)
        while True:
            try:
                return await attempt()
            except TimeoutError:
                again = TryAgainError(f"gave no whole answer in {self.spec.request_timeout:g} s")
            except TryAgainError as error:
                again = error
            except httpx.TransportError as error:
                again = TryAgainError(_said(error))
            pause = next(pauses, None)
            if pause is None:
                tries = (
                    f", {self.spec.limits.retries + 1} times" if self.spec.limits.retries else ""
                )
                raise SourceError(f"{again.what}{tries}", retry_after=again.after)
            await asyncio.sleep(min(pause if again.after is None else again.after, LONGEST_PAUSE))

    async def stream(self, url: httpx.URL) -> AsyncGenerator[bytes]:
        """Yield the pieces of one answer of any length.

        Each piece must come within request_timeout; the source as a whole has its own deadline.
        Raises SourceError, which is retryable when the connection failed.
        """
        deadline = self.spec.request_timeout
        try:
            async with aclosing(self._streamed(url)) as pieces:
                while True:
                    async with asyncio.timeout(deadline):
                        piece = await anext(pieces, None)
                    if piece is None:
                        return
                    yield piece
        except TimeoutError:
            raise SourceError(f"sent nothing for {deadline:g} s", retryable=True) from None
        except TryAgainError as error:
            raise SourceError(error.what, retryable=True, retry_after=error.after) from None
        except httpx.TransportError as error:
            raise SourceError(_said(error), retryable=True) from None

    async def _streamed(self, url: httpx.URL) -> AsyncGenerator[bytes]:
        async with self._opened(url) as response:
            _check_status(response)
            async with aclosing(self._pieces(response, self.spec.limits.max_bytes)) as pieces:
                async for piece in pieces:
                    yield piece

    @asynccontextmanager
    async def _opened(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """Send the request, follow redirects within the host, yield the last answer."""
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._sent(url) as response:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                url = self.beside(url, response.headers.get("location", ""), "redirects")
        raise SourceError(f"redirects more than {_MOST_REDIRECTS} times")

    def beside(self, url: httpx.URL, target: str, what: str) -> httpx.URL:
        """Return where a redirect or a link leads. Raises SourceError when that is another host."""
        try:
            found = url.join(target)
        except (httpx.InvalidURL, ValueError):
            raise SourceError(f"{what} to something that is no URL") from None
        upgrade = (url.scheme, found.scheme) == ("http", "https") and found.port is None
        same_place = (found.host, found.port) == (url.host, url.port) or (
            upgrade and found.host == url.host
        )
        if not same_place or (found.scheme != url.scheme and not upgrade) or found.userinfo:
            raise SourceError(
                f"{what} to another host ({found.host or 'none'})",
                hint="write that host's URL into the manifest, if it is meant",
            )
        return found

    @asynccontextmanager
    async def _sent(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        port = url.port or (443 if url.scheme == "https" else 80)
        if not self._addresses:
            self._addresses = await resolve(url.raw_host.decode("ascii"), port, self.networks)
        headers = {
            "accept": "application/json, application/x-ndjson",
            "accept-encoding": "gzip",
            "user-agent": f"cachectl/{__version__}",
            **self.headers,
            "host": url.netloc.decode("ascii"),
        }
        request = self._client.build_request(
            "GET",
            url.copy_with(host=self._addresses[0]),
            headers=headers,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.ConnectError:
            # The next attempt tries the host's next address.
            self._addresses.append(self._addresses.pop(0))
            raise
        try:
            yield response
        finally:
            await response.aclose()

    async def _pieces(self, response: httpx.Response, most: int) -> AsyncGenerator[bytes]:
        """Yield the body, decompressed, of at most so many bytes. Raises SourceError."""
        too_large = SourceError(f"answers with more than {most:,} bytes")
        if int(_digits(response.headers.get("content-length"))) > most:
            raise too_large
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", ""):
            raise SourceError(f"answers in the encoding {encoding}, which nobody asked for")
        engine = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        got = 0
        async for raw in response.aiter_raw():
            for piece in _inflated(engine, raw) if engine else (raw,):
                got += len(piece)
                if got > most:
                    raise too_large
                yield piece
        if engine and not engine.eof:
            raise TryAgainError("sent gzip data that ends in the middle")


def _inflated(engine: Any, raw: bytes) -> Sequence[bytes]:
    pieces = []
    try:
        while raw and not engine.eof:
            pieces.append(engine.decompress(raw, _PIECE))
            raw = engine.unconsumed_tail
    except zlib.error:
        raise TryAgainError("sent damaged gzip data") from None
    return pieces


def _digits(text: str | None) -> str:
    return text if text and text.isascii() and text.isdigit() and len(text) < 20 else "0"


def _check_status(response: httpx.Response) -> None:
    """Raise TryAgainError or SourceError for what is no success."""
    status = response.status_code
    if status in _PASSING:
        raise TryAgainError(f"answers with HTTP {status}", retry_after(response.headers))
    if status in (401, 403):
        raise SourceError(
            f"answers with HTTP {status}",
            hint="are the `headers:` or `bearer:` of the source right?",
        )
    if not 200 <= status < 300:
        raise SourceError(f"answers with HTTP {status}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110 §10.2.3), or None."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _pauses(retries: int) -> Any:
    """Yield the pauses between attempts: doubling, and never quite the same for two of us."""
    for number in range(retries):
        yield _FIRST_PAUSE * 2**number * (0.5 + random.random() / 2)  # noqa: S311


def _said(error: httpx.TransportError) -> str:
    text = str(error).strip().splitlines()
    detail = f": {text[0].lower()}" if text else ""
    kinds = {
        httpx.ConnectError: "cannot be reached",
        httpx.RemoteProtocolError: "broke off its answer",
    }
    for kind, words in kinds.items():
        if isinstance(error, kind):
            return words + detail
    return f"lost its connection ({type(error).__name__})"
