"""The program of a worker: an engine, between two pipes.

Standard input and output carry the frames of ``frames.py``. The messages of a use:

* to the worker: ``{"do": "begin"}``, then audio (BINARY), then ``{"do": "finish"}``, again and
  again; in the end ``{"do": "goodbye"}``, which finishes an utterance that is still open;
* from it: ``ready`` once, ``partial`` while audio comes, or ``heard`` where there is nothing new to
  say (a worker that is silent for long is taken to hang), at most one ``final`` and then
  ``finished`` for each utterance, or ``error`` and the end of the process.

Exit codes: 0 main has closed the pipe, 69 the engine cannot be loaded (an ``error`` says why).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import ExitCode
from stt_edge.providers.worker.engine import Engine, EngineError, Heard
from stt_edge.providers.worker.frames import Frame, FrameDecoder, FrameKind

_ENGINES: Final = {
    "pocketsphinx": "stt_edge.providers.worker.pocketsphinx:PocketsphinxEngine",
    "sherpa": "stt_edge.providers.worker.sherpa:SherpaEngine",
    "vosk": "stt_edge.providers.worker.vosk:VoskEngine",
}
_PARTIAL_S: Final = 0.25
_HEARD_S: Final = 2.0
_NICE: Final = 5
_OOM_SCORE: Final = 500
_PR_SET_PDEATHSIG: Final = 1
_READ_BYTES: Final = 1 << 16


def main(argv: list[str]) -> int:
    """Serve the engine named by the only argument until main closes the pipe."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _give_way()
    output = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints does not belong among the frames
    try:
        return Server(_ENGINES[argv[0]], 0, output).run()
    except BrokenPipeError:
        return ExitCode.OK


class Server:
    """Answers frames with what an engine makes of them."""

    def __init__(self, engine: str, source: int, output: int) -> None:
        """Serve ``module:class`` from one file descriptor to another."""
        self._engine_name = engine
        self._source = source
        self._output = output
        self._use: int | None = None
        self._in_utterance = False
        self._fed_samples = 0
        self._fresh = False
        """There is audio that no partial has been asked about."""
        self._unanswered = False
        """There is audio that main has heard nothing about."""
        self._answered_s = 0.0
        self._said = ""

    def run(self) -> int:
        """Serve until the source ends; return the exit code. Raises BrokenPipeError."""
        batches = self._batches()
        first = next(batches, None)
        if first is None:
            return ExitCode.OK
        settings, *rest = first
        try:
            engine = self._load(json.loads(settings.payload))
        except EngineError as error:
            self._say("error", kind=error.kind, message=error.message, remedy=error.remedy)
            return ExitCode.UNAVAILABLE
        self._serve(engine, rest)
        for frames in batches:
            self._serve(engine, frames)
        return ExitCode.OK

    def _load(self, settings: dict[str, Any]) -> Engine:
        module, _, name = self._engine_name.partition(":")
        return typing.cast("Engine", getattr(importlib.import_module(module), name)(settings))

    def _batches(self) -> Iterator[list[Frame]]:
        """Yield what has come, all of it at a time; nothing, when an answer is overdue."""
        decoder = FrameDecoder()
        while True:
            if not select.select([self._source], [], [], self._patience_s())[0]:
                yield []
                continue
            data = os.read(self._source, _READ_BYTES)
            if not data:
                return
            if frames := decoder.feed(data):
                yield frames

    def _patience_s(self) -> float | None:
        if not self._unanswered:
            return None
        due_s = self._answered_s + (_PARTIAL_S if self._fresh else _HEARD_S)
        return max(0.0, due_s - time.monotonic())

    def _serve(self, engine: Engine, frames: list[Frame]) -> None:
        for frame in _from_last_close(frames):
            match frame.kind:
                case FrameKind.OPEN:
                    self._use = frame.number
                    self._say("ready", model=engine.model)
                case FrameKind.CLOSE:
                    self._close(frame.number)
                case FrameKind.BINARY:
                    engine.feed(frame.payload)
                    self._fed_samples += len(frame.payload) // 2
                    self._fresh = self._unanswered = True
                case FrameKind.TEXT:
                    self._obey(engine, json.loads(frame.payload)["do"])
        if self._unanswered:
            self._report(engine)

    def _obey(self, engine: Engine, verb: str) -> None:
        if verb == "begin":
            engine.begin()
            self._in_utterance = True
            self._fed_samples = 0
            self._said = ""
            return
        if self._in_utterance:
            if heard := engine.finish():
                self._say_heard("final", heard)
            self._say("finished")
            self._in_utterance = False
        if verb == "goodbye" and self._use is not None:
            self._close(self._use)

    def _close(self, number: int) -> None:
        if number != self._use:
            return  # it has been said already
        self._use = None
        self._in_utterance = False
        self._send(Frame.numbered(FrameKind.CLOSE, number))

    def _report(self, engine: Engine) -> None:
        since_s = time.monotonic() - self._answered_s
        if since_s < _PARTIAL_S:
            return
        heard = engine.partial() if self._fresh else None
        self._fresh = False
        if heard is not None and heard.text != self._said:
            self._say_heard("partial", heard)
            self._said = heard.text
        elif since_s >= _HEARD_S:
            self._say("heard", end=self._fed_samples)

    def _say_heard(self, kind: str, heard: Heard) -> None:
        words = [[word.text, word.start, word.end, word.confidence] for word in heard.words]
        self._say(kind, end=self._fed_samples, words=words, confidence=heard.confidence)

    def _say(self, what: str, /, **fields: Any) -> None:
        body = json.dumps({"type": what, **fields}, ensure_ascii=False)
        self._send(Frame(FrameKind.TEXT, body.encode()))

    def _send(self, frame: Frame) -> None:
        data = memoryview(frame.encode())
        while data:
            data = data[os.write(self._output, data) :]
        self._unanswered = False
        self._answered_s = time.monotonic()


def _from_last_close(frames: list[Frame]) -> list[Frame]:
    """Return the frames less those of a use that has been given up in the meantime."""
    closes = [at for at, frame in enumerate(frames) if frame.kind is FrameKind.CLOSE]
    return [
        frame
        for at, frame in enumerate(frames)
        if not closes or at >= closes[-1] or frame.kind is FrameKind.OPEN
    ]


def _die_with_parent() -> None:
    """Have the kernel end this process with its parent, also in the middle of a computation."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def _give_way() -> None:
    """Let hearing go before understanding: in time, and when memory runs out."""
    with contextlib.suppress(PermissionError):  # a unit's SystemCallFilter= may refuse it
        os.nice(_NICE)
    with contextlib.suppress(OSError):  # a container may not show it; then nothing is lost
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
