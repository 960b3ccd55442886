"""One query of a database, through SQLAlchemy: read-only, with bound parameters, streamed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachectl.config.confined import confined
from cachectl.config.manifest import SqlSpec
from cachectl.errors import RefusedError
from cachectl.sources.bridge import patiently
from cachectl.sources.interface import SourceError
from cachectl.sources.paging import Page, missing_package

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import URL, Connection, CursorResult, Engine

# Dialect → what makes this session unable to write. A database that is not here is not read: no
# other statement would keep a SELECT with side effects from having them.
_READ_ONLY: dict[str, str] = {
    "sqlite": "",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
_INSTRUCTIONS = 10_000
"""Of SQLite's machine, between two looks at the clock."""
_GRACE = 5.0
"""Seconds that a database gets, beyond the source's timeout, to end the query by itself."""


@dataclass(frozen=True, slots=True)
class SqlPages:
    """The rows of a SqlSpec. roots: where a SQLite file may lie."""

    spec: SqlSpec
    roots: Sequence[Path]

    def __iter__(self) -> Generator[Page]:
        self._ask_password()
        try:
            # A driver that waits for a dead connection is not to be stopped, but can be left.
            yield from patiently(self._read, self._patience)
        except TimeoutError:
            what = f"has not answered for {self._patience:g} s"
            raise SourceError(what, retryable=True) from None

    def _read(self) -> Generator[Page]:
        with self._connected() as connection, _translated():
            from sqlalchemy import text

            streaming = connection.execution_options(
                stream_results=True, max_row_buffer=self.spec.fetch
            )
            with streaming.execute(text(self.spec.query), self.spec.parameters) as result:
                yield from self._pages(result)

    def count(self) -> int | None:
        """Return how many rows the query has, counted by the database; None when it will not."""
        self._ask_password()
        try:
            with closing(patiently(self._counted, self._patience)) as counted:
                return next(counted)
        except (SourceError, TimeoutError):
            return None

    @property
    def _patience(self) -> float:
        return self.spec.limits.timeout + _GRACE

    def _ask_password(self) -> None:
        """Fetch the password here, and not in a thread: it may be asked for at the terminal."""
        if self.spec.password is not None:
            self.spec.password.reveal()

    def _counted(self) -> Generator[int]:
        with self._connected() as connection, _translated():
            from sqlalchemy import text

            counting = text(f"SELECT count(*) FROM ({self.spec.query}) AS counted")  # noqa: S608
            yield int(connection.execute(counting, self.spec.parameters).scalar_one())

    def _pages(self, result: CursorResult[Any]) -> Iterator[Page]:
        columns = list(result.keys())
        twice = sorted(name for name in set(columns) if columns.count(name) > 1)
        if twice:
            raise SourceError(f"has two columns of one name: {twice[0]}", hint="name one with AS")
        left = self.spec.limits.max_bytes
        for records in result.partitions(self.spec.fetch):
            page = Page([])
            for i, record in enumerate(records):
                size = sum(len(value) for value in record if isinstance(value, str | bytes))
                left -= size
                if size > self.spec.limits.max_row:
                    page.bad[i] = f"is longer than max_row ({self.spec.limits.max_row:,} bytes)"
                else:
                    page.rows.append(dict(zip(columns, record, strict=True)))
            if left < 0:
                raise SourceError(f"holds more than max_bytes ({self.spec.limits.max_bytes:,})")
            yield page

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Connect, make the session read-only, and undo whatever it may have done at the end."""
        engine = self._engine()
        try:
            with _translated():
                connection = engine.connect()
            with connection:
                with _translated():
                    self._restrict(connection, engine.dialect.name)
                yield connection
                connection.rollback()
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        try:
            from sqlalchemy import create_engine
            from sqlalchemy.engine import make_url
            from sqlalchemy.exc import ArgumentError, NoSuchModuleError
            from sqlalchemy.pool import NullPool
        except ImportError:
            raise missing_package("SQLAlchemy", "sql") from None
        try:
            url = make_url(self.spec.url)
            dialect = url.get_backend_name()
            if dialect not in _READ_ONLY:
                raise RefusedError(
                    f"the source {self.spec.name} reads {dialect}, which cachectl does not know "
                    "how to make read-only",
                    hint=f"it reads {', '.join(_READ_ONLY)}; export the rows to a file",
                    target=str(self.spec.place),
                )
            options: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
            if dialect == "sqlite":
                url = self._sqlite_url(url)
                options["connect_args"] = {"check_same_thread": False}
            elif self.spec.password is not None:
                url = url.set(password=self.spec.password.reveal())
            return create_engine(url, **options)
        except NoSuchModuleError:
            raise SourceError("has a URL whose driver SQLAlchemy does not know") from None
        except ArgumentError:
            raise SourceError("has a URL that SQLAlchemy does not understand") from None
        except ModuleNotFoundError as error:
            raise SourceError(
                f"needs the database's driver {error.name}", hint=f"pip install {error.name}"
            ) from None

    def _sqlite_url(self, url: URL) -> URL:
        """Return the URL of the file, opened to read alone. Raises RefusedError, SourceError."""
        if not url.database or url.database.startswith((":", "file:")) or url.query:
            raise SourceError("must name a file and nothing else", hint="sqlite:///products.db")
        path = confined(self.roots[0] / url.database, self.roots, f"the source {self.spec.name}")
        if not path.is_file():
            raise SourceError(f"names a file that is not there: {path}")
        return url.set(database=path.as_uri(), query={"mode": "ro", "uri": "true"})

    def _restrict(self, connection: Connection, dialect: str) -> None:
        if dialect == "sqlite":
            raw: Any = connection.connection.driver_connection
            _restrict_sqlite(raw, self.spec.limits.timeout)
            return
        connection.exec_driver_sql(_READ_ONLY[dialect])
        if dialect == "postgresql":
            milliseconds = int(min(self.spec.limits.timeout * 1000, 2**31 - 1))
            connection.exec_driver_sql(f"SET SESSION statement_timeout = {milliseconds}")
        connection.commit()


def _restrict_sqlite(raw: sqlite3.Connection, timeout: float) -> None:
    """Let a connection read and do nothing else: no ATTACH, no PRAGMA, no temporary table."""
    import sqlite3

    harmless = {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }

    def authorize(action: int, *_arguments: Any) -> int:
        return sqlite3.SQLITE_OK if action in harmless else sqlite3.SQLITE_DENY

    deadline = time.monotonic() + timeout
    raw.set_authorizer(authorize)
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours, with what the database said in one line."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

    try:
        yield
    except DBAPIError as error:
        passing = error.connection_invalidated or isinstance(
            error, OperationalError | InterfaceError
        )
        said = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
        raise SourceError(f"was refused by its database: {said}", retryable=passing) from None
    except SQLAlchemyError as error:
        raise SourceError(f"cannot be read ({type(error).__name__})") from None
