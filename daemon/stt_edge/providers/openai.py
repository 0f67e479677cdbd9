"""OpenAI's ``/v1/audio/transcriptions``, and every server that is compatible with it.

An utterance is collected and sent at its end, one recording in one request (OpenAI API reference,
Create transcription). Other servers take the same, with paths, fields and errors of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, ms_to_samples
from stt_edge.providers import base
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Event,
    Failed,
    Farewell,
    HttpReply,
    HttpRequest,
    Incoming,
    PartTimes,
    Provider,
)
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import close_failure
from stt_edge.providers.json_fields import MalformedError, parse_object
from stt_edge.providers.multipart import multipart_form, wav_file
from stt_edge.providers.openai_api import ModelOptions, http_error, takes_hints
from stt_edge.providers.openai_results import read_result
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport

_BASE_URL: Final = "https://api.openai.com/v1"
_LONGEST_S: Final = 780
"""A file may have 25 MB (Create transcription); ours has 32 kB a second."""
_LONGEST_BYTES: Final = _LONGEST_S * SAMPLE_RATE * SAMPLE_BYTES
_SHORTEST_BYTES: Final = ms_to_samples(100) * SAMPLE_BYTES
"""A shorter recording is refused; silence is added to it."""
_FORM_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]+(\[\])?=.*", re.DOTALL)


@frozen
class Options(ModelOptions):
    """The keys of a provider of this kind."""

    model: str = option("gpt-transcribe", doc="model, by the name it has at the server")
    temperature: float | None = option(
        None, minimum=0, maximum=1, doc="how freely the model may guess"
    )
    response_format: str = option(
        "auto",
        choices=("auto", "json", "verbose_json", "text"),
        doc="verbose_json has times of words; auto is that for Whisper models, json for others",
    )
    path: str = option("/audio/transcriptions", doc="behind url; /inference for whisper.cpp")
    form: tuple[str, ...] = option((), doc="more fields of the request, each NAME=VALUE")
    timeout_s: float = option(
        60.0, minimum=5, maximum=900, doc="how long the server may take to answer"
    )
    minimum_billed_s: float = option(0.0, minimum=0, maximum=60, doc="the least it charges for")

    @property
    def reply_format(self) -> str:
        """The format that is asked for."""
        if self.response_format != "auto":
            return self.response_format
        return "verbose_json" if "whisper" in self.model.lower() else "json"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong beyond the bounds of each key."""
        yield from ModelOptions.problems(self)
        if not self.path.startswith("/"):
            yield "path", "begins with /"
        if not all(_FORM_FIELD.fullmatch(entry) for entry in self.form):
            yield "form", "each is NAME=VALUE"


def _capabilities(options: Options) -> Capabilities:
    verbose = options.reply_format == "verbose_json"
    return Capabilities(
        billing=Billing.AUDIO,
        minimum_billed_s=options.minimum_billed_s,
        part_times=PartTimes.WORDS if verbose else PartTimes.NONE,
        confidence=verbose,
        drain_timeout_s=options.timeout_s + 5,  # the transport gives up before, and says why
        max_utterance_s=_LONGEST_S,
        on_drain_timeout="resend",
    )


CAPABILITIES: Final = _capabilities(Options())


def build(name: str, options: Options) -> Provider:
    """Return the provider."""
    transport = partial(
        HttpTransport,
        partial(_endpoint, options),
        ca_file=options.ca_file,
        timeout_s=options.timeout_s,
    )
    return Provider(
        name=name,
        capabilities=options.apply(_capabilities(options)),
        make_protocol=partial(TranscriptionProtocol, options),
        make_transport=transport,
        model=options.model,
        language=options.language,
        watched=options.watched(),
        price_per_hour=options.price_per_hour,
    )


class TranscriptionProtocol(Conversation):
    """One utterance, one request. See ``base.Protocol``."""

    def __init__(self, options: Options) -> None:
        """Ask for what ``options`` say."""
        super().__init__()
        self._options = options
        self._audio = bytearray()

    def begin(self) -> None:
        """Start an utterance."""
        self._audio.clear()

    def send_audio(self, pcm: bytes) -> None:
        """Collect a chunk. Raises ProviderError of kind UTTERANCE beyond what a file may have."""
        if len(self._audio) + len(pcm) > _LONGEST_BYTES:
            raise ProviderError(FailureKind.UTTERANCE, f"it is longer than {_LONGEST_S} s.")
        self._audio += pcm

    def goodbye(self) -> None:
        """Send what was collected; nothing where there is none, or it was sent before."""
        if not self._audio:
            return
        recording = wav_file(self._audio.ljust(_SHORTEST_BYTES, b"\0"))
        self._audio = bytearray()
        content_type, body = multipart_form(_form(self._options), recording)
        self._say(HttpRequest("POST", self._options.path, {"Content-Type": content_type}, body))

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Failed``: an answer would have been the end."""
        return (Failed(close_failure(code, reason)),)

    def _hear(self, message: Incoming) -> Iterable[Event]:
        if not isinstance(message, HttpReply):
            raise MalformedError("no answer to a request")
        if not 200 <= message.status < 300:
            return (Failed(http_error(message, key_file=self._options.api_key_file)),)
        final = self._final(message.body)
        return (final, Farewell()) if final.text else (Farewell(),)

    def _final(self, body: bytes) -> base.Final:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise MalformedError("no UTF-8") from None
        if self._options.reply_format == "text":
            return base.Final(text.strip())
        return read_result(parse_object(text))


def _endpoint(options: Options) -> HttpEndpoint:
    return HttpEndpoint(options.url or _BASE_URL, options.authorization())


def _form(options: Options) -> Iterator[tuple[str, str]]:
    """Return the fields of the request besides the file."""
    yield "model", options.model
    yield "response_format", options.reply_format
    if options.reply_format == "verbose_json":
        yield from (("timestamp_granularities[]", unit) for unit in ("word", "segment"))
    hints = takes_hints(options.model)
    if options.language is not None:
        yield "languages[]" if hints else "language", options.language
    if options.prompt is not None:
        yield "prompt", options.prompt
    if options.temperature is not None:
        yield "temperature", f"{options.temperature:g}"
    if hints:
        yield from (("keywords[]", word) for word in options.hotwords)
    elif options.hotwords:
        yield "hotwords", ", ".join(options.hotwords)  # speaches
    for entry in options.form:
        name, _, value = entry.partition("=")
        yield name, value
