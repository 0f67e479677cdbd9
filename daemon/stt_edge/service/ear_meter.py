"""What is known of the ear's hearing since the daemon started, over all ears there were."""

from __future__ import annotations

from dataclasses import replace

from stt_edge.ear import wire
from stt_edge.model import samples_to_ms

_NOTHING = wire.Health(
    blocks=0,
    overflows=0,
    gaps=0,
    lost_samples=0,
    level_db=0.0,
    noise_db=0.0,
    silent_s=0.0,
    openings=0,
    rejections=0,
    confirm_samples=0,
    samples=0,
)


class EarMeter:
    """Adds up the health reports of successive streams, each of which counts from zero."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._before = _NOTHING
        self._latest: wire.Health | None = None

    def opened(self) -> None:
        """Take that a new stream begins."""
        self._before = self.total
        self._latest = None

    def seen(self, health: wire.Health) -> None:
        """Take a report of the present stream."""
        self._latest = health

    def closed(self) -> None:
        """Take that there is no stream now: levels are unknown."""
        self.opened()

    @property
    def latest(self) -> wire.Health | None:
        """The last report of the present stream, if there is any."""
        return self._latest

    @property
    def total(self) -> wire.Health:
        """The counters since the daemon started; levels are those of the last report."""
        before, now = self._before, self._latest
        if now is None:
            return before
        return replace(
            now,
            blocks=before.blocks + now.blocks,
            overflows=before.overflows + now.overflows,
            gaps=before.gaps + now.gaps,
            lost_samples=before.lost_samples + now.lost_samples,
            openings=before.openings + now.openings,
            rejections=before.rejections + now.rejections,
            confirm_samples=before.confirm_samples + now.confirm_samples,
            samples=before.samples + now.samples,
        )

    @property
    def lost_ms(self) -> int:
        """Audio known to be missing, in milliseconds."""
        return samples_to_ms(self.total.lost_samples)

    @property
    def second_stage_share(self) -> float:
        """The part of all audio that the second stage judged, 0 to 1."""
        total = self.total
        return total.confirm_samples / total.samples if total.samples else 0.0
