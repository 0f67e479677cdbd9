"""What a session needs of the rest of the program, as interfaces."""

from __future__ import annotations

from typing import Protocol

from stt_edge.model import AudioSpan, Part, Record, UtteranceState
from stt_edge.session.budget import Cost


class AudioLog(Protocol):
    """Where the audio of utterances is read from."""

    def read(self, utterance_id: str, from_sample: int, max_samples: int) -> list[AudioSpan]:
        """Return what is written from ``from_sample`` on, at most ``max_samples``; may be empty.

        Raises LogError when the audio cannot be read.
        """


class Results(Protocol):
    """Where results go. Calls return at once; they are carried out in order, each surely."""

    def commit(self, part: Part, acked: int) -> None:
        """Store a part together with the utterance's acknowledged position."""

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> None:
        """Store the record, if there is one, and the utterance's final state."""

    def provisional(self, utterance_id: str, record: Record | None) -> None:
        """Store a fallback's record; the utterance begins anew and keeps its audio."""

    def job(self, utterance_id: str, job: tuple[str, str] | None) -> None:
        """Store which provider has made a job of the utterance, and its token; None for none."""

    def usage(self, provider: str, cost: Cost) -> None:
        """Add to the provider's meter of today."""

    def congested(self) -> bool:
        """Return whether so many results wait for the store that no new session should open."""


class Listener(Protocol):
    """Who wants to know of what is not a result yet. Nothing of it is kept."""

    def partial(self, utterance_id: str, text: str) -> None:
        """Take what is understood so far of an utterance; an empty text withdraws it."""

    def standing(self, provider: str, health: str, message: str) -> None:
        """Take that a provider's standing has changed."""

    def budget(self, *, spent: bool) -> None:
        """Take that the budget of the day is used up, or is not any more."""
