from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import databases
import pytest
from databases import PASSWORD, Postgres
from rows import batch, entry, manifest_with, read, rendered, values_of

from cachectl.config.manifest import Allowed, Value
from cachectl.errors import RefusedError
from cachectl.sources import sql as sql_module
from cachectl.sources.interface import Source, SourceError
from cachectl.sources.opening import open_source


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE product (id INTEGER, name TEXT, data BLOB)")
        rows = [(i, f"n{i}" if i % 2 else None, b"\x00\xff") for i in range(1, 2501)]
        connection.executemany("INSERT INTO product VALUES (?, ?, ?)", rows)
    connection.close()
    return path


def sql(
    directory: Path, query: str, more: str = "", url: str = "sqlite:///shop.db", limits: str = ""
) -> Source:
    text = f"{{sql: {{url: '{url}', query: \"{query}\"{more}}}{limits}}}"
    manifest = manifest_with(directory, text, environ={"PW": PASSWORD})
    return open_source(manifest.sources["s"], manifest)


def failure(source: Source) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(source)
    error = caught.value
    assert PASSWORD not in f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}"
    return error


# --- SQLite -------------------------------------------------------------------------------------


def test_rows_of_a_query(shop: Path, tmp_path: Path) -> None:
    source = sql(
        tmp_path, "select id, name, data from product where id > :low", ", parameters: {low: 2490}"
    )
    rows, problems = read(source)
    assert source.count() == 10
    assert len(rows) == 10
    assert rows[0] == {"id": 2491, "name": "n2491", "data": b"\x00\xff"}
    assert rows[1]["name"] is None
    assert problems == []
    made = values_of(rendered(entry(value=Value("column", column="data")), rows[:1]))
    assert made == {b"k:2491": b"\x00\xff"}


def test_rows_come_in_batches_and_can_be_gone_on_with(shop: Path, tmp_path: Path) -> None:
    source = sql(tmp_path, "select id from product order by id", ", fetch: 700")
    assert [len(one) for one in source.batches()] == [700, 700, 700, 400]
    assert [row["id"] for row in read(source, after=2300)[0]] == list(range(2301, 2501))


def test_limits(shop: Path, tmp_path: Path) -> None:
    query = "select id, name from product order by id"
    capped = sql(tmp_path, query, limits=", max_rows: 3")
    assert [row["id"] for row in read(capped)[0]] == [1, 2, 3]
    assert capped.count() == 3
    assert (
        "holds more than max_bytes (100)"
        in failure(sql(tmp_path, query, limits=", max_bytes: 100")).message
    )
    _, problems = read(sql(tmp_path, query, limits=", max_row: 4, max_rows: 1005"))
    assert len(problems) == 3
    assert (problems[0].row, problems[0].what) == (1001, "is longer than max_row (4 bytes)")


@pytest.mark.parametrize(
    "query",
    [
        "with x as (select 1) insert into product select 1, 2, 3 from x",
        "select load_extension('x')",
        "select file from pragma_database_list",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select writefile('x', i)"
        " from n",
    ],
)
def test_nothing_is_written(shop: Path, tmp_path: Path, query: str) -> None:
    before = shop.read_bytes()
    assert "was refused by its database: " in failure(sql(tmp_path, query)).message
    assert shop.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "m.yaml", "shop.db"]


def test_an_endless_query_ends(shop: Path, tmp_path: Path) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    error = failure(sql(tmp_path, endless, limits=", timeout: 50ms"))
    assert "was refused by its database: interrupted" in error.message


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("select nosuch from product", "no such column: nosuch"),
        ("select id, id from product", "has two columns of one name: id"),
        ("select 1 from nowhere", "no such table: nowhere"),
    ],
)
def test_queries_that_do_not_work(shop: Path, tmp_path: Path, query: str, what: str) -> None:
    source = sql(tmp_path, query)
    assert what in failure(source).message
    assert "nowhere" not in query or source.count() is None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite://", "must name a file and nothing else"),
        ("sqlite:///:memory:", "must name a file and nothing else"),
        ("sqlite:///file:shop.db?uri=true", "must name a file and nothing else"),
        ("sqlite:///nowhere.db", "names a file that is not there"),
        ("postgresql+nosuch://x/y", "has a URL whose driver SQLAlchemy does not know"),
        ("mysql://x/y", "needs the database's driver"),
    ],
)
def test_urls_that_do_not_work(shop: Path, tmp_path: Path, url: str, what: str) -> None:
    assert what in failure(sql(tmp_path, "select 1", url=url)).message


def test_a_database_outside_is_refused(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    source = sql(tmp_path / "sub", "select 1 as id", url="sqlite:///../shop.db")
    with pytest.raises(RefusedError, match="names a file outside of"):
        read(source)
    manifest = manifest_with(
        tmp_path / "sub", "{sql: {url: 'sqlite:///../shop.db', query: select 1 as id}}"
    )
    allowed = Allowed((tmp_path,))
    assert read(open_source(manifest.sources["s"], manifest, allowed=allowed))[0] == [{"id": 1}]


def test_a_database_that_cannot_be_made_read_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="does not know how to make read-only"):
        read(sql(tmp_path, "select 1", url="mssql+pyodbc://x/y"))


def test_without_sqlalchemy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    error = failure(sql(tmp_path, "select 1"))
    assert "needs the package SQLAlchemy" in error.message
    assert error.hint == "pip install 'redis-cachectl[sql]'"


