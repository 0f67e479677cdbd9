"""What is retained on the broker about the device: each state, and when it is news."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from stt_edge.frozen import frozen
from stt_edge.model import Record
from stt_edge.record_json import record_to_json
from stt_edge.sinks.mqtt_discovery import EVENT_TYPE
from stt_edge.sinks.mqtt_topics import Topics

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
ON: Final = b"ON"
OFF: Final = b"OFF"


@frozen
class State:
    """One retained message."""

    topic: str
    payload: bytes
    key: object
    """It is published again when this differs from what was published last."""


def states_of(document: Mapping[str, Any], topics: Topics) -> list[State]:
    """Return the states that a status document tells of."""
    muted = _switch(on=bool(document.get("muted")))
    speech = _switch(on=bool(_part(document, "speech").get("open")))
    provider = _switch(on=_part(document, "provider").get("state") == "up")
    waiting_s = _part(document, "spool").get("seconds", 0.0)
    status = encoded({**document, "spool_seconds": waiting_s})
    return [
        State(topics.mute, muted, muted),
        State(topics.speech, speech, speech),
        State(topics.provider, provider, provider),
        State(topics.status, status, _what_matters(document)),
    ]


def transcript(record: Record) -> bytes:
    """Return the payload of an event: the record as in the JSONL file, and its type."""
    return encoded({**record_to_json(record), "event_type": EVENT_TYPE})


def last(record: Record, topics: Topics) -> State:
    """Return the newest record as a state, without its words.

    They would be attributes of an entity, of which Home Assistant keeps 16 kB at most.
    """
    body = record_to_json(record)
    body.pop("words", None)
    return State(topics.last, encoded(body), record.id)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return an object as JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _switch(*, on: bool) -> bytes:
    return ON if on else OFF


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _what_matters(document: Mapping[str, Any]) -> object:
    """Return what a change of is told at once; counters and durations wait for their minute."""
    sinks = _part(document, "sinks")
    return (
        document.get("muted"),
        _part(document, "ear").get("state"),
        _part(document, "provider").get("name"),
        tuple((each.get("name"), each.get("state")) for each in document.get("providers") or ()),
        tuple((name, each.get("state")) for name, each in sinks.items()),
        bool(_part(document, "backlog").get("utterances")),
    )
