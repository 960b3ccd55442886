"""Asking several nodes at once, without threads that outlive a Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from cachectl.errors import AuthenticationError, CachectlError

T = TypeVar("T")

HEAD_START = 0.5
"""Seconds that the first of several equals has before the next one is asked as well."""


def run_all(calls: Sequence[Callable[[], T]]) -> list[T | CachectlError]:
    """Run all calls at once; return their results, or the error each one raised, in order.

    Any other exception is a defect, and raised here.
    """
    if len(calls) == 1:
        return [_attempt(calls[0])]
    results: queue.SimpleQueue[tuple[int, T | BaseException]] = queue.SimpleQueue()
    for index, call in enumerate(calls):
        _start(call, partial(_put, results, index))
    found: dict[int, T | CachectlError] = {}
    while len(found) < len(calls):
        index, result = results.get()
        if isinstance(result, BaseException) and not isinstance(result, CachectlError):
            raise result
        found[index] = result
    return [found[index] for index in range(len(calls))]


def first_of(
    calls: Sequence[Callable[[], T]], discard: Callable[[T], None] = lambda _: None
) -> T | list[CachectlError]:
    """Return the first result of any call, or all the errors when none has one.

    The calls are made in turn; when one has not come back after HEAD_START seconds the next is
    made besides, so that a dead one costs little. A refused login is raised at once: the others
    would refuse it too, and each attempt is noted on the server. discard: gets results that came
    too late.
    """
    arrived: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
    settled = threading.Event()
    lock = threading.Lock()

    def deliver(result: T | BaseException) -> None:
        with lock:
            if not settled.is_set():
                arrived.put(result)
                return
        if not isinstance(result, BaseException):
            discard(result)

    waiting, running, errors = list(calls), 0, list[CachectlError]()
    try:
        while waiting or running:
            if waiting:
                _start(waiting.pop(0), deliver)
                running += 1
            try:
                result = arrived.get(timeout=HEAD_START if waiting else None)
            except queue.Empty:
                continue
            running -= 1
            if isinstance(result, CachectlError) and not isinstance(result, AuthenticationError):
                errors.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                return result
        return errors
    finally:
        with lock:
            settled.set()
        while not arrived.empty():
            late = arrived.get()
            if not isinstance(late, BaseException):
                discard(late)


def _put(results: queue.SimpleQueue[tuple[int, T]], index: int, result: T) -> None:
    results.put((index, result))


def _attempt(call: Callable[[], T]) -> T | CachectlError:
    try:
        return call()
    except CachectlError as error:
        return error


def _start(call: Callable[[], T], deliver: Callable[[T | BaseException], None]) -> None:
    def run() -> None:
        try:
            result: T | BaseException = call()
        except BaseException as error:
            result = error
        deliver(result)

    threading.Thread(target=run, name="ask a node", daemon=True).start()
