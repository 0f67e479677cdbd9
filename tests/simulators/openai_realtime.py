"""OpenAI's realtime transcription: ``wss://api.openai.com/v1/realtime?intent=transcription``.

Faults of its own: ``speaches`` (the flat session of speaches, the model in the URL), ``quota`` and
``session_expired`` (an error event at the first audio), ``item_failed`` (a commit whose
transcription fails), ``bad_model`` (the model is unknown).
"""

from __future__ import annotations

import array
import base64
import itertools
import json
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request

from stt_edge.model import SAMPLE_BYTES
from tests.simulators import core
from tests.simulators.core import Wire

RATE: Final = 24_000
LARGEST_APPEND: Final = 15 * 1024 * 1024
SHORTEST_BYTES: Final = RATE // 10 * SAMPLE_BYTES
_HINTED: Final = ("gpt-transcribe", "gpt-live-transcribe")
_PLAIN: Final = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-realtime-whisper")
_WITHOUT_VAD: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
_WITH_DELAY: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
_MODEL_KEYS: Final = frozenset({"model", "prompt", "language", "languages", "keywords", "delay"})
_INPUT_KEYS: Final = frozenset({"format", "noise_reduction", "transcription", "turn_detection"})
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
_numbers = itertools.count(1)


class Wrong(Exception):  # noqa: N818  an answer, and no error of the simulator's
    """A message is answered with an error event."""

    def __init__(self, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.error = {"type": kind, "code": code, "message": message, "param": None}


class Simulator(core.WebSocketSimulator):
    """The server."""

    path = "/v1/realtime"
    sample_rate = RATE

    def options(self, directory: Any) -> dict[str, Any]:
        found = super().options(directory)
        if "speaches" in self.faults:
            found |= {"dialect": "speaches", "model": "Systran/faster-whisper-small"}
        return found

    def refuses(self, request: Request) -> tuple[int, dict[str, str], bytes] | None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        speaches = "speaches" in self.faults
        if parts.path != self.path:
            return _refusal(404, None, "Invalid URL")
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return _refusal(401, "invalid_api_key", "Incorrect API key provided.")
        if query.get("intent") != ["transcription"] or ("model" in query) != speaches:
            return _refusal(400, "missing_model", "You must provide a model parameter.")
        return None

    async def serve(self, wire: Wire) -> None:
        await _Conversation(wire, self.faults, self).run()


class _Conversation:
    """One session."""

    def __init__(self, wire: Wire, faults: core.Faults, simulator: Simulator) -> None:
        self._wire = wire
        self._faults = faults
        self._simulator = simulator
        self._configured: dict[str, Any] | None = None
        self._buffered = 0
        self._item = _new_id()
        self._previous: str | None = None
        self._shown = 0
        self._down = Down()

    async def run(self) -> None:
        await self._say("session.created", session={"type": "transcription"})
        while True:
            message = await self._wire.receive()
            try:
                await self._take(message)
            except Wrong as wrong:
                await self._say("error", error={**wrong.error, "event_id": None})
                if wrong.error["code"] == "session_expired":
                    await self._wire.close(1001, "session_expired")
                    raise core.Dropped from None

    async def _take(self, message: bytes | str) -> None:
        event = _parsed(message)
        match event["type"]:
            case "session.update":
                await self._configure(event)
            case "input_audio_buffer.append":
                await self._append(event)
            case "input_audio_buffer.commit":
                await self._commit(event)
            case "input_audio_buffer.clear":
                self._buffered = 0
                self._wire.session.ended = True
                if not self._faults.never_confirm:
                    await self._say("input_audio_buffer.cleared")
            case other:
                raise Wrong("invalid_value", f"Invalid value: '{other}'.")

    async def _configure(self, event: dict[str, Any]) -> None:
        _only(event, {"type", "session", "event_id"})
        if "bad_model" in self._faults:
            raise Wrong("model_not_found", "The model does not exist.")
        check = _check_flat if "speaches" in self._faults else _check_session
        self._configured = check(event["session"])
        await self._say("session.updated", session=event["session"])

    async def _append(self, event: dict[str, Any]) -> None:
        _only(event, {"type", "audio", "event_id"})
        if self._configured is None:
            raise Wrong("invalid_state", "The session is not configured.")
        try:
            pcm = base64.b64decode(event["audio"], validate=True)
        except (ValueError, TypeError):
            raise Wrong("invalid_value", "Invalid 'audio': not base64.") from None
        if not pcm or len(pcm) % SAMPLE_BYTES or len(pcm) > LARGEST_APPEND:
            raise Wrong("invalid_value", "Invalid 'audio': empty, odd or too long.")
        for name, code in (("quota", "insufficient_quota"), ("session_expired",) * 2):
            if name in self._faults:
                raise Wrong(code, f"No more: {name}.", "insufficient_quota" * (name == "quota"))
        self._buffered += len(pcm)
        await self._wire.audio(pcm, heard=self._down.feed(pcm))
        if self._configured["model"] == "gpt-live-transcribe":
            await self._deltas(self._wire.heard.words())

    async def _commit(self, event: dict[str, Any]) -> None:
        _only(event, {"type", "event_id"})
        if self._buffered < SHORTEST_BYTES:
            milliseconds = self._buffered / SAMPLE_BYTES / RATE * 1000
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {milliseconds:.2f}ms of audio."
            )
            raise Wrong("input_audio_buffer_commit_empty", message)
        self._buffered = 0
        item, self._item = self._item, _new_id()
        words = await self._wire.goodbye()
        await self._say(
            "input_audio_buffer.committed", item_id=item, previous_item_id=self._previous
        )
        await self._say("conversation.item.added", item={"id": item}, previous_item_id=None)
        self._previous = item
        if "item_failed" in self._faults:
            error = {"type": "transcription_error", "code": "audio_unintelligible"}
            error |= {"message": "The audio could not be transcribed."}
            await self._say(f"{_TRANSCRIPTION}.failed", item_id=item, content_index=0, error=error)
        else:
            await self._complete(item, words)
        self._shown = 0
        self._down = Down()
        self._wire.new_recogniser()

    async def _complete(self, item: str, words: list[Any]) -> None:
        assert self._configured is not None
        if self._configured["model"] == "whisper-1":
            await self._delta(item, self._simulator.text(words))
        else:
            await self._deltas(words, item)
        transcript = self._simulator.text(words)
        for _ in range(2 if self._faults.duplicate_finals else 1):
            await self._say(
                f"{_TRANSCRIPTION}.completed",
                item_id=item,
                content_index=0,
                transcript=transcript,
                usage={"type": "duration", "seconds": 1},
                **self._extras(),
            )

    def _extras(self) -> dict[str, Any]:
        assert self._configured is not None
        if self._configured["model"] == "gpt-transcribe":
            return {"languages": [{"code": "en"}]}
        if self._configured["logprobs"]:
            return {"logprobs": [{"token": "a", "logprob": -0.1, "bytes": [97]}]}
        return {}

    async def _deltas(self, words: list[Any], item: str | None = None) -> None:
        for at, word in enumerate(words[self._shown :], self._shown):
            await self._delta(item or self._item, " " * bool(at) + word.text)
        self._shown = max(self._shown, len(words))

    async def _delta(self, item: str, delta: str) -> None:
        await self._say(f"{_TRANSCRIPTION}.delta", item_id=item, content_index=0, delta=delta)

    async def _say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{next(_numbers)}", **fields}
        await self._wire.send(json.dumps(event, ensure_ascii=False))


