"""Generates what README shows of the program; `python tests/readme.py` writes it anew.

Between `<!-- generated: NAME -->` and `<!-- end -->` stands what cachectl.cli.reference has under
NAME, or what a command prints at 80 columns (`screen: COMMAND`).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import ROOT, cachectl, cachectl_started

README = ROOT / "README.md"
GENERATED = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def generated(name: str, demo: str) -> str:
    """Return one part. demo: the name of a profile of a running demo."""
    from cachectl.cli.reference import PARTS

    if not name.startswith("screen: "):
        return PARTS[name]()
    words = name.removeprefix("screen: ")
    screen = cachectl(*words.split()[1:], "-o", "table", env={"CACHECTL_PROFILE": demo})
    return f"\n```console\n$ {words}\n{screen.check().stdout.rstrip()}\n```\n\n"


@contextmanager
def running_demo() -> Iterator[str]:
    """Run a demo without traffic, so that figures stay; yield the name of its profile."""
    with cachectl_started("demo", "--no-traffic", "--keys", "100000") as demo:
        demo.wait_for("Try next", timeout=60)
        yield "demo"


def isolate(home: Path) -> None:
    """Let the program find no profile but the demo's."""
    os.environ["HOME"] = str(home)
    for kind in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "CACHE_HOME", "RUNTIME_DIR"):
        os.environ[f"XDG_{kind}"] = str(home / kind.lower())


def main() -> None:
    """Write README anew."""
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as home:
        isolate(Path(home))
        with running_demo() as demo:
            text = GENERATED.sub(lambda m: m[1] + generated(m[2], demo) + m[4], text)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
