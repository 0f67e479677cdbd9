"""Places in the program at which it can be made to die, as by SIGKILL, in the middle of its work.

``arm(name, nth)`` wraps one method of the running program; the program itself knows nothing of it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

BEFORE: Final = "before"
AFTER: Final = "after"
HALF: Final = "half of"
"""A write of which only the first half is taken."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Before or after the ``nth`` call of one function."""

    when: str
    module: str
    function: str
    """``Class.method``, or the name of a function."""
    within: str | None = None
    """Only while this other function of the same kind runs, as ``module:Class.method``."""
    nth: int = 1
    next_start: bool = False
    """Reached when a daemon starts behind one that was killed in mid-sentence."""
    durable: bool = False
    """Reached where everything goes to the disk at once."""

    @property
    def name(self) -> str:
        """What the point is called."""
        place = f"{self.module.rpartition('.')[2]}.{self.function}"
        inside = f" within {self.within.partition(':')[2]}" if self.within else ""
        again = f" ({self.nth})" if self.nth > 1 else ""
        return f"{self.when} {place}{inside}{again}"


def _both(module: str, function: str, **more: Any) -> list[CrashPoint]:
    return [CrashPoint(when, module, function, **more) for when in (BEFORE, AFTER)]


_STORE: Final = "stt_edge.store.store"
_DATABASE: Final = "stt_edge.store.database"
_LOG: Final = "stt_edge.utterance.log"
_DISK: Final = "stt_edge.utterance.disk"
_FILE: Final = "stt_edge.sinks.jsonl_file"
_FOLLOWER: Final = "stt_edge.sinks.follower"
_PROGRESS: Final = "stt_edge.session.progress"
_PIPELINE: Final = "stt_edge.service.pipeline"
_COPIES: Final = "stt_edge.utterance.copies"
_MQTT: Final = "stt_edge.sinks.mqtt_sink"
_MQTT_CLIENT: Final = "stt_edge.sinks.mqtt_client"
_RESULTS: Final = "stt_edge.service.results"

