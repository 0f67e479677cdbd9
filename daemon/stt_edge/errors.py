"""Every error the program raises on purpose.

SttEdgeError
├── ConfigError            the configuration file is wrong (exit 78)
├── UnavailableError       something needed is not there now (exit 69)
├── PermissionDeniedError  the system or a provider says no (exit 77)
├── SecretError            a file holds no usable key or password (exit 77)
├── TemporaryError         it may work later (exit 75)
├── InputError             a file given to work on cannot be used (exit 1)
├── DeviceError            capture cannot start or go on
├── LogError               the utterance log cannot be written or read
├── StoreError             the store cannot be opened or written
└── ProviderError        an attempt with a provider failed; carries its kind
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class ExitCode:
    """Exit codes of every command (sysexits(3) where one fits)."""

    OK: ClassVar[int] = 0
    FAILED: ClassVar[int] = 1
    USAGE: ClassVar[int] = 2
    UNAVAILABLE: ClassVar[int] = 69
    TEMPORARY: ClassVar[int] = 75
    PERMISSION: ClassVar[int] = 77
    CONFIG: ClassVar[int] = 78


class SttEdgeError(Exception):
    """Root of the tree: a message for a person, what to do about it, and an exit code."""

    exit_code: ClassVar[int] = ExitCode.FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        """Keep the message and the remedy, a sentence that says what to do."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the message followed by its remedy."""
        return f"{self.message} {self.remedy}".rstrip()


@dataclass(frozen=True, slots=True, order=True)
class ConfigProblem:
    """One thing wrong with a configuration file; line and column count from 1, 0 is 'no place'."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """Return ``path:line:column: message``, as compilers print it."""
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.path}{place}: {self.message}"


class ConfigError(SttEdgeError):
    """The configuration is wrong; carries every problem at once."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[ConfigProblem]) -> None:
        """Keep all problems in the order of their place in the file."""
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnavailableError(SttEdgeError):
    """Something needed (a daemon, a package, a directory) is not there."""

    exit_code = ExitCode.UNAVAILABLE


class PermissionDeniedError(SttEdgeError):
    """The operating system or a provider refuses."""

    exit_code = ExitCode.PERMISSION


class SecretError(SttEdgeError):
    """A file that should hold a key or a password holds none that can be used."""

    exit_code = ExitCode.PERMISSION


class TemporaryError(SttEdgeError):
    """It cannot be done now and may work later."""

    exit_code = ExitCode.TEMPORARY


class InputError(SttEdgeError):
    """A file given on the command line cannot be used."""


class FaultKind(StrEnum):
    """Why capture cannot start or go on; the keeper's retry rule follows from it."""

    ABSENT = "absent"
    """No such device, or no device at all, or it has gone."""
    BUSY = "busy"
    AMBIGUOUS = "ambiguous"
    """Several devices fit and none was chosen."""
    FORMAT = "format"
    """The device has no rate or channel the ear can use, even resampled."""
    DENIED = "denied"
    FILE = "file"
    """``audio.file`` cannot be read."""
    COMMAND = "command"
    """``audio.command`` cannot be run or ended by itself."""
    INTERNAL = "internal"


class DeviceError(SttEdgeError):
    """Capture cannot start or go on."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, kind: FaultKind, message: str, remedy: str = "") -> None:
        """Keep the kind beside the message and the remedy."""
        super().__init__(message, remedy)
        self.kind = kind


class LogError(SttEdgeError):
    """The utterance log cannot be written or read."""


class StoreError(SttEdgeError):
    """The store cannot be opened or written."""


class StoreConflictError(StoreError):
    """What is to be stored contradicts what is stored; trying again does not help."""


class FailureKind(StrEnum):
    """What went wrong with a provider; ``classify`` turns it into what to do next."""

    CONNECT = "connect"
    """No connection: refused, no route, DNS, TLS, a proxy."""
    TIMEOUT = "timeout"
    """Connected or asked, and no answer in time."""
    LOST = "lost"
    """The connection broke in the middle."""
    PROTOCOL = "protocol"
    """The provider said something its protocol does not allow."""
    SERVER = "server"
    """The provider says that it has a problem of its own (5xx, 1011)."""
    OVERLOADED = "overloaded"
    """429, 503 with Retry-After, or a quota: come back later."""
    DENIED = "denied"
    """The key or the account is refused."""
    REQUEST = "request"
    """The provider refuses what we ask for: model, language, parameters."""
    UTTERANCE = "utterance"
    """The provider refuses this very utterance."""
    CLOCK = "clock"
    """Refused because the machine's clock is wrong."""
    SETUP = "setup"
    """A package, model or file of ours is missing or wrong."""


class ProviderError(SttEdgeError):
    """An attempt with a provider failed. The message never carries a secret."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        remedy: str = "",
    ) -> None:
        """Keep the kind, the provider's own code and the wait it asks for, in seconds."""
        super().__init__(message, remedy)
        self.kind = kind
        self.code = code
        self.retry_after_s = retry_after_s
