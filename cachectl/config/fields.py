"""Field types that profiles, policies and manifests share: durations, sizes, ratios, addresses.

Each takes what a person writes and holds a plain number (or text); each knows its JSON Schema.
A message is a sentence without its subject, which `problems` puts before it: the field's path.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from cachectl.config.durations import EXAMPLES, parse_duration
from cachectl.config.sizes import parse_percent, parse_size
from cachectl.config.target import DEFAULT_PORT
from cachectl.config.urls import parse_address
from cachectl.ranges import EXAMPLES as EXAMPLES_OF_RANGES
from cachectl.ranges import parse_range

# pydantic looks for plug-ins while it makes models. One that records what is validated would see
# our users' configuration, and the search alone takes 50 ms.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Section(BaseModel):
    """A mapping in one of our files: an unknown field is an error, and nothing is converted."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        # A validation error must not carry a secret into a log.
        hide_input_in_errors=True,
    )


Text = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(gt=0)]


class FieldError(ValueError):
    """A value that does not fit, with a hint."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration(value: Any) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if not _is_number(value) or not 0 <= value < 1e12:
        raise FieldError(f"must be a duration: {EXAMPLES}")
    return parse_duration(f"{value:.9f}")


def _positive_duration(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise FieldError("must be longer than 0")
    return seconds


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise FieldError("must be a size: write it like 512, 64kb, 10mb or 2gb")


def _ratio(value: Any) -> float:
    if isinstance(value, str):
        return parse_percent(value) / 100
    if _is_number(value) and 0 <= value <= 1:
        return float(value)
    raise FieldError("must be a ratio from 0 to 1", "write 80 percent as 0.8 or 80%")


def _percent(value: Any) -> float:
    if isinstance(value, str):
        return parse_percent(value)
    if _is_number(value) and 0 <= value <= 100:
        return float(value)
    raise FieldError("must be a percentage from 0 to 100", "write 50 or 50%")


def _range(value: Any) -> str:
    text = f"{value:.9g}" if _is_number(value) else value
    if not isinstance(text, str):
        raise FieldError(f"must be a range: {EXAMPLES_OF_RANGES}")
    return parse_range(text).text


def _address(value: str) -> str:
    parse_address(value, DEFAULT_PORT)
    return value


def _host(value: str) -> str:
    bare = value.removeprefix("[").removesuffix("]") if value.startswith("[") else value
    if bare.count(":") == 1:
        raise FieldError("must not hold a port", "write the port as `port:`")
    return parse_address(f"[{bare}]" if ":" in bare else bare, DEFAULT_PORT).host


def _schema(description: str, *types: str) -> WithJsonSchema:
    return WithJsonSchema({"type": list(types) or "string", "description": description})


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    _schema("A duration: 500ms, 3s, 5m, 1h30m, 7d, or seconds", "string", "number"),
]
PositiveDuration = Annotated[
    float,
    BeforeValidator(_positive_duration),
    _schema("A duration longer than 0: 500ms, 3s, 5m, or seconds", "string", "number"),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    _schema("A size: 64kb, 10mb, 2gb (units of redis.conf), or bytes", "string", "integer"),
]
Ratio = Annotated[
    float, BeforeValidator(_ratio), _schema("A ratio: 0.8 or 80%", "string", "number")
]
Percent = Annotated[
    float, BeforeValidator(_percent), _schema("A percentage: 50 or 50%", "string", "number")
]
RangeText = Annotated[
    str,
    BeforeValidator(_range),
    _schema("Outside of it: 80:, 10, 10:20, ~:5; within it: @10:20", "string", "number"),
]
NodeAddress = Annotated[
    str, AfterValidator(_address), _schema("host, host:port or [IPv6]:port", "string")
]
HostName = Annotated[str, AfterValidator(_host), _schema("Host name or IP address", "string")]


class RangesSection(Section):
    """When one check warns, and when it is critical."""

    warn: RangeText | None = None
    critical: RangeText | None = None
