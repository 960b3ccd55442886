"""The JSON Schema of a file of ours, for editors that check YAML while it is written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def file_schema(model: type[BaseModel], name: str, title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file whose content is `model`.

    name: its id, such as `cachectl.profile-file/1`. title: for people.
    """
    schema = model.model_json_schema()
    _drop_null(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": name,
        **schema,
        "title": title,
    }


def _drop_null(node: Any) -> None:
    """Take `null` and its default out: in Python None is "not written", in a file it is a slip."""
    if isinstance(node, list):
        for item in node:
            _drop_null(item)
    if not isinstance(node, dict):
        return
    for item in node.values():
        _drop_null(item)
    if node.get("default", 0) is None:
        del node["default"]
    if isinstance(node.get("title"), str):
        del node["title"]  # pydantic makes titles of the names, and says nothing with them
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) > 1:
        node["anyOf"] = choices
    if len(choices) == 1:
        del node["anyOf"]
        node.update({**choices[0], **node})
