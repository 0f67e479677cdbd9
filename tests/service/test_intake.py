"""From the messages of an ear to utterances of the log, without a process."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import pytest

from stt_edge.ear import wire
from stt_edge.errors import FaultKind
from stt_edge.model import NS_PER_SAMPLE, EndReason, UtteranceEnd
from stt_edge.service.intake import (
    Intake,
    IntakeEvent,
    LogFailed,
    LogRecovered,
    Losses,
    UtteranceEnded,
    UtteranceGrew,
    UtteranceOpened,
)
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.clock import START, FakeClock
from tests.fakes.disk import FailingDisk

HEALTH = wire.Health(10, 0, 0, 0, -40.0, -60.0, 0.0, 1, 0, 0, 16_000)
SECOND = 16_000


class Desk:
    """An intake with a real log, and everything it emitted."""

    def __init__(self, directory: Path) -> None:
        self.disk = FailingDisk()
        self.clock = FakeClock()
        self.log = UtteranceLog(directory / "hot", self.disk)
        self.losses = Losses()
        self.events: list[IntakeEvent] = []
        self.opened_ns = 0
        self.ear()

    def ear(self) -> None:
        """A new ear takes over, and has said nothing yet."""
        self.intake = Intake(self.log, self.clock, self.losses, self.events.append)

    def open(self) -> None:
        self.opened_ns = self.clock.monotonic_ns()
        self.intake.take(wire.Opened("s1", "USB", 48_000, 1, self.opened_ns, 90))

    def start(self, sample: int, *, continues: bool = False) -> str:
        at_ns = self.opened_ns + sample * NS_PER_SAMPLE
        self.intake.take(wire.SpeechStart(sample, at_ns, at_ns + 500_000_000, continues))
        return self.heads()[-1].head.id

    def audio(self, sample: int, samples: int) -> None:
        self.intake.take(wire.Audio(sample, b"\1\0" * samples))

    def end(self, sample: int, reason: EndReason = EndReason.SILENCE) -> UtteranceEnd:
        self.intake.take(wire.SpeechEnd(sample, reason, sample - 100, 4000))
        return self.tails()[-1].tail

    def heads(self) -> list[UtteranceOpened]:
        return [event for event in self.events if isinstance(event, UtteranceOpened)]

    def tails(self) -> list[UtteranceEnded]:
        return [event for event in self.events if isinstance(event, UtteranceEnded)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.open()
    return desk


def test_an_utterance_is_in_the_log_before_it_is_told(desk: Desk) -> None:
    name = desk.start(3200)
    desk.audio(3200, 1600)
    desk.audio(4800, 1600)
    tail = desk.end(6400)
    spans = desk.log.read(name, 3200, 10_000)
    assert [(span.sample, span.end) for span in spans] == [(3200, 6400)]
    assert desk.log.info(name).tail == tail
    assert tail == UtteranceEnd(6400, EndReason.SILENCE, 6300, 4000, 0)
    kinds = [type(event) for event in desk.events]
    assert kinds == [wire.Opened, UtteranceOpened, UtteranceGrew, UtteranceGrew, UtteranceEnded]


def test_an_utterance_has_the_wall_time_of_its_first_sample(desk: Desk) -> None:
    desk.clock.advance(5.0)
    desk.start(2 * SECOND)
    head = desk.heads()[0].head
    assert head.started_at == START + timedelta(seconds=2)
    assert head.started_mono_ns == desk.opened_ns + 2_000_000_000
    assert desk.heads()[0].decided_mono_ns == desk.opened_ns + 2_500_000_000
    assert not head.clock_unsynced


def test_an_unsynchronised_clock_is_said_in_the_head(desk: Desk) -> None:
    desk.clock.synced = False
    desk.start(0)
    assert desk.heads()[0].head.clock_unsynced


def test_a_gap_within_an_utterance_is_counted_once_as_lost(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.intake.take(wire.Gap(1600, 800))
    desk.audio(2400, 1600)
    assert desk.end(4000).lost == 800
    desk.start(SECOND)
    assert desk.heads()[1].head.lost_before == 0


def test_gaps_while_nobody_spoke_are_carried_by_the_next_utterance(desk: Desk) -> None:
    desk.intake.take(wire.Gap(1000, 500))
    desk.intake.take(wire.Gap(9000, 700))
    desk.start(SECOND)
    assert desk.heads()[0].head.lost_before == 1200
    desk.audio(SECOND, 1600)
    desk.end(SECOND + 1600)
    desk.start(2 * SECOND)
    assert desk.heads()[1].head.lost_before == 0


def test_a_gap_across_the_start_is_split_between_before_and_within(desk: Desk) -> None:
    desk.intake.take(wire.Gap(1000, 1000))
    desk.start(1500)
    desk.audio(2000, 1600)
    assert desk.heads()[0].head.lost_before == 500
    assert desk.end(3600).lost == 500


def test_a_gap_that_ended_an_utterance_is_carried_by_the_next(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.intake.take(wire.Gap(1600, 3 * SECOND))
    assert desk.end(1600, EndReason.GAP).lost == 0
    desk.start(5 * SECOND)
    assert desk.heads()[1].head.lost_before == 3 * SECOND


def test_any_number_of_gaps_is_added_up_in_bounded_memory(desk: Desk) -> None:
    for number in range(1000):
        desk.intake.take(wire.Gap(number * 100, 10))
    assert len(desk.intake._gaps) <= 64
    desk.start(200_000)
    assert desk.heads()[0].head.lost_before == 10_000


def test_one_that_continues_another_has_lost_nothing_before(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.end(1600, EndReason.MAX_LENGTH)
    desk.start(1600, continues=True)
    head = desk.heads()[1].head
    assert head.continues
    assert head.lost_before == 0


def test_an_ear_that_is_lost_ends_its_utterance_at_the_last_sample_received(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.audio(1600, 1600)
    desk.intake.lost()
    tail = desk.tails()[0].tail
    assert (tail.end, tail.reason, tail.lost) == (3200, EndReason.DEVICE, 0)
    desk.intake.lost()
    assert len(desk.tails()) == 1


def test_a_fault_in_the_middle_ends_the_utterance_first(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.intake.take(wire.Fault(FaultKind.ABSENT, "gone"))
    assert [type(event) for event in desk.events[-2:]] == [UtteranceEnded, wire.Fault]


def test_the_time_without_an_ear_is_lost_and_carried_by_the_next_utterance(desk: Desk) -> None:
    desk.clock.advance(10.0)
    desk.intake.take(HEALTH)
    desk.clock.advance(0.5)
    desk.intake.lost()
    desk.ear()
    desk.clock.advance(1.5)
    desk.open()
    desk.start(0)
    assert desk.heads()[0].head.lost_before == 2 * SECOND


def test_after_a_cut_utterance_the_loss_begins_at_its_last_sample(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, SECOND)
    desk.intake.take(wire.Gap(SECOND, 800))  # part of what is missing, not on top of it
    desk.clock.advance(4.0)
    desk.intake.lost()
    desk.ear()
    desk.open()
    desk.start(0)
    assert desk.heads()[1].head.lost_before == 3 * SECOND


def test_what_is_said_while_muted_is_no_loss(desk: Desk) -> None:
    desk.intake.take(wire.Gap(0, 300))
    desk.intake.take(wire.Finished(SECOND))
    desk.losses.excuse()
    desk.ear()
    desk.clock.advance(3600)
    desk.open()
    desk.start(0)
    assert desk.heads()[0].head.lost_before == 300


def test_a_log_that_fails_is_told_once_and_the_ear_is_read_on(desk: Desk) -> None:
    desk.start(0)
    desk.audio(0, 1600)
    desk.disk.fail("write", errno.ENOSPC)
    for block in range(1, 6):
        desk.audio(block * 1600, 1600)
    assert [type(event) for event in desk.events].count(LogFailed) == 1
    desk.disk.heal()
    desk.audio(6 * 1600, 1600)
    assert LogRecovered(5 * 1600) in desk.events
    assert desk.end(7 * 1600).lost == 5 * 1600
    desk.disk.fail("write", errno.ENOSPC)
    desk.start(20_000)
    assert [type(event) for event in desk.events].count(LogFailed) == 2


def test_an_utterance_the_log_never_took_is_told_all_the_same(desk: Desk) -> None:
    desk.disk.fail("open_append", errno.EROFS)
    desk.start(0)
    desk.audio(0, 1600)
    assert desk.end(1600).lost == 1600
    assert [type(event) for event in desk.events[1:]] == [
        LogFailed,
        UtteranceOpened,
        UtteranceEnded,
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [wire.Audio(0, b"\0\0")],
        [wire.SpeechEnd(0, EndReason.SILENCE, 0, 0)],
        [wire.SpeechStart(0, 0, 0), wire.SpeechStart(0, 0, 0)],
        [wire.SpeechStart(100, 0, 0), wire.Audio(50, b"\0\0")],
        [wire.Opened("s2", "again", 16_000, 1, 0, 1)],
        [wire.Finished(0), HEALTH],
        [wire.Fault(FaultKind.BUSY, "busy"), wire.Fault(FaultKind.BUSY, "busy")],
    ],
    ids=str,
)
def test_a_message_out_of_place_is_refused(desk: Desk, messages: list[wire.Message]) -> None:
    *fine, wrong = messages
    for message in fine:
        desk.intake.take(message)
    with pytest.raises(wire.WireError):
        desk.intake.take(wrong)


def test_nothing_but_a_fault_may_come_before_the_opening(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(wire.WireError):
        desk.intake.take(HEALTH)
    desk.intake.take(wire.Fault(FaultKind.ABSENT, "no device"))
    assert desk.events == [wire.Fault(FaultKind.ABSENT, "no device")]