def test_a_parameter_is_never_pasted(shop: Path, tmp_path: Path) -> None:
    query = "select id from product where name = :name"
    nasty = "x' OR '1'='1"
    assert read(sql(tmp_path, query, f', parameters: {{name: "{nasty}"}}'))[0] == []


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    programs, reason = databases.find()
    if programs is None:
        pytest.skip(reason)
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with databases.running(programs) as server:
        server.run(
            "CREATE TABLE product (id int, price numeric, at timestamptz, data jsonb, raw bytea)",
            "INSERT INTO product SELECT i, i * 1.10, '2026-01-02T03:04:05Z', "
            """'{"a": [1, null]}', '\\xff00' FROM generate_series(1, 5000) AS i""",
        )
        yield server


WITH_PASSWORD = ", password: {env: PW}"


def sources_have_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "source":
            thread.join(30)
            assert not thread.is_alive()


def on(postgres: Postgres, directory: Path, query: str, more: str = "", **options: Any) -> Source:
    return sql(directory, query, WITH_PASSWORD + more, url=postgres.url, **options)


def test_rows_of_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    source = on(
        postgres,
        tmp_path,
        "select * from product where id >= :low order by id",
        ", parameters: {low: 2000}",
    )
    rows, _ = read(source)
    assert len(rows) == 3001
    assert source.count() == 3001
    assert rows[0]["price"] == Decimal("2200.00")
    made = values_of(
        rendered(
            entry(
                value=Value("columns", names={n: n for n in ("id", "price", "at", "data")}),
                codec=("json",),
            ),
            rows[:1],
        )
    )
    assert made == {
        b"k:2000": b'{"id":2000,"price":"2200.00","at":"2026-01-02T03:04:05+00:00",'
        b'"data":{"a":[1,null]}}'
    }
    raw = values_of(rendered(entry(value=Value("column", column="raw")), rows[:1]))
    assert raw == {b"k:2000": b"\xff\x00"}


@pytest.mark.parametrize(
    "query",
    [
        "with gone as (delete from product returning id) select id from gone",
        "select set_config('transaction_read_only', 'off', false), lo_create(0)",
        "select nextval('seq')",
        "select pg_terminate_backend(pg_backend_pid())",
    ],
)
def test_nothing_is_written_to_postgresql(postgres: Postgres, tmp_path: Path, query: str) -> None:
    """Not even by a superuser's functions, whose transaction is told to be read-only."""
    postgres.run("CREATE SEQUENCE IF NOT EXISTS seq", "SELECT setval('seq', 5)")
    failure(on(postgres, tmp_path, query))
    assert postgres.one("SELECT count(*) FROM product") == 5000
    assert postgres.one("SELECT last_value FROM seq") == 5
    assert postgres.one("SELECT count(*) FROM pg_largeobject_metadata") == 0


def test_a_connection_that_drops_half_way_can_be_tried_again(
    postgres: Postgres, tmp_path: Path
) -> None:
    source = on(postgres, tmp_path, "select id, repeat('x', 2000) as x from product order by id")
    batches = source.batches()
    first = next(batches)
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
    with pytest.raises(SourceError) as caught:
        list(batches)
    assert caught.value.retryable
    rest, _ = read(source, after=first.numbers[-1])
    assert first.rows[0]["id"] == 1
    assert [row["id"] for row in rest] == list(range(len(first) + 1, 5001))


def test_a_slow_query_is_ended_by_the_server(postgres: Postgres, tmp_path: Path) -> None:
    error = failure(on(postgres, tmp_path, "select pg_sleep(60)", limits=", timeout: 100ms"))
    assert "canceling statement due to statement timeout" in error.message


def test_a_database_that_hangs_is_left(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_module, "_GRACE", 0.2)
    query = "select id, repeat('x', 2000) as x from product order by id"
    batches = on(postgres, tmp_path, query, ", fetch: 10", limits=", timeout: 3s").batches()
    first = next(batches)
    pid = int(str(postgres.one("SELECT pid FROM pg_stat_activity WHERE usename = 'reader'")))
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SourceError, match=r"has not answered for 3\.2 s") as caught:
            list(batches)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert caught.value.retryable
    assert len(first) == 10
    sources_have_ended()


def test_a_reader_that_stops_ends_the_query(postgres: Postgres, tmp_path: Path) -> None:
    batches = on(postgres, tmp_path, "select id from product", ", fetch: 10").batches()
    next(batches)
    batches.close()
    sources_have_ended()
    deadline = time.monotonic() + 30
    asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'"
    while postgres.one(asked) and time.monotonic() < deadline:
        time.sleep(0.02)  # the server ends a session a little after its client has gone
    assert postgres.one(asked) == 0


def test_a_wrong_password_is_told_without_it(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_with(
        tmp_path,
        f"{{sql: {{url: '{postgres.url}', query: select 1, password: {{env: PW}}}}}}",
        environ={"PW": "wrong-canary"},
    )
    error = failure(open_source(manifest.sources["s"], manifest))
    assert "password authentication failed" in error.message
    assert "wrong-canary" not in error.message


def test_nobody_there(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    error = failure(sql(tmp_path, "select 1", url="postgresql+psycopg://a@127.0.0.1:1/b"))
    assert error.retryable
    assert batch([]).problems == ()
