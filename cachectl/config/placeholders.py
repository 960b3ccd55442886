"""Templates of manifests, taken apart: `product:{id}` → the literal `product:` and the column `id`.

`{column}` is a column of the row, `{user.id}` a member inside it, `{name|lower|default:none}`
passes it through filters; `{{` and `}}` are the braces themselves, so that `{{user:{id}}}:cart`
is a key with a hash tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cachectl.config.fields import FieldError

FILTERS: dict[str, str | None] = {
    "lower": None,
    "upper": None,
    "trim": None,
    "url": None,
    "json": None,
    "md5": None,
    "sha1": None,
    "sha256": None,
    "default": "a text for rows without a value",
    "without": "the beginning that is taken off",
}
"""Filter → what its argument is, None when it takes none."""

LONGEST = 64 * 1024
_MOST_PLACEHOLDERS = 64


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A column (or a path into it) and the filters that its value passes through, in order."""

    column: str
    filters: tuple[tuple[str, str], ...] = ()


Part = str | Placeholder


def parse_template(text: str) -> tuple[Part, ...]:
    """Return the parts of a template. Raises FieldError.

    >>> parse_template("{{a}}:{id|lower}")
    ('{a}:', Placeholder(column='id', filters=(('lower', ''),)))
    """
    if len(text) > LONGEST:
        raise FieldError(f"is longer than {LONGEST // 1024} KiB")
    parts: list[Part] = []
    literal = ""
    at = 0
    while at < len(text):
        brace = _next_brace(text, at)
        literal += text[at:brace]
        if text[brace : brace + 2] in ("{{", "}}"):
            literal += text[brace]
            at = brace + 2
        elif text[brace : brace + 1] == "{":
            end = text.find("}", brace)
            if end < 0:
                raise FieldError(
                    "opens a `{` that is never closed", "write {{ for the brace itself"
                )
            if literal:
                parts.append(literal)
            literal = ""
            parts.append(_placeholder(text[brace + 1 : end]))
            at = end + 1
        elif text[brace : brace + 1] == "}":
            raise FieldError("has a `}` that closes nothing", "write }} for the brace itself")
        else:
            at = len(text)
    if literal:
        parts.append(literal)
    if sum(isinstance(part, Placeholder) for part in parts) > _MOST_PLACEHOLDERS:
        raise FieldError(f"has more than {_MOST_PLACEHOLDERS} placeholders")
    return tuple(parts)


def columns_of(text: str) -> Iterator[str]:
    """Yield the columns that a template needs: those whose absence no `default` mends."""
    for part in parse_template(text):
        if isinstance(part, Placeholder) and "default" not in dict(part.filters):
            yield part.column


def _next_brace(text: str, start: int) -> int:
    found = [at for at in (text.find("{", start), text.find("}", start)) if at >= 0]
    return min(found, default=len(text))


def _placeholder(inside: str) -> Placeholder:
    column, *filters = inside.split("|")
    column = column.strip()
    if not column or "{" in column:
        raise FieldError(
            "has a placeholder without a column", "write {column}, and {{ for the brace itself"
        )
    return Placeholder(column, tuple(_filter(one) for one in filters))


def _filter(text: str) -> tuple[str, str]:
    name, colon, argument = text.partition(":")
    name = name.strip()
    if name not in FILTERS:
        raise FieldError(
            "has a filter that there is not", f"there are {', '.join(sorted(FILTERS))}"
        )
    meaning = FILTERS[name]
    if meaning is None and colon:
        raise FieldError(f"gives the filter {name} an argument, and it takes none")
    if meaning is not None and not colon:
        raise FieldError(f"needs an argument for the filter {name}", f"{name}:TEXT ({meaning})")
    return name, argument
