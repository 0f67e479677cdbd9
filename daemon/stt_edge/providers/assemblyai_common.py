"""What both of AssemblyAI's wire protocols share: what errors mean, and how audio is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final as Constant

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import SAMPLE_BYTES, ms_to_samples
from stt_edge.providers.base import WordOffset
from stt_edge.providers.failures import close_failure, excerpt
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples

CLEAN: Constant = (1000, 1005)
"""Close codes of a good end: normal closure, and a close without any code (RFC 6455, 7.4.1)."""

# "Common session errors and closures" for v3; the codes from 4000 on are those of v2.
_KINDS: Constant = {
    1008: FailureKind.DENIED,
    1012: FailureKind.SERVER,
    3005: FailureKind.SERVER,
    3006: FailureKind.REQUEST,
    3007: FailureKind.REQUEST,
    3008: FailureKind.LOST,
    3009: FailureKind.OVERLOADED,
    4000: FailureKind.REQUEST,
    4001: FailureKind.DENIED,
    4002: FailureKind.DENIED,
    4003: FailureKind.DENIED,
    4004: FailureKind.LOST,
    4008: FailureKind.LOST,
    4010: FailureKind.LOST,
    4029: FailureKind.OVERLOADED,
    4030: FailureKind.LOST,
    4031: FailureKind.LOST,
    4032: FailureKind.PROTOCOL,
    4033: FailureKind.PROTOCOL,
    4034: FailureKind.PROTOCOL,
    4100: FailureKind.REQUEST,
    4101: FailureKind.REQUEST,
    4102: FailureKind.OVERLOADED,
    4103: FailureKind.LOST,
    4104: FailureKind.REQUEST,
}
# Errors may come without a code, and a code may mean two things: the first phrase that fits.
_PHRASES: Constant = (
    ("too many", FailureKind.OVERLOADED),
    ("allowed number", FailureKind.OVERLOADED),
    ("exceeded the number", FailureKind.OVERLOADED),
    ("too fast", FailureKind.OVERLOADED),
    ("real time", FailureKind.OVERLOADED),
    ("real-time", FailureKind.OVERLOADED),
    ("transmission rate", FailureKind.OVERLOADED),
    ("deprecated", FailureKind.REQUEST),
    ("authoriz", FailureKind.DENIED),
    ("funds", FailureKind.DENIED),
    ("paid-only", FailureKind.DENIED),
    ("expired", FailureKind.LOST),
)
_AMBIGUOUS: Constant = (1008, 3007)


def session_failure(code: int | None, said: str, remedy: str) -> ProviderError:
    """Return what an error or the end of a session means; ``remedy`` is for a refused key."""
    hint = next((kind for phrase, kind in _PHRASES if phrase in said.lower()), FailureKind.SERVER)
    if code is None or (code in _AMBIGUOUS and hint is FailureKind.OVERLOADED):
        kind = hint
    else:
        kind = _KINDS.get(code) or close_failure(code, said).kind
    remedies = {
        FailureKind.DENIED: remedy,
        FailureKind.REQUEST: "Check dialect, model, language, rate and url.",
    }
    what = excerpt(said) or "no reason given"
    return ProviderError(
        kind,
        f"AssemblyAI ended the session: {what}{'' if code is None else f' ({code})'}.",
        code=None if code is None else str(code),
        remedy=remedies.get(kind, ""),
    )


class Cutter:
    """Cuts audio into messages of a least length, and places the words heard in it.

    It keeps the last piece back, so that the end of an utterance is never too short a message and
    the service hears what was said and nothing else. Only an utterance shorter than a message is
    filled up with silence.
    """

    def __init__(self, shortest_ms: int) -> None:
        """Make no message shorter than ``shortest_ms``."""
        self._shortest = ms_to_samples(shortest_ms) * SAMPLE_BYTES
        self._kept = b""
        self._cut = 0
        self._begun = 0
        self._samples = 0

    def begin(self) -> None:
        """Start an utterance: places count from the next audio taken."""
        self._begun, self._samples = self._cut, 0

    def take(self, pcm: bytes) -> bytes:
        """Return the message that can be sent now that ``pcm`` has come, if any."""
        self._samples += len(pcm) // SAMPLE_BYTES
        audio = self._kept + pcm
        if len(audio) < 2 * self._shortest:
            self._kept = audio
            return b""
        message, self._kept = audio[: -self._shortest], audio[-self._shortest :]
        return self._counted(message)

    def rest(self) -> bytes:
        """Return the last message of an utterance; empty where there was no audio."""
        if not self._kept:
            return b""
        message, self._kept = self._kept.ljust(self._shortest, b"\0"), b""
        return self._counted(message)

    def offset(self, milliseconds: float | None) -> int:
        """Return the sample of the utterance at a time of the session. Raises MalformedError."""
        if milliseconds is None:
            raise MalformedError("a word without times")
        sample = seconds_to_samples(milliseconds / 1000)
        assert sample is not None
        return min(max(0, sample - self._begun), self._samples)

    def words(self, fields: Fields) -> tuple[WordOffset, ...]:
        """Return the ``words`` of a result. Raises MalformedError."""
        found = []
        for word in fields.items("words"):
            start, end = self.offset(word.number("start")), self.offset(word.number("end"))
            spoken = WordOffset(
                word.text("text"), start, max(start, end), word.number("confidence")
            )
            found.append(spoken)
        return tuple(found)

    def _counted(self, message: bytes) -> bytes:
        self._cut += len(message) // SAMPLE_BYTES
        return message


def joined(words: Sequence[WordOffset]) -> str:
    """Return words as a text."""
    return " ".join(word.text for word in words)
