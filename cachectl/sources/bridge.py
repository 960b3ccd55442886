"""An asynchronous generator, read by code that is not: it runs in a thread with its own loop.

Only there can every wait have a deadline, that for a name to be resolved too, and what was begun be
ended when the reader goes away.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_AHEAD = 2
"""Items that may wait to be taken; then the generator waits."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def plainly(make: Callable[[], AsyncGenerator[T]]) -> Generator[T]:
    """Yield what the generator that `make` returns yields; raise what it raises.

    Closing this one cancels that one and waits for its end.
    """
    items: queue.SimpleQueue[_Item[T] | _End] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    room = asyncio.Semaphore(_AHEAD)

    async def produce() -> None:
        async with aclosing(make()) as generator:
            async for value in generator:
                await room.acquire()
                items.put(_Item(value))

    def run() -> None:
        asyncio.set_event_loop(loop)
        error: BaseException | None = None
        try:
            loop.run_until_complete(task)
        except BaseException as caught:
            error = caught
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            items.put(_End(error))

    task = loop.create_task(produce())
    thread = threading.Thread(target=run, name="source", daemon=True)
    thread.start()
    ended = False
    try:
        while True:
            item = items.get()
            if isinstance(item, _End):
                ended = True
                if item.error is not None:
                    raise item.error
                return
            _call(loop, room.release)
            yield item.value
    finally:
        if not ended:
            _call(loop, task.cancel)
        thread.join()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Have the loop's thread call a function, unless it has just ended by itself."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
