"""The log against a model of it: any order of appends, gaps, failures, restarts and deletions."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stt_edge.errors import LogError
from stt_edge.model import EndReason
from stt_edge.utterance.log import UtteranceLog
from tests.fakes.disk import FailingDisk
from tests.utterance.making import check_tone, head, tail, tone

EVERYTHING = 1 << 40


class Expected:
    """What the log must know of an utterance."""

    def __init__(self) -> None:
        self.at = 0
        self.there: set[int] = set()
        self.ended: EndReason | None = None
        self.tail_is_written = False


class LogMachine(RuleBasedStateMachine):
    """Every rule does the same to the log and to the model; the invariant compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="stt-edge-log-"))
        self.disk = FailingDisk()
        self.log = UtteranceLog(self.directory, self.disk)
        self.model: dict[str, Expected] = {}

    def teardown(self) -> None:
        self.disk.heal()
        self.log.close()
        shutil.rmtree(self.directory)

    def open_ids(self) -> list[str]:
        return [id_ for id_, expected in self.model.items() if expected.ended is None]

    @rule()
    def start(self) -> None:
        begun = head(0)
        self.model[begun.id] = Expected()
        try:
            self.log.start(begun)
        except LogError:
            assert self.failing

    @precondition(lambda self: self.open_ids())
    @rule(data=st.data(), gap=st.sampled_from([0, 0, 0, 7]), lengths=st.lists(st.integers(1, 30)))
    def append(self, data: st.DataObject, gap: int, lengths: list[int]) -> None:
        utterance_id = data.draw(st.sampled_from(self.open_ids()))
        expected = self.model[utterance_id]
        expected.at += gap
        for samples in lengths:
            at = expected.at
            expected.at += samples
            try:
                self.log.append(utterance_id, tone(at, samples))
            except LogError:
                assert self.failing
            else:
                expected.there |= set(range(at, at + samples))

    @precondition(lambda self: self.open_ids())
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        utterance_id = data.draw(st.sampled_from(self.open_ids()))
        expected = self.model[utterance_id]
        expected.ended = EndReason.SILENCE
        try:
            self.log.end(utterance_id, tail(expected.at))
        except LogError:
            assert self.failing
        else:
            expected.tail_is_written = True
        info = self.log.info(utterance_id)
        assert info.tail is not None
        assert info.tail.lost == expected.at - len(expected.there)

    @property
    def failing(self) -> bool:
        return bool(self.disk._faults)

    @rule(
        code=st.sampled_from([errno.ENOSPC, errno.EIO]),
        after=st.integers(0, 3),
        takes_bytes=st.sampled_from([0, 0, 5, 60]),
    )
    def break_disk(self, code: int, after: int, takes_bytes: int) -> None:
        self.disk.fail("write", code, after=after, takes_bytes=takes_bytes)

    @rule()
    def heal_disk(self) -> None:
        self.disk.heal()

    @precondition(lambda self: not self.failing)
    @rule()
    def crash_and_recover(self) -> None:
        self.log.close()
        self.log = UtteranceLog(self.directory, self.disk)
        found = {info.id: info for info in self.log.recover()}
        for utterance_id, expected in list(self.model.items()):
            if not expected.there:
                assert utterance_id not in found
                del self.model[utterance_id]
                continue
            info = found[utterance_id]
            assert info.tail is not None
            reason = expected.ended if expected.tail_is_written else EndReason.CRASH
            assert info.tail.reason is reason
            end = expected.at if expected.tail_is_written else info.end_so_far
            assert info.tail.lost == end - len(expected.there)
            expected.ended = reason
            expected.tail_is_written = True
            expected.at = info.tail.end
        assert found.keys() == self.model.keys()

    @precondition(lambda self: len(self.open_ids()) < len(self.model))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        ended = [id_ for id_, expected in self.model.items() if expected.ended]
        utterance_id = data.draw(st.sampled_from(ended))
        self.log.delete(utterance_id)
        del self.model[utterance_id]

    @invariant()
    def log_and_model_agree(self) -> None:
        assert self.log.ids() == list(self.model)
        for utterance_id, expected in self.model.items():
            places = check_tone(self.log.read(utterance_id, 0, EVERYTHING))
            there = {address for start, end in places for address in range(start, end)}
            assert there == expected.there
            assert (self.log.info(utterance_id).tail is None) == (expected.ended is None)


TestLogAgainstItsModel = LogMachine.TestCase
TestLogAgainstItsModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
