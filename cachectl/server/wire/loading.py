"""Waiting for a server that is loading its data into memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cachectl.errors import CannotConnectError
from cachectl.server.wire.info import parse_info
from cachectl.server.wire.resp import ReplyError, as_float

if TYPE_CHECKING:
    from cachectl.server.wire.connection import NodeConnection

OnLoading = Callable[[float | None, float | None], None]
"""Called while a server loads: percentage (0–100) and seconds left, None when not known."""

_INTERVAL = 0.2


def wait(connection: NodeConnection, patience: float, report: OnLoading | None = None) -> None:
    """Return when the server has loaded its data. patience: seconds.

    Raises CannotConnectError when that takes longer. INFO is answered while a server loads, and
    carries `loading_loaded_perc` and `loading_eta_seconds`.
    """
    deadline = time.monotonic() + patience
    while True:
        pong, info = connection.pipeline([("PING",), ("INFO", "persistence")])
        if not (isinstance(pong, ReplyError) and pong.code == "LOADING"):
            return
        fields = {} if isinstance(info, ReplyError) else parse_info(info)
        percent = as_float(fields.get("loading_loaded_perc"))
        eta = as_float(fields.get("loading_eta_seconds"))
        eta = eta if eta is not None and eta >= 0 else None
        if report is not None:
            report(percent, eta)
        left = deadline - time.monotonic()
        if left <= 0:
            raise _still_loading(connection, percent, eta, patience)
        time.sleep(min(_INTERVAL, left))


def _still_loading(
    connection: NodeConnection, percent: float | None, eta: float | None, patience: float
) -> CannotConnectError:
    so_far = f", {percent:.0f} % done" if percent is not None else ""
    to_go = f", about {eta:.0f} s to go" if eta is not None else ""
    return CannotConnectError(
        f"{connection.address} is still loading its data{so_far}{to_go}",
        hint=f"waited {patience:g} s; `timeouts.loading` in the profile says how long",
        target=str(connection.address),
    )
