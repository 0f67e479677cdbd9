"""What the garbage collector has to find in months: little, and while it is little.

Left alone, CPython looks through everything old only after tens of thousands of objects more, which
are hours of speech. What died meanwhile in a cycle, as connections and their exceptions do, lies in
memory until then, and what is new is put beside it.
"""

from __future__ import annotations

import gc
from typing import Final

_EVERY_S: Final = 60.0


def put_off() -> None:
    """Do not look for garbage while everything is loaded: nearly all of it stays."""
    gc.disable()


def spare_what_is_there() -> None:
    """Take what there is now, which stays, out of what the collector looks through from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


async def collect_regularly(every_s: float = _EVERY_S) -> None:
    """Collect garbage once a minute: a millisecond, after ``spare_what_is_there``."""
    import asyncio

    while True:
        await asyncio.sleep(every_s)
        gc.collect()
