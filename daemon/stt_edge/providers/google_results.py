"""What Google Speech v1 answers over REST: results, operations and refusals, as JSON.

Facts are from google/cloud/speech/v1/cloud_speech.proto and google/longrunning/operations.proto in
their JSON form: an int64 is a text, a Duration is a text such as ``1.200s``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.base import HttpReply, WordOffset
from stt_edge.providers.failures import grpc_failure, http_failure
from stt_edge.providers.json_fields import (
    Fields,
    MalformedError,
    parse_object,
    seconds_to_samples,
)

_DURATION: Final = re.compile(r"\d{1,12}(?:\.\d{1,9})?s", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_TOO_LONG: Final = re.compile(r"(?i)inline audio|too long|exceeds duration|payload size")
_OF_THE_AUDIO: Final = frozenset((3, 9, 11))
"""INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE: the job was taken, its audio was not."""


@frozen
class Operation:
    """A job of ``longrunningrecognize``, as a reply describes it."""

    name: str
    percent: int
    """Of the audio, 0 to 100."""
    uri: str
    """The object it transcribes; empty for inline audio."""
    done: bool
    response: Fields
    """A LongRunningRecognizeResponse; empty as long as there is none."""
    failure: ProviderError | None
    """Why it ended without a response."""


def is_operation_name(name: str) -> bool:
    """Return whether ``name`` may be the name of an operation; it becomes a part of a URL."""
    return _NAME.fullmatch(name) is not None


def read_operation(fields: Fields) -> Operation:
    """Return what a google.longrunning.Operation says. Raises MalformedError."""
    name = fields.text("name")
    if not is_operation_name(name):
        raise MalformedError("name is none of an operation")
    done = fields.flag("done")
    if done and ("error" in fields) == ("response" in fields):
        raise MalformedError("the operation is done with neither or both of error and response")
    metadata = fields.section("metadata")
    return Operation(
        name=name,
        percent=round(min(max(metadata.number("progressPercent") or 0, 0), 100)),
        uri=metadata.text("uri"),
        done=done,
        response=fields.section("response"),
        failure=_operation_failure(fields.section("error")) if "error" in fields else None,
    )


def read_results(response: Fields) -> tuple[FinalResult, ...]:
    """Return the results that have text, in order; none when nothing was said.

    Texts are as they came: those after the first begin with the space that parts them from the
    one before, where the language has spaces. Raises MalformedError.
    """
    finals: list[FinalResult] = []
    end = 0
    for result in response.items("results"):
        final = _final(result, end)
        if final is not None:
            finals.append(final)
            end = final.end if final.end is not None else end
    return tuple(finals)


def joined(finals: Iterable[FinalResult]) -> FinalResult | None:
    """Return one result for an utterance, with the texts put together as they came.

    A result that is there twice, about the same audio, counts once.
    """
    parts: list[FinalResult] = []
    for final in finals:
        if not parts or final.end is None or final != parts[-1]:
            parts.append(final)
    if not parts:
        return None
    known = [(part.confidence, len(part.text)) for part in parts if part.confidence is not None]
    weight = sum(length for _, length in known)
    return FinalResult(
        "".join(part.text for part in parts).strip(),
        start=parts[0].start,
        end=parts[-1].end,
        words=tuple(word for part in parts for word in part.words),
        confidence=sum(share * length for share, length in known) / weight if known else None,
        language=parts[0].language,
    )


def billed_s(response: Fields) -> float | None:
    """Return what is charged for, in seconds (totalBilledTime). Raises MalformedError."""
    return _seconds(response, "totalBilledTime")


def read_success(reply: HttpReply, *, remedy: str) -> Fields:
    """Return the object in a reply of status 200.

    ``remedy`` is for a refused key. Raises ProviderError for another status, and MalformedError.
    """
    if reply.status != 200:
        raise refusal(reply, remedy=remedy)
    return parse_object(reply.body)


def refusal(reply: HttpReply, *, remedy: str) -> ProviderError:
    """Return what a status other than 200 means (google.rpc.Status in ``error``)."""
    message, reason = what_was_said(reply.body)
    failure = http_failure(reply.status, reply.headers, message.rstrip(".").encode())
    if reason == "API_KEY_INVALID":
        failure.kind = FailureKind.DENIED  # it comes as a 400
    elif reply.status == 400 and _TOO_LONG.search(message):
        failure.kind = FailureKind.UTTERANCE
    if failure.kind is FailureKind.DENIED:
        failure.remedy = remedy
    elif failure.kind is FailureKind.UTTERANCE:
        failure.remedy = ""
    return failure


def what_was_said(body: bytes) -> tuple[str, str]:
    """Return the message and the reason of a refusal; a proxy's page of HTML is its own message."""
    try:
        error = parse_object(body).section("error")
        reasons = [detail.text("reason") for detail in error.items("details")]
        message = f"{error.text('status')} {error.text('message')}".strip()
    except MalformedError:
        return body[:2000].decode(errors="replace"), ""
    return message, next(filter(None, reasons), "")


def _operation_failure(error: Fields) -> ProviderError:
    code = error.number("code")
    if code is None or not 1 <= code <= 16:
        return ProviderError(FailureKind.PROTOCOL, "the job ended with an error that is none.")
    failure = grpc_failure(int(code), error.text("message").rstrip("."))
    failure.message = f"the job ended: {failure.message}"
    if code in _OF_THE_AUDIO:
        failure.kind = FailureKind.UTTERANCE
        failure.remedy = ""
    return failure


def _final(result: Fields, after: int) -> FinalResult | None:
    alternatives = result.items("alternatives")
    if not alternatives or not alternatives[0].text("transcript").strip():
        return None
    best = alternatives[0]
    words = _words(best.items("words"), after)
    end = seconds_to_samples(_seconds(result, "resultEndTime"))
    if end is None and words:
        end = words[-1].end
    start = words[0].start if words else after
    return FinalResult(
        best.text("transcript"),
        start=start if end is None else min(start, end),
        end=end,
        words=words,
        confidence=_confidence(best),
        language=result.text("languageCode") or None,
    )


def _words(items: list[Fields], after: int) -> tuple[WordOffset, ...]:
    """Return words with times; none where one of them has none (enableWordTimeOffsets is off)."""
    words: list[WordOffset] = []
    for item in items:
        end = seconds_to_samples(_seconds(item, "endTime"))
        if end is None:
            return ()
        start = seconds_to_samples(_seconds(item, "startTime"))
        start = after if start is None else start
        text = item.text("word")
        if text:
            words.append(WordOffset(text, min(start, end), end, _confidence(item)))
        after = end
    return tuple(words)


def _confidence(fields: Fields) -> float | None:
    """Return a confidence; 0 says that there is none (cloud_speech.proto)."""
    share = fields.number("confidence")
    return None if share is None or share <= 0 else min(share, 1.0)


def _seconds(fields: Fields, name: str) -> float | None:
    if name not in fields:
        return None
    text = fields.text(name)
    if not _DURATION.fullmatch(text):
        raise MalformedError(f"{name} is no duration")
    return float(text.removesuffix("s"))
