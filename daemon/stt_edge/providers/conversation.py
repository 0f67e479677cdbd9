"""What every protocol does alike: queue messages, and survive what the other side says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Event, Failed, Incoming, Outgoing
from stt_edge.providers.json_fields import Fields, MalformedError, parse_object


class Conversation(ABC):
    """A ``Protocol`` with a queue; a subclass says what messages mean."""

    def __init__(self) -> None:
        """Begin with nothing to say."""
        self._queue: list[Outgoing] = []

    def open(self) -> None:  # noqa: B027  most say nothing
        """Say nothing first."""

    @abstractmethod
    def begin(self) -> None:
        """Start an utterance: offsets count from the next sample sent."""

    def resume(self, token: str) -> None:
        """Ask for a job of an earlier connection."""
        raise TypeError(f"{type(self).__name__} cannot be asked for {token}")

    @abstractmethod
    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le; never empty."""

    def finalize(self) -> None:
        """Ask for the rest of the utterance and keep the connection."""
        raise TypeError(f"{type(self).__name__} has no finalize")

    @abstractmethod
    def goodbye(self) -> None:
        """Say that no more audio will come."""

    def keep_alive(self) -> None:  # noqa: B027  most need nothing
        """Say nothing while held."""

    def feed(self, message: Incoming) -> Sequence[Event]:
        """Return what a received message means; nonsense is ``Failed`` with kind PROTOCOL."""
        heard: list[Event] = []
        try:
            heard.extend(self._hear(message))
        except MalformedError as error:
            nonsense = f"the provider sent what cannot be understood: {error}"
            heard.append(Failed(ProviderError(FailureKind.PROTOCOL, nonsense)))
        return heard

    @abstractmethod
    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return what the end of the connection means: ``Farewell``, or ``Failed``."""

    def to_send(self) -> Sequence[Outgoing]:
        """Return and forget the queued messages, in order."""
        queue, self._queue = self._queue, []
        return queue

    def _say(self, message: Outgoing) -> None:
        self._queue.append(message)

    @abstractmethod
    def _hear(self, message: Incoming) -> Iterable[Event]:
        """Return what a message means. Raises MalformedError for what is none."""


class JsonConversation(Conversation):
    """A ``Conversation`` in which the other side sends objects of JSON as text."""

    def _hear(self, message: Incoming) -> Iterable[Event]:
        if not isinstance(message, str):
            raise MalformedError("text was expected")
        return self._hear_json(parse_object(message))

    @abstractmethod
    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        """Return what an object means. Raises MalformedError for what is none."""
