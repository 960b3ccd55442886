"""From what pydantic complains of to what a person can mend: file, line, field, remedy.

    prod.yaml, line 7: `tls.ca_fle` is not a known field; did you mean `ca_file`?

No message repeats a value of the file, since any value may be a secret in the wrong place; the one
exception are values that had to be one of a few words and are plain words themselves.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from cachectl.config.yamlfile import NodePath, YamlDocument, shown
from cachectl.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where, what (a sentence without its subject), and a hint."""

    path: NodePath
    what: str
    hint: str | None = None


def validate(
    model: type[Model],
    document: YamlDocument,
    *,
    allow_null: Callable[[NodePath], bool] = lambda _path: False,
) -> Model:
    """Return the document's data as `model`. Raises ConfigError with every problem in it.

    allow_null: where a field may be written without a value; elsewhere that is taken for what
    it mostly is, a value that was forgotten or indented wrongly.
    """
    if not isinstance(document.data, dict):
        found = "is empty" if document.data is None else "must consist of fields: `name: value`"
        raise reject(document, [Problem((), found, "is there a blank after each colon?")])
    problems = [Problem(*found) for found in _nulls(document.data) if not allow_null(found[0])]
    validated = None
    try:
        validated = model.model_validate(document.data)
    except ValidationError as error:
        told = {problem.path for problem in problems}
        problems += [p for p in _problems(error, model, document) if p.path not in told]
    # Raised outside of the handler: pydantic's error holds values and must not hang on to ours.
    if validated is None or problems:
        raise reject(document, problems)
    return validated


def _nulls(data: Any, path: NodePath = ()) -> Iterator[tuple[NodePath, str, str]]:
    if data is None and ":" not in str(path[-1]):
        yield path, "has no value", "write one, or remove the line"
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _nulls(value, (*path, key))
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from _nulls(item, (*path, number))


def reject(document: YamlDocument, problems: Iterable[Problem]) -> ConfigError:
    """Return the error that tells all problems of a file, one line each in the file's order."""

    def place(problem: Problem) -> tuple[int, int, str]:
        position = document.position(problem.path)
        return position.line, position.column, path_text(problem.path)

    ordered = sorted(set(problems), key=place)
    if len(ordered) == 1:
        only = ordered[0]
        return ConfigError(
            f"{document.name}, {_sentence(document, only)}", hint=only.hint, target=document.name
        )
    lines = [
        f"  {_sentence(document, problem)}{f' ({problem.hint})' if problem.hint else ''}"
        for problem in ordered
    ]
    return ConfigError(
        "\n".join([f"{document.name} has {len(ordered)} problems:", *lines]), target=document.name
    )


def _sentence(document: YamlDocument, problem: Problem) -> str:
    line = document.position(problem.path).line
    if not problem.path:
        return f"line {line}: the file {problem.what}"
    return f"line {line}: `{path_text(problem.path)}` {problem.what}"


