"""How a realtime transcription session is asked for: the options, the URL, the description."""

from __future__ import annotations

from typing import Any, Final

from stt_edge.config.schema import option
from stt_edge.frozen import frozen
from stt_edge.providers.openai_api import ModelOptions, takes_hints
from stt_edge.providers.transports.websocket import WebSocketEndpoint
from stt_edge.providers.urls import complete_url

_URL: Final = "wss://api.openai.com/v1/realtime"


@frozen
class SessionOptions(ModelOptions):
    """The keys of a provider of this kind."""

    model: str = option("gpt-live-transcribe", doc="model, by the name it has at the server")
    dialect: str = option(
        "openai", choices=("openai", "speaches"), doc="how the session is described to the server"
    )
    delay: str | None = option(
        None,
        choices=("minimal", "low", "medium", "high", "xhigh"),
        doc="how long the model waits for what follows; longer is more accurate, later",
    )
    noise_reduction: str | None = option(
        None, choices=("near_field", "far_field"), doc="filter for a microphone so far away"
    )
    turn_detection: str | None = option(
        None,
        choices=("server_vad", "semantic_vad"),
        doc="have the server look for pauses within an utterance, for models that can",
    )

    @property
    def gives_logprobs(self) -> bool:
        """Whether the model can say how sure it is."""
        return self.dialect == "openai" and self.model.startswith("gpt-4o")


def endpoint(options: SessionOptions) -> WebSocketEndpoint:
    """Return where to connect. Raises ProviderError of kind DENIED when there is no key."""
    query = {"intent": "transcription"}
    if options.dialect == "speaches":
        query["model"] = options.model
        if options.language is not None:
            query["language"] = options.language
    url = complete_url(options.url, _URL, query.items())
    return WebSocketEndpoint(url, options.authorization())


def describe(options: SessionOptions) -> dict[str, Any]:
    """Return the description of the session that the server understands."""
    detection = None if options.turn_detection is None else {"type": options.turn_detection}
    if options.dialect == "speaches":
        return {
            "input_audio_format": "pcm16",
            "input_audio_transcription": _model(options),
            "turn_detection": detection,
        }
    audio: dict[str, Any] = {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": _model(options),
        "turn_detection": detection,
    }
    if options.noise_reduction is not None:
        audio["noise_reduction"] = {"type": options.noise_reduction}
    session: dict[str, Any] = {"type": "transcription", "audio": {"input": audio}}
    if options.gives_logprobs:
        session["include"] = ["item.input_audio_transcription.logprobs"]
    return session


def _model(options: SessionOptions) -> dict[str, Any]:
    model: dict[str, Any] = {"model": options.model}
    hints = takes_hints(options.model)
    if options.language is not None:
        model |= {"languages": [options.language]} if hints else {"language": options.language}
    if options.prompt is not None:
        model["prompt"] = options.prompt
    if options.hotwords and hints:
        model["keywords"] = list(options.hotwords)
    if options.delay is not None:
        model["delay"] = options.delay
    return model
