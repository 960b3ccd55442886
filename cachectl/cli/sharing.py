"""Options that several commands share, declared once as the parameters of a function.

    @app.command()
    @sharing("selection", selection)
    def list_keys(ctx: typer.Context, selection: Selection, …) -> None: …

puts the parameters of `selection` in the place of the parameter of that name, and hands the command
what the function makes of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

Command = Callable[..., None]
_FOR_TYPES_ALONE: dict[str, Any] = {"Selection": Any}
"""Names in the signatures of commands that need not exist when the program runs."""


def sharing(name: str, declared: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator of commands that have a parameter `name`. It can be used several times."""

    def decorated(command: Command) -> Command:
        own = inspect.signature(command).parameters
        hints = get_type_hints(command, localns=_FOR_TYPES_ALONE, include_extras=True)
        shared = inspect.signature(declared, eval_str=True, locals=_FOR_TYPES_ALONE).parameters

        def run(**words: Any) -> None:
            made = declared(**{one: words.pop(one) for one in shared})
            command(**words, **{name: made})

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__module__ = command.__module__
        run.__annotations__ = {}
        parameters: list[inspect.Parameter] = []
        for one, parameter in own.items():
            annotation = hints.get(one, parameter.annotation)
            parameters += (
                shared.values() if one == name else (parameter.replace(annotation=annotation),)
            )
        # By keyword alone, so that an option that must be given may follow others.
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [parameter.replace(kind=keyword) for parameter in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorated
