"""Variables of a manifest: `${name}` in any text of the file, filled in before it is understood.

A variable gets its value from `--set`, else from the environment variable that it names, else from
its default. A text that consists of one variable alone becomes what a file would hold there
(`max_rows: ${rows}` is a number); inside a longer text it is pasted as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cachectl.config.manifest_model import VariableSection
from cachectl.config.problems import Problem, nearest
from cachectl.config.yamlfile import NodePath, plain_scalar

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
# A brace would become part of a template, and a control character of a key.
_FORBIDDEN = re.compile(r"[{}\x00-\x1f\x7f]")
LONGEST = 4096

Values = Mapping[str, str | int | float | bool]


def values_of(
    declared: Mapping[str, Any],
    given: Mapping[str, str],
    inherited: Values,
    environ: Mapping[str, str],
    problems: list[Problem],
) -> dict[str, str | int | float | bool]:
    """Return what each declared variable stands for, beside the inherited ones.

    declared: name → default or VariableSection. given: what --set says. inherited: of the file that
    includes this one, which come before the declared. Adds what is wrong to `problems`.
    """
    values = dict(inherited)
    for name, what in declared.items():
        if name in inherited:
            continue
        value: Any = what
        if name in given:
            value = _like(what, given[name])
        elif isinstance(what, VariableSection):
            value = environ.get(what.env, what.default)
            if value is None:
                problems.append(
                    Problem(
                        ("variables", name),
                        f"has no value: the environment has no {what.env}",
                        f"export {what.env}, or give --set {name}=VALUE",
                    )
                )
                continue
        if isinstance(value, str) and (_FORBIDDEN.search(value) or len(value) > LONGEST):
            problems.append(
                Problem(
                    ("variables", name),
                    f"holds a brace, a control character or more than {LONGEST} characters",
                    "write such a text where it is used",
                )
            )
            continue
        values[name] = value
    return values


def _like(default: Any, text: str) -> Any:
    """Return what --set says as the type that the default has."""
    plain = plain_scalar(text)
    if isinstance(default, bool | int | float) and isinstance(plain, bool | int | float):
        return plain
    return text


def filled_in(data: Any, values: Values, problems: list[Problem]) -> Any:
    """Return a file's data with its variables filled in; the section `variables` stays as it is."""
    return _filled(data, values, problems, ())


def _filled(data: Any, values: Values, problems: list[Problem], path: NodePath) -> Any:
    if path[:1] == ("variables",):
        return data
    if isinstance(data, dict):
        return {key: _filled(item, values, problems, (*path, key)) for key, item in data.items()}
    if isinstance(data, list):
        return [_filled(item, values, problems, (*path, i)) for i, item in enumerate(data)]
    if not isinstance(data, str) or "${" not in data or path[-2:] == ("sql", "query"):
        return data  # a query with a variable is refused by its model
    problems += (Problem(path, *what) for what in _unknown(data, values))
    alone = _VARIABLE.fullmatch(data)
    if alone and alone[1] in values:
        return _alone(values[alone[1]])
    return _VARIABLE.sub(lambda found: _text(values.get(found[1], "")), data)


def _unknown(text: str, values: Values) -> Iterator[tuple[str, str]]:
    for name in _VARIABLE.findall(text):
        if name not in values:
            close = nearest(name, values) if name else None
            hint = f"did you mean ${{{close}}}?" if close else "declare it below `variables:`"
            yield "uses a variable that there is not", hint


def _alone(value: str | int | float | bool) -> Any:
    plain = plain_scalar(value) if isinstance(value, str) else value
    return value if plain is None else plain


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
