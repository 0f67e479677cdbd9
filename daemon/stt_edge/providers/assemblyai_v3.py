"""One session of AssemblyAI's Universal Streaming (v3), without I/O.

Words carry times in milliseconds from the start of the session. A turn ends with ``end_of_turn``,
and where the service is asked to format turns it sends that end twice: plain, then formatted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final as Constant

from stt_edge.providers.assemblyai_common import CLEAN, Cutter, joined, session_failure
from stt_edge.providers.base import Event, Failed, Farewell, Final, Partial, Ready
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.endings import Endings
from stt_edge.providers.json_fields import Fields, MalformedError

SHORTEST_MS: Constant = 50
"""A shorter message ends the session with 3007, and so does one of more than a second."""

_GOODBYE: Constant = json.dumps({"type": "Terminate"})


class StreamingProtocol(JsonConversation):
    """One session of Universal Streaming."""

    def __init__(self, endings: Endings, *, formatted: bool = False, remedy: str = "") -> None:
        """Wait for the formatted end of a turn where ``formatted``; the plain one stands in.

        ``endings`` are those of all sessions: what a close without ``Termination`` means.
        """
        super().__init__()
        self._endings = endings
        self._formatted = formatted
        self._remedy = remedy
        self._audio = Cutter(SHORTEST_MS)
        self._session = ""
        self._told = -1
        """The last turn told as a final; whatever comes of it or of those before is a repeat."""
        self._plain: tuple[int, Final] | None = None
        """A turn that has ended and is not formatted yet."""
        self._open: tuple[int, Final] | None = None
        """The turn that has not ended."""
        self._parted = False

    def begin(self) -> None:
        """Start an utterance."""
        self._audio.begin()

    def send_audio(self, pcm: bytes) -> None:
        """Queue audio; the last 50 ms wait for what follows."""
        if message := self._audio.take(pcm):
            self._say(message)

    def goodbye(self) -> None:
        """Queue what waits, and ``Terminate``: the rest comes, then ``Termination``."""
        if message := self._audio.rest():
            self._say(message)
        self._parted = True
        self._say(_GOODBYE)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` for a good end after the goodbye; else what went wrong."""
        if self._parted and code in CLEAN and not self._endings.is_loss():
            return (*self._rest(), Farewell())
        return (*self._tell_plain(), Failed(session_failure(code, reason, self._remedy)))

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        match fields.text("type"):
            case "Begin":
                self._session = fields.text("id")
                return (Ready(),)
            case "Turn":
                return self._turn(fields)
            case "Termination":
                return self._terminated()
            case "Error":
                return self._error(fields)
        # Older errors have no type; of other types there are many, and more to come.
        return self._error(fields) if "error" in fields else ()

    def _error(self, fields: Fields) -> Iterable[Event]:
        code = fields.number("error_code")
        known = None if code is None else int(code)
        failure = session_failure(known, fields.text("error"), self._remedy)
        return (*self._tell_plain(), Failed(failure))

    def _turn(self, fields: Fields) -> Iterable[Event]:
        order = fields.number("turn_order")
        if order is None:
            raise MalformedError("a turn without turn_order")
        if order <= self._told:
            return ()
        turn = int(order), self._result(fields, int(order))
        if fields.flag("end_of_turn"):
            return self._ended(turn, plain=not fields.flag("turn_is_formatted"))
        if self._plain is None or order > self._plain[0]:
            self._open = turn
        return (self._partial(),)

    def _ended(self, turn: tuple[int, Final], *, plain: bool) -> Iterable[Event]:
        order, final = turn
        before = () if self._plain is None or self._plain[0] >= order else self._tell_plain()
        self._open = None
        if plain and self._formatted:
            self._plain = turn
            return (*before, self._partial())
        self._plain, self._told = None, order
        return (*before, final if final.text else self._partial())

    def _terminated(self) -> Iterable[Event]:
        if not self._parted:
            failure = session_failure(3008, "it was terminated", self._remedy)
            return (*self._tell_plain(), Failed(failure))
        self._endings.good()
        return (*self._rest(), Farewell())

    def _rest(self) -> tuple[Event, ...]:
        """Return what has not been told, now that nothing more will come."""
        plain = self._tell_plain()
        last, self._open = self._open, None
        return plain if last is None or not last[1].text else (*plain, last[1])

    def _tell_plain(self) -> tuple[Event, ...]:
        """Return the end of a turn whose formatted version has not come."""
        if self._plain is None:
            return ()
        (self._told, final), self._plain = self._plain, None
        return (final,) if final.text else ()

    def _partial(self) -> Partial:
        """Return all that has not been told: a turn to be formatted, and the one under way."""
        turns = [turn[1] for turn in (self._plain, self._open) if turn is not None]
        words = tuple(word for final in turns for word in final.words)
        text = " ".join(final.text for final in turns if final.text)
        return Partial(text, words[-1].end if words else None, words)

    def _result(self, fields: Fields, order: int) -> Final:
        words = self._audio.words(fields)
        sure = [word.confidence for word in words if word.confidence is not None]
        # While a turn is under way its last word may be missing in the transcript.
        settled = fields.text("transcript") if fields.flag("end_of_turn") or not words else ""
        return Final(
            settled or joined(words),
            start=words[0].start if words else None,
            end=words[-1].end if words else None,
            words=words,
            confidence=sum(sure) / len(sure) if sure else None,
            language=fields.text("language_code") or None,
            item_id=f"{self._session}:{order}" if self._session else None,
        )
