from __future__ import annotations

import gzip
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Certificates
from rows import manifest_with, read
from services import Answer, Request, Service, serving

from cachectl.config.manifest import Allowed
from cachectl.sources import answers
from cachectl.sources.addresses import refuse
from cachectl.sources.answers import retry_after
from cachectl.sources.interface import Source, SourceError
from cachectl.sources.opening import open_source

CANARY = "s3cr3t-canary"
LOOPBACK = Allowed(networks=(ipaddress.ip_network("127.0.0.0/8"),))
ROWS = [{"id": 1}, {"id": 2}]

Opened = Callable[..., Source]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    import contextlib

    with contextlib.ExitStack() as stack:
        yield lambda paths, **options: stack.enter_context(serving(paths, **options))


def source_at(
    directory: Path, url: str, more: str = "", limits: str = "", allowed: Allowed = LOOPBACK
) -> Source:
    text = f"{{http: {{url: '{url}'{more}}}{limits}}}"
    manifest = manifest_with(directory, text, environ={"KEY": CANARY})
    return open_source(manifest.sources["s"], manifest, allowed=allowed)


def failure(source: Source) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(source)
    error = caught.value
    assert error.message.startswith("the source s ")
    assert CANARY not in f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}"
    return error


def one(answer: Answer) -> dict[str, Answer]:
    return {"/": answer}


# --- What services answer -----------------------------------------------------------------------


def test_an_array(service: Any, tmp_path: Path) -> None:
    url = service(one(lambda request: request.json(ROWS))).url
    source = source_at(tmp_path, url)
    assert read(source) == (ROWS, [])
    assert read(source, after=1) == (ROWS[1:], [])
    assert source.count() is None


def test_an_array_inside_with_headers_and_parameters(service: Any, tmp_path: Path) -> None:
    running = service(one(lambda request: request.json({"data": {"items": ROWS}})))
    more = ", root: data.items, headers: {X-A: b}, bearer: {env: KEY}, parameters: {a: 1, b: 'x y'}"
    assert read(source_at(tmp_path, running.url + "/?c=d", more))[0] == ROWS
    (request,) = running.seen
    assert request.headers["x-a"] == "b"
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.headers["host"] == f"127.0.0.1:{running.port}"
    assert request.headers["user-agent"].startswith("cachectl/")
    assert request.query == {"a": "1", "b": "x y", "c": "d"}


def test_compressed(service: Any, tmp_path: Path) -> None:
    body = gzip.compress(json.dumps(ROWS).encode())
    url = service(one(lambda r: r.answer(200, body, content_encoding="gzip"))).url
    assert read(source_at(tmp_path, url))[0] == ROWS


def test_ndjson_is_streamed(service: Any, tmp_path: Path) -> None:
    """The first rows are there before the service has sent the last ones."""
    taken = threading.Event()

    def answer(request: Request) -> None:
        request.start()
        request.send(b'{"id": 1}\n' * 3 + b'{"id"')
        assert taken.wait(30)
        request.send(b': 2}\nnonsense\n{"id": 3}')

    url = service(one(answer)).url
    batches = source_at(tmp_path, url, ", format: ndjson").batches()
    first = next(batches)
    assert [row["id"] for row in first.rows] == [1, 1, 1]
    taken.set()
    rest = list(batches)
    assert [row["id"] for batch in rest for row in batch.rows] == [2, 3]
    assert [(p.row, p.what) for batch in rest for p in batch.problems] == [(5, "is not JSON")]


def test_pages_by_number_are_asked_for_at_the_same_time(service: Any, tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=30)

    def answer(request: Request) -> None:
        page = int(request.query["page"])
        if page in (2, 3, 4):
            together.wait()
        request.json([{"id": 10 * page + i} for i in range(2)] if page < 6 else [])

    running = service(one(answer))
    source = source_at(tmp_path, running.url, ", paging: {page: page}, concurrency: 3")
    assert [row["id"] for row in read(source)[0]] == [10, 11, 20, 21, 30, 31, 40, 41, 50, 51]
    assert len(running.seen) <= 9


