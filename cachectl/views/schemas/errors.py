"""The schema of the error object that `-o json` prints on standard error."""

from __future__ import annotations

from cachectl.views.schemas.fragments import DIALECT, Schema


def _text(text: str, *, null: bool = True) -> Schema:
    return {"type": ["string", "null"] if null else "string", "description": text}


_ERROR: Schema = {
    "code": _text("what went wrong, as a word that stays the same", null=False),
    "message": _text("one sentence for people", null=False),
    "hint": _text("what to do next"),
    "target": _text("whom it concerns: an address, a file, a profile"),
}

SCHEMAS = [
    {
        "$schema": DIALECT,
        "title": "cachectl.error",
        "description": "the one object on standard error when a command fails",
        "type": "object",
        "properties": {"error": {"type": "object", "properties": _ERROR, "required": list(_ERROR)}},
        "required": ["error"],
    }
]
