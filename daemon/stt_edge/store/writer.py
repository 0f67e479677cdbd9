"""The store from asyncio: its calls run in one thread, in the order in which they were made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from stt_edge.errors import StoreError
from stt_edge.store.opening import StoreOpening
from stt_edge.store.store import Store

P = ParamSpec("P")
R = TypeVar("R")


class StoreThread:
    """A store and the thread it lives in. A call once made runs, also when its caller is gone."""

    def __init__(self, executor: ThreadPoolExecutor, store: Store) -> None:
        """Take over a thread and the store opened in it; use ``open``."""
        self._executor = executor
        self._store = store
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> StoreThread:
        """Open the store in a thread of its own. Raises StoreError as ``Store.open`` does."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="stt-edge-store")
        opened = executor.submit(Store.open, path)
        try:
            store = await asyncio.shield(asyncio.wrap_future(opened))
        except BaseException:
            executor.submit(_close_if_opened, opened)
            executor.shutdown(wait=False)
            raise
        return cls(executor, store)

    @property
    def opening(self) -> StoreOpening:
        """What had to be done to open the store."""
        return self._store.opening

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run ``method(store, ...)`` and return what it returns, or raise what it raises."""
        if self._closed:
            raise StoreError("The store is closed.")
        future = self._executor.submit(method, self._store, *args, **kwargs)
        return await asyncio.shield(asyncio.wrap_future(future))

    async def close(self) -> None:
        """Close the store when every call made has run; may be called twice."""
        if self._closed:
            return
        self._closed = True
        future = self._executor.submit(self._store.close)
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        finally:
            self._executor.shutdown(wait=False)


def _close_if_opened(opened: Future[Store]) -> None:
    if opened.exception() is None:
        opened.result().close()