def test_a_page_that_is_not_found_is_the_end(service: Any, tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        page = int(request.query["p"])
        request.json([{"id": page}]) if page < 2 else request.answer(404)

    source = source_at(tmp_path, service(one(answer)).url, ", paging: {page: p, first: 0}")
    assert [row["id"] for row in read(source)[0]] == [0, 1]


def test_the_first_page_must_be_there(service: Any, tmp_path: Path) -> None:
    error = failure(source_at(tmp_path, service({}).url, ", paging: {page: p}"))
    assert "answers with HTTP 404" in error.message


@pytest.mark.parametrize("by", ["next", "link"])
def test_pages_that_name_the_next(service: Any, tmp_path: Path, by: str) -> None:
    def answer(request: Request) -> None:
        page = int(request.query.get("at", "0"))
        rows = [{"id": page}]
        following = f"/?at={page + 1}" if page < 3 else None
        if by == "next":
            request.json({"items": rows, "links": {"next": following}})
        elif following:
            request.json(rows, link=f'<{following}>; rel="next"')
        else:
            request.json(rows)

    more = ", root: items, paging: {next: links.next}" if by == "next" else ", paging: {link: true}"
    source = source_at(tmp_path, service(one(answer)).url, more)
    assert [row["id"] for row in read(source)[0]] == [0, 1, 2, 3]


# --- Faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_service_is_asked_again(service: Any, tmp_path: Path, status: int) -> None:
    def answer(request: Request) -> None:
        if request.number < 3:
            request.answer(status, retry_after="0")
        else:
            request.json(ROWS)

    running = service(one(answer))
    assert read(source_at(tmp_path, running.url))[0] == ROWS
    assert len(running.seen) == 3


def test_a_service_that_stays_busy_fails_with_the_number_of_attempts(
    service: Any, tmp_path: Path
) -> None:
    running = service(one(lambda request: request.answer(503, retry_after="0")))
    error = failure(source_at(tmp_path, running.url, limits=", retries: 2"))
    assert error.message == "the source s answers with HTTP 503, 3 times"
    assert error.retry_after == 0
    assert not error.retryable  # it has been tried again already
    assert len(running.seen) == 3


def test_retry_after() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    assert (retry_after({"retry-after": "Fri, 31 Dec 2100 00:00:00 GMT"}) or 0) > 1e9


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda r: r.answer(403), "answers with HTTP 403"),
        (lambda r: r.answer(200, b"<html>"), "is not an array of rows"),
        (lambda r: r.answer(200, b"[{}, nope]"), "is not JSON"),
        (lambda r: r.answer(200, b"[{}"), "ends in the middle of its JSON"),
        (lambda r: r.answer(200, b"x" * 2000), "answers with more than 1,000 bytes"),
        (lambda r: r.answer(200, b"[]", content_length="99999999999"), "more than 1,000 bytes"),
        (lambda r: r.answer(200, b"[]", content_length="900"), "broke off its answer"),
        (lambda r: r.answer(200, b"[{}]" * 10, content_length="2"), "is not JSON"),
        (
            lambda r: r.answer(200, gzip.compress(b" " * 10**6), content_encoding="gzip"),
            "answers with more than 1,000 bytes",
        ),
        (
            lambda r: r.answer(200, gzip.compress(b"[]")[:-5], content_encoding="gzip"),
            "sent gzip data that ends in the middle",
        ),
        (lambda r: r.answer(200, b"junk", content_encoding="gzip"), "sent damaged gzip data"),
        (lambda r: r.answer(200, b"x", content_encoding="br"), "in the encoding br, which nobody"),
        (lambda r: r.handler.wfile.write(b"hello\r\n\r\n"), "broke off its answer"),
        (lambda r: None, "broke off its answer"),
        (lambda r: r.answer(302, location="http://169.254.169.254/latest"), "to another host"),
        (lambda r: r.answer(302, location="http://127.0.0.2/"), "to another host (127.0.0.2)"),
        (lambda r: r.answer(302, location="file:///etc/passwd"), "to another host"),
        (
            lambda r: r.answer(302, location="http://x:port/"),
            "invalid url in location header",
        ),
        (lambda r: r.answer(302, location="/"), "redirects more than 5 times"),
    ],
)
def test_answers_that_cannot_be_used(
    service: Any, tmp_path: Path, answer: Answer, what: str
) -> None:
    url = service(one(answer)).url
    error = failure(source_at(tmp_path, url, ", max_answer: 1000", ", retries: 1"))
    assert what in error.message