POINTS: Final = (
    # What was heard is written down.
    *_both(_LOG, "UtteranceLog.start"),
    CrashPoint(BEFORE, _LOG, "UtteranceLog.append", nth=2),
    CrashPoint(AFTER, _LOG, "UtteranceLog.append", nth=2),
    CrashPoint(HALF, _DISK, "RealDisk.write", nth=3),
    *_both(_LOG, "UtteranceLog.end"),
    *_both(_STORE, "Store.add_utterance"),
    *_both(_STORE, "Store.end_utterance"),
    # What was understood is committed.
    *_both(_PROGRESS, "Progress.accept"),
    *_both(_STORE, "Store.commit_part"),
    CrashPoint(AFTER, _DATABASE, "Database.execute", within=f"{_STORE}:Store.commit_part"),
    CrashPoint(AFTER, _DATABASE, "Database.execute", within=f"{_STORE}:Store.commit_part", nth=2),
    *_both(_STORE, "Store.finish"),
    CrashPoint(AFTER, _DATABASE, "Database.execute", within=f"{_STORE}:Store.finish"),
    CrashPoint(AFTER, _DATABASE, "Database.execute", within=f"{_STORE}:Store.finish", nth=2),
    *_both(_STORE, "Store.add_usage"),
    # Its audio is deleted.
    *_both(_LOG, "UtteranceLog.delete"),
    CrashPoint(BEFORE, _DISK, "RealDisk.unlink"),
    CrashPoint(BEFORE, _RESULTS, "ResultWriter._note_record"),
    # It is handed to the sinks.
    *_both(_FILE, "JsonlFile.open"),
    *_both(_FILE, "JsonlFile.append"),
    *_both(_FILE, "_append_durably"),
    CrashPoint(HALF, "os", "write", within=f"{_FILE}:_append_durably"),
    CrashPoint(BEFORE, "os", "fdatasync", within=f"{_FILE}:_append_durably"),
    CrashPoint(AFTER, "os", "fdatasync", within=f"{_FILE}:_append_durably"),
    CrashPoint(BEFORE, _FOLLOWER, "Follower._hand_over"),
    CrashPoint(AFTER, _FOLLOWER, "Follower._hand_over"),
    *_both(_STORE, "Store.set_cursor"),
    *_both(_MQTT, "MqttSink.open"),
    *_both(_MQTT, "MqttSink.write"),
    CrashPoint(BEFORE, _MQTT_CLIENT, "Client.deliver", within=f"{_MQTT}:MqttSink.write"),
    CrashPoint(AFTER, _MQTT_CLIENT, "Client.deliver", within=f"{_MQTT}:MqttSink.write"),
    # It is copied to the disk.
    *_both(_COPIES, "ColdCopies.catch_up", durable=True),
    CrashPoint(HALF, _DISK, "RealDisk.write", f"{_COPIES}:ColdCopies._copy_whole", durable=True),
    CrashPoint(BEFORE, _DISK, "RealDisk.fsync", f"{_COPIES}:ColdCopies._copy_whole", durable=True),
    *_both(_DISK, "RealDisk.rename", within=f"{_COPIES}:ColdCopies._copy_whole", durable=True),
    CrashPoint(HALF, _DISK, "RealDisk.write", f"{_COPIES}:ColdCopies._copy_rest", durable=True),
    CrashPoint(BEFORE, _DISK, "RealDisk.unlink", f"{_COPIES}:ColdCopies.tidy", durable=True),
    CrashPoint(AFTER, _DISK, "RealDisk.unlink", f"{_COPIES}:ColdCopies.tidy", durable=True),
    # A start behind a crash.
    *_both(_LOG, "UtteranceLog.recover_cold", next_start=True),
    *_both(_LOG, "UtteranceLog.recover", next_start=True),
    CrashPoint(BEFORE, _LOG, "UtteranceLog._end_crashed", next_start=True),
    *_both(_STORE, "Store.open", next_start=True),
    *_both(_PIPELINE, "Pipeline.recover", next_start=True),
    CrashPoint(AFTER, _STORE, "Store.parts", next_start=True),
)


def arm(name: str) -> None:
    """Have this process die at the point of that name. Raises KeyError for one that is none."""
    point = {point.name: point for point in POINTS}[name]
    inside = _Inside()
    if point.within is not None:
        module, _, function = point.within.partition(":")
        _replace(module, function, inside.watch)
    _replace(point.module, point.function, _Trap(point, inside).set)


def die() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


class _Inside:
    """Whether a function runs."""

    def __init__(self) -> None:
        self.depth = 0

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def watched_later(*args: Any, **kwargs: Any) -> Any:
                self.depth += 1
                try:
                    return await function(*args, **kwargs)
                finally:
                    self.depth -= 1

            return watched_later

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1

        return watched


class _Trap:
    """Counts the calls of a function and dies at one of them."""

    def __init__(self, point: CrashPoint, inside: _Inside) -> None:
        self._point = point
        self._inside = inside
        self._left = point.nth

    def set(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def trapped_later(*args: Any, **kwargs: Any) -> Any:
                due = self._due()
                if due and self._point.when == BEFORE:
                    die()
                result = await function(*args, **kwargs)
                if due:
                    die()
                return result

            return trapped_later

        @wraps(function)
        def trapped(*args: Any, **kwargs: Any) -> Any:
            due = self._due()
            if due and self._point.when == BEFORE:
                die()
            if due and self._point.when == HALF:
                *first, data = args
                args = (*first, data[: len(data) // 2])
            result = function(*args, **kwargs)
            if due:
                die()
            return result

        return trapped

    def _due(self) -> bool:
        if self._point.within is not None and not self._inside.depth:
            return False
        self._left -= 1
        return self._left == 0


def _replace(
    module: str, path: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    plain = inspect.getattr_static(owner, name)
    if isinstance(plain, classmethod):
        setattr(owner, name, classmethod(wrap(plain.__func__)))
    else:
        setattr(owner, name, wrap(plain))
