"""What a provider is: capabilities, a protocol without I/O, a transport, and its failures.

A provider module holds a ``Protocol``, which turns audio into messages and messages into events
and knows no socket, no clock and no disk; ``Capabilities``, which tell the session how to treat
it; and options, a dataclass the configuration is checked against. Bytes are moved by a transport
(``stt_edge.providers.transports``), the same one for all providers that speak WebSocket.

Times in events are *offsets*: samples since the first sample sent on this connection for the
utterance in hand (``begin``). The session alone knows which stream sample that was.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any

from stt_edge.errors import ProviderError
from stt_edge.frozen import frozen


@frozen
class HttpRequest:
    """One request of a provider that is asked rather than streamed to."""

    method: str
    path: str
    """Behind the endpoint's base URL, with the query."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    """Wait so long before it is sent: how often to poll is for the protocol to say."""


@frozen
class HttpReply:
    """The answer to an ``HttpRequest``, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names are in lower case."""
    body: bytes = b""


Outgoing = bytes | str | HttpRequest
"""A message for the transport: bytes go out as binary, str as text."""
Incoming = bytes | str | HttpReply


class Billing(StrEnum):
    """What a provider charges for; the connect policy follows from it."""

    NOTHING = "nothing"
    AUDIO = "audio"
    SESSION = "session"
    """Wall time of the session, speech or not."""


class PartTimes(StrEnum):
    """Whether a provider's finals say which audio they cover."""

    WORDS = "words"
    PARTS = "parts"
    NONE = "none"
    """Nothing is committed before the utterance is done; after a drop all of it is sent again."""


@frozen
class Pacing:
    """How fast audio may be sent, as a multiple of real time; None is 'as fast as it is taken'."""

    rate: float | None = None
    burst_s: float = 0.0


@frozen
class Capabilities:
    """What a provider can do and how it wants to be treated."""

    billing: Billing = Billing.NOTHING
    minimum_billed_s: float = 0.0
    """The least a session costs, in seconds."""
    local: bool = False
    """Runs on this machine: no network, and the sound leaves no room."""
    partials: bool = False
    part_times: PartTimes = PartTimes.NONE
    confidence: bool = False
    ready_message: bool = False
    """Says when it is ready for audio; audio waits for it."""
    finalize: bool = False
    """Can be asked to finish an utterance and keep the connection."""
    hold_s: float = 0.0
    """How long a connection may be held between utterances at no cost; 0 is not at all."""
    max_connections: int = 2
    pacing: Pacing = Pacing()
    chunk_min_ms: int = 20
    chunk_max_ms: int = 1000
    chunk_ms: int = 100
    """The size of chunk it likes best."""
    connect_timeout_s: float = 20.0
    drain_timeout_s: float = 10.0
    """From the end of the audio until the last result, at the most."""
    finalize_timeout_s: float | None = None
    """From a finalize until the goodbye is said in place of waiting on; None is 'never'."""
    goodbye_again_s: float | None = None
    """Say the goodbye once more when it has not been answered for so long."""
    keep_alive_s: float | None = None
    """How often ``keep_alive`` is called while the connection is held."""
    max_session_s: float | None = None
    max_utterance_s: float | None = None
    """The longest utterance one session may carry."""
    whole_file: bool = False
    """Takes a recording of any length as one utterance."""
    resumable: bool = False
    """Names the job it has taken (``Submitted``), and can be asked for it later."""
    on_drain_timeout: typing.Literal["promote", "resend"] = "promote"


@frozen
class WordOffset:
    """One recognised word, in samples since ``begin``."""

    text: str
    start: int
    end: int
    confidence: float | None = None


@frozen
class Ready:
    """The provider takes audio now (only where ``ready_message``)."""


@frozen
class Partial:
    """All that is not final yet of the utterance in hand; replaces the partial before it."""

    text: str
    end: int | None = None
    """Audio covered, in samples since ``begin``, where known."""
    words: tuple[WordOffset, ...] = ()


