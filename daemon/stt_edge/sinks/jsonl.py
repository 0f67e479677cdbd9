"""The sink that keeps transcripts in a file, one JSON object a line."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from stt_edge.config.schema import option
from stt_edge.frozen import frozen
from stt_edge.model import Record
from stt_edge.record_json import record_to_json
from stt_edge.sinks.base import Sink, SinkContext, SinkUnavailableError
from stt_edge.sinks.blocking import BlockingCalls
from stt_edge.sinks.jsonl_file import JsonlFile

_P = ParamSpec("_P")
_T = TypeVar("_T")

FILE_NAME: Final = "transcripts.jsonl"

_REMEDIES: Final = {
    errno.ENOSPC: "Free space there; records wait in the store meanwhile.",
    errno.EDQUOT: "Raise the quota or free space there; records wait in the store meanwhile.",
    errno.EROFS: "Make the file system writable, or name another file under sinks: jsonl: path.",
    errno.EACCES: "Let user {user} write there, or name another file under sinks: jsonl: path.",
    errno.EPERM: "Let user {user} write there, or name another file under sinks: jsonl: path.",
    errno.ENOENT: "Create the directory {directory}, or name another file.",
    errno.ENOTDIR: "Something on the way to {directory} is no directory; name another file.",
    errno.EISDIR: "Name a file, not a directory, under sinks: jsonl: path.",
    errno.EINVAL: "Name a regular file under sinks: jsonl: path.",
    errno.EIO: "The disk fails; see the kernel's messages (dmesg).",
}


@frozen
class Options:
    """``sinks: jsonl:`` of the configuration."""

    path: str | None = option(
        None,
        path=True,
        doc="the file; default: transcripts.jsonl in the logs directory",
    )


class JsonlSink(Sink):
    """Appends a line to a file for each record; it is on the disk when ``write`` returns."""

    name = "jsonl"

    def __init__(self, path: Path) -> None:
        """Write to ``path``."""
        self._file = JsonlFile(path)
        self._calls = BlockingCalls("sink-jsonl")

    @property
    def path(self) -> Path:
        """Return the file's path."""
        return self._file.path

    async def open(self) -> None:
        """Open or create the file. Raises SinkUnavailableError."""
        await self._call(self._file.open)

    async def write(self, record: Record) -> None:
        """Append the record, unless its id is there already. Raises SinkUnavailableError."""
        text = json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":"))
        line = text.encode(errors="replace") + b"\n"
        await self._call(self._file.append, record.id, line)

    async def close(self) -> None:
        """Close the file."""
        await self._calls.close(self._file.close)

    def reopen(self) -> None:
        """Open the path anew before the next line."""
        self._file.reopen()

    async def _call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await self._calls.call(functools.partial(function, *args, **kwargs))
        except OSError as error:
            raise _unavailable(self._file.path, error) from error


def build(options: Options, context: SinkContext) -> JsonlSink:
    """Return the sink."""
    if options.path is None:
        return JsonlSink(context.logs_directory / FILE_NAME)
    return JsonlSink(Path(options.path))


def _unavailable(path: Path, error: OSError) -> SinkUnavailableError:
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "")
    return SinkUnavailableError(
        f"{path} cannot be written: {reason}.",
        remedy.format(user=_user(), directory=path.parent),
    )


def _user() -> str:
    """Return the name of the user the program runs as, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
