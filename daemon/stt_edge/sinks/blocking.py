"""Blocking calls off the event loop, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LAST_CALL_S: Final = 1.0


class BlockingCalls:
    """A thread that makes calls in the order they were asked for.

    One thread, so that a call whose caller has lost patience is never overtaken by the next: a file
    is not closed under a write.
    """

    def __init__(self, name: str) -> None:
        """Name the thread; it starts with the first call."""
        self._name = name
        self._executor: ThreadPoolExecutor | None = None

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what ``function`` returns, or raise what it raises."""
        return await asyncio.wrap_future(self._thread().submit(function, *args, **kwargs))

    def post(self, function: Callable[[], None]) -> None:
        """Have ``function`` called; it must raise nothing, for nobody would hear of it."""
        self._thread().submit(function)

    async def close(self, last: Callable[[], None] | None = None) -> None:
        """Make one last call, which must raise nothing, and let the thread end.

        What was asked for before is done first; a thread that hangs in the kernel is left behind
        after a second.
        """
        if self._executor is None:
            return
        done = asyncio.wrap_future(self._executor.submit(last or _nothing))
        self._executor.shutdown(wait=False)
        self._executor = None
        await asyncio.wait([done], timeout=_LAST_CALL_S)

    def _thread(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        return self._executor


def _nothing() -> None:
    pass
