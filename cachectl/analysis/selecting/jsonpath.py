"""Paths into JSON documents: `$`, `.name`, `['any name']`, `[0]`, `[-1]`, in any sequence.

The part of JSONPath (RFC 9535) that names one place; nothing that searches.
"""

from __future__ import annotations

import json
import re
from typing import Any

Step = str | int
MISSING: Any = object()
"""What `find` returns when the document has no such place (null is a value)."""

_STEP = re.compile(
    r"\.(?P<name>[^.\[\]'\"\s]+)"
    r"|\[(?P<index>-?(?:0|[1-9][0-9]{0,8}))\]"
    r"|\[(?P<quote>['\"])(?P<quoted>(?:(?!(?P=quote)).)*)(?P=quote)\]",
    re.DOTALL,
)


def parse(path: str) -> tuple[Step, ...]:
    """Return the steps from the root: names and indexes. Raises ValueError with a sentence."""
    if not path.startswith("$"):
        raise ValueError("a path into JSON begins with $, like $.items[0].id")
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(
                f"a path into JSON is written like $.items[0].id or $['a b'], "
                f"which {path[at:]!r} does not continue"
            )
        if match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] or match["quoted"] or "")
        at = match.end()
    return tuple(steps)


def find(document: Any, steps: tuple[Step, ...]) -> Any:
    """Return what stands at the path, MISSING when nothing does."""
    for step in steps:
        if isinstance(step, str):
            document = document.get(step, MISSING) if isinstance(document, dict) else MISSING
        elif isinstance(document, list) and -len(document) <= step < len(document):
            document = document[step]
        else:
            return MISSING
        if document is MISSING:
            return MISSING
    return document


def load(text: bytes) -> Any:
    """Return a JSON document, MISSING when the bytes are none (or nested beyond reason)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return MISSING


def says(value: Any, text: str) -> bool:
    """Return whether a scalar of a document is what a person wrote: done, 5, true, null.

    Objects and lists are compared as JSON.
    """
    match value:
        case str():
            return value == text
        case None | bool():
            return json.dumps(value) == text
    try:
        written = json.loads(text)
    except ValueError:
        return False
    return bool(value == written) and not isinstance(written, bool)
