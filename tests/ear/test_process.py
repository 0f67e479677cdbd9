"""The ear at work, in this process: a scripted source, a predictable gate, a real pipe."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from stt_edge.ear.commands import Commands
from stt_edge.ear.process import Ear
from stt_edge.ear.ring import Ring
from stt_edge.ear.timeline import Missing, Piece, Timeline
from stt_edge.ear.wire import (
    Audio,
    Decoder,
    Fault,
    Finished,
    Gap,
    GateSettings,
    Health,
    LevelRate,
    Message,
    Onset,
    Opened,
    SpeechEnd,
    SpeechStart,
    Stop,
    StopMode,
    encode_command,
)
from stt_edge.errors import DeviceError, FaultKind, UnavailableError
from stt_edge.model import EndReason
from tests.fakes.detector import LoudnessDetector

BLOCK = 1600
MS = 1_000_000
START_NS = 50_000 * MS


def loud(at: int) -> bytes:
    """A block of speech, every sample of which says where it lies."""
    return b"".join(
        (5000 + (at + n) % 1000 if n % 2 else -5000 - (at + n) % 1000).to_bytes(
            2, "little", signed=True
        )
        for n in range(BLOCK)
    )


def quiet(_: int) -> bytes:
    return bytes(2 * BLOCK)


@dataclass
class Script:
    """A source and a timeline that do as they are told; time goes 100 ms a block."""

    blocks: list[object]
    """``loud``, ``quiet``, Missing, an exception to raise, or a callable to call."""
    can_wait: bool = False
    description: str = "Script"
    rate: int = 48_000
    channels: int = 2
    overflows: int = 3
    start_ns: int = START_NS
    now_ns: int = START_NS
    done: list[str] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    """All that was heard, zeros where samples are missing."""
    fails: Exception | None = None
    held_back: list[Piece] = field(default_factory=list)
    """What the timeline still holds at the end."""
    _missing: list[Piece] = field(default_factory=list)

    def prepare(self) -> None:
        self.done.append("prepare")

    def open(self) -> Timeline:
        self.done.append("open")
        if self.fails:
            raise self.fails
        return self

    def read(self) -> bytes:
        while self.blocks:
            act = self.blocks.pop(0)
            if isinstance(act, Missing):
                self._missing.append(act)
                self.audio += bytes(2 * act.samples)
                self.now_ns += act.samples * 62_500
            elif isinstance(act, Exception):
                raise act
            elif act in (loud, quiet):
                assert callable(act)
                pcm: bytes = act(len(self.audio) // 2)
                self.audio += pcm
                self.now_ns += 100 * MS
                return pcm
            else:
                assert callable(act)
                act()
        return b""

    def close(self) -> None:
        self.done.append("close")

    def take(self, pcm: bytes, _began_ns: int, _ended_ns: int) -> list[Piece]:
        missing, self._missing = self._missing, []
        return [*missing, pcm]

    def rest(self) -> list[Piece]:
        return self.held_back

    def mono_ns(self, sample: int) -> int:
        return START_NS + sample * 62_500


class Main:
    """Main's ends of the channels, read on a thread that can be paused."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.socket, self._theirs = socket.socketpair()
        self.messages: list[Message] = []
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def pause(self) -> None:
        """Read no more, but for what is being waited for at this moment."""
        self._reading.clear()

    def resume(self) -> None:
        """Read on, and catch up."""
        self._reading.set()
        poll = select.poll()
        poll.register(self.read_end, select.POLLIN)
        while poll.poll(0):
            time.sleep(0.005)

    def run(self, script: Script, ring: Ring | None = None) -> int:
        """Run an ear to its end, and read everything; return its exit code."""
        ear = Ear(
            script,
            LoudnessDetector(GateSettings(pre_roll_ms=200, hangover_ms=300)),
            self.write_end,
            Commands(self._theirs.fileno()),
            before_opening=lambda: script.done.append("confine"),
            ring=ring,
            monotonic_ns=lambda: script.now_ns,
        )
        code = ear.run()
        self._finish()
        return code

    def of(self, *kinds: type) -> list[Message]:
        return [message for message in self.messages if isinstance(message, kinds)]

    def kinds(self) -> list[str]:
        """The names of the messages, audio and health left out."""
        left_out = (Audio, Health)
        return [type(m).__name__ for m in self.messages if not isinstance(m, left_out)]

    def audio(self) -> bytes:
        """Everything handed over, zeros in place of the rest."""
        result = bytearray()
        for message in self.of(Audio):
            assert isinstance(message, Audio)
            assert message.sample * 2 >= len(result), "handed over twice"
            result += bytes(message.sample * 2 - len(result)) + message.pcm
        return bytes(result)

    def close(self) -> None:
        self._finish()
        os.close(self.read_end)
        self.socket.close()
        self._theirs.close()

    def _finish(self) -> None:
        self._reading.set()
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
        self._thread.join()

    def _read(self) -> None:
        decoder = Decoder()
        while self._reading.wait() and (data := os.read(self.read_end, 1 << 16)):
            self.messages += decoder.feed(data)


