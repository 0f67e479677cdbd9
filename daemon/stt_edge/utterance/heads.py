"""Head and tail of an utterance as the JSON their blocks hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from stt_edge.model import EndReason, UtteranceEnd, UtteranceStart


def encode_start(start: UtteranceStart) -> bytes:
    """Return the payload of a head block."""
    return _dump(
        {
            "id": start.id,
            "stream": start.stream,
            "start": start.start,
            "started_at": start.started_at.astimezone(UTC).isoformat(timespec="microseconds"),
            "started_mono_ns": start.started_mono_ns,
            "continues": start.continues,
            "clock_unsynced": start.clock_unsynced,
            "lost_before": start.lost_before,
        }
    )


def decode_start(payload: bytes) -> UtteranceStart | None:
    """Return what a head block says; None when it makes no sense."""
    try:
        body = json.loads(payload)
        return UtteranceStart(
            id=str(body["id"]),
            stream=str(body["stream"]),
            start=int(body["start"]),
            started_at=datetime.fromisoformat(body["started_at"]).astimezone(UTC),
            started_mono_ns=int(body["started_mono_ns"]),
            continues=bool(body["continues"]),
            clock_unsynced=bool(body["clock_unsynced"]),
            lost_before=int(body["lost_before"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def encode_end(end: UtteranceEnd) -> bytes:
    """Return the payload of a tail block."""
    return _dump(
        {
            "end": end.end,
            "reason": end.reason.value,
            "speech_end": end.speech_end,
            "speech_samples": end.speech_samples,
            "lost": end.lost,
        }
    )


def decode_end(payload: bytes) -> UtteranceEnd | None:
    """Return what a tail block says; None when it makes no sense."""
    try:
        body = json.loads(payload)
        return UtteranceEnd(
            end=int(body["end"]),
            reason=EndReason(body["reason"]),
            speech_end=int(body["speech_end"]),
            speech_samples=int(body["speech_samples"]),
            lost=int(body["lost"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
