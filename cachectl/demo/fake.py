"""A stand-in where no real server can be had: fakeredis on TCP. Run as a script with the port.

It is slow and knows neither memory nor idle times; embedded.py says so to whoever is shown it.
"""

from __future__ import annotations

import sys
from typing import Any

from fakeredis import TcpFakeServer


def main() -> None:
    """Serve on 127.0.0.1 and the port in argv until killed."""
    server = TcpFakeServer(("127.0.0.1", int(sys.argv[1])), server_type="redis")
    server.daemon_threads = True
    server.RequestHandlerClass = _answering_errors(server.RequestHandlerClass)
    server.serve_forever()


def _answering_errors(handler: Any) -> Any:
    """Return a handler whose connections survive an error reply, as a real server's do."""
    from redis import ResponseError

    class Handler(handler):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def read_response(*args: Any, **options: Any) -> Any:
                try:
                    return read(*args, **options)
                except ResponseError as error:
                    return error

            self.current_client.read_response = read_response

    return Handler


if __name__ == "__main__":
    main()
