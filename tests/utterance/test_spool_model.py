"""Log and copies against a model: appends, copies, faults, kills and power cuts in any order.

``STT_EDGE_EXAMPLES`` sets the number of examples.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stt_edge.errors import LogError
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.disk import FailingDisk
from tests.fakes.forgetful_disk import ForgetfulDisk, Survival
from tests.utterance.making import check_tone, head, tail, tone

HOT, COLD = Path("/run/utterances"), Path("/state/spool")
EVERYTHING = 1 << 40
EXAMPLES = int(os.environ.get("STT_EDGE_EXAMPLES", "200"))


class Expected:
    """What is known of an utterance: sets of samples."""

    def __init__(self) -> None:
        self.at = 0
        self.appended: set[int] = set()
        self.attempted: set[int] = set()
        """Appended, or perhaps partly so."""
        self.promised: set[int] = set()
        self.open = True


class SpoolMachine(RuleBasedStateMachine):
    """Every rule does the same to the log and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.medium = ForgetfulDisk(volatile=HOT, seed=1)
        self.medium.make_directory(COLD.parent)
        self.disk = FailingDisk(self.medium)
        self.model: dict[str, Expected] = {}
        self.log = self.reopen()

    def reopen(self) -> UtteranceLog:
        log = UtteranceLog(HOT, self.disk, cold=COLD)
        found = {info.id: info for info in (*log.recover(), *log.recover_cold())}
        log.arrange(self.model)
        for utterance_id, expected in list(self.model.items()):
            expected.open = False
            if utterance_id not in found:
                assert not expected.promised, "audio on the medium is gone"
                del self.model[utterance_id]
                continue
            there = samples(log, utterance_id)
            assert expected.promised <= there <= expected.attempted
            expected.appended = expected.attempted = there
            info = found[utterance_id]
            assert info.tail is not None
            assert info.tail.lost == info.tail.end - len(there)
            expected.at = info.tail.end
        assert found.keys() <= self.model.keys(), "an utterance that was deleted is back"
        return log

    def ids(self, *, open_: bool) -> list[str]:
        return [id_ for id_, expected in self.model.items() if expected.open is open_]

    @property
    def failing(self) -> bool:
        return bool(self.disk._faults)

    @rule()
    def start(self) -> None:
        begun = head(0)
        self.model[begun.id] = Expected()
        try:
            self.log.start(begun)
        except LogError:
            assert self.failing

    @precondition(lambda self: self.ids(open_=True))
    @rule(data=st.data(), lengths=st.lists(st.integers(1, 300), max_size=4))
    def append(self, data: st.DataObject, lengths: list[int]) -> None:
        utterance_id = data.draw(st.sampled_from(self.ids(open_=True)))
        expected = self.model[utterance_id]
        for length in lengths:
            at = expected.at
            expected.at += length
            try:
                self.log.append(utterance_id, tone(at, length))
            except LogError:
                assert self.failing
            else:
                expected.appended |= set(range(at, at + length))
                expected.attempted |= expected.appended

    @precondition(lambda self: self.ids(open_=True))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        utterance_id = data.draw(st.sampled_from(self.ids(open_=True)))
        expected = self.model[utterance_id]
        expected.open = False
        try:
            self.log.end(utterance_id, tail(expected.at))
        except LogError:
            assert self.failing

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        utterance_id = data.draw(st.sampled_from(list(self.model)))
        self.log.go_cold(utterance_id)
        try:
            self.log.copy(utterance_id)
        except LogError:
            assert self.failing
        else:
            expected = self.model[utterance_id]
            expected.promised = set(expected.appended)

    @precondition(lambda self: not self.failing and self.ids(open_=False))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        utterance_id = data.draw(st.sampled_from(self.ids(open_=False)))
        self.log.delete(utterance_id)
        self.log.tidy()
        self.medium.fsync_dir(COLD) if COLD in self.medium._directories else None
        del self.model[utterance_id]

    @rule(
        operation=st.sampled_from(
            ["write", "fsync", "open_append", "rename", "fsync_dir", "read", "truncate", "close"]
        ),
        code=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EROFS]),
        after=st.integers(0, 3),
        times=st.sampled_from([1, 2, None]),
    )
    def break_disk(self, operation: str, code: int, after: int, times: int | None) -> None:
        self.disk.fail(operation, code, after=after, times=times)

    @rule()
    def heal_disk(self) -> None:
        self.disk.heal()

    @rule()
    def kill(self) -> None:
        self.disk.heal()
        self.medium.kill()
        on_medium = {id_: expected.promised for id_, expected in self.model.items()}
        for expected in self.model.values():
            expected.promised = expected.appended
        self.log = self.reopen()
        for utterance_id, expected in self.model.items():
            expected.promised = on_medium[utterance_id]

    @rule(survival=st.sampled_from(Survival))
    def cut_power(self, survival: Survival) -> None:
        self.disk.heal()
        self.medium.cut(survival)
        self.log = self.reopen()

    @invariant()
    def what_can_be_read_is_what_was_appended(self) -> None:
        if self.failing:
            return
        assert self.log.ids() == list(self.model)
        for utterance_id, expected in self.model.items():
            assert samples(self.log, utterance_id) == expected.appended


def samples(log: UtteranceLog, utterance_id: str) -> set[int]:
    places = check_tone(log.read(utterance_id, 0, EVERYTHING))
    return {address for start, end in places for address in range(start, end)}


TestSpoolAgainstItsModel = SpoolMachine.TestCase
TestSpoolAgainstItsModel.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None
)
