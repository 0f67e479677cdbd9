"""When systemd may be told that all is well, and who tells it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.service.notify import Notifier

_log = logging.getLogger(__name__)

MAX_LAG_S: Final = 1.0
"""A loop that has not turned for longer is stalled."""
MAX_OVERDUE_S: Final = 3.0
"""A keeper may be this late, because a deadline noticed late is given once more."""
_FEEDS: Final = 6
"""How often it is fed in the time systemd allows: main may stand still for five sixths of that at
any moment. Every feed wakes the processor: one in 5 s, beside the ten a second of the ear.
"""
_STATUS_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.1


@frozen
class Vitals:
    """What the daemon's life is judged by.

    A deaf microphone or a dead broker is not part of it: they are cured where they are, and ending
    main cures neither.
    """

    lag_s: float = 0.0
    """How late the event loop is."""
    dead_tasks: tuple[str, ...] = ()
    """Supervised tasks that have ended and should not have."""
    keeper_overdue_s: float = 0.0
    """By how much the keeper of the ear missed the deadline of its present state."""

    def failures(self) -> list[str]:
        """Return what is wrong; nothing means that the watchdog may be fed."""
        found = []
        if self.lag_s > MAX_LAG_S:
            found.append(f"the event loop has not turned for {self.lag_s:.1f} s")
        if self.dead_tasks:
            found.append(f"died: {', '.join(self.dead_tasks)}")
        if self.keeper_overdue_s > MAX_OVERDUE_S:
            found.append(f"the keeper of the ear is late by {self.keeper_overdue_s:.1f} s")
        return found


def feed_every_s(watchdog_s: float | None) -> float:
    """Return how often to feed, in seconds, a watchdog that bites after ``watchdog_s``.

    Without one it is how often STATUS= is brought up to date.
    """
    return _STATUS_S if watchdog_s is None else watchdog_s / _FEEDS


class Watchdog:
    """Feeds systemd's watchdog while the vitals are good, and keeps STATUS= true."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        dead_tasks: Callable[[], list[str]],
        keeper_overdue_s: Callable[[], float],
        status_line: Callable[[], str],
    ) -> None:
        """Use the given sources; all are called on the loop and must not wait."""
        self._notifier = notifier
        self._dead_tasks = dead_tasks
        self._keeper_overdue_s = keeper_overdue_s
        self._status_line = status_line
        self._told = ""
        self._failing: list[str] = []

    async def run(self) -> None:
        """Feed for ever; returns at once where there is no service manager."""
        if not self._notifier.present:
            return
        loop = asyncio.get_running_loop()
        every_s = feed_every_s(self._notifier.watchdog_s)
        wait_s = 0.0
        while True:
            due_s = loop.time() + wait_s
            await asyncio.sleep(wait_s)
            lag_s = loop.time() - due_s
            self.tell_status()
            # After a stall the next turn decides: it is on time if the stall is over.
            wait_s = every_s if self.feed(lag_s) else min(_LOOK_AGAIN_S, every_s)

    def feed(self, lag_s: float) -> bool:
        """Feed the watchdog if the vitals allow it; return whether they do."""
        vitals = Vitals(lag_s, tuple(self._dead_tasks()), self._keeper_overdue_s())
        failures = vitals.failures()
        if failures and not self._failing:
            _log.warning("the watchdog is not fed: %s", "; ".join(failures))
        elif self._failing and not failures:
            _log.info("the watchdog is fed again")
        self._failing = failures
        if not failures and self._notifier.watchdog_s:
            self._notifier.alive()
        return not failures

    def tell_status(self) -> None:
        """Send STATUS= if it has changed; also to be called when something important has."""
        line = self._status_line()
        if line != self._told:
            self._notifier.status(line)
            self._told = line
