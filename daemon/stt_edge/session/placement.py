"""Who goes where and when: utterances that wait, and the connections they are put on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stt_edge.model import samples_to_s
from stt_edge.session.chain import Chain
from stt_edge.session.lane import Lane
from stt_edge.session.link import Link
from stt_edge.session.ports import Listener, Results
from stt_edge.session.progress import Progress

LIVE_S: Final = 5.0
"""So long after its end an utterance still counts as live; later it is backlog, and delayed."""
SPARE_S: Final = 10.0
"""A session must have this much more left than the longest utterance takes."""
_RETRY_CONGESTED_S: Final = 1.0


class Placement:
    """Puts waiting utterances on connections, as far as there are any to be had."""

    def __init__(
        self,
        chain: Chain,
        open_link: Callable[[Lane, Progress | None], None],
        results: Results,
        listener: Listener,
    ) -> None:
        """Begin with nothing waiting; ``open_link`` opens a connection of a lane."""
        self.waiting: list[Progress] = []
        self._chain = chain
        self._open = open_link
        self._results = results
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._spent = False

    @property
    def waiting_s(self) -> float:
        """Return how much audio waits, in seconds."""
        return round(sum(map(_remaining_s, self.waiting)), 1)

    def add(self, progress: Progress) -> None:
        """Let an utterance wait; it is placed in the next turn of the loop at the latest."""
        self.waiting.append(progress)
        self.later(0)

    def place(self) -> None:
        """Place what can be placed now, and see to it that the rest is when it can be."""
        if self._stopped:
            return
        self._notice_budget()
        if self.waiting and self._results.congested():
            self.later(_RETRY_CONGESTED_S)
            return
        self._place_waiting()
        for lane in list(self._chain.to_probe(self._loop.time())):
            self._open(lane, None)
            lane.probe = lane.links[-1]
        if (wait_s := self._next_wait_s()) is not None:
            self.later(wait_s)

    def later(self, seconds: float) -> None:
        """Place in so many seconds."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._stopped:
            self._timer = self._loop.call_later(seconds, self.place)

    def stop(self) -> None:
        """Place nothing any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def have_ready(self, lane: Lane) -> None:
        """Open a connection for an utterance that may follow, unless there is one."""
        if self._free_link(lane) is None:
            self._open(lane, None)

    def is_live(self, progress: Progress) -> bool:
        """Return whether an utterance is being spoken, or was just now."""
        if progress.redone:
            return False
        return progress.ended_s is None or self._loop.time() - progress.ended_s < LIVE_S

    def _place_waiting(self) -> None:
        stuck: set[bool] = set()
        for progress in sorted(self.waiting, key=self._urgency):
            # Where one of the backlog finds no place those behind it do not either: there may be
            # thousands of them.
            if progress.redone in stuck or progress.due_s > self._loop.time():
                continue
            if self._place_one(progress):
                continue
            if self.is_live(progress):
                return  # whatever room there is, or is being made, is for it
            stuck.add(progress.redone)

    def _place_one(self, progress: Progress) -> bool:
        now_s = self._loop.time()
        lane = self._chain.choose(progress, now_s)
        if lane is None or lane.standing.wait_s(now_s) > 0:
            return False
        if not self.is_live(progress) and self._full_of_backlog(lane):
            return False
        free = self._free_link(lane)
        if free is None and not lane.can_open(now_s):
            self._make_room(lane, progress)
            return False
        self.waiting.remove(progress)
        lane.given(progress.id)
        if free is not None:
            free.assign(progress)
        else:
            self._open(lane, progress)
        return True

    def stuck(self, within_s: float) -> bool:
        """Return whether nothing that waits will be placed within so many seconds."""
        wait_s = self._next_wait_s()
        return wait_s is None or wait_s > within_s

    def _next_wait_s(self) -> float | None:
        """Return when placing may succeed though nothing happens until then; None is never."""
        now_s = self._loop.time()
        waits = [progress.due_s - now_s for progress in self.waiting]
        if self.waiting and self._spent:
            waits.append(self._chain.until_tomorrow_s())
        if self.waiting or len(self._chain.lanes) > 1:
            waits += (lane.standing.wait_s(now_s) for lane in self._chain.lanes)
        return min((wait_s for wait_s in waits if wait_s > 0), default=None)

    def _notice_budget(self) -> None:
        if self._chain.spent is not self._spent:
            self._spent = self._chain.spent
            self._listener.budget(spent=self._spent)

    def _urgency(self, progress: Progress) -> tuple[bool, int, int]:
        """Live before backlog, untroubled before troubled, old before new."""
        return (not self.is_live(progress), progress.strikes, progress.seq)

    def _full_of_backlog(self, lane: Lane) -> bool:
        """Return whether one more connection for backlog would leave none for live speech."""
        if not self._chain.rules.live:
            return False
        in_hand = (link.progress for link in lane.links)
        backlog = sum(progress is not None and not self.is_live(progress) for progress in in_hand)
        return backlog >= max(1, lane.max_connections - 1)

    def _make_room(self, lane: Lane, progress: Progress) -> None:
        """Let backlog give way to live speech: it goes on later from where it was acknowledged."""
        if not self.is_live(progress):
            return
        for link in lane.links:
            if link.progress is not None and not self.is_live(link.progress):
                link.release()
                return

    def _free_link(self, lane: Lane) -> Link | None:
        """Return a connection that can be given an utterance; one near its end is let go."""
        for link in list(lane.links):
            if link.free and link is not lane.probe:
                if self._lasts(link):
                    return link
                link.release()
        return None

    def _lasts(self, link: Link) -> bool:
        """Return whether a session will last for the longest utterance, as far as any would."""
        longest_s = link.provider.capabilities.max_session_s
        needed_s = self._chain.rules.longest_s + SPARE_S
        return longest_s is None or longest_s <= needed_s or link.session_left_s >= needed_s


def _remaining_s(progress: Progress) -> float:
    end = progress.tail.end if progress.tail is not None else progress.position
    return samples_to_s(max(0, end - progress.acked))
