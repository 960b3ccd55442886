"""Our YAML: profiles, policies and manifests, read strictly and with every position kept.

A subset on purpose. No aliases, anchors or tags (a 300-byte alias bomb is gigabytes to whoever
walks it), no duplicate keys, one document, a size and a depth limit. Plain scalars mean what they
mean in JSON and everything else is text: `no`, `12:30:45`, `0123` and `1_000`, which YAML 1.1 turns
into False, 45045, 83 and 1000, stay as they were written. Keys are always text.

Errors are ConfigErrors that name the file and the line and repeat nothing of the file's values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cachectl.config.regular import open_regular
from cachectl.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50

NodePath = tuple[str | int, ...]
"""From the root to a node: the keys of mappings and the indexes of lists."""

# libyaml reads ten times as fast; without it the same events come from Python.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 40

# What YAML 1.2 does not print, and the line separators that only YAML 1.1 takes for line breaks
# (no editor does, so that line numbers would differ from then on).
_FORBIDDEN = (
    "[^\t\n\r\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_FORBIDDEN_ASCII = "[^\t\n\r\x20-\x7e]"
# "\ud83d\ude00" is JSON's way to write one character; in YAML it is two halves of none.
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNICODE_HINT = "write the character itself, or \\U and eight digits"
_LINE_BREAK = re.compile("\r\n|\n|\r")
# What JSON writes and YAML 1.1 does not read: a pair of halves that are one character, and \\/.
_JSON_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|(/)|.)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The content of one file, with the position of every node.

    name: the file as messages call it. data: None, bool, int, float, str, list and dict with text
    keys. keys: where the key of a mapping's entry stands (a list's item: where it starts). values:
    where the value starts.
    """

    name: str
    data: Any
    keys: dict[NodePath, Position] = field(default_factory=dict)
    values: dict[NodePath, Position] = field(default_factory=dict)

    def position(self, path: NodePath) -> Position:
        """Return where the node at `path` stands, or the nearest node around it that is there."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, Position(1, 1))


def load_file(path: Path, *, max_bytes: int = MAX_BYTES) -> YamlDocument:
    """Read and load one file. Raises ConfigError; never reads more than max_bytes + 1."""
    return load_bytes(read_limited(path, max_bytes), str(path))


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most max_bytes. Raises ConfigError."""
    with open_regular(path, str(path)) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        lines = content.count(b"\n") + 1
        raise ConfigError(
            f"{path} is larger than {max_bytes // 1024} KiB (the limit is passed in line {lines})",
            target=str(path),
        )
    return content


def load_bytes(content: bytes, name: str) -> YamlDocument:
    """Load YAML (JSON when it is so named) from memory. name: in messages. Raises ConfigError."""
    text = _decode(content, name)
    if name.endswith(".json"):
        text = _JSON_ESCAPE.sub(_unescaped, text)
    composer = _Composer(text, name)
    try:
        data = composer.document()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, name) from None
    return YamlDocument(name, data, composer.keys, composer.values)


def _unescaped(escape: re.Match[str]) -> str:
    high, low, slash = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    return slash or escape.group()


