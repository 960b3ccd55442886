"""HTTP services: JSON arrays page by page, or NDJSON as one long answer."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from cachectl.config.manifest import HttpSpec, Network
from cachectl.config.secrets import Secret
from cachectl.sources.bridge import plainly
from cachectl.sources.files import in_pages
from cachectl.sources.interface import SourceError
from cachectl.sources.jsonarray import JsonArray
from cachectl.sources.ndjson import Lines, no_constant, pages_of
from cachectl.sources.paging import Page, missing_package

if TYPE_CHECKING:
    import httpx

    from cachectl.sources.answers import Answer, Client


@dataclass(frozen=True, slots=True)
class HttpPages:
    """The rows of an HttpSpec. networks: loopback and link-local ones that are allowed."""

    spec: HttpSpec
    networks: Sequence[Network]

    def __iter__(self) -> Generator[Page]:
        try:
            import httpx
        except ImportError:
            raise missing_package("httpx", "http") from None
        from cachectl.sources.answers import Client

        # Here, and not in the loop's thread: a secret may ask at the terminal.
        headers = {
            name: held.reveal() if isinstance(held, Secret) else held
            for name, held in self.spec.headers.items()
        }
        url = httpx.URL(self.spec.url).copy_merge_params(dict(self.spec.parameters))

        async def pages() -> AsyncGenerator[Page]:
            async with (
                Client(self.spec, self.networks, headers) as client,
                aclosing(self._pages(client, url)) as found,
            ):
                async for page in found:
                    yield page

        yield from plainly(pages)

    def count(self) -> None:
        """Return None: a service does not say how many rows it has."""

    async def _pages(self, client: Client, url: httpx.URL) -> AsyncGenerator[Page]:
        paging = self.spec.paging
        if self.spec.format == "ndjson":
            answers = self._streamed(client, url)
        elif paging is not None and paging.kind == "page":
            answers = self._counted(client, url)
        else:
            answers = self._linked(client, url)
        async with aclosing(answers):
            async for page in answers:
                yield page

    async def _streamed(self, client: Client, url: httpx.URL) -> AsyncGenerator[Page]:
        longest = self.spec.limits.max_row
        lines = Lines(longest)
        async with aclosing(client.stream(url)) as pieces:
            async for piece in pieces:
                for page in pages_of(lines.feed(piece), longest):
                    yield page
        for page in pages_of(lines.end(), longest):
            yield page

    async def _linked(self, client: Client, url: httpx.URL) -> AsyncGenerator[Page]:
        """Yield the pages of one answer after the other, each of which names the next."""
        paging = self.spec.paging
        seen: set[str] = set()
        following: httpx.URL | None = url
        left = self.spec.limits.max_bytes
        while following is not None:
            seen.add(str(following))
            answer = await client.whole(following)
            left -= len(answer.body)
            if left < 0:
                raise SourceError(f"holds more than max_bytes ({self.spec.limits.max_bytes:,})")
            link = answer.link
            if paging is not None and paging.kind == "next":
                body = _loaded(answer)
                link = _member(body, paging.next_path)
                for page in in_pages(_rows(body, self.spec.root)):
                    yield page
            else:
                for page in self._of(answer):
                    yield page
            following = client.beside(answer.url, link, "goes on") if paging and link else None
            if following is not None and str(following) in seen:
                raise SourceError("has a next page that leads back to one that was read")
            if following is not None and paging is not None and len(seen) >= paging.pages:
                raise SourceError(f"has more than {paging.pages:,} pages", hint="raise `pages:`")

    async def _counted(self, client: Client, url: httpx.URL) -> AsyncGenerator[Page]:
        """Yield the pages by their numbers, several of them being asked for at the same time."""
        paging = self.spec.paging
        assert paging is not None  # noqa: S101 - who calls this has looked
        numbers = takewhile(lambda n: n < paging.first + paging.pages, count(paging.first))
        under_way: deque[asyncio.Task[Answer]] = deque()

        def ask() -> None:
            if (number := next(numbers, None)) is not None:
                asked = url.copy_merge_params({paging.parameter: str(number)})
                later = number > paging.first
                under_way.append(asyncio.ensure_future(client.whole(asked, missing_is_end=later)))

        try:
            ask()
            while under_way:
                answer = await under_way.popleft()
                pages = [] if answer.status == 404 else list(self._of(answer))
                if not any(pages):
                    return
                while len(under_way) < self.spec.concurrency:
                    before = len(under_way)
                    ask()
                    if len(under_way) == before:
                        break
                for page in pages:
                    yield page
            raise SourceError(f"has more than {paging.pages:,} pages", hint="raise `pages:`")
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _of(self, answer: Answer) -> Iterator[Page]:
        body = [answer.body[at : at + 65_536] for at in range(0, len(answer.body), 65_536)]
        yield from in_pages(JsonArray(body, self.spec.root, self.spec.limits.max_row))


def _loaded(answer: Answer) -> Any:
    try:
        return json.loads(answer.body, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise SourceError("is not JSON") from None


def _rows(body: Any, root: str | None) -> Iterator[Any]:
    found = _member(body, root) if root else body
    if not isinstance(found, list):
        raise SourceError(
            f"has no array of rows at `{root}`" if root else "is not an array of rows"
        )
    return iter(found)


def _member(body: Any, path: str) -> Any:
    for step in path.split("."):
        body = body.get(step) if isinstance(body, dict) else None
    return body
