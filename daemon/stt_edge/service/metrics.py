"""The status document as metrics, in the text format of Prometheus.

The format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4, without timestamps,
which node_exporter's textfile collector refuses. Labels are names from the configuration and words
of ours; what a provider or a device says is never one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from stt_edge.frozen import frozen
from stt_edge.service.keeper_terms import State
from stt_edge.service.status import (
    CountersStatus,
    EarStatus,
    LatencyStatus,
    ProviderStatus,
    StatusDocument,
)
from stt_edge.session.connection_terms import Phase

_PREFIX: Final = "stt_edge_"
_PHASES: Final = [phase.value for phase in Phase if phase is not Phase.CLOSED]


@frozen
class Sample:
    """One line: a value, and the labels that tell it from others of its name."""

    value: float
    labels: Mapping[str, str]
    suffix: str = ""
    """Behind the family's name, such as ``_bucket``."""


@frozen
class Family:
    """All samples of one name."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    help: str
    samples: tuple[Sample, ...]


def render(document: StatusDocument, labels: Mapping[str, str] | None = None) -> str:
    """Return the metrics of a document; ``labels`` go to each of them."""
    common = labels or {}
    return "".join(
        line for family in families(document) if family.samples for line in _lines(family, common)
    )


def families(document: StatusDocument) -> Iterator[Family]:
    """Return every metric there is."""
    yield _gauge("build_info", "The version that runs.", _by("version", {document.version: 1}))
    yield _gauge("uptime_seconds", "Since the start of the daemon.", document.uptime_s)
    yield _gauge("problems", "How many problems stt-edge status shows.", len(document.problems))
    yield from _ear(document.ear, muted=document.muted)
    yield from _counted(document.counters)
    yield from _sessions(document.providers)
    yield from _kept(document)
    sinks = {name: sink.pending for name, sink in document.sinks.items()}
    yield _gauge("outbox_pending", "Records a sink has not been given yet.", _by("sink", sinks))
    up = {name: sink.state != "down" for name, sink in document.sinks.items()}
    yield _gauge("sink_up", "Whether a sink takes records.", _by("sink", up))


def _ear(ear: EarStatus, *, muted: bool) -> Iterator[Family]:
    states = {state.value: state.value == ear.state for state in State}
    yield _gauge("ear_state", "1 for the state the ear is in.", _by("state", states))
    yield _gauge("muted", "Whether the microphone is closed by mute.", muted)
    yield _counter("capture_frames", "Samples heard, 16,000 a second.", ear.frames)
    yield _counter("capture_overruns", "Blocks the device flagged.", ear.overruns)
    lost_s = ear.lost_ms / 1000
    yield _counter("capture_gap_seconds", "Sound known to be missing.", lost_s)
    yield _counter("capture_restarts", "How often the source was opened again.", ear.restarts)
    yield _counter("gate_openings", "Sounds like speech.", ear.openings)
    yield _counter("gate_rejections", "Of them, those the second stage rejected.", ear.rejections)
    yield _gauge("capture_silent_seconds", "Of nothing but zeros, up to now.", ear.silent_s)
    if ear.level_db is not None:
        yield _gauge("capture_level_decibels", "Loudness, full scale is 0.", ear.level_db)
    if ear.noise_db is not None:
        yield _gauge("capture_noise_decibels", "The gate's noise floor.", ear.noise_db)


def _counted(counters: CountersStatus) -> Iterator[Family]:
    yield _counter("speech_seconds", "Speech in utterances that have ended.", counters.speech_s)
    yield _counter("finals", "Records stored.", _by("provider", counters.finals))
    reconnects = _by("reason", counters.reconnects)
    yield _counter("reconnects", "Utterances that went on with another connection.", reconnects)
    yield _histogram(
        "final_latency_seconds", "From the end of speech to the live record.", counters.latency
    )


def _sessions(providers: Iterable[ProviderStatus]) -> Iterator[Family]:
    known = list(providers)
    open_now = [phase for provider in known for phase in provider.connections]
    phases = {phase: open_now.count(phase) for phase in _PHASES}
    yield _gauge("session_state", "Open connections, by what they do.", _by("state", phases))
    blocked = any(provider.state == "blocked" for provider in known)
    yield _gauge("provider_blocked", "Whether a provider refuses us, as for its key.", blocked)
    up = {provider.name: provider.state == "up" for provider in known}
    yield _gauge("provider_up", "Whether a provider works, as far as known.", _by("provider", up))
    sent = {provider.name: provider.sent_s for provider in known}
    billed = {provider.name: provider.billed_s for provider in known}
    cost = {provider.name: provider.cost for provider in known}
    for name, about, values in (
        ("sent_seconds", "Audio sent on this local day.", sent),
        ("billed_seconds", "Audio or time billed on this local day.", billed),
        ("cost", "What this local day has cost, by price_per_hour.", cost),
    ):
        yield _gauge(f"provider_day_{name}", about, _by("provider", values))


def _kept(document: StatusDocument) -> Iterator[Family]:
    backlog, spool, store = document.backlog, document.spool, document.store
    yield _gauge("backlog_utterances", "Utterances that wait for a provider.", backlog.utterances)
    yield _gauge("backlog_seconds", "Audio in them.", backlog.seconds)
    yield _gauge("spool_bytes", "Room taken by audio without a transcript.", spool.bytes)
    yield _gauge("spool_seconds", "Length of that audio.", spool.seconds)
    dropped = spool.dropped_s
    yield _counter("spool_dropped_seconds", "Audio deleted without a transcript.", dropped)
    yield _gauge("store_bytes", "Room in use in the store.", store.used_bytes)
    yield _gauge("store_max_bytes", "Room allowed for it.", store.max_bytes)
    yield _gauge("store_pending", "Results the store does not take.", store.pending)
    yield _gauge("store_last_record", "Number of the newest record.", store.records)


def _gauge(name: str, about: str, value: float | tuple[Sample, ...]) -> Family:
    return Family(_PREFIX + name, "gauge", about, _samples(value))


def _counter(name: str, about: str, value: float | tuple[Sample, ...]) -> Family:
    return Family(f"{_PREFIX}{name}_total", "counter", about, _samples(value))


def _histogram(name: str, about: str, latency: LatencyStatus) -> Family:
    buckets = {**latency.within_s, "+Inf": latency.count}
    samples = (
        *(Sample(count, {"le": bound}, "_bucket") for bound, count in buckets.items()),
        Sample(latency.sum_s, {}, "_sum"),
        Sample(latency.count, {}, "_count"),
    )
    return Family(_PREFIX + name, "histogram", about, samples)


def _samples(value: float | tuple[Sample, ...]) -> tuple[Sample, ...]:
    return value if isinstance(value, tuple) else (Sample(value, {}),)


def _by(label: str, values: Mapping[str, float]) -> tuple[Sample, ...]:
    return tuple(Sample(value, {label: name}) for name, value in values.items())


def _lines(family: Family, common: Mapping[str, str]) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for sample in family.samples:
        yield f"{family.name}{sample.suffix}{_braced({**common, **sample.labels})} "
        yield f"{_number(sample.value)}\n"


def _braced(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    """Return a number without an exponent where it is whole, so that large counters are exact."""
    return str(int(value)) if value == int(value) else repr(float(value))
