"""What died in a cycle does not stay for hours, however little is new."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from stt_edge.service import garbage


class Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.myself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


async def test_old_garbage_is_found_though_nothing_new_comes() -> None:
    node = Node()
    gc.collect()  # it is old now: left alone, the collector would look at it after 80,000 others
    seen = weakref.ref(node)
    del node
    gc.collect(1)
    assert seen() is not None
    collecting = asyncio.create_task(garbage.collect_regularly(0.01))
    async with asyncio.timeout(5):
        while seen() is not None:
            await asyncio.sleep(0.01)
    collecting.cancel()


def test_what_is_there_at_the_start_is_not_looked_through_again() -> None:
    before = len(gc.get_objects())
    garbage.spare_what_is_there()
    assert len(gc.get_objects()) < before / 10
    assert gc.get_freeze_count() > before / 2


def test_nobody_looks_for_garbage_until_everything_is_loaded() -> None:
    garbage.put_off()
    assert not gc.isenabled()
    garbage.spare_what_is_there()
    assert gc.isenabled()
