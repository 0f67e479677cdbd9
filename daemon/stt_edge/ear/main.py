"""The program of the ear: ``python -m stt_edge.ear PIPE COMMANDS``.

PIPE is the file descriptor of a pipe to write messages to, and COMMANDS that of a socketpair to
read commands from; the first is ``Begin``. Exit codes: 0 the source has ended or main said so, 69
it could not be opened or was lost (a ``Fault`` says why), 1 main is gone.

Nothing heavy is imported before the kernel has been told to end this process with its parent.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from stt_edge.ear.chatter import Chatter
from stt_edge.ear.commands import Commands
from stt_edge.ear.sandbox import SandboxError, die_with_parent, forbid_network
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import GateSettings
from stt_edge.errors import ExitCode

if TYPE_CHECKING:
    from stt_edge.ear.process import SpeechDetector
    from stt_edge.ear.sources import Source


def main(
    argv: list[str], make_detector: Callable[[GateSettings], SpeechDetector] | None = None
) -> int:
    """Listen as ``argv`` (without the program's name) says; return the exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, commands = int(argv[0]), Commands(int(argv[1]))
    if commands.is_closed:  # it died before that could be arranged
        return ExitCode.FAILED
    if commands.is_silent:
        _load()
    try:
        settings = EarSettings.from_json(commands.wait_for_begin().settings)
        return _listen(settings, pipe, commands, make_detector)
    except BrokenPipeError:
        return ExitCode.FAILED


def _load() -> None:
    """Load what a device takes while nothing is wanted yet; what fails will fail again then."""
    with contextlib.suppress(ImportError, OSError):
        from stt_edge.ear import capture, detector, portaudio, process  # noqa: F401


def _listen(
    settings: EarSettings,
    pipe: int,
    commands: Commands,
    make_detector: Callable[[GateSettings], SpeechDetector] | None,
) -> int:
    from stt_edge.ear.process import Ear

    with Chatter() as chatter:
        source = make_source(settings.source, chatter)
        ear = Ear(
            source,
            make_detector(settings.gate)
            if make_detector
            else _detector(settings.gate, source, chatter),
            pipe,
            commands,
            before_opening=lambda: _confine(chatter),
            chatter=chatter,
        )
        return ear.run()


def make_source(settings: SourceSettings, chatter: Chatter) -> Source:
    """Return what the settings name: a recording, a command or a device."""
    if settings.file is not None:
        from stt_edge.ear.sources import FileSource

        return FileSource(settings, chatter)
    if settings.command is not None:
        from stt_edge.ear.sources import CommandSource

        return CommandSource(settings)

    from stt_edge.ear.capture import DeviceSource

    return DeviceSource(settings, chatter)


def _detector(gate: GateSettings, source: Source, chatter: Chatter) -> SpeechDetector:
    from stt_edge.ear.detector import Detector

    # Sound that waits may be judged as slowly as it takes.
    return Detector(gate, give_up=None if source.can_wait else partial(_tell_slow, chatter))


def _tell_slow(chatter: Chatter, why: str) -> None:
    chatter.say(
        f"This processor is too slow for the second stage ({why}): speech is not confirmed, and "
        "more noise is taken for it. vad.confirm: silero insists on it, none does without."
    )


def _confine(chatter: Chatter) -> None:
    try:
        forbid_network()
    except SandboxError as error:
        chatter.say(f"The ear goes on without its network filter: {error}.")
