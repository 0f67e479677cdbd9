"""The dialects of iApp's streaming interface, without I/O."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.base import Event, Failed, Farewell, HttpReply, Partial
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import JsonConversation
from stt_edge.providers.endings import ORDINARY_CODES, Endings
from stt_edge.providers.failures import close_failure, excerpt, http_failure
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples

_CLOSE: Final = '{"data":{"status":"CloseConnection"}}'
_CLOSED: Final = "Confirm Close Connection"
_STOP: Final = '{"action":"stop"}'
_OF_THE_KEY: Final = re.compile(r"(?i)api.?key|unauthori[sz]ed|forbidden|credit")
_MESSAGE_NAMES: Final = ("message", "detail", "error")
_STATUS_NAMES: Final = ("code", "status", "status_code", "statusCode")
_MOST_SEGMENTS: Final = 10_000
_T = TypeVar("_T")


def refusal(reply: HttpReply, key_remedy: str) -> ProviderError:
    """Return what an HTTP status means (iapp-core, errors)."""
    failure = http_failure(reply.status, reply.headers, reply.body)
    if reply.status in (401, 403):
        failure.remedy = key_remedy
    elif reply.status == 402:
        failure.remedy = "Buy credits for the account of this key."
    return failure


class _Dialect(JsonConversation):
    """What the dialects have in common: raw audio, and complaints that nobody has documented."""

    _goodbye: str

    def __init__(self, endings: Endings, *, key_remedy: str = "") -> None:
        super().__init__()
        self._endings = endings
        self._key_remedy = key_remedy
        self._parting = False
        self._text = ""
        """What was heard and is not final yet."""

    def begin(self) -> None:
        """Start the utterance: the session's audio is its audio."""

    def send_audio(self, pcm: bytes) -> None:
        """Queue a chunk of 16 kHz mono s16le, as it is."""
        self._say(pcm)

    def goodbye(self) -> None:
        """Say that no more audio will come."""
        self._parting = True
        self._say(self._goodbye)

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after a goodbye, and before it what was heard last.

        A connection that breaks off unconfirmed is a loss, unless that is the service's way.
        """
        if not self._parting or code not in ORDINARY_CODES:
            return (Failed(close_failure(code, reason)),)
        if code == 1006 and self._endings.is_loss():
            lost = "the connection broke before the service confirmed the end"
            return (Failed(ProviderError(FailureKind.LOST, lost, code=str(code))),)
        return (*self._settled(), Farewell())

    def _hear_json(self, fields: Fields) -> Iterable[Event]:
        if _reports_error(fields):
            return (Failed(_complaint(fields, self._key_remedy)),)
        if self._is_result(fields):
            return self._result(fields)
        if "message" in fields or "detail" in fields:
            return (Failed(_complaint(fields, self._key_remedy)),)
        return ()

    @abstractmethod
    def _is_result(self, fields: Fields) -> bool:
        """Return whether it is a message with something that was heard."""

    @abstractmethod
    def _result(self, fields: Fields) -> Iterable[Event]:
        """Return what such a message means. Raises MalformedError."""

    def _settled(self) -> tuple[Event, ...]:
        text, self._text = self._text, ""
        return (FinalResult(text),) if text else ()

    def _confirmed(self) -> tuple[Event, ...]:
        self._endings.good()
        return (*self._settled(), Farewell())


class SentenceProtocol(_Dialect):
    """One session of dialect a or b. See ``base.Protocol``.

    Each message repeats the sentence in hand as it is by then; a new sentence makes the one before
    it final (WebSocket APIs Documentation (Beta), sample client).
    """

    _goodbye = _CLOSE

    def _is_result(self, fields: Fields) -> bool:
        return "text" in fields or "state" in fields

    def _result(self, fields: Fields) -> Iterable[Event]:
        text = fields.text("text").strip()
        if text == _CLOSED:
            return self._confirmed() if self._parting else ()
        heard: list[Event] = []
        if re.sub(r"[\s_-]", "", fields.text("state")).lower() == "newsentence":
            heard.extend(self._settled())
        if text:
            self._text = text
            heard.append(Partial(text))
        return heard


class SegmentProtocol(_Dialect):
    """One session of dialect c. See ``base.Protocol``.

    Names of fields are documented, how messages are told apart is not: one with a list of segments
    is the result of the session, whatever it is called.
    """

    _goodbye = _STOP

    def __init__(
        self, endings: Endings, *, key_remedy: str = "", unit_s: float | None = 1.0
    ) -> None:
        """Count times in units of so many seconds; None is to leave them alone."""
        super().__init__(endings, key_remedy=key_remedy)
        self._unit_s = unit_s
        self._settled_segments: set[str] = set()

    def _is_result(self, fields: Fields) -> bool:
        return "text" in fields or "segments" in fields

    def _result(self, fields: Fields) -> Iterable[Event]:
        if "segments" not in fields:
            return self._segment(fields, is_final=fields.flag("is_final"))
        heard: list[Event] = []
        for segment in fields.items("segments"):
            heard.extend(self._segment(segment, is_final=True))
        return (*heard, *self._confirmed()) if self._parting else heard

    def _segment(self, segment: Fields, *, is_final: bool) -> tuple[Event, ...]:
        text = segment.text("text").strip()
        if not is_final:
            self._text = text
            return (Partial(text),)
        start, end = self._samples(segment, "start_time"), self._samples(segment, "end_time")
        name = _name(segment) or f"{start}-{end}"
        if name in self._settled_segments:
            return ()
        if len(self._settled_segments) >= _MOST_SEGMENTS:
            raise MalformedError("far too many segments")
        self._settled_segments.add(name)
        self._text = ""
        if not text:
            return (Partial(""),)
        if self._unit_s is not None and (start is None or end is None):
            return (Failed(_without_times()),)
        return (FinalResult(text, start, end),)

    def _samples(self, segment: Fields, name: str) -> int | None:
        if self._unit_s is None:
            return None
        number = segment.number(name)
        return None if number is None else seconds_to_samples(number * self._unit_s)


def _without_times() -> ProviderError:
    return ProviderError(
        FailureKind.REQUEST,
        "the provider does not say when a segment was spoken.",
        remedy="Write segment_times: none.",
    )


def _name(segment: Fields) -> str:
    text = _unless_malformed(partial(segment.text, "segment_id"), "")
    number = None if text else _unless_malformed(partial(segment.number, "segment_id"), None)
    return text[:100] if number is None else f"{number:g}"


def _reports_error(fields: Fields) -> bool:
    """Return whether there is an ``error`` that is neither false nor empty."""
    flag = _unless_malformed(partial(fields.flag, "error"), True)
    return (
        "error" in fields and flag and _unless_malformed(partial(fields.text, "error"), "?") != ""
    )


def _complaint(fields: Fields, key_remedy: str) -> ProviderError:
    """Return what a message means that may be an error: no documentation says how they look."""
    place = _unless_malformed(partial(fields.section, "error"), Fields({})) or fields
    texts = (_unless_malformed(partial(place.text, name), "") for name in _MESSAGE_NAMES)
    said = next(filter(None, texts), "")
    for name in _STATUS_NAMES:
        status = _unless_malformed(partial(place.number, name), None)
        if status is not None and 400 <= status <= 599:
            reply = HttpReply(int(status), body=said.encode(errors="replace"))
            return refusal(reply, key_remedy)
    denied = _OF_THE_KEY.search(said) is not None
    return ProviderError(
        FailureKind.DENIED if denied else FailureKind.SERVER,
        f"the provider reports an error: {excerpt(said) or 'it does not say which'}.",
        remedy=key_remedy if denied else "",
    )


def _unless_malformed(read: Callable[[], _T], default: _T) -> _T:
    """Return what is read, or ``default`` where a value is of another type than expected."""
    try:
        return read()
    except MalformedError:
        return default
