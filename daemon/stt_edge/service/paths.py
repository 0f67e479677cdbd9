"""Where the daemon keeps what, and where the command line finds the daemon.

Under systemd the unit says where (``$RUNTIME_DIRECTORY`` …); elsewhere the XDG directories of the
user are used. Instance ``kitchen`` has ``stt-edge-kitchen`` wherever the only one has ``stt-edge``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stt_edge.errors import InputError, PermissionDeniedError, UnavailableError
from stt_edge.frozen import frozen

SYSTEM_RUNTIME: Final = Path("/run")
SYSTEM_STATE: Final = Path("/var/lib")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@frozen
class Paths:
    """The directories of one instance."""

    runtime: Path
    """In memory where there is one; holds the control socket and the audio of the moment."""
    state: Path
    logs: Path

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens to the command line."""
        return self.runtime / "control.sock"

    @property
    def hot_audio(self) -> Path:
        """Where utterances lie while they are transcribed."""
        return self.runtime / "utterances"

    @property
    def cold_audio(self) -> Path:
        """Where utterances wait that are to outlive the power."""
        return self.state / "spool"

    @property
    def database(self) -> Path:
        """The store."""
        return self.state / "store.db"

    @property
    def transcripts(self) -> Path:
        """The JSONL file, unless the configuration names another."""
        return self.logs / "transcripts.jsonl"

    def create(self) -> None:
        """Make sure that all three are there, 0700 when made here, and can be written to.

        Raises UnavailableError or PermissionDeniedError, with what to do.
        """
        for directory in (self.runtime, self.state, self.logs):
            _make(directory)


def instance_of(config: Path | None, instance: str | None) -> str | None:
    """Return the instance that ``--instance`` and ``-c`` mean; None is the only one there is.

    ``/etc/stt-edge/kitchen.yaml`` belongs to instance ``kitchen``, as the unit
    ``stt-edge@kitchen.service`` has it; a file anywhere else says nothing. Raises InputError for a
    name that cannot be part of a file name.
    """
    if instance is None and config is not None and config.absolute().parent.name == "stt-edge":
        instance = config.stem
    if instance is not None and not _NAME.fullmatch(instance):
        raise InputError(
            f"{instance!r} cannot name an instance.", "Use letters, digits, '.', '_' and '-'."
        )
    return instance


def daemon_paths(instance: str | None, environ: Mapping[str, str] = os.environ) -> Paths:
    """Return where a daemon started in this environment keeps its things."""
    name = _directory_name(instance)
    state = _given(environ, "STATE_DIRECTORY") or _xdg_state(environ) / name
    return Paths(
        runtime=_given(environ, "RUNTIME_DIRECTORY") or _user_runtime(instance, environ),
        state=state,
        logs=_given(environ, "LOGS_DIRECTORY") or state,
    )


def find_sockets(instance: str | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return where the daemon's control socket may be, the likeliest first."""
    directories = [SYSTEM_RUNTIME / _directory_name(instance), _user_runtime(instance, environ)]
    if given := _given(environ, "RUNTIME_DIRECTORY"):
        directories.insert(0, given)
    return [directory / "control.sock" for directory in directories]


def find_all_sockets() -> list[Path]:
    """Return the control sockets of all installed instances that run, or have run."""
    return sorted(SYSTEM_RUNTIME.glob("stt-edge*/control.sock"))


def find_state(instance: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the state directory of a daemon that does not run: the installed one's, if any."""
    if given := _given(environ, "STATE_DIRECTORY"):
        return given
    installed = SYSTEM_STATE / _directory_name(instance)
    return installed if installed.exists() else _xdg_state(environ) / _directory_name(instance)


def find_paths(instance: str | None, environ: Mapping[str, str] = os.environ) -> Paths:
    """Return the directories of a daemon that does not run: the installed one's, if any."""
    state, name = find_state(instance, environ), _directory_name(instance)
    user = _user_runtime(instance, environ)
    runtime = SYSTEM_RUNTIME / name if state == SYSTEM_STATE / name else user
    return Paths(
        runtime=_given(environ, "RUNTIME_DIRECTORY") or runtime,
        state=state,
        logs=_given(environ, "LOGS_DIRECTORY") or state,
    )


def _directory_name(instance: str | None) -> str:
    return f"stt-edge-{instance}" if instance else "stt-edge"


def _given(environ: Mapping[str, str], name: str) -> Path | None:
    first = environ.get(name, "").partition(":")[0]  # systemd lists all there are
    return Path(first) if first else None


def _xdg_state(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():  # the specification has relative ones ignored
        return given
    return Path(environ.get("HOME") or Path.home()) / ".local" / "state"


def _user_runtime(instance: str | None, environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_RUNTIME_DIR", ""))
    name = _directory_name(instance)
    if given.is_absolute():
        return given / name
    return Path("/tmp") / f"{name}-{os.getuid()}"  # noqa: S108  whose it is, is checked


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        foreign = _is_foreign(directory)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"Cannot make {error.filename}: {error.strerror}.",
            f"Give the user that runs stt-edge write access to {directory.parent}.",
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"Cannot make {error.filename}: {error.strerror}.",
            "Free that path, or set RUNTIME_DIRECTORY, STATE_DIRECTORY and LOGS_DIRECTORY.",
        ) from error
    if foreign:
        raise PermissionDeniedError(f"{directory} belongs to somebody else.", "Remove it.")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionDeniedError(
            f"Cannot write to {directory}.", "Give it to the user that runs stt-edge."
        )


def _is_foreign(directory: Path) -> bool:
    """Return whether somebody else put it where everybody may, which is in /tmp."""
    if not directory.parent.stat().st_mode & stat.S_IWOTH:
        return False
    status = directory.lstat()
    return not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid()
