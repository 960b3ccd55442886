"""Poisoned entries: whether a value is what its rule in the policy says it is.

Compression is opened first, whatever the format: a rule is about what the application reads. No
sentence repeats anything of the value, which may be anybody's data.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from cachectl.policy import ValueRule
from cachectl.values import compression, messagepack
from cachectl.values.sample import Limits, Sample

Judge = Callable[[bytes], str | None]
"""Takes a whole value; returns what is wrong with it, the end of a sentence, or None."""

LARGEST = Limits().look
"""Bytes, decompressed: a larger value is not judged, and passes."""

_LAYERS = 4
_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class JudgingError(ValueError):
    """A rule's values can't be judged: a sentence, and what helps."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def judge_of(rule: ValueRule) -> Judge:
    """Return what judges the values of a rule: of strings the whole, of other types each element.

    Raises JudgingError when its schema is not valid, or jsonschema is not installed.
    """
    check = _STRUCTURES.get(rule.format)
    if check is None:
        return lambda value: _of_opened(value, _PLAIN[rule.format])
    fits = _schema_test(rule.schema) if rule.schema is not None else None

    def judge(data: bytes) -> str | None:
        try:
            parsed = check(data)
        except (ValueError, RecursionError) as error:
            return str(error) if not isinstance(error, RecursionError) else "is nested too deeply"
        return fits(parsed) if fits else None

    return lambda value: _of_opened(value, judge)


def value_problem(rule: ValueRule, value: bytes) -> str | None:
    """Return what is wrong with one value, None when nothing is. Raises JudgingError."""
    return judge_of(rule)(value)


def _of_opened(value: bytes, judge: Judge) -> str | None:
    sample = Sample.of(value, None, time.time(), Limits())
    for _ in range(_LAYERS):
        found = compression.decode(sample)
        if found is None:
            break
        if found.damaged:
            return "is compressed and damaged"
        if found.inner is None:
            return None  # what would open it is not installed
        sample = found.inner
    return judge(sample.data) if sample.complete else None


def _json(data: bytes) -> object:
    try:
        return json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("is not JSON: it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg.lower()}, at byte {error.pos:,}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"is not JSON: it holds {name}")


def _messagepack(data: bytes) -> object:
    try:
        return messagepack.parse(data, Limits())
    except ValueError as error:
        raise ValueError(f"is not MessagePack: it {error}") from None


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "is not text: it is not UTF-8"
    return "is not text: it holds control characters" if _CONTROL.search(text) else None


def _integer(data: bytes) -> str | None:
    if _INTEGER.fullmatch(data) and -(2**63) <= int(data) < 2**63:
        return None
    return "is not an integer of 64 bits"


def _number(data: bytes) -> str | None:
    return None if _NUMBER.fullmatch(data) else "is not a number"


_STRUCTURES: dict[str, Callable[[bytes], object]] = {"json": _json, "messagepack": _messagepack}
_PLAIN: dict[str, Judge] = {"text": _text, "integer": _integer, "number": _number}


def _schema_test(schema: Mapping[str, Any]) -> Callable[[object], str | None]:
    """Return what tests parsed values against a JSON Schema; nothing is fetched for it."""
    try:
        import jsonschema
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError:
        raise JudgingError(
            "values can't be compared with a JSON Schema: jsonschema is not installed",
            "pip install 'redis-cachectl[schema]'",
        ) from None
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = error.json_path.removeprefix("$").lstrip(".") or "it"
        raise JudgingError(f"the JSON Schema is not valid: {place}: {error.message}") from None
    validator = jsonschema.Draft202012Validator(schema, registry=Registry())

    def problem(value: object) -> str | None:
        try:
            error = next(iter(validator.iter_errors(value)), None)
        except Unresolvable as missing:
            raise JudgingError(
                f"the JSON Schema refers to {missing.ref}, which is not in it"
            ) from None
        if error is None:
            return None
        wanted = json.dumps(error.validator_value)
        shown = wanted if len(wanted) <= 60 else wanted[:59] + "…"
        place = _place(error.absolute_path)
        return f"does not fit its schema: {place} fails {error.validator}: {shown}"

    return problem


def _place(path: Any) -> str:
    """Return where in a value: `$.items[3].price`. Names of fields are the value's, cut short."""
    text = "$"
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{str(step)[:30]}"
    return text
