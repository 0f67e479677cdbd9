"""What the daemon is doing, as one document: ``stt-edge status`` prints it, STATUS= sums it up.

The JSON form is a contract: keys are added, never renamed. There is no transcript text in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, field, fields, replace
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.service.keeper_terms import WAITING, State

_SLOW_START_S: Final = 10.0
_SILENT_S: Final = 60.0


@frozen
class EarStatus:
    """How hearing is going. Counters run from the start of the daemon."""

    state: str = ""
    """A ``keeper_terms.State``."""
    since_s: float = 0.0
    """For how long it has been in that state."""
    device: str | None = None
    rate: int | None = None
    """Hertz, as the device delivers; None while it is closed."""
    level_db: float | None = None
    """Loudness of the last second, dB full scale; None while it is closed."""
    noise_db: float | None = None
    silent_s: float = 0.0
    """For how long every sample has been exactly zero."""
    clipped_ms: int = 0
    """How much of the last minute lies in blocks that reach full scale: the input is overdriven."""
    gaps: int = 0
    lost_ms: int = 0
    openings: int = 0
    rejections: int = 0
    second_stage_share: float = 0.0
    """The part of all audio that the second stage judged, 0 to 1."""
    restarts: int = 0
    """How often the source was opened again."""
    pid: int | None = None
    trouble: str = ""
    """Why nothing is heard, and what to do about it; empty while all is well."""
    fault: str = ""
    """The kind of the trouble, an ``errors.FaultKind``; empty while all is well."""
    frames: int = 0
    """Samples heard, at 16 kHz mono."""
    overruns: int = 0
    """Blocks the device flagged; no evidence of loss by itself."""


@frozen
class SpeechStatus:
    """The utterance that is being spoken."""

    open: bool = False
    seconds: float = 0.0
    """How long it is by now."""


@frozen
class ProviderStatus:
    """How the provider in use is doing."""

    name: str = ""
    state: str = ""
    """``up``, ``backing-off`` or ``blocked``."""
    message: str = ""
    """The last failure in one line; empty while all is well."""
    retry_in_s: float = 0.0
    connections: tuple[str, ...] = ()
    """What each open connection is doing."""
    sent_s: float = 0.0
    """Audio sent on this local day, in seconds; so are the next."""
    connected_s: float = 0.0
    billed_s: float = 0.0
    cost: float = 0.0
    """An estimate: billed time by the price in the configuration."""


@frozen
class BacklogStatus:
    """Audio that waits for a provider."""

    utterances: int = 0
    seconds: float = 0.0


@frozen
class SpoolStatus:
    """Audio that is kept until it is transcribed, or longer. Counters run from the start."""

    utterances: int = 0
    """With the one that is open."""
    seconds: float = 0.0
    """Audio that is still to be transcribed."""
    bytes: int = 0
    """Room it takes, in memory and on the disk."""
    on_disk_bytes: int = 0
    kept: int = 0
    """Utterances that are transcribed, and whose audio is kept."""
    dropped: int = 0
    """Utterances given up for want of room, or for their age."""
    dropped_s: float = 0.0
    trouble: str = ""
    """Why audio cannot be put on the disk; empty while it can."""


@frozen
class StoreStatus:
    """What has been stored."""

    records: int = 0
    last_record_age_s: float | None = None
    pending: int = 0
    """Results that wait in memory because the store does not take them."""
    used_bytes: int = 0
    """How much of the file was in use when it was last looked at."""
    max_bytes: int = 0
    """Beyond it the oldest results are deleted, as far as every sink has them."""
    trouble: str = ""
    """Why it cannot be kept within its bounds, and what to do; empty while it can."""


@frozen
class LatencyStatus:
    """From the end of speech to the commit, of what was transcribed live."""

    count: int = 0
    sum_s: float = 0.0
    within_s: Mapping[str, int] = field(default_factory=dict)
    """How many took at most so many seconds; the keys are numbers."""


@frozen
class CountersStatus:
    """What has happened since the start of the daemon."""

    speech_s: float = 0.0
    """Voiced time in the utterances that have ended, as the gate judged it."""
    finals: Mapping[str, int] = field(default_factory=dict)
    """Records, by provider."""
    reconnects: Mapping[str, int] = field(default_factory=dict)
    """How often an utterance had to go on with another connection, by why."""
    latency: LatencyStatus = LatencyStatus()


@frozen
class SinkStatus:
    """How one sink is doing."""

    state: str = "ok"
    """``starting``, ``ok`` or ``down``."""
    pending: int = 0
    """Records it has not been given yet."""
    message: str = ""


@frozen
class StatusDocument:
    """Everything at once."""

    version: str = ""
    pid: int = 0
    uptime_s: float = 0.0
    node: str = ""
    config: str | None = None
    """The configuration file in use; None where there is none."""
    muted: bool = False
    ear: EarStatus = EarStatus()
    speech: SpeechStatus = SpeechStatus()
    provider: ProviderStatus = ProviderStatus()
    """The one in use."""
    providers: tuple[ProviderStatus, ...] = ()
    """All, in the order in which they are tried."""
    backlog: BacklogStatus = BacklogStatus()
    budget_spent: bool = False
    """Whether the budget of the day is spent."""
    spool: SpoolStatus = SpoolStatus()
    store: StoreStatus = StoreStatus()
    counters: CountersStatus = CountersStatus()
    sinks: Mapping[str, SinkStatus] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """What needs somebody's attention, each with its remedy where one is known."""

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON has it."""
        return asdict(self)


@frozen
class StatusSources:
    """Whom the document is put together from. Each is called on the loop and must not wait."""

    ear: Callable[[], EarStatus]
    muted: Callable[[], bool]
    speech: Callable[[], SpeechStatus] = SpeechStatus
    provider: Callable[[], ProviderStatus] = ProviderStatus
    providers: Callable[[], tuple[ProviderStatus, ...]] = tuple
    backlog: Callable[[], BacklogStatus] = BacklogStatus
    budget_spent: Callable[[], bool] = bool
    spool: Callable[[], SpoolStatus] = SpoolStatus
    store: Callable[[], StoreStatus] = StoreStatus
    counters: Callable[[], CountersStatus] = CountersStatus
    sinks: Callable[[], Mapping[str, SinkStatus]] = dict
    problems: Callable[[], list[str]] = list
    """What the parts cannot say of themselves: a rejected configuration, a log that fails …"""


def assemble(identity: StatusDocument, sources: StatusSources, uptime_s: float) -> StatusDocument:
    """Return the document of this moment; ``identity`` has what never changes."""
    document = replace(
        identity,
        uptime_s=uptime_s,
        muted=sources.muted(),
        ear=sources.ear(),
        speech=sources.speech(),
        provider=sources.provider(),
        providers=sources.providers(),
        backlog=sources.backlog(),
        budget_spent=sources.budget_spent(),
        spool=sources.spool(),
        store=sources.store(),
        counters=sources.counters(),
        sinks=sources.sinks(),
    )
    return replace(document, problems=(*problems_of(document), *sources.problems()))


def problems_of(document: StatusDocument) -> list[str]:
    """Return what needs attention in the parts of a document. Being muted does not."""
    problems = _ear_problems(document.ear)
    for provider in document.providers:
        if provider.state not in ("", "up"):
            state = provider.state.replace("-", " ")
            problems.append(f"Provider {provider.name} is {state}: {provider.message}")
    if document.spool.trouble:
        problems.append(f"Audio that waits is kept in memory only: {document.spool.trouble}")
    if document.store.pending:
        problems.append(f"{document.store.pending} results wait for the store.")
    if document.store.trouble:
        problems.append(document.store.trouble)
    problems += [
        f"Sink {name} is down: {sink.message}"
        for name, sink in document.sinks.items()
        if sink.state == "down"
    ]
    return problems


def status_line(document: StatusDocument) -> str:
    """Return the document in one line, for STATUS= of systemd; never what was said."""
    parts = [document.ear.state]
    if document.speech.open:
        parts.append(f"speech for {document.speech.seconds:.0f} s")
    if document.provider.name:
        parts.append(f"{document.provider.name} {document.provider.state.replace('-', ' ')}")
    if document.backlog.utterances:
        waiting = f"{document.backlog.utterances} ({document.backlog.seconds:.0f} s)"
        parts.append(f"backlog {waiting}")
    if document.store.last_record_age_s is not None:
        parts.append(f"last record {duration(document.store.last_record_age_s)} ago")
    if document.problems:
        parts.append(document.problems[0])
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """Return a length of time in one unit, as a person would say it, such as ``12 min``."""
    for limit, unit_s, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def parse(body: Mapping[str, Any]) -> StatusDocument:
    """Return the document that a daemon sent, possibly one a version older or newer.

    Keys not known here are passed over, and those missing have their defaults.
    """
    sinks = {name: _build(SinkStatus, sink) for name, sink in _mapping(body.get("sinks")).items()}
    parts: dict[str, Any] = {
        "ear": _build(EarStatus, body.get("ear")),
        "speech": _build(SpeechStatus, body.get("speech")),
        "provider": _provider(body.get("provider")),
        "providers": tuple(map(_provider, body.get("providers") or ())),
        "backlog": _build(BacklogStatus, body.get("backlog")),
        "spool": _build(SpoolStatus, body.get("spool")),
        "store": _build(StoreStatus, body.get("store")),
        "counters": _counters(body.get("counters")),
        "problems": tuple(body.get("problems") or ()),
    }
    document: StatusDocument = _build(StatusDocument, {**body, **parts, "sinks": sinks})
    return document


def _ear_problems(ear: EarStatus) -> list[str]:
    trouble = ear.trouble or f"The ear is {ear.state}."
    problems = [trouble] if ear.state in WAITING or ear.trouble else []
    if not problems and ear.state == State.STARTING and ear.since_s > _SLOW_START_S:
        problems.append(f"No sound has come from the microphone for {duration(ear.since_s)}.")
    if ear.state == State.HEARING and ear.silent_s >= _SILENT_S:
        problems.append(
            f"The microphone delivers nothing but zeros, for {duration(ear.silent_s)} now. "
            "Look for a switch on it, and at its capture volume in alsamixer."
        )
    return problems


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _provider(body: object) -> ProviderStatus:
    provider: ProviderStatus = _build(ProviderStatus, body)
    return replace(provider, connections=tuple(provider.connections))


def _counters(body: object) -> CountersStatus:
    counters: CountersStatus = _build(CountersStatus, body)
    return replace(counters, latency=_build(LatencyStatus, _mapping(body).get("latency")))


def _build(kind: Any, body: object) -> Any:
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in _mapping(body).items() if name in known})
