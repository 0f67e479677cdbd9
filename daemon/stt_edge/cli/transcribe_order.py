"""Several recordings in hand at once, told of in the order they were named."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from stt_edge.cli.common import Progress, warn
from stt_edge.cli.transcribe_output import Output
from stt_edge.errors import InputError
from stt_edge.model import Record


class Teller:
    """Passes on what becomes of each recording, and keeps the progress line out of the way."""

    def __init__(self, output: Output, progress: Progress, total: int) -> None:
        """Expect ``total`` recordings."""
        self._output = output
        self._progress = progress
        self._total = total
        self._done = 0
        self.failed: list[str] = []
        """The recordings that could not be used, or not all of them."""

    def progress(self, text: str) -> None:
        """Show how far the recording in hand is."""
        self._progress.show(f"{self._done + 1}/{self._total} {text}")

    def warn(self, message: str) -> None:
        """Say what is wrong with a recording that can be used."""
        self._progress.clear()
        warn(message)

    def take(self, path: str, records: Sequence[Record], error: InputError | None) -> None:
        """Write the records of a recording; ``error`` is why they are not all, or none."""
        self._progress.clear()
        self._done += 1
        if records or error is None:
            self._output.add(path, records)
        if error is not None:
            self.failed.append(path)
            warn(str(error))


async def in_order(
    transcribe: Callable[[str], Awaitable[list[Record]]],
    files: Sequence[str],
    at_once: int,
    teller: Teller,
) -> None:
    """Have ``at_once`` recordings in hand and tell of them in their order.

    An InputError is told of too; any other error ends it, and what is in hand with it.
    """
    from stt_edge.service.transcription import PartlyTranscribedError

    async def begin(path: str) -> list[Record]:
        return await transcribe(path)

    begun: dict[str, asyncio.Task[list[Record]]] = {}
    in_hand: deque[tuple[str, asyncio.Task[list[Record]]]] = deque()
    left = iter(files)
    try:
        while True:
            while len(in_hand) < at_once and (path := next(left, None)) is not None:
                if path not in begun:  # one named twice is transcribed once
                    begun[path] = asyncio.create_task(begin(path))
                in_hand.append((path, begun[path]))
            if not in_hand:
                return
            path, task = in_hand[0]
            try:
                teller.take(path, await task, None)
            except PartlyTranscribedError as error:
                teller.take(path, error.records, error)
            except InputError as error:
                teller.take(path, [], error)
            in_hand.popleft()
    finally:
        for _, task in in_hand:
            task.cancel()
        await asyncio.gather(*(task for _, task in in_hand), return_exceptions=True)
