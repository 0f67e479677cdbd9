"""What commands share: where the configuration is, and how to print."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from stt_edge.clock import rfc3339
from stt_edge.errors import ExitCode, SttEdgeError

if TYPE_CHECKING:  # commands that only ask the daemon need no configuration
    from stt_edge.config.settings import Config

_STYLES: Final = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_ERASE_LINE: Final = "\r\033[K"
_USUAL_WIDTH: Final = 80


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option ``-c FILE``, ``args.config``: a path, or None."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file (default: /etc/stt-edge.yaml, where there is one)",
    )


def config_path(given: Path | None) -> Path | None:
    """Return the file to read: the one given, else the default one, else None, for defaults."""
    from stt_edge.config.loader import DEFAULT_PATH

    if given is not None:
        return given
    return DEFAULT_PATH if os.path.lexists(DEFAULT_PATH) else None


def load_config(given: Path | None, *, check_files: bool = False) -> Config:
    """Return the configuration of the file given, of the default file, or the defaults.

    With ``check_files``, files that it names and that are missing are problems too. Raises
    ConfigError, or PermissionDeniedError when the file may not be read.
    """
    from stt_edge.config.loader import load
    from stt_edge.providers import registry as providers
    from stt_edge.sinks import registry as sinks

    return load(config_path(given), providers, sinks, check_files=check_files)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether somebody watches a stream on a terminal that can rewrite its lines."""
    if stream is None or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def style(text: str, *names: str, stream: TextIO | None = None) -> str:
    """Return the text in colours and weights (``bold dim red green yellow cyan``).

    Unchanged when ``stream`` (default: standard output) is no terminal or NO_COLOR is set.
    """
    if os.environ.get("NO_COLOR") or not is_terminal(sys.stdout if stream is None else stream):
        return text
    codes = ";".join(str(_STYLES[name]) for name in names)
    return f"\033[{codes}m{text}\033[0m"


def printable(text: str) -> str:
    """Return a text with nothing in it that a terminal would obey; line ends stay."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def warn(message: str) -> None:
    """Say something on standard error, in the program's name."""
    print(printable(f"stt-edge: {message}"), file=sys.stderr)


def warn_unusable(failed: list[str], total: int) -> int:
    """Name the files that could not be used, if any, of ``total``; return the exit code."""
    if not failed:
        return ExitCode.OK
    warn(f"{len(failed)} of {total} files could not be used: {', '.join(failed)}")
    return ExitCode.FAILED


def write_output(text: str) -> None:
    """Print a line of results on standard output.

    Raises SttEdgeError when it cannot be written (a full disk), BrokenPipeError when nobody reads.
    """
    try:
        print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_lost(error) from error


def flush_output() -> None:
    """Write what is buffered for standard output; raises like ``write_output``."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_lost(error) from error


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON, on one line unless indented, and flush it.

    Takes dataclasses, datetimes and paths too. Raises like ``write_output``.
    """
    write_output(to_json(value, indent=indent))
    flush_output()


class Progress:
    """One line on standard error that is rewritten; nothing at all where nobody watches."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream``, standard error unless given."""
        self._stream = sys.stderr if stream is None else stream
        self._watched = is_terminal(self._stream)
        self._shown = ""

    def __enter__(self) -> Self:
        """Return the progress line itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the line."""
        self.clear()

    def show(self, text: str) -> None:
        """Replace the line."""
        if not self._watched:
            return
        width = os.get_terminal_size(self._stream.fileno()).columns or _USUAL_WIDTH
        line = printable(text).replace("\n", " ")[: width - 1]
        if line != self._shown:
            self._write(line)

    def clear(self) -> None:
        """Remove the line, so that other output may follow."""
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        self._stream.write(_ERASE_LINE + line)
        self._stream.flush()
        self._shown = line


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, on one line unless indented; dataclasses, datetimes and paths too."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent, default=_as_json)


def _output_lost(error: OSError) -> SttEdgeError:
    return SttEdgeError(f"standard output: {error.strerror or error}.", "Send it somewhere else.")


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
