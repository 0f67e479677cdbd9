"""The thread that puts audio on the medium: copies what is to outlive the power, once a second.

It sleeps while there is no audio, and hardly wakes while all that waits is on the medium. Neither
the loop nor the thread that reads the ear ever waits for a medium.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Final

from stt_edge.clock import Clock
from stt_edge.errors import LogError
from stt_edge.utterance.contents import Holding
from stt_edge.utterance.log import UtteranceLog
from stt_edge.utterance.spool import Ages, Excess, SpoolRules, excess_of, to_go_cold

_BUSY_S: Final = 1.0
"""What is said may be lost to a power cut for so long after it has gone cold."""
_FAILING_S: Final = 3.0
_SETTLED_S: Final = 60.0
"""With everything on the medium, age and free space are looked at this often."""
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class SpoolThread:
    """Copies the audio of a log as the rules say; ``report`` is called on its thread."""

    def __init__(
        self,
        log: UtteranceLog,
        rules: SpoolRules,
        clock: Clock,
        *,
        report: Callable[[Excess], None],
    ) -> None:
        """Prepare; ``report`` gets what is too much, after every pass."""
        self._log = log
        self._rules = rules
        self._clock = clock
        self._report = report
        self._ages = Ages()
        self._condition = threading.Condition()
        self._woken = False
        self._resting = False
        self._offline = False
        self._leaving = False
        self._ending = False
        self._news = False
        self.trouble = ""
        """Why nothing can be put on the medium, in one line; empty while it can."""
        self._thread = threading.Thread(target=self._run, name="stt-edge-spool", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def configure(self, rules: SpoolRules) -> None:
        """Use other rules from now on."""
        self._rules = rules
        self._wake()

    def set_offline(self, *, offline: bool) -> None:
        """Take whether what is said cannot be transcribed now: then it goes cold at once."""
        changed, self._offline = offline is not self._offline, offline
        if changed and offline:
            self._wake()

    def grew(self, _: str) -> None:
        """Take that there is more audio; costs nothing while the thread looks by itself."""
        self._news = True
        if self._resting:
            self._wake()

    def leave(self) -> None:
        """Put everything on the medium, for the program is about to end; returns at once."""
        self._leaving = True
        self._wake()

    def join(self, timeout_s: float) -> bool:
        """Wait, after ``leave``, until all is on the medium; return whether the thread has ended.

        To be called when nothing more is appended.
        """
        with self._condition:
            self._woken = self._ending = True
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify()

    def _run(self) -> None:
        wait_s: float | None = 0.0
        while True:
            with self._condition:
                self._resting = wait_s is None or wait_s > _FAILING_S
                self._condition.wait_for(self._wanted, wait_s)
                self._woken = self._resting = self._news = False
                ending = self._ending
            wait_s = self._pass()
            if ending:
                return

    def _wanted(self) -> bool:
        return self._woken or (self._resting and self._news)

    def _pass(self) -> float | None:
        """Look once; return how long to wait until the next look, None until there is audio."""
        now_ns = self._clock.monotonic_ns()
        holdings = self._log.holdings()
        self._ages.note(holdings, now_ns)
        at_once = self._offline or self._leaving
        for utterance_id in to_go_cold(holdings, self._ages, now_ns, self._rules, at_once=at_once):
            self._log.go_cold(utterance_id)
        stuck = not self._copy_all(self._log.holdings())
        after = self._log.holdings()
        now = self._clock.now() if self._clock.synchronized() else None
        self._report(excess_of(after, self._rules, now, stuck=stuck))
        if stuck:
            return _FAILING_S
        if not after:
            return None
        settled = all(holding.ended and (holding.copied or holding.done) for holding in after)
        return _SETTLED_S if settled else _BUSY_S

    def _copy_all(self, holdings: list[Holding]) -> bool:
        """Copy what is cold; return whether all of it is on the medium."""
        trouble = ""
        try:
            self._log.tidy()
            for holding in holdings:
                if holding.cold and not holding.copied:
                    self._leave_room()
                    trouble = self._copy(holding) or trouble
        except LogError as error:
            trouble = str(error)
        self.trouble = trouble
        return not trouble

    def _copy(self, holding: Holding) -> str:
        try:
            self._log.copy(holding.id)
        except LogError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OF_THE_DISK:
                raise  # it will be the same for the others
            return str(error)
        return ""

    def _leave_room(self) -> None:
        """Raise LogError when the room left is for others."""
        free_bytes, keep_bytes = self._log.free_bytes(), self._rules.keep_free_bytes
        if keep_bytes and free_bytes < keep_bytes:
            raise LogError(
                f"Only {free_bytes >> 20} MB are free where audio waits; {keep_bytes >> 20} MB are "
                "left to others.",
                "Free space, or lower spool: keep_free_mb.",
            )