def _decode(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error(name, 1, "is UTF-16 text", "save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(_LINE_BREAK.findall(content[: error.start].decode("utf-8"))) + 1
        raise _error(name, line, "holds bytes that are not UTF-8", "save it as UTF-8") from None
    # The class of all scripts takes 9 ms to compile; re keeps it once a file has needed it.
    if match := re.search(_FORBIDDEN_ASCII if text.isascii() else _FORBIDDEN, text):
        line = len(_LINE_BREAK.findall(text[: match.start()])) + 1
        raise _error(name, line, *_of_character(match.group()))
    return text


def _of_character(character: str) -> tuple[str, str]:
    match character:
        case "\ufeff":
            return "holds a byte order mark", "save it as UTF-8 without BOM"
        case "\x00":
            return "holds a NUL byte", "is this a text file?"
    return f"holds the control character U+{ord(character):04X}", (
        'remove it, or write it as an escape like "\\x1b" between double quotes'
    )


class _Composer:
    """Turns the parser's events into plain data, and refuses what we do not want."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.keys: dict[NodePath, Position] = {}
        self.values: dict[NodePath, Position] = {}
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)

    def document(self) -> Any:
        """Return the data of the only document; None for an empty file."""
        data = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "starts a second document", "keep one in a file")
            elif isinstance(event, yaml.NodeEvent):
                data = self._node(event, ())
        return data

    def _node(self, event: Any, path: NodePath) -> Any:
        self.values[path] = _position(event)
        self._check(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _check(self, event: Any, path: NodePath) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "holds an alias (*name)", "write the value out")
        if event.anchor is not None:
            raise self._refuse(event, "holds an anchor (&name)", "there are no aliases here")
        if event.tag is not None:
            raise self._refuse(event, "holds a tag (!name)", "write a plain value")
        if not getattr(event, "value", "").isascii() and _SURROGATE.search(event.value):
            raise self._refuse(event, "has an unknown escape between double quotes", _UNICODE_HINT)
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, f"is nested more than {MAX_DEPTH} levels deep", None)

    def _list(self, path: NodePath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            place = (*path, len(items))
            self.keys[place] = _position(event)
            items.append(self._node(event, place))
        return items

    def _mapping(self, path: NodePath) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._check(event, path)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "has a key that is not plain text", None)
            key, place = event.value, (*path, event.value)
            if key in entries:
                raise self._refuse(
                    event,
                    f"has the field `{shown(key)}` a second time",
                    f"the first is in line {self.keys[place].line}; keep one of them",
                )
            self.keys[place] = _position(event)
            entries[key] = self._node(next(self._events), place)
        return entries

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block: text whatever it looks like
            return text
        if len(text) > _LONGEST_NUMBER and _FLOAT.fullmatch(text):
            raise self._refuse(event, "has a number that is too long", "put quotes around text")
        value = plain_scalar(text)
        if value in (float("inf"), float("-inf")):
            raise self._refuse(event, "has a number that is too large", None)
        return value

    def _refuse(self, event: Any, what: str, hint: str | None) -> ConfigError:
        return _error(self.name, event.start_mark.line + 1, what, hint)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return what a scalar without quotes stands for: what JSON would make of it, else the text.

    A number that is too large for a float is infinite.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER or not _FLOAT.fullmatch(text):
        return text
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _error(name: str, line: int, what: str, hint: str | None = None) -> ConfigError:
    return ConfigError(f"{name}, line {line}: {what}", hint=hint, target=name)


def shown(key: str) -> str:
    """Return a key of a file as messages show it: short, with nothing that moves a cursor."""
    text = key if key.isprintable() else ascii(key)[1:-1]
    return text if len(text) <= 40 else text[:37] + "…"


# What libyaml's and PyYAML's scanners say → what we say, with a hint. First match wins.
_SYNTAX: tuple[tuple[str, str, str], ...] = (
    ("tab character", "uses a tab for indentation", "indent with blanks"),
    (
        "cannot start any token",
        "has a value that starts with a special character",
        "put quotes around the text",
    ),
    (
        "mapping values are not allowed",
        "has a `:` where none can be",
        "is the indentation right? put quotes around a text that holds `: `",
    ),
    (
        "could not find expected ':'",
        "has no `:` and blank after a field's name",
        "write `name: value`, with a blank after the colon",
    ),
    ("end of stream", "opens a quote that is never closed", "close it"),
    ("expected ',' or", "opens a bracket that is never closed", "close it, or add a comma"),
    ("escape", "has an unknown escape between double quotes", "use single quotes"),
    ("tag", "holds a tag (!name)", "write a plain value"),
    ("expected <block end>", "is indented differently from its neighbours", "align the fields"),
    ("block collection", "is indented differently from its neighbours", "align the list"),
    ("block mapping", "is indented differently from its neighbours", "align the fields"),
    (
        "anchor",
        "holds a damaged alias or anchor",
        "put quotes around a text that starts with * or &",
    ),
    (
        "alias",
        "holds a damaged alias or anchor",
        "put quotes around a text that starts with * or &",
    ),
)


def _syntax_error(error: yaml.YAMLError, text: str, name: str) -> ConfigError:
    """Return the error for what the scanner did not understand, without the text around it."""
    mark = getattr(error, "problem_mark", None)
    began = getattr(error, "context_mark", None)
    said = f"{getattr(error, 'problem', '')} {getattr(error, 'context', '')}"
    if mark is None:
        return _error(name, 1, "is not YAML")
    if _character(text, mark) == "\t":
        return _error(name, mark.line + 1, *_SYNTAX[0][1:])
    for words, what, hint in _SYNTAX:
        if words in said:
            # Of what was opened and not closed the opening is the line to look at.
            at = began if began is not None and what.startswith(("opens", "has no")) else mark
            return _error(name, at.line + 1, what, hint)
    return _error(name, mark.line + 1, "is not valid YAML")


def _character(text: str, mark: Any) -> str:
    lines = _LINE_BREAK.split(text)
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
