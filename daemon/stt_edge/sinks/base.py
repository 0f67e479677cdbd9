"""What a sink is, and the two ways in which it can say no.

SttEdgeError
└── SinkError
    ├── SinkUnavailableError    try again later; the record waits in the store
    └── SinkRefusedError        this record will never be taken; others may
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stt_edge.errors import ExitCode, SttEdgeError
from stt_edge.frozen import frozen
from stt_edge.model import Record


class SinkError(SttEdgeError):
    """A sink did not take a record."""


class SinkUnavailableError(SinkError):
    """The sink takes nothing at the moment: its disk is full, its broker is gone."""

    exit_code = ExitCode.TEMPORARY


class SinkRefusedError(SinkError):
    """The sink will never take this record, whatever the number of attempts."""


class LiveHooks:
    """What a sink may care to know beside records; it overrides what it has a use for."""

    def partial(self, utterance_id: str, text: str) -> None:
        """Take what is understood so far; an empty text withdraws it. Returns at once."""

    def speech(self, open: bool) -> None:  # noqa: A002  the word of the domain
        """Take that somebody has begun (or ceased) to speak. Returns at once."""

    def reopen(self) -> None:
        """Let go of files that may have been moved away (a rotation). Returns at once."""

    def changed(self) -> None:
        """Take that something in ``SinkContext.status`` has changed. Returns at once."""


class Sink(LiveHooks, ABC):
    """Takes records, in their order.

    ``open`` and ``write`` raise SinkUnavailableError; ``open`` is called again after that, so it
    starts from nothing every time. A record may come twice after a crash, under the same id.
    """

    name: ClassVar[str]
    """As in the configuration; the cursor is stored under it."""
    resumes: ClassVar[bool] = True
    """Whether a restart goes on after the last record taken; False is 'always start at now'."""
    at_once: ClassVar[int] = 1
    """So many calls of ``write`` may be under way at a time; they are begun in order."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready for records. Raises SinkUnavailableError."""

    @abstractmethod
    async def write(self, record: Record) -> None:
        """Take a record; it is safe there on return.

        Raises SinkUnavailableError or SinkRefusedError.
        """

    def watch(self, trouble: Callable[[], None]) -> None:
        """Have ``trouble`` called when the sink finds out between records that it is cut off."""

    def check(self) -> None:
        """Raise SinkUnavailableError if the sink, open, has found out that it is cut off."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; never raises, may be called twice."""


async def _nothing_to_mute(_: bool) -> None:
    """Do nothing, where there is no microphone."""


@frozen
class SinkContext:
    """What sinks need to know of the program they run in."""

    logs_directory: Path
    """Where logs go that have no path of their own."""
    stdout: int = 1
    """File descriptor of standard output."""
    node: str = ""
    version: str = ""
    status: Callable[[], Mapping[str, Any]] = dict
    """Returns the status document of this moment, as ``stt-edge status --json`` prints it."""
    mute: Callable[[bool], Awaitable[None]] = _nothing_to_mute
    """Closes the microphone, or opens it again. Raises SttEdgeError when it cannot be closed."""


class SinkModule(typing.Protocol):
    """What the registry expects of a sink's module."""

    Options: type[Any]
    """A dataclass of options; fields are declared with ``stt_edge.config.schema.option``.

    The module may also have ``PACKAGES``, what it imports that is not part of the base install, and
    ``EXTRA``, the extra that brings them."""

    def build(self, options: Any, context: SinkContext) -> Sink:
        """Return the sink, not open yet. Raises UnavailableError when a package is missing."""


@frozen
class Examined:
    """What a sink's module found of one step on the way to its other side."""

    what: str
    """The step, in kebab-case: ``login``; empty for the sink as a whole."""
    level: str
    """``ok``, ``warn`` or ``fail``."""
    message: str
    remedy: str = ""
    """What to do about it, one sentence; empty when it is well."""


Examine = Callable[[Any, SinkContext], Awaitable[Iterable[Examined]]]
"""What a sink's module may have under the name ``examine``: given its options and the context, it
goes as far as it can without sending a record, and raises nothing for what it finds wrong."""
