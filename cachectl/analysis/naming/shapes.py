"""The fast way from a key to its template: by the shape of its name.

A shape is a name with every digit made a zero, which one call in C does. Nearly all names of a
namespace with numeric ids have one of a few shapes, and the template follows from the shape: two
dictionary look-ups a key. Where some digits do matter (`v2`, or ten digits that may be a time),
the shape leads to a Variant, which looks at just those. Digests and UUIDs have a shape each: one
regular expression over the page masks them, and what is left is a shape again. Names with folded
words, and whatever is new, go down the tree of labels, part by part; what that does not
understand, templates.labels does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import repeat
from operator import itemgetter

from cachectl.analysis.naming import templates
from cachectl.analysis.naming.groups import DEFAULT_LIMIT, GroupIndex
from cachectl.analysis.naming.labeltree import Node, folded_name
from cachectl.analysis.naming.templates import MAX_SEGMENTS, Labels
from cachectl.keypatterns import DIGEST_MASK, UUID_MASK, masked
from cachectl.model.keys import Page

_ZEROS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_MAX_SHAPES = 32_768
_MAX_VARIANTS = 1_024
# Templates with these come from names whose shapes do not repeat: to remember them is a waste.
_UNREPEATED = re.compile(rb"\{(?:hex|uuid|token|email|binary|\*)\}").search

_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DIGEST = rb"(?=[0-9]*[a-f])[0-9a-f]{16,128}"
_QUICK = re.compile(
    rb"(" + _UUID + rb")|(" + _DIGEST + rb")|([0-9]{1,7})"
    # Words that are their own label: too short to be a digest or drawn by lot.
    rb"|([A-Za-z][A-Za-z_]{0,14}|[A-Za-z]{1,11}[0-9]{1,4})"
).fullmatch
_QUICK_LABELS = (b"", b"{uuid}", b"{hex}", b"{id}")
_NUMBER, _WORD = 3, 4
_CUT_ELSEWHERE = re.compile(rb"[/|;]").search
_SEPARATOR = re.compile(rb"[:/|;]")
_DIGIT = re.compile(rb"[0-9]").search
_LONGEST_PART = 64


class TemplateIndex(GroupIndex):
    """Groups keys by the template of their name, with words that vary folded."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._plain = _Memory()
        self._masked = _Memory()

    def gids(self, page: Page) -> list[int]:
        """Return the gid of every key of a page."""
        keys = page.keys
        shapes = list(map(bytes.translate, keys, repeat(_ZEROS)))
        found = list(map(self._plain.gid_of.get, shapes))
        if None not in found:
            return found  # type: ignore[return-value]
        late = []
        for at, gid in enumerate(found):
            if gid is None:
                found[at] = gid = self._plain.look(keys[at], shapes[at])
                if gid is None:
                    late.append(at)
        texts = masked([keys[at] for at in late])
        text_shapes = map(bytes.translate, texts, repeat(_ZEROS))
        for at, text, shape in zip(late, texts, text_shapes, strict=True):
            key = keys[at]
            memory = self._plain if text == key else self._masked
            # A key of this page may just have been remembered.
            gid = memory.gid_of.get(shape)
            if gid is None:
                gid = memory.look(text, shape)
            if gid is None:
                gid, repeats = self._descend(key)
                if gid < 0 or (repeats and (memory is self._masked or b"0" in shape)):
                    gid, path = self.resolve(templates.labels(key))
                    memory.remember(text, shape, gid, path)
            found[at] = gid
        return found  # type: ignore[return-value]

    def _descend(self, key: bytes) -> tuple[int, bool]:
        """Return the gid of a name whose group is known, or -1, and whether its shape may recur."""
        parts = key.split(b":", MAX_SEGMENTS)
        if len(parts) > MAX_SEGMENTS:
            return -1, False
        node = self.root
        last = parts.pop()
        if not parts and not last.isalnum():
            return -1, False  # a name without separators may be cut at its underscores
        repeats = True
        for part in parts:
            kid = node.kids.get(part + b":")
            if kid is None:
                kid, again = _kid_of_varying(node, part, b":")
                if kid is None:
                    return -1, False
                repeats = repeats and again
            node = kid
        kid = node.kids.get(last)
        if kid is None:
            kid, again = _kid_of_varying(node, last, b"")
            repeats = repeats and again
        return (-1 if kid is None else kid.gid), repeats

    def _reset_caches(self) -> None:
        self._plain.forget()
        self._masked.forget()