@pytest.fixture
def main() -> Iterator[Main]:
    main = Main()
    yield main
    main.close()


def test_a_source_is_prepared_confined_opened_and_closed_in_this_order(main: Main) -> None:
    script = Script([quiet])
    assert main.run(script) == 0
    assert script.done == ["prepare", "confine", "open", "close"]


def test_what_is_opened_is_told_with_its_first_block(main: Main) -> None:
    main.run(Script([quiet]))
    opened = main.of(Opened)[0]
    assert isinstance(opened, Opened)
    assert (opened.description, opened.rate, opened.channels) == ("Script", 48_000, 2)
    assert (opened.mono_ns, opened.first_block_ms) == (START_NS, 100)
    assert main.messages[-1] == Finished(BLOCK)


def test_an_utterance_is_handed_over_byte_for_byte_with_its_pre_roll(main: Main) -> None:
    script = Script([quiet] * 5 + [loud] * 20 + [quiet] * 10)
    main.run(script)
    assert main.kinds() == ["Opened", "Onset", "SpeechStart", "SpeechEnd", "Finished"]
    start, end = main.of(SpeechStart, SpeechEnd)
    assert isinstance(start, SpeechStart)
    assert isinstance(end, SpeechEnd)
    assert (start.sample, end.sample) == (3 * BLOCK, 28 * BLOCK)
    assert start.mono_ns == START_NS + 300 * MS
    assert start.decided_mono_ns == START_NS + 600 * MS
    assert (end.reason, end.speech_end) == (EndReason.SILENCE, 25 * BLOCK)
    handed = main.audio()
    assert len(handed) == 2 * 28 * BLOCK
    assert handed[2 * 3 * BLOCK :] == script.audio[2 * 3 * BLOCK : 2 * 28 * BLOCK]


def test_two_utterances_do_not_overlap(main: Main) -> None:
    script = Script(([loud] * 3 + [quiet] * 3) * 2 + [quiet])
    main.run(script)
    first, second = main.of(SpeechStart)[0], main.of(SpeechStart)[1]
    assert isinstance(first, SpeechStart)
    assert isinstance(second, SpeechStart)
    assert (first.sample, second.sample) == (0, 6 * BLOCK)
    assert main.audio() == script.audio[: 2 * 12 * BLOCK]


def test_missing_samples_in_speech_are_told_in_place_and_the_utterance_goes_on(main: Main) -> None:
    script = Script([loud] * 5 + [Missing(1000)] + [loud] * 5 + [quiet] * 5)
    main.run(script)
    assert main.kinds() == ["Opened", "Onset", "SpeechStart", "Gap", "SpeechEnd", "Finished"]
    assert main.of(Gap) == [Gap(5 * BLOCK, 1000)]
    assert main.audio() == script.audio[: len(main.audio())]
    health = main.of(Health)[-1]
    assert isinstance(health, Health)
    assert (health.gaps, health.lost_samples, health.overflows) == (1, 1000, 3)


def test_more_missing_than_a_pause_lasts_ends_the_utterance_before_the_gap(main: Main) -> None:
    script = Script([loud] * 5 + [Missing(48_000)] + [loud] * 5)
    main.run(script)
    kinds = main.kinds()
    assert kinds[2:5] == ["SpeechStart", "SpeechEnd", "Gap"]
    end, second = main.of(SpeechEnd)[0], main.of(SpeechStart)[1]
    assert isinstance(end, SpeechEnd)
    assert isinstance(second, SpeechStart)
    assert (end.sample, end.reason) == (5 * BLOCK, EndReason.GAP)
    assert second.sample == 5 * BLOCK + 48_000


def test_pre_roll_does_not_reach_across_a_gap(main: Main) -> None:
    script = Script([quiet] * 5 + [Missing(1600)] + [quiet, loud, loud] + [quiet] * 5)
    main.run(script)
    start = main.of(SpeechStart)[0]
    assert isinstance(start, SpeechStart)
    assert start.sample == 6 * BLOCK
    assert main.kinds()[:3] == ["Opened", "Gap", "Onset"]


@pytest.mark.parametrize("mode", list(StopMode))
def test_stopping_in_the_middle_hands_everything_over_and_closes_the_source(
    main: Main, mode: StopMode
) -> None:
    def stop() -> None:
        main.socket.sendall(encode_command(Stop(mode)))

    script = Script([loud] * 5 + [stop, loud] + [loud] * 50)
    assert main.run(script) == 0
    end = main.of(SpeechEnd)[0]
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (6 * BLOCK, mode.reason)
    assert main.audio() == script.audio[: 2 * 6 * BLOCK]
    assert main.messages[-1] == Finished(6 * BLOCK)
    assert script.done[-1] == "close"


def test_the_end_of_the_source_ends_the_utterance(main: Main) -> None:
    main.run(Script([loud] * 5))
    end = main.of(SpeechEnd)[0]
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (5 * BLOCK, EndReason.END_OF_FILE)


