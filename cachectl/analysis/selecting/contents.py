"""Conditions on values: which keys of a page hold what they ask for, once it has been read.

Reading is the business of whoever talks to the server; here is decided what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cachectl.analysis.selecting import jsonpath
from cachectl.analysis.selecting.selection import Condition
from cachectl.model.keys import Page

Read = Callable[[str, Sequence[bytes], Condition], Sequence[bytes | None]]
"""(node, keys, condition) → the content that the condition is about, for each key: a field of a
hash, or a whole string. None: there is none, or it could not be read."""


def holding(conditions: Iterable[Condition], read: Read) -> Callable[[Page], Page]:
    """Return a filter of pages that keeps the keys whose values fulfil all conditions.

    A key that has no such field, no such place in its JSON, or could not be read fulfils no
    condition, negated or not: what is not known must not be removed.
    """
    tests = [(condition, _test(condition)) for condition in conditions]

    def chosen(page: Page) -> Page:
        for condition, holds in tests:
            if not page.keys:
                break
            wanted = not condition.negated
            contents = read(page.node, page.keys, condition)
            answers = [None if content is None else holds(content) for content in contents]
            page = page.take([i for i, answer in enumerate(answers) if answer is wanted])
        return page

    return chosen


def _test(condition: Condition) -> Callable[[bytes], bool | None]:
    if condition.subject == "field":
        return lambda content: content == condition.value
    steps = jsonpath.parse(condition.path)
    assert isinstance(condition.value, bytes)  # noqa: S101 - by parse_condition
    text = condition.value.decode("utf-8", "surrogateescape")

    def holds(content: bytes) -> bool | None:
        document = jsonpath.load(content)
        found = jsonpath.MISSING if document is jsonpath.MISSING else jsonpath.find(document, steps)
        return None if found is jsonpath.MISSING else jsonpath.says(found, text)

    return holds
