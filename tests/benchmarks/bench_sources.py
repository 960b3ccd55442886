"""How fast rows of a file become keys and values, against what warming scripts do row by row.

pytest -m benchmark tests/benchmarks/bench_sources.py -s
pytest -m soak tests/benchmarks/bench_sources.py -s
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from benchmarks.harness import alternate, ratio
from programs import ROOT
from rows import entry, source_of

from cachectl.config.manifest import Value
from cachectl.sources.entries import Renderer

ROWS = 200_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rows")
    with (made / "a.ndjson").open("w") as file:
        for i in range(ROWS):
            file.write(json.dumps({"id": i, "name": f"n{i}", "body": "x" * 250}) + "\n")
    return made


def rendered(directory: Path, value: Value, codec: tuple[str, ...]) -> int:
    renderer = Renderer(entry("product:{id}", value=value, codec=codec))
    batches = source_of(directory, "{file: a.ndjson}").batches()
    return sum(len(renderer.render(batch)) for batch in batches)


def script(directory: Path) -> int:
    """What is written in an afternoon: a loop over lines, an f-string, json.dumps."""
    made = 0
    with (directory / "a.ndjson").open() as file:
        for line in file:
            row = json.loads(line)
            key, value = f"product:{row['id']}".encode(), json.dumps(row).encode()
            made += bool(key and value)
    return made


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("value", "codec"),
    [(Value("row"), ("json",)), (Value("template", template="{body}"), ("raw",))],
    ids=["whole row", "template"],
)
def test_rendering_against_a_script(directory: Path, value: Value, codec: tuple[str, ...]) -> None:
    assert rendered(directory, value, codec) == script(directory) == ROWS
    runs = alternate(
        {
            "cachectl": lambda: rendered(directory, value, codec),
            "a script": lambda: script(directory),
        },
        5,
    )
    print(f"{ROWS / min(runs['cachectl'].seconds):,.0f} rows/s at best ({value.kind})")
    assert ratio(runs["a script"], runs["cachectl"], "a script / cachectl") > 1.5


SOAK = """
    import resource, sys
    from pathlib import Path
    from rows import entry, source_of
    from cachectl.sources.entries import Renderer
    directory, source, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    renderer = Renderer(entry("k:{n|default:}{id|default:}"))
    made = sum(len(renderer.render(batch)) for batch in source_of(directory, source).batches())
    assert made == rows, made
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("{range: [1, 10000000]}", 10_000_000),
        ("{file: '*.ndjson'}", 10_000_000),
        ("{file: all.json}", 2_000_000),
    ],
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, source: str, rows: int) -> None:
    if "file" in source:
        with (tmp_path / "a.ndjson").open("w") as file:
            file.writelines(f'{{"id": {i}, "x": "{"x" * 50}"}}\n' for i in range(rows))
    if "all.json" in source:
        with (tmp_path / "a.ndjson").open() as lines, (tmp_path / "all.json").open("w") as file:
            file.write("[")
            file.writelines(("," if i else "") + line for i, line in enumerate(lines))
            file.write("]")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SOAK), tmp_path, source, str(rows)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT / "tests",
    )
    print(f"\n{source}: {int(done.stdout)} MiB for {rows:,} rows")
    assert int(done.stdout) < 100
