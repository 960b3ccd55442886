"""Every way in which cachectl fails: one class each, with a sentence, a hint and an exit code.

    CachectlError
    ├── NotFoundError         1   the key or field that was named does not exist
    ├── UsageError            2   the words on the command line do not make sense
    ├── ConfigError           2   a profile, policy or manifest is invalid
    ├── PartialError          3   done in part; can be resumed or repeated
    ├── CannotConnectError    4   nobody answers, or the login is refused
    ├── RefusedError          5   a guard of ours, or a permission of the server, says no
    ├── LockedError           6   another run holds the lock
    ├── DamagedError          7   an archive, plan or snapshot is damaged or does not fit
    ├── InternalError        70   a defect of ours
    └── InterruptedRunError 130   stopped by Ctrl-C (130) or SIGTERM (143), what was done is saved

The docstring's first line of each class is its row in the exit-code table, which the help topic
`exit-codes` and README print from here. A concrete error is a subclass that only changes `slug`,
or an instance with its own sentence: `raise CannotConnectError("…", target=…, hint=…)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class CachectlError(Exception):
    """An error that the user can understand.

    message: one sentence that says what happened, without a final full stop.
    hint: what to do next, or None.
    target: whom it concerns (host:port, a file, a profile), or None.
    """

    exit_code: ClassVar[int] = 70
    slug: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None, target: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.target = target

    def as_json(self) -> dict[str, str | None]:
        """Return the `error` object that `-o json` prints on stderr."""
        return {
            "code": self.slug,
            "message": self.message,
            "hint": self.hint,
            "target": self.target,
        }


class NotFoundError(CachectlError):
    """What was named (a key, a field) does not exist."""

    exit_code = 1
    slug = "not-found"


class UsageError(CachectlError):
    """Usage: an option, an argument or their combination is wrong."""

    exit_code = 2
    slug = "usage"


class ConfigError(CachectlError):
    """An invalid profile, policy or manifest."""

    exit_code = 2
    slug = "config"


class PartialError(CachectlError):
    """Done in part; can be resumed or repeated."""

    exit_code = 3
    slug = "partial"


class CannotConnectError(CachectlError):
    """Cannot connect, or cannot log in."""

    exit_code = 4
    slug = "cannot-connect"


class AuthenticationError(CannotConnectError):
    """Cannot log in: the server refused the user name or password."""

    slug = "authentication"


class RefusedError(CachectlError):
    """Refused by a guard of cachectl or by a permission of the server."""

    exit_code = 5
    slug = "refused"


class PermissionDeniedError(RefusedError):
    """Refused: this login may not run the command."""

    slug = "permission"


class LockedError(CachectlError):
    """Locked by another run."""

    exit_code = 6
    slug = "locked"


class DamagedError(CachectlError):
    """Integrity: an archive, a plan or a snapshot is damaged or does not fit."""

    exit_code = 7
    slug = "integrity"


class InternalError(CachectlError):
    """A defect of cachectl."""

    exit_code = 70
    slug = "internal"


class InterruptedRunError(CachectlError):
    """Interrupted; what was done is saved (143 when by SIGTERM)."""

    exit_code = 130
    slug = "interrupted"


class OutputClosedError(CachectlError):
    """Fine: whoever read our output has seen enough (`| head`)."""

    exit_code = 0
    slug = "output-closed"

    def __init__(self) -> None:
        super().__init__("the reader of the output has gone")


class ServerReplyError(CachectlError):
    """The server answered a command with an error that no caller expected."""

    exit_code = 3
    slug = "server-error"


EXIT_FINE = 0
EXIT_FINDINGS = 1
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def exit_codes() -> Iterator[tuple[int, str]]:
    """Yield (code, meaning) for every code that cachectl ends with, in ascending order."""
    yield EXIT_FINE, "Fine."
    yield EXIT_FINDINGS, "Findings at or above `--fail-on`, or no such key."
    unlisted = (ServerReplyError, OutputClosedError, NotFoundError)
    direct = (cls for cls in CachectlError.__subclasses__() if cls not in unlisted)
    meanings: dict[int, list[str]] = {}
    for cls in direct:
        meanings.setdefault(cls.exit_code, []).append((cls.__doc__ or "").splitlines()[0])
    for code in sorted(meanings):
        yield code, " ".join(meanings[code])
