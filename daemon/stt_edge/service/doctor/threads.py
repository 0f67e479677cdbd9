"""Threads for calls that may never come back: a dead network disk, a name server that is silent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LooseThreads(ThreadPoolExecutor):
    """Gives each call a thread of its own, which nobody waits for at the end of the program."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` in a new thread."""
        future: Future[_T] = Future()
        call = functools.partial(fn, *args, **kwargs)
        Thread(target=_guarded, args=(future, call), name="doctor", daemon=True).start()
        return future


def _guarded(future: Future[_T], call: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001  raised again where the future is awaited
        future.set_exception(error)