def test_a_redirect_within_the_host_is_followed(service: Any, tmp_path: Path) -> None:
    paths = {
        "/": lambda request: request.answer(307, location="/new?x=1"),
        "/new": lambda request: request.json(ROWS),
    }
    assert read(source_at(tmp_path, service(paths).url))[0] == ROWS


def test_a_next_page_elsewhere_gets_no_headers_of_ours(service: Any, tmp_path: Path) -> None:
    elsewhere = service(one(lambda request: request.json([])))
    running = service(
        one(lambda r: r.json(ROWS, link=f'<http://127.0.0.1:{elsewhere.port}/>; rel="next"'))
    )
    more = ", bearer: {env: KEY}, paging: {link: true}"
    assert "goes on to another host" in failure(source_at(tmp_path, running.url, more)).message
    assert elsewhere.seen == []


def test_pages_in_a_circle_and_without_end(service: Any, tmp_path: Path) -> None:
    circle = service(one(lambda request: request.json([{}], link='</>; rel="next"')))
    error = failure(source_at(tmp_path, circle.url + "/", ", paging: {link: true}"))
    assert "leads back to one that was read" in error.message
    nowhere = service(one(lambda request: request.json([{}], link='<http://x:y/>; rel="next"')))
    error = failure(source_at(tmp_path, nowhere.url, ", paging: {link: true}"))
    assert "goes on to something that is no URL" in error.message
    endless = service(one(lambda request: request.json([{}])))
    error = failure(source_at(tmp_path, endless.url, ", paging: {page: p, pages: 5}"))
    assert "has more than 5 pages" in error.message
    assert len(endless.seen) == 5