class Down:
    """24 kHz to 16 kHz, exact where the signal stands still: two samples for each three."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, pcm: bytes) -> bytes:
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (3 * SAMPLE_BYTES)
        self._rest = pcm[whole:]
        samples = array.array("h", pcm[:whole])
        made = array.array("h", bytes(whole // 3 * 2))
        made[0::2] = samples[0::3]
        between = zip(samples[1::3], samples[2::3], strict=True)
        made[1::2] = array.array("h", [(one + other) // 2 for one, other in between])
        return made.tobytes()


def _parsed(message: bytes | str) -> dict[str, Any]:
    if isinstance(message, bytes):
        raise Wrong("invalid_event", "Binary frames are not understood.")
    try:
        event = json.loads(message)
    except ValueError:
        raise Wrong("invalid_json", "The message is no JSON.") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise Wrong("missing_required_parameter", "Missing required parameter: 'type'.")
    return event


def _check_session(session: dict[str, Any]) -> dict[str, Any]:
    """Check the session of the generally available API; returns what it asks for."""
    _only(session, {"type", "audio", "include"})
    sound = session["audio"]["input"]
    _only(session["audio"], {"input"})
    _only(sound, _INPUT_KEYS)
    if session["type"] != "transcription":
        raise Wrong("invalid_value", "Invalid 'session.type'.")
    if sound.get("format") != {"type": "audio/pcm", "rate": RATE}:
        raise Wrong("invalid_value", "Only a 24kHz sample rate is supported.")
    noise = sound.get("noise_reduction")
    if noise is not None and noise.get("type") not in ("near_field", "far_field"):
        raise Wrong("invalid_value", "Invalid 'noise_reduction.type'.")
    asked = _check_model(sound["transcription"])
    _check_detection(sound.get("turn_detection", {"type": "server_vad"}), asked["model"])
    logprobs = session.get("include", [])
    if logprobs not in ([], ["item.input_audio_transcription.logprobs"]):
        raise Wrong("invalid_value", "Invalid 'session.include'.")
    if logprobs and asked["model"] in _HINTED:
        raise Wrong("unsupported_parameter", "Log probabilities are not supported.")
    return asked | {"logprobs": bool(logprobs)}


def _check_model(asked: dict[str, Any]) -> dict[str, Any]:
    _only(asked, _MODEL_KEYS)
    model = asked.get("model")
    if model not in _HINTED and model not in _PLAIN:
        raise Wrong("model_not_found", f"The model `{model}` does not exist.")
    if model in _HINTED and "language" in asked:
        raise Wrong("unsupported_parameter", "'language' is not supported; use 'languages'.")
    if model not in _HINTED and asked.keys() & {"languages", "keywords"}:
        raise Wrong("unsupported_parameter", "'languages' and 'keywords' are not supported.")
    if "delay" in asked and model not in _WITH_DELAY:
        raise Wrong("unsupported_parameter", "'delay' is not supported.")
    return dict(asked)


def _check_detection(detection: dict[str, Any] | None, model: str) -> None:
    if detection is None:
        return
    if detection.get("type") not in ("server_vad", "semantic_vad"):
        raise Wrong("invalid_value", "Invalid 'turn_detection.type'.")
    if model in _WITHOUT_VAD:
        raise Wrong("unsupported_parameter", f"{model} does not support turn detection.")


def _check_flat(session: dict[str, Any]) -> dict[str, Any]:
    """Check the session of speaches; returns what it asks for."""
    _only(session, {"input_audio_format", "input_audio_transcription", "turn_detection"})
    if session.get("input_audio_format") != "pcm16":
        raise Wrong("invalid_value", "Invalid 'input_audio_format'.")
    asked = session["input_audio_transcription"]
    _only(asked, {"model", "language", "prompt"})
    return {**asked, "logprobs": False}


def _only(event: dict[str, Any], known: set[str] | frozenset[str]) -> None:
    for name in event.keys() - known:
        raise Wrong("unknown_parameter", f"Unknown parameter: '{name}'.")


def _refusal(status: int, code: str | None, message: str) -> tuple[int, dict[str, str], bytes]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()


def _new_id() -> str:
    return f"item_{next(_numbers)}"
