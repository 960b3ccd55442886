"""A small HTTP service for tests, which answers as told: well, slowly, falsely, or not at all.

with serving({"/items": lambda request: request.json([{"id": 1}])}) as service:
    service.url + "/items"
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One request, and the ways to answer it. query: parameter → value; number: from 1."""

    handler: BaseHTTPRequestHandler
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    number: int
    service: Service

    def json(self, value: Any, **headers: str) -> None:
        """Answer with JSON."""
        self.answer(200, json.dumps(value).encode(), **headers)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer with a body. headers: `retry_after="1"`; content_length replaces the true one."""
        self.start(status, **{"content_length": str(len(body)), **headers})
        self.send(body)

    def start(self, status: int = 200, **headers: str) -> None:
        """Send the status line and headers."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()

    def send(self, data: bytes) -> bool:
        """Send some of the body; whether anybody still listens."""
        try:
            self.handler.wfile.write(data)
            self.handler.wfile.flush()
        except OSError:
            return False
        return not self.service.closing.is_set()

    def drip(self, piece: bytes, seconds: float) -> None:
        """Send a piece every so often until nobody listens."""
        while self.send(piece):
            self.service.closing.wait(seconds)


Answer = Callable[[Request], Any]


@dataclass
class Service:
    """A running service. seen: the requests so far, as (path, query, headers)."""

    url: str = ""
    seen: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def serving(
    answers: Mapping[str, Answer], context: ssl.SSLContext | None = None
) -> Iterator[Service]:
    """Serve paths on loopback for as long as the block runs. context: for TLS."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self, parts.path, query, headers, len(service.seen) + 1, service)
            service.seen.append(request)
            self.close_connection = True
            with contextlib.suppress(OSError):
                if parts.path in answers:
                    answers[parts.path](request)
                else:
                    request.answer(404)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context else "http"
    service.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        service.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
