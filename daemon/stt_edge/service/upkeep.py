"""What the daemon does besides hearing: keeps store and memory small, forgets, writes metrics."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from stt_edge.clock import Clock
from stt_edge.config.settings import Config
from stt_edge.errors import StoreError
from stt_edge.service import garbage
from stt_edge.service.forgetting import Forgetting, KeptAudio
from stt_edge.service.metrics import render
from stt_edge.service.metrics_file import MetricsFile
from stt_edge.service.paths import Paths
from stt_edge.service.pipeline import Pipeline
from stt_edge.service.retention import RetentionKeeper
from stt_edge.service.sink_set import SinkSet
from stt_edge.service.status import StatusDocument
from stt_edge.service.supervisor import Supervisor

_LOOK_S: Final = 1.0


class Upkeep:
    """Joins them; the daemon starts it once it hears."""

    def __init__(
        self,
        config: Config,
        pipeline: Pipeline,
        audio: KeptAudio,
        sinks: SinkSet,
        *,
        paths: Paths,
        clock: Clock,
        document: Callable[[], StatusDocument],
    ) -> None:
        """Do nothing yet; ``audio`` is all the audio there is, ``document`` the present status."""
        self.audio = audio
        self.retention = RetentionKeeper(pipeline.store, audio, clock, sinks, config.store)
        self.metrics = MetricsFile(self._metrics)
        self.metrics.configure(config.metrics)
        self._forgetting = Forgetting(pipeline.store, audio, paths, pipeline.results)
        self._document = document

    def start(self, supervisor: Supervisor) -> None:
        """Begin."""
        garbage.spare_what_is_there()
        supervisor.start("garbage", garbage.collect_regularly())
        supervisor.start("retention", self.retention.run())
        supervisor.start("metrics", self.metrics.run())

    def configure(self, config: Config) -> None:
        """Use the configuration as it is now."""
        self.retention.configure(config.store)
        self.metrics.configure(config.metrics)

    async def close(self) -> None:
        """Delete nothing more and let no stale metrics lie about."""
        self.retention.close()
        await self.metrics.close()

    async def forget(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the command ``forget`` of the control socket."""
        return await self._forgetting.command(request)

    async def look(self) -> None:
        """Bring up to date what the status does not know by itself, as far as that is quick."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await self.retention.look()

    async def _metrics(self) -> str:
        await self.look()
        document = self._document()
        # Several instances of one machine are told apart by the names they were given.
        named = document.node != os.uname().nodename
        return render(document, {"node": document.node} if named else {})
