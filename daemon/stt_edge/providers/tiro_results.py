"""What Tiro says: results and errors, as the JSON of protobuf messages.

The messages are those of tiro.speech.v1alpha, which are Google's in names and numbers. Depending on
the version of the gateway in front, fields with default values are absent, or there.
"""

from __future__ import annotations

import re
from typing import Final

from stt_edge.errors import ProviderError
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.base import WordOffset
from stt_edge.providers.failures import grpc_failure
from stt_edge.providers.json_fields import Fields, MalformedError, seconds_to_samples

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s", re.ASCII)


def read_failure(message: Fields) -> ProviderError | None:
    """Return the error a message carries, if it does, in any of the places where one may be.

    ``error`` as grpc-gateway reports the end of a stream (version 1: grpc_code, version 2: code),
    ``code`` at the top as it answers where there is no stream yet, and the field ``result.error``.
    Raises MalformedError.
    """
    result = message.section("result")
    if "error" in message and "code" not in message:
        return _failure(message.section("error"))
    if "code" in message:
        return _failure(message)
    inner = result.section("error")
    return _failure(inner) if inner.number("code") else None


def read_result(result: Fields, after: int) -> FinalResult:
    """Return the best alternative, as a final whether or not it is one yet; text may be empty.

    Without times of words it begins ``after`` so many samples, if it says where it ends. Raises
    MalformedError.
    """
    best = next(iter(result.items("alternatives")), Fields({}))
    words = _words(best.items("words"))
    end = words[-1].end if words else _samples(result, "resultEndTime")
    start = words[0].start if words else after
    return FinalResult(
        best.text("transcript").strip(),
        start=None if end is None else min(start, end),
        end=end,
        words=words,
        confidence=_confidence(best),
        language=result.text("languageCode") or None,
    )


def _failure(status: Fields) -> ProviderError:
    code = status.number("grpc_code") or status.number("code") or 0
    violations = (
        f"{violation.text('field')}: {violation.text('description')}"
        for detail in status.items("details")
        for violation in detail.items("fieldViolations")  # google.rpc.BadRequest
    )
    return grpc_failure(int(code), " ".join([status.text("message"), *violations]))


def _words(items: list[Fields]) -> tuple[WordOffset, ...]:
    """Return the words with their times; none where one has no time."""
    words = []
    for item in items:
        start, end = _samples(item, "startTime") or 0, _samples(item, "endTime")
        if end is None:
            return ()
        words.append(WordOffset(item.text("word"), start, max(start, end), _confidence(item)))
    return tuple(words)


def _samples(fields: Fields, name: str) -> int | None:
    """Return a duration of protobuf's JSON, such as 1.020s, in samples."""
    text = fields.text(name)
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise MalformedError(f"{name} is no duration")
    return seconds_to_samples(float(match[1]))


def _confidence(fields: Fields) -> float | None:
    """Return a confidence; 0 is protobuf's way to say that there is none."""
    value = fields.number("confidence") or 0.0
    return value if 0 < value <= 1 else None