def test_a_slow_loris_is_ended_by_the_deadline(service: Any, tmp_path: Path) -> None:
    def body(request: Request) -> None:
        request.start(content_length="1000")
        request.drip(b" ", 0.02)

    def head(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nx: ")
        request.drip(b"x", 0.02)

    for answer in (body, head):
        url = service(one(answer)).url
        error = failure(source_at(tmp_path, url, ", request_timeout: 200ms", ", retries: 0"))
        assert error.message == "the source s gave no whole answer in 0.2 s"


def test_a_stream_that_falls_silent_or_breaks_can_be_gone_on_with(
    service: Any, tmp_path: Path
) -> None:
    lines = b"".join(b'{"id": %d}\n' % i for i in range(1, 5))

    def silent(request: Request) -> None:
        request.start(content_length="1000")
        request.send(lines)
        request.service.closing.wait(30)

    def broken(request: Request) -> None:
        request.answer(200, lines, content_length="1000")

    for answer, what in ((silent, "sent nothing for 2 s"), (broken, "broke off its answer")):
        url = service(one(answer)).url
        batches = source_at(tmp_path, url, ", format: ndjson, request_timeout: 2s").batches()
        assert len(next(batches)) == 4
        with pytest.raises(SourceError, match=what) as caught:
            next(batches)
        assert caught.value.retryable


def test_an_endless_stream_is_ended_by_its_limits(service: Any, tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        request.start()
        while request.send(b'{"id": 1}\n' * 1000):
            pass

    url = service(one(answer)).url
    more = ", format: ndjson"
    error = failure(source_at(tmp_path, url, more, ", max_bytes: 1mb"))
    assert "answers with more than 1,048,576 bytes" in error.message
    assert len(read(source_at(tmp_path, url, more, ", max_rows: 2500"))[0]) == 2500


def test_a_reader_that_stops_ends_the_request(service: Any, tmp_path: Path) -> None:
    gone = threading.Event()

    def answer(request: Request) -> None:
        request.start()
        while request.send(b'{"id": 1}\n' * 1000):
            pass
        gone.set()

    batches = source_at(tmp_path, service(one(answer)).url, ", format: ndjson").batches()
    next(batches)
    before = threading.active_count()
    batches.close()
    assert gone.wait(30)
    assert not any(thread.name == "source" for thread in threading.enumerate())
    assert threading.active_count() < before


def test_nobody_there(tmp_path: Path) -> None:
    error = failure(source_at(tmp_path, "http://127.0.0.1:1/", limits=", retries: 0"))
    assert "cannot be reached" in error.message


def test_without_httpx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    error = failure(source_at(tmp_path, "http://127.0.0.1:1/"))
    assert error.hint == "pip install 'redis-cachectl[http]'"


# --- Where requests may go ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
    ],
)
def test_this_machine_and_metadata_are_refused(tmp_path: Path, host: str) -> None:
    error = failure(source_at(tmp_path, f"http://{host}:9/", allowed=Allowed()))
    assert "may not ask" in error.message
    assert "--allow-network" in str(error.hint)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.1", True),
        ("192.168.1.1", True),
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("fd00::1", True),
        ("127.8.8.8", False),
        ("169.254.0.1", False),
        ("fe80::1%eth0", False),
        ("::1", False),
        ("::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_addresses(address: str, allowed: bool) -> None:
    if allowed:
        refuse("host", address, ())
        return
    with pytest.raises(SourceError, match="may not ask host, which is "):
        refuse("host", address, ())


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let every name be found at the answers, one after the other. Returns the names asked for."""
    asked: list[str] = []

    def lookup(host: Any, port: Any, *_arguments: Any, **_options: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_a_name_is_resolved_once(
    service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says something else the second time (rebinding) is not asked again."""
    running = service(one(lambda r: r.json([{"id": 1}] if r.query["p"] in "123" else [])))
    asked = resolving(monkeypatch, "127.0.0.1", "169.254.169.254")
    source = source_at(tmp_path, f"http://shop.test:{running.port}", ", paging: {page: p}")
    assert len(read(source)[0]) == 3
    assert asked == ["shop.test"]
    assert {request.headers["host"] for request in running.seen} == {f"shop.test:{running.port}"}


def test_a_name_that_leads_to_metadata_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, "169.254.169.254")
    error = failure(source_at(tmp_path, "http://innocent.test/", allowed=LOOPBACK))
    assert "may not ask innocent.test, which is 169.254.169.254: a link-local" in error.message


def test_a_name_that_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    error = failure(source_at(tmp_path, "http://nowhere.test/"))
    assert "cannot find the host nowhere.test: name or service not known" in error.message


def test_tls_is_verified_by_the_name_and_not_the_address(
    service: Any, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = service(
        one(lambda request: request.json(ROWS)), context=certificates.server_context()
    )
    ca = f", ca_file: '{certificates.ca}'"
    resolving(monkeypatch, "127.0.0.1")
    assert read(source_at(tmp_path, f"https://localhost:{running.port}", ca))[0] == ROWS
    for url, more in (
        (f"https://other.test:{running.port}", ca),
        (f"https://localhost:{running.port}", ""),
    ):
        error = failure(source_at(tmp_path, url, more, ", retries: 0"))
        assert "certificate verify failed" in error.message
