"""Writing to the world: whole, in order, and quietly when nobody reads any more."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from programs import environment
from reports import Tty, terminal, written

from cachectl.errors import OutputClosedError, PartialError
from cachectl.output.terminal import Terminal

# A program that streams rows as a command would, and ends as main() does.
PROGRAM = textwrap.dedent("""
    import sys
    from cachectl.output.report import Column, Kind, Report, RowStream
    from cachectl.output.show import Format, stream
    from cachectl.output.terminal import Terminal
    import cachectl.main as main

    def rows():
        for number in range(int(sys.argv[2])):
            yield f"key:{number}".encode(), number

    def run(arguments):
        columns = (Column("key", Kind.KEY), Column("bytes", Kind.BYTES))
        stream(RowStream("x/1", "keys", columns, rows()), Format(sys.argv[1]), terminal)
        return 0

    terminal = Terminal.of_process()
    main._invoke = run
    main.main()
""")


def start(*words: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env=environment(None, 80),
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("chosen", ["plain", "table", "json", "ndjson", "csv", "tsv", "yaml"])
def test_a_reader_that_has_seen_enough_ends_it_silently(chosen: str) -> None:
    """`| head`: exit 0, not a word."""
    with start(chosen, "1000000", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


def test_a_full_disk_is_an_error() -> None:
    with open("/dev/full", "wb") as full, start("csv", "10", stdout=full) as process:
        assert process.stderr is not None
        message = process.stderr.read().decode()
        assert message == "error: cannot write the answer: No space left on device\n"
        assert process.wait(20) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_document_is_valid_from_its_first_byte_to_its_last(number: int) -> None:
    process = start("json", "10000000", stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 100)
    time.sleep(0.3)  # by now the pipe is full and the program waits in write()
    process.send_signal(number)
    rest, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err.decode()
    found = json.loads(first + rest)
    assert found["partial"] is True
    keys = [int(row["key"].removeprefix("key:")) for row in found["keys"]]
    assert keys == list(range(len(keys)))
    assert len(keys) > 100


def test_a_signal_between_writes_neither_loses_nor_repeats() -> None:
    """The stream is interrupted at random moments, and what arrives has no gap and no double."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: one page, so that nearly every write blocks
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 777):
            received.extend(data)
            time.sleep(0)

    class InterruptedTestError(Exception):
        pass

    armed = False

    def interrupt(_number: int, _frame: object) -> None:
        if armed:
            raise InterruptedTestError

    thread = threading.Thread(target=read)
    thread.start()
    out = os.fdopen(writer, "w", encoding="utf-8")
    screen = Terminal(io.StringIO(), out, io.StringIO())
    interrupted: set[int] = set()
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for number in range(2000):
            data = (f"{number:>6}" * 1500).encode()
            try:
                armed = True
                screen.write_bytes(data)
                armed = False
            except InterruptedTestError:
                armed = False
                interrupted.add(number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        screen.flush()
        out.close()
        thread.join()
        os.close(reader)
    blocks = [bytes(received[i : i + 9000]) for i in range(0, len(received), 9000)]
    numbers = [int(block[:6]) for block in blocks]
    assert all(block == block[:6] * 1500 for block in blocks)
    assert numbers == sorted(set(numbers))
    assert set(range(2000)) - set(numbers) <= interrupted
    assert len(interrupted) > 50


def test_a_non_blocking_stdout_gets_everything() -> None:
    """Somebody who shares the terminal (ssh, node) may have made it non-blocking."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 10_000):
            received.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    with open(writer, "w", encoding="utf-8") as out:
        Terminal(io.StringIO(), out, io.StringIO()).write("x" * 1_000_000)
    thread.join()
    os.close(reader)
    assert len(received) == 1_000_000


def test_closed_pipe_and_full_disk_have_names() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as out:
        screen = Terminal(io.StringIO(), out, io.StringIO())
        with pytest.raises(OutputClosedError):
            screen.write("x")
        with pytest.raises(OutputClosedError):
            screen.write_bytes(b"x")
    with open("/dev/full", "w", encoding="utf-8") as out:
        screen = Terminal(io.StringIO(), out, io.StringIO())
        with pytest.raises(PartialError, match="No space left"):
            screen.write("x")


def test_text_and_bytes_keep_their_order() -> None:
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as out:
        out.write("1")
        screen = Terminal(io.StringIO(), out, io.StringIO())
        screen.write("2")
        screen.write_bytes(b"3\xff")
        screen.write("é")
    with open(reader, "rb") as source:
        assert source.read() == b"123\xff\xc3\xa9"


def test_quiet_silences_talk_but_no_warning() -> None:
    screen = terminal()
    screen.say("one")
    screen.debug("two")
    screen.quiet, screen.verbose = True, 1
    screen.say("three")
    screen.debug("four")
    screen.warn("five\x1b[2J")
    assert written(screen.stderr) == "one\nfour\nwarning: five\\x1b[2J\n"


def test_a_closed_stderr_stops_nothing() -> None:
    stderr = io.StringIO()
    stderr.close()
    screen = Terminal(io.StringIO(), io.StringIO(), stderr)
    screen.warn("nobody hears this")
    screen.write("answer")
    assert written(screen.stdout) == "answer"


def test_streams_that_are_closed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    screen = Terminal.of_process()
    screen.write("x")
    screen.say("x")
    assert not screen.can_ask
    assert not screen.is_interactive
    for stream in (screen.stdin, screen.stdout, screen.stderr):
        stream.close()


def test_whether_escape_codes_are_welcome() -> None:
    assert terminal(tty=True).color
    assert not terminal().color
    assert not terminal(tty=True, environ={"NO_COLOR": "1"}).color
    assert terminal(tty=True, environ={"NO_COLOR": ""}).color
    assert not terminal(tty=True, environ={"TERM": "dumb"}).color
    quiet = terminal(tty=True)
    quiet.no_color = True
    assert not quiet.color


def test_width_of_a_screen_that_cannot_be_asked() -> None:
    screen = Terminal(Tty(), Tty(), Tty(), environ={})
    assert screen.width > 0
