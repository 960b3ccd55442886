"""Fixtures for every test: an isolated home, and real servers of the whole matrix.

`server` runs a test once per flavour; `valkey` is one Valkey 9.1; `any_server` is the newest row
that this machine has; `cluster` has three primaries; the `start_…` fixtures start private ones and
stop them. servers.py, topologies.py and proxies.py say what they can do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import proxies
import pytest
import servers
import topologies
from proxies import Proxy
from servers import DEFAULT_FLAVOUR, FLAVOURS, TestServer, builds
from topologies import TestCluster, TestSentinels

if TYPE_CHECKING:
    from certificates import Certificates


# How long an example takes says something about the machine's other work, not about us.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# A runner in the background (nohup, a shell's `&`) ignores signals, and whatever it starts inherits
# that: the programs that tests interrupt would not notice.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point HOME and XDG_* into tmp_path; drop what would steer cachectl. Returns the home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for kind in ("config", "data", "state", "cache", "runtime"):
        suffix = "DIR" if kind == "runtime" else "HOME"
        monkeypatch.setenv(f"XDG_{kind.upper()}_{suffix}", str(home / f".{kind}"))
    for name in list(os.environ):
        if name.startswith(("CACHECTL_", "_CACHECTL_")) or name == "REDISCLI_AUTH":
            monkeypatch.delenv(name)
    return home


# --- Servers --------------------------------------------------------------------------------

_shared: dict[str, TestServer] = {}
_clusters: list[TestCluster] = []


def _require(flavour: str) -> None:
    build = builds()[flavour]
    if build.binary is None:
        pytest.skip(f"{flavour} not found: {build.reason}")


def shared_server(flavour: str) -> TestServer:
    """Return the session's server of this flavour, as good as new; skip when there is none."""
    _require(flavour)
    if flavour not in _shared:
        _shared[flavour] = servers.start(flavour)
        _shared[flavour].remember()
    else:
        _shared[flavour].reset()
    return _shared[flavour]


@pytest.fixture(params=FLAVOURS)
def server(request: pytest.FixtureRequest) -> TestServer:
    """An empty server; the test runs once for each flavour."""
    return shared_server(request.param)


@pytest.fixture
def valkey() -> TestServer:
    """An empty Valkey 9.1."""
    return shared_server(DEFAULT_FLAVOUR)


@pytest.fixture
def any_server() -> TestServer:
    """An empty server of the newest flavour that this machine has."""
    found = [name for name in reversed(FLAVOURS) if builds()[name].binary is not None]
    return shared_server(found[0] if found else DEFAULT_FLAVOUR)


@pytest.fixture
def start_server() -> Iterator[Callable[..., TestServer]]:
    """Return `servers.start`, skipping what is not there and stopping what it started."""
    with contextlib.ExitStack() as stack:
        yield _starter(servers.start, stack)


def _starter(start: Callable[..., Any], stack: contextlib.ExitStack) -> Callable[..., Any]:
    """Return start, skipping when the flavour is not there, stopping what it started with stack."""

    def started(flavour: str = DEFAULT_FLAVOUR, *args: str, **options: Any) -> Any:
        _require(flavour)
        return stack.enter_context(start(flavour, *args, **options))

    return started


@pytest.fixture
def start_loading() -> Iterator[Callable[..., TestServer]]:
    """Return `servers.start_loading`: `start_loading("redis-6.2", seconds=3)`."""
    with contextlib.ExitStack() as stack:
        yield _starter(servers.start_loading, stack)


@pytest.fixture
def cluster() -> TestCluster:
    """An empty Valkey 9.1 cluster of three primaries; a test may do to it what it likes."""
    _require(DEFAULT_FLAVOUR)
    if _clusters and not _clusters[0].reset():
        _clusters.pop().stop()
    if not _clusters:
        _clusters.append(topologies.start_cluster())
    return _clusters[0]


@pytest.fixture
def start_cluster() -> Iterator[Callable[..., TestCluster]]:
    """Return `topologies.start_cluster`: `start_cluster("redis-8.2", replicas=1)`."""
    with contextlib.ExitStack() as stack:
        yield _starter(topologies.start_cluster, stack)


@pytest.fixture
def start_sentinel() -> Iterator[Callable[..., TestSentinels]]:
    """Return `topologies.start_sentinel`: a primary, a replica and three Sentinels."""
    with contextlib.ExitStack() as stack:
        yield _starter(topologies.start_sentinel, stack)


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., Proxy]]:
    """Return `Proxy`: `proxy = start_proxy(server, delay=0.05)`; closed at the test's end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Proxy(*args, **options))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates good and bad; `start_proxy(server, tls=certificates.server_context())`."""
    from certificates import make_certificates  # most test runs need no cryptography

    return make_certificates(tmp_path_factory.mktemp("certificates"))


def pytest_sessionfinish() -> None:
    proxies.close_loop()
    for one in (*_shared.values(), *_clusters):
        one.stop()
    _shared.clear()
    _clusters.clear()
    servers.close_watchdog()


# --- What of the matrix ran -----------------------------------------------------------------


def pytest_report_header() -> list[str]:
    return [_row(flavour) for flavour in FLAVOURS]


def _row(flavour: str) -> str:
    build = builds()[flavour]
    if build.binary is None:
        return f"server {flavour}: not found ({build.reason})"
    return f"server {flavour}: {build.version} from {build.reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say after the tests how many ran on each row, and why a row is missing."""
    terminalreporter.section("servers")
    reports = [
        report
        for outcome in ("passed", "failed", "xfailed")
        for report in terminalreporter.stats.get(outcome, [])
        if isinstance(report, pytest.TestReport)
    ]
    for flavour in FLAVOURS:
        tests = sum(flavour in report.nodeid for report in reports)
        terminalreporter.write_line(f"{_row(flavour)}: {tests} tests by this row's name")
