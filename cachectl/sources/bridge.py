"""Generators that run in a thread of their own, so that waiting for them can have an end.

`plainly` runs an asynchronous one with its own loop: every wait in it can have a deadline, that for
a name to be resolved too. `patiently` runs one that blocks, such as a database's driver: it cannot
be ended from outside, but nobody has to wait for it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Items = queue.SimpleQueue["_Item[T] | _End"]

_AHEAD = 2
"""Items that may wait to be taken; then the generator waits."""
_FAREWELL = 2.0
"""Seconds that a generator which blocks has to end when its reader goes away."""


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
    items: Items[T] = queue.SimpleQueue()
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


def patiently(make: Callable[[], Generator[T]], patience: float) -> Generator[T]:
    """Yield what the generator that `make` returns yields; raise what it raises.

    It goes ahead by a few items. patience: seconds to wait for an item. Raises TimeoutError when
    none came, and leaves the thread to itself. Closing this one closes that one, when it is not
    stuck.
    """
    items: Items[T] = queue.SimpleQueue()
    room = threading.Semaphore(_AHEAD)
    leaving = threading.Event()

    def run() -> None:
        error: BaseException | None = None
        try:
            with closing(make()) as generator:
                for value in generator:
                    items.put(_Item(value))
                    room.acquire()
                    if leaving.is_set():
                        break
        except BaseException as caught:
            error = caught
        items.put(_End(error))

    thread = threading.Thread(target=run, name="source", daemon=True)
    thread.start()
    is_stuck = False
    try:
        while True:
            try:
                item = items.get(timeout=patience)
            except queue.Empty:
                is_stuck = True
                raise TimeoutError from None
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item.value
            room.release()
    finally:
        leaving.set()
        room.release()
        if not is_stuck:
            thread.join(_FAREWELL)
