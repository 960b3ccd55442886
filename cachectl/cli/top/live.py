"""The loop of `top`: what the worker saw and what was pressed become the next screen."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.tidying import Tidying
from cachectl.cli.top.looking import Looker, Worker
from cachectl.errors import AuthenticationError, CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.health.live import Live
    from cachectl.server.topology.connect import Server

_REDRAW = 1.0
"""Seconds after which the screen is drawn again whatever happens: it says how old it is."""


def run(app: App, server: Server, every: float) -> None:
    """Show the live screen until it is quit.

    Raises CachectlError when the server can't be asked to begin with, AuthenticationError when it
    refuses the login later; a server that is lost is waited for.
    """
    from cachectl.analysis.health.live import Live
    from cachectl.output.board_lines import draw
    from cachectl.output.fullscreen import FullScreen
    from cachectl.views.stats import top

    looker = Looker(app, server)
    looker.begin()
    live, choice, tidying = Live(), top.Choice(), Tidying()
    with FullScreen(app.terminal) as screen:
        worker = Worker(looker, every, screen.wake)
        worker.start()
        try:
            while not choice.done:
                size = screen.size
                board = top.board(live, choice, server.facts, every=every, now=app.terminal.now())
                screen.draw(draw(board, size, app.terminal.encoding), size)
                for key in screen.wait(_REDRAW):
                    choice = top.press(choice, key)
                worker.pause(choice.paused)
                live = _news(app, worker, live)
                tidying.look()
        finally:
            worker.stop()


def _news(app: App, worker: Worker, live: Live) -> Live:
    """Return what is known when everything that has come in is known too."""
    while True:
        try:
            result = worker.results.get_nowait()
        except queue.Empty:
            return live
        if isinstance(result, AuthenticationError) or (
            isinstance(result, BaseException) and not isinstance(result, CachectlError)
        ):
            raise result
        if isinstance(result, CachectlError):
            live = live.missed(app.terminal.now(), result.message)
        else:
            live = live.saw(result)