def path_text(path: NodePath) -> str:
    """Return a path as people write it: `sentinel.nodes[1]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{shown(step)}" if text else shown(step)
    return text


def _problems(
    error: ValidationError, model: type[BaseModel], document: YamlDocument
) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        path, value = _place(detail["loc"], document.data, detail["type"])
        kind = detail["type"]
        context = detail.get("ctx", {})
        if kind == "extra_forbidden":
            yield _unknown_field(path, value, model)
        elif kind == "literal_error":
            yield _not_one_of(path, value, model)
        elif kind == "value_error":
            reason = context["error"]
            yield Problem(path, str(reason), getattr(reason, "hint", None))
        elif kind in _SENTENCES:
            what, hint = _SENTENCES[kind]
            yield Problem(path, what.format(**context), hint)
        else:
            # pydantic's own words, which name types and limits and not the value.
            yield Problem(path, f"is not valid: {detail['msg'].lower()}")


# pydantic's error type → the end of a sentence about the field, and a hint.
_SENTENCES: dict[str, tuple[str, str | None]] = {
    "missing": ("is missing", None),
    "string_type": ("must be text", "put quotes around it"),
    "string_too_short": ("must not be empty", None),
    "string_too_long": ("is longer than {max_length} characters", None),
    "bool_type": ("must be true or false", "YAML's yes, no, on and off are text here"),
    "int_type": ("must be a whole number", "write digits alone, without quotes or `_`"),
    "int_from_float": ("must be a whole number", None),
    "float_type": ("must be a number", "write it without quotes or units"),
    "list_type": ("must be a list", "write [one, two], or one `- item` a line"),
    "tuple_type": ("must be a list", "write [one, two], or one `- item` a line"),
    "dict_type": ("must consist of fields: `name: value`", None),
    "model_type": ("must consist of fields: `name: value`", None),
    "model_attributes_type": ("must consist of fields: `name: value`", None),
    "too_short": ("must have at least {min_length} items", None),
    "too_long": ("must have at most {max_length} items", None),
    "greater_than": ("must be more than {gt}", None),
    "greater_than_equal": ("must be at least {ge}", None),
    "less_than": ("must be less than {lt}", None),
    "less_than_equal": ("must be at most {le}", None),
    "finite_number": ("must be a finite number", None),
}


def _place(loc: Sequence[str | int], data: Any, kind: str) -> tuple[NodePath, Any]:
    """Return (path in the file, value there) of a pydantic location.

    A location also names union members and tags, which the file does not have: they are skipped,
    but for the last step of a field that is missing.
    """
    path: list[str | int] = []
    for number, step in enumerate(loc):
        inside: Any = data
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        ):
            data = inside[step]
            path.append(step)
        elif number == len(loc) - 1 and kind == "missing":
            path.append(step)
    return tuple(path), data


def _unknown_field(path: NodePath, value: Any, model: type[BaseModel]) -> Problem:
    name = str(path[-1])
    if value is None and ":" in name:
        # {password:secret} is one key without a value; what follows the colon stays unsaid.
        known = name.partition(":")[0]
        return Problem(path[:-1], f"has no blank after the colon of `{shown(known)}:`")
    names = list(_fields_at(path[:-1], model))
    if close := nearest(name, names):
        return Problem(path, f"is not a known field; did you mean `{close}`?")
    elsewhere = [path_text(p) for p in _all_paths(model) if p[-1] == name]
    if elsewhere:
        return Problem(path, f"is not a known field here; it belongs to `{elsewhere[0]}`")
    return Problem(path, "is not a known field", f"known here: {', '.join(names)}")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` was probably meant to be, or None."""
    folded = {known.replace("-", "_").lower(): known for known in names}
    wanted = name.replace("-", "_").lower()
    longer = [known for known in folded if len(wanted) > 2 and known.startswith(wanted)]
    close = longer or difflib.get_close_matches(wanted, folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _not_one_of(path: NodePath, value: Any, model: type[BaseModel]) -> Problem:
    words = [
        str(word).lower() if isinstance(word, bool) else str(word)
        for word in _literals_at(path, model)
    ]
    if not words:
        return Problem(path, "is not one of the values that are possible here")
    choice = (
        f"must be {', '.join(words[:-1])} or {words[-1]}" if words[1:] else f"must be {words[0]}"
    )
    close = nearest(value, words) if isinstance(value, str) else None
    return Problem(path, f"{choice}; did you mean {close}?" if close else choice)


def _fields_at(path: NodePath, model: type[BaseModel]) -> Iterator[str]:
    """Yield the names of the fields that may stand in the mapping at `path`."""
    for annotation in _annotations_at(path, model):
        for found in _models(annotation):
            yield from (field.alias or name for name, field in found.model_fields.items())


def _literals_at(path: NodePath, model: type[BaseModel]) -> Iterator[Any]:
    for annotation in _annotations_at(path, model):
        yield from _leaves(annotation)


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the literal values inside an annotation such as `Literal["a", "b"] | None`."""
    for argument in get_args(annotation):
        if isinstance(argument, str | int):
            yield argument
        else:
            yield from _leaves(argument)


def _annotations_at(path: NodePath, model: type[BaseModel]) -> Iterator[Any]:
    """Yield what may stand at `path`: several annotations where the model has a union."""
    if not path:
        yield model
        return
    for around in _annotations_at(path[:-1], model):
        if isinstance(path[-1], int):
            yield from get_args(around) or (around,)
            continue
        for found in _models(around):
            for name, field in found.model_fields.items():
                if path[-1] in (name, field.alias):
                    yield field.annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation such as `Annotated[A | B, …]` or `list[A] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _all_paths(model: type[BaseModel], around: NodePath = ()) -> Iterator[NodePath]:
    """Yield the path of every field of the model and of the models within it."""
    for name, field in model.model_fields.items():
        path = (*around, field.alias or name)
        yield path
        if len(path) < 4:
            for inner in _models(field.annotation):
                yield from _all_paths(inner, path)