def test_what_was_held_back_is_handed_over_at_the_end(main: Main) -> None:
    main.run(Script([loud] * 5, held_back=[loud(5 * BLOCK)]))
    assert main.messages[-1] == Finished(6 * BLOCK)
    assert main.audio()[-2 * BLOCK :] == loud(5 * BLOCK)


def test_a_source_that_cannot_be_opened_is_one_fault_and_exit_69(main: Main) -> None:
    script = Script([], fails=DeviceError(FaultKind.BUSY, "It is busy.", "Wait."))
    assert main.run(script) == 69
    assert main.messages == [Fault(FaultKind.BUSY, "It is busy.", "Wait.")]
    assert script.done[-1] == "close"


def test_a_source_that_is_lost_ends_the_utterance_before_the_fault(main: Main) -> None:
    gone = DeviceError(FaultKind.ABSENT, "It has gone.", "It comes back.")
    assert main.run(Script([loud] * 5 + [gone])) == 69
    assert main.kinds()[-2:] == ["SpeechEnd", "Fault"]
    end = main.of(SpeechEnd)[0]
    assert isinstance(end, SpeechEnd)
    assert (end.sample, end.reason) == (5 * BLOCK, EndReason.DEVICE)
    assert main.messages[-1] == Fault(FaultKind.ABSENT, "It has gone.", "It comes back.")


def test_what_else_is_missing_is_an_internal_fault_that_names_its_remedy(main: Main) -> None:
    missing = UnavailableError("A package is missing.", "Install it.")
    assert main.run(Script([quiet, missing])) == 69
    assert main.messages[-1] == Fault(FaultKind.INTERNAL, "A package is missing.", "Install it.")


def test_health_comes_once_a_second_or_as_often_as_main_asks(main: Main) -> None:
    def ask() -> None:
        main.socket.sendall(encode_command(LevelRate(10.0)))

    main.run(Script([quiet] * 30 + [ask] + [quiet] * 10))
    blocks = [message.blocks for message in main.of(Health) if isinstance(message, Health)]
    assert blocks == [1, 11, 21, *range(31, 41)]
    last = main.of(Health)[-1]
    assert isinstance(last, Health)
    assert (last.samples, last.silent_s, last.level_db) == (40 * BLOCK, 4.0, -120.0)


def test_settings_reach_the_gate(main: Main) -> None:
    settings = GateSettings(hangover_ms=1000)
    main.socket.sendall(encode_command(settings))
    script = Script([loud] * 2 + [quiet] * 20)
    main.run(script)
    end = main.of(SpeechEnd)[0]
    assert isinstance(end, SpeechEnd)
    assert end.sample == 12 * BLOCK


def test_a_main_stopped_for_20_s_in_speech_loses_and_doubles_nothing(main: Main) -> None:
    script = Script(
        [quiet] * 5 + [main.pause] + [loud] * 200 + [quiet] * 5 + [main.resume] + [quiet] * 5
    )
    main.run(script)
    assert main.of(Gap) == []
    handed = main.audio()
    assert handed[2 * 3 * BLOCK :] == script.audio[2 * 3 * BLOCK : len(handed)]
    assert len(handed) == 2 * 208 * BLOCK


def test_while_main_reads_nothing_neither_hints_nor_health_pile_up(main: Main) -> None:
    script = Script([main.pause] + ([loud] * 3 + [quiet] * 4) * 100 + [main.resume] + [quiet] * 30)
    main.run(script, Ring(16_000 * 60))
    health = main.of(Health)
    assert len(main.of(SpeechStart)) == len(main.of(SpeechEnd)) == 100
    full_after_s = 35  # what a pipe of 1 MiB holds of this
    assert len(health) < full_after_s + 10
    assert len(main.of(Onset)) < 60
    assert main.audio() == script.audio[: len(main.audio())]


def test_what_main_reads_too_late_is_a_gap_that_is_counted(main: Main) -> None:
    script = Script([main.pause] + [loud] * 700 + [main.resume] + [loud] * 30)
    main.run(script, Ring(16_000 * 10))
    gaps = main.of(Gap)
    assert len(gaps) == 1
    assert isinstance(gaps[0], Gap)
    lost = slice(2 * gaps[0].sample, 2 * (gaps[0].sample + gaps[0].samples))
    expected = bytearray(script.audio)
    expected[lost] = bytes(2 * gaps[0].samples)
    assert main.audio() == expected
    last = main.of(Health)[-1]
    assert isinstance(last, Health)
    assert last.lost_samples == gaps[0].samples


def test_a_recording_waits_for_main_instead(main: Main) -> None:
    def resume_later() -> None:
        main.pause()
        threading.Timer(0.3, main.resume).start()

    script = Script([resume_later] + [loud] * 1000, can_wait=True)
    main.run(script, Ring(16_000 * 10))
    assert main.of(Gap) == []
    assert main.audio() == script.audio


def test_a_main_that_is_gone_ends_it(main: Main) -> None:
    script = Script([quiet] * 5 + [main.socket.close] + [quiet] * 5)
    with pytest.raises(BrokenPipeError):
        main.run(script)
