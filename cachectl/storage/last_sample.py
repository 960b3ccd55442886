"""The samples that the last `stats` took of a server, so that the next can say what came since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cachectl.model.counters import NodeSample, OwnWork
from cachectl.storage.files import private_directory, replace_file, state_directory

_VERSION = 1


def path_of(server: str) -> Path:
    """Return the file for a server. server: what tells it from others (its profile, addresses)."""
    digest = hashlib.sha256(server.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return state_directory() / "stats" / f"{digest}.json"


def save_samples(server: str, samples: Iterable[NodeSample]) -> None:
    """Replace what is saved for the server. Raises StorageError."""
    path = path_of(server)
    private_directory(path.parent)
    nodes = [
        {
            "node": one.node,
            "at": one.at,
            "info": dict(one.info),
            "own": [one.own.hits, one.own.misses, one.own.commands, one.own.lost],
            "settled": one.own.settled,
            "asked": dict(one.asked),
            "refused": dict(one.refused),
            "strangers": dict(one.strangers),
        }
        for one in samples
    ]
    data = json.dumps({"version": _VERSION, "server": server, "nodes": nodes})
    replace_file(path, data.encode("ascii"))


def load_samples(server: str) -> dict[str, NodeSample]:
    """Return node → its last sample; empty when there is none, or it can't be read any more."""
    try:
        document = json.loads(path_of(server).read_bytes())
        if document["version"] != _VERSION or document["server"] != server:
            return {}
        return {one["node"]: _sample(one) for one in document["nodes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sample(one: Mapping[str, Any]) -> NodeSample:
    hits, misses, commands, lost = map(int, one["own"])
    return NodeSample(
        node=str(one["node"]),
        at=float(one["at"]),
        clock=None,
        info={str(name): str(value) for name, value in one["info"].items()},
        own=OwnWork(hits, misses, commands, lost, bool(one["settled"])),
        asked={str(name): int(count) for name, count in one.get("asked", {}).items()},
        refused={str(code): int(count) for code, count in one.get("refused", {}).items()},
        strangers={str(name): value for name, value in one["strangers"].items()},
    )
