"""Kill the real program at any durable write or flight, as `kill -9` would.

A helper process has the program imported and forks once for every run, which costs some
milliseconds instead of a start of Python. In the fork every fsync and every send to a server is
counted, before and after; at number `at` the process kills itself with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from programs import environment
from servers import unwatch, watch

KILLED = -signal.SIGKILL


class Crasher:
    """Runs the program in forks of a helper process."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(None, 80) | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        watch(self._process.pid)
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)
        unwatch(self._process.pid)
        self._directory.cleanup()

    def run(
        self,
        *argv: str,
        at: int = 0,
        env: Mapping[str, str] | None = None,
        limit: int = 0,
    ) -> tuple[int, int, str, str]:
        """Run the program, killing it at point `at` (0: never).

        limit: RLIMIT_FSIZE in bytes. Return (exit code, points passed, stdout, stderr).
        """
        out, err = (Path(self._directory.name, name) for name in ("out", "err"))
        order = {
            "argv": argv,
            "at": at,
            "env": dict(env or {}),
            "out": str(out),
            "err": str(err),
            "limit": limit,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        code, points = json.loads(self._process.stdout.readline())
        text = err.read_text()
        assert "Traceback" not in text, text
        return code, points, out.read_text(), text


def _serve() -> None:
    import cachectl.actions.execution.run
    import cachectl.actions.undoing.undo
    import cachectl.actions.warming.job
    import cachectl.cli.app
    import cachectl.cli.invalidate.command
    import cachectl.cli.invalidate.undo
    import cachectl.cli.warm.command
    import cachectl.config.manifests
    import cachectl.server.topology.connect
    import cachectl.sources.files
    import cachectl.views.invalidate
    import cachectl.views.warm.run  # noqa: F401

    for line in sys.stdin.buffer:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            _child(order, write_end)
        os.close(write_end)
        _, status = os.waitpid(child, 0)
        counted = os.read(read_end, 1 << 20)
        os.close(read_end)
        answer = [os.waitstatus_to_exitcode(status), len(counted)]
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _child(order: dict[str, Any], counter: int) -> None:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["env"])
    if order["limit"]:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
    _count(order["at"], counter)
    code: Any = 70
    try:
        from cachectl.main import main

        main(list(order["argv"]))
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _count(at: int, counter: int) -> None:
    from cachectl.server.wire.connection import NodeConnection

    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        os.write(counter, b".")
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            point()
            result = function(*args, **kwargs)
            point()
            return result

        return wrapped

    os.fsync = around(os.fsync)
    NodeConnection.send = around(NodeConnection.send)  # type: ignore[method-assign]


def points_of(total: int, most: int) -> Sequence[int]:
    """Return up to `most` of the points 1 … total, the last ones and the first ones among them."""
    if total <= most:
        return range(1, total + 1)
    return sorted({1 + round(i * (total - 1) / (most - 1)) for i in range(most)})


if __name__ == "__main__":
    _serve()