def _kid_of_varying(node: Node, part: bytes, end: bytes) -> tuple[Node | None, bool]:
    """Return the node for a part that is no label itself, and whether its shape may recur."""
    match = _QUICK(part)
    if match is None:
        if _CUT_ELSEWHERE(part) or len(part) > _LONGEST_PART:
            return None, False
        name = templates.label(part) + end
        kid = node.kids.get(name)
    else:
        kind: int = match.lastindex  # type: ignore[assignment]
        if kind != _WORD:
            return node.kids.get(_QUICK_LABELS[kind] + end), True
        name, kid = part + end, None
    if kid is None and node.rules:
        star = b"{*}" + end
        # Most often words fold here and nothing else does: then all but placeholders do.
        sole = len(node.rules) == 1 and (star, "word") in node.rules and b"{" not in name
        name = star if sole else folded_name(node.rules, name)
        kid = node.kids.get(name)
    return kid, not _UNREPEATED(name)


class _Memory:
    """The groups that shapes lead to; at most _MAX_SHAPES shapes and _MAX_VARIANTS for each."""

    def __init__(self) -> None:
        self.gid_of: dict[bytes, int] = {}
        self._variants: dict[bytes, _Variant] = {}

    def look(self, text: bytes, shape: bytes) -> int | None:
        """Return the gid of a name in whose shape some digits decide, if it is known."""
        variant = self._variants.get(shape)
        return None if variant is None else variant.gid_of.get(variant.look(text))

    def remember(self, text: bytes, shape: bytes, gid: int, path: Labels) -> None:
        """Let the shape lead to this group, if shapes like it will come again."""
        template = b"".join(path)
        uuids, digests = shape.count(UUID_MASK), shape.count(DIGEST_MASK)
        bare = template.replace(b"{uuid}", b"", uuids).replace(b"{hex}", b"", digests)
        if _UNREPEATED(bare):
            return
        if len(self.gid_of) + len(self._variants) >= _MAX_SHAPES:
            self.forget()
        words, numbers = deciding_digits(shape, path)
        if not words and not numbers:
            if uuids or digests or b"0" in shape:
                self.gid_of[shape] = gid
            return
        variant = self._variants.get(shape)
        if variant is None or len(variant.gid_of) >= _MAX_VARIANTS:
            variant = self._variants[shape] = _Variant(words, numbers)
        variant.gid_of[variant.look(text)] = gid

    def forget(self) -> None:
        """Forget all."""
        self.gid_of.clear()
        self._variants.clear()


class _Variant:
    """A shape in which some digits decide: those of words, and whether numbers may be times."""

    __slots__ = ("_calendar", "_literal", "_moments", "gid_of")

    def __init__(self, words: list[slice], numbers: list[slice]) -> None:
        self._literal: Callable[[bytes], object] | None = itemgetter(*words) if words else None
        lengths = [(at, at.stop - at.start) for at in numbers]
        self._calendar = [at for at, length in lengths if length in (8, 14)]
        self._moments = [
            (at, *templates.MOMENT_RANGES[length])
            for at, length in lengths
            if length not in (8, 14)
        ]
        self.gid_of: dict[object, int] = {}

    def look(self, key: bytes) -> object:
        """Return what decides about this key."""
        seen = self._literal(key) if self._literal else None
        for at, low, high in self._moments:
            seen = (seen, low <= key[at] < high)
        for at in self._calendar:
            seen = (seen, templates.number_label(key[at]))
        return seen


def deciding_digits(shape: bytes, path: Labels) -> tuple[list[slice], list[slice]]:
    """Return where digits decide which template it is: in words, and in numbers.

    path: the template of one name of this shape. Words whose digits do not appear in it (because
    they were folded) do not decide.
    """
    words, numbers = [], []
    literal = [bool(_DIGIT(name)) for name in path]
    for start, end in templates.digit_runs(shape):
        if shape[max(start - 1, 0) : start].isalpha() or shape[end : end + 1].isalpha():
            at = len(_SEPARATOR.findall(shape, 0, start))
            if literal[at] if at < len(literal) and _SEPARATOR.search(shape) else any(literal):
                words.append(slice(start, end))
        elif end - start in templates.MOMENT_RANGES:
            numbers.append(slice(start, end))
    return words, numbers