@frozen
class Final:
    """A result that will not change."""

    text: str
    start: int | None = None
    end: int | None = None
    words: tuple[WordOffset, ...] = ()
    confidence: float | None = None
    language: str | None = None
    model: str | None = None
    item_id: str | None = None


@frozen
class Finalized:
    """Everything of the utterance in hand has been said; the connection stays open."""


@frozen
class Farewell:
    """The goodbye was heard: nothing more will come."""

    confirmed: bool = True
    """Nothing is missing; False where an end in good order looks like a drop of the connection."""


@frozen
class Submitted:
    """The provider has taken the utterance as a job: with this token it can be asked for it."""

    token: str


@frozen
class Failed:
    """The provider reports an error, or spoke nonsense; the connection is of no more use."""

    failure: ProviderError


Event = Ready | Partial | Final | Finalized | Farewell | Submitted | Failed


class Protocol(typing.Protocol):
    """One connection's worth of a wire protocol, without I/O.

    Every method may queue messages; the driver takes them with ``to_send`` after each call.
    ``feed`` and ``closed`` never raise for what the other side sent: malformed input becomes
    ``Failed`` with kind PROTOCOL, and memory stays bounded.
    """

    def open(self) -> None:
        """Queue what a client says first, if anything."""

    def begin(self) -> None:
        """Start an utterance: offsets count from the next sample sent."""

    def resume(self, token: str) -> None:
        """Ask for the job in place of sending the utterance again (``resumable`` only)."""

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le; never empty."""

    def finalize(self) -> None:
        """Ask for the rest of the utterance and keep the connection (``finalize`` only)."""

    def goodbye(self) -> None:
        """Say that no more audio will come; called twice where ``goodbye_again_s`` is set."""

    def keep_alive(self) -> None:
        """Queue what keeps a held connection open, if anything."""

    def feed(self, message: Incoming) -> Sequence[Event]:
        """Return what a received message means."""

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return what the end of the connection means: ``Farewell``, or ``Failed``.

        ``code`` is the WebSocket close code, the gRPC status or the exit code of a worker; None is
        'none given'.
        """

    def to_send(self) -> Sequence[Outgoing]:
        """Return and forget the queued messages, in order."""


class TransportClosedError(Exception):
    """The other side ended the connection; not by itself an error."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        """Keep the code and the reason for ``Protocol.closed``."""
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Transport(typing.Protocol):
    """Moves messages for one connection. Nothing in it knows a provider."""

    async def connect(self) -> None:
        """Connect. Raises ProviderError."""

    async def send(self, message: Outgoing) -> None:
        """Send one message, waiting while the peer is slow. Raises TransportClosedError."""

    async def receive(self) -> Incoming:
        """Return the next message. Raises TransportClosedError; ProviderError when it is lost."""

    async def close(self) -> None:
        """Close in good order, within a second or two; never raises."""

    def abort(self) -> None:
        """Let go at once; never raises, may be called twice."""


@frozen
class Provider:
    """A configured provider, ready to be connected to as often as needed."""

    name: str
    """As in the configuration; unique in the list."""
    capabilities: Capabilities
    make_protocol: Callable[[], Protocol]
    make_transport: Callable[[], Transport]
    model: str | None = None
    language: str | None = None
    warm: Callable[[], None] | None = None
    """Called at an onset: a local engine loads itself while the second stage makes up its mind."""
    aclose: Callable[[], Awaitable[None]] | None = None
    """Ends what outlives connections, such as a worker process; connections are closed before."""
    watched: tuple[str, ...] = ()
    """Files with keys: a change of one may end what blocks the provider."""
    price_per_hour: float | None = None
    """Money for an hour of what it bills, where the configuration says so."""


class ProviderModule(typing.Protocol):
    """What the registry expects of a provider's module.

    It may also have ``CAPABILITIES``, those of the default options; ``PACKAGES``, what it imports
    that does not come with the program; and ``EXTRA``, which extra brings them.
    """

    Options: type[Any]
    """A dataclass of options; fields are declared with ``stt_edge.config.schema.option``."""

    def build(self, name: str, options: Any) -> Provider:
        """Return the provider. Raises ProviderError of kind SETUP."""
