"""What may be asked over MQTT, and the answers.

``cmd/<verb>`` is answered on ``reply/<verb>``. The payload is empty or a JSON object, whose
``transaction`` is repeated in the answer. ``mute/set`` takes ``ON`` and ``OFF``, as Home Assistant
sends them, and answers only what it does not understand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from stt_edge.errors import SttEdgeError
from stt_edge.frozen import frozen
from stt_edge.sinks.base import SinkContext
from stt_edge.sinks.mqtt_states import OFF, ON, encoded
from stt_edge.sinks.mqtt_topics import Topics

VERBS: Final = ("status", "mute", "unmute")
_VERB: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LARGEST_BYTES: Final = 4096
_LONGEST_TRANSACTION: Final = 128


@frozen
class Reply:
    """An answer, to be published and not retained."""

    topic: str
    payload: bytes


class Commands:
    """Obeys what comes in on the command topics."""

    def __init__(self, topics: Topics, context: SinkContext) -> None:
        """Act on the program that ``context`` is of."""
        self._topics = topics
        self._context = context

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Return the topics commands come on."""
        return (self._topics.set_mute, self._topics.command("+"))

    async def take(self, topic: str, payload: bytes) -> Reply | None:
        """Do what a message asks for and return the answer, if it gets one; raises nothing."""
        if topic == self._topics.set_mute:
            return await self._set_mute(payload)
        verb = topic.removeprefix(self._topics.command(""))
        if verb == topic:
            return None
        return await self._command(verb, payload)

    async def _set_mute(self, payload: bytes) -> Reply | None:
        if payload in (ON, OFF):
            answer = await self._mute(on=payload == ON)
            return None if answer["ok"] else Reply(self._topics.reply("mute"), encoded(answer))
        return Reply(self._topics.reply("mute"), encoded(_refused("mute/set takes ON or OFF.")))

    async def _command(self, verb: str, payload: bytes) -> Reply:
        answer: Mapping[str, Any]
        try:
            transaction = _transaction(payload)
        except ValueError as error:
            answer = _refused(str(error))
        else:
            answer = await self._obey(verb)
            if transaction is not None:
                answer = {**answer, "transaction": transaction}
        spoken = verb if _VERB.fullmatch(verb) else "error"
        return Reply(self._topics.reply(spoken), encoded(answer))

    async def _obey(self, verb: str) -> Mapping[str, Any]:
        if verb == "status":
            return {"ok": True, "result": self._context.status()}
        if verb in VERBS:
            return await self._mute(on=verb == "mute")
        return _refused(f"There is no such command; there are {', '.join(VERBS)}.")

    async def _mute(self, *, on: bool) -> Mapping[str, Any]:
        try:
            await self._context.mute(on)
        except SttEdgeError as error:
            return {"ok": False, "error": error.message, "remedy": error.remedy}
        return {"ok": True, "result": {"muted": on}}


def _transaction(payload: bytes) -> str | int | None:
    """Return what tells a request from others. Raises ValueError for what is no request."""
    if len(payload) > _LARGEST_BYTES:
        raise ValueError(f"A request is at most {_LARGEST_BYTES} bytes.")
    if not payload.strip():
        return None
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ValueError("A request is empty or a JSON object.")  # noqa: TRY004  it is a value's
    transaction = body.get("transaction")
    if isinstance(transaction, str) and len(transaction) <= _LONGEST_TRANSACTION:
        return transaction
    if transaction is None or (isinstance(transaction, int) and abs(transaction) < 1 << 63):
        return transaction
    raise ValueError("A transaction is a short text or a number.")


def _refused(message: str) -> dict[str, Any]:
    return {"ok": False, "error": message, "remedy": ""}
