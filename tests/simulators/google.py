"""Google Cloud Speech-to-Text, streaming, v1 and v2, as its documentation and protos describe it.

The common faults in the words of gRPC: ``http_status`` becomes the status that belongs to it, and
``close_code`` is the status a stream ends with at its first audio. Faults of its own:
``coarse_times`` gives the times of words in steps of 100 ms, ``no_times`` gives none.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import grpc
from google.cloud import speech_v1, speech_v2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from tests.simulators.core import HUGE_BYTES, KEY, Dropped, Faults, Session
from tests.simulators.core import Simulator as Base
from tests.simulators.google_relay import Relay
from tests.simulators.speech import RecogniserFactory, SpokenWord, SyntheticRecogniser

TOKEN: Final = "ya29.sesame"
"""The access token that is as good as the key."""
MAX_MESSAGE_BYTES: Final = 15_000

_NO_FAULTS: Final = Faults()
_SPEECH: Final[dict[str, Any]] = {"v1": speech_v1, "v2": speech_v2}
_RECOGNIZER: Final = re.compile(
    r"projects/[a-z0-9-]+/locations/[a-z0-9-]+/recognizers/(_|[a-z0-9-]+)"
)
_TOO_LONG: Final = "Exceeded maximum allowed stream duration of 305 seconds."
_IDLE: Final = (
    "Audio Timeout Error: Long duration elapsed without audio. Audio should be sent close to real "
    "time."
)

# https://cloud.google.com/apis/design/errors#handling_errors
_OF_HTTP: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    402: grpc.StatusCode.PERMISSION_DENIED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_OF_NUMBER: Final = {status.value[0]: status for status in grpc.StatusCode}


class Simulator(Base):
    """Both versions on one port, in plain text."""

    scheme = "http"
    path = ""

    def __init__(
        self,
        faults: Faults = _NO_FAULTS,
        *,
        key: str = KEY,
        recogniser: RecogniserFactory = SyntheticRecogniser,
        port: int = 0,
        max_stream_s: float = 305.0,
        idle_s: float = 10.0,
        words_per_final: int = 4,
    ) -> None:
        super().__init__(faults, key=key, recogniser=recogniser, port=port)
        self.max_stream_s = max_stream_s
        self.idle_s = idle_s
        self.words_per_final = words_per_final
        self.configurations: list[Any] = []
        """The first message of every stream that was let in."""

    async def start(self) -> None:
        self._server = grpc.aio.server()
        for api in _SPEECH:
            handler = grpc.stream_stream_rpc_method_handler(partial(self._recognize, api))
            service = f"google.cloud.speech.{api}.Speech"
            methods = {"StreamingRecognize": handler}
            generic = grpc.method_handlers_generic_handler(service, methods)
            self._server.add_generic_rpc_handlers((generic,))
        upstream = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.relay = Relay(connect_s=self.faults.connect_s)
        await self.relay.start(self.port, upstream)
        self.port = self.relay.port

    async def stop(self) -> None:
        await self.relay.stop()
        await self._server.stop(None)

    async def _recognize(self, api: str, _: object, context: Any) -> None:
        await self._admit(context)
        session = Session()
        self.sessions.append(session)
        try:
            await _Stream(self, api, context, session).serve()
            session.closed_code = grpc.StatusCode.OK.value[0]
        except Dropped:
            self.relay.link(context.peer()).drop()
            await asyncio.Event().wait()  # until the call is cancelled: nothing must be said
        finally:
            if session.closed_code is None:
                session.closed_code = context.code() or grpc.StatusCode.CANCELLED.value[0]

    async def _admit(self, context: Any) -> None:
        """Refuse who does not say who it is. Raises what ``abort`` does."""
        refuse: Callable[..., Awaitable[NoReturn]] = context.abort
        metadata = dict(context.invocation_metadata())
        self.refusals += 1
        if self.faults.http_status is not None:
            _advise(context, self.faults.retry_after)
            await refuse(_OF_HTTP[self.faults.http_status], "refused")
        if "x-goog-api-key" in metadata:
            if metadata["x-goog-api-key"] != self.key:
                message = "API key not valid. Please pass a valid API key."
                await refuse(grpc.StatusCode.INVALID_ARGUMENT, message)
        elif "authorization" not in metadata:
            message = (
                "Method doesn't allow unregistered callers (callers without established identity). "
                "Please use API Key or other form of API consumer identity to call this API."
            )
            await refuse(grpc.StatusCode.PERMISSION_DENIED, message)
        elif metadata["authorization"] != f"Bearer {TOKEN}":
            message = "Request had invalid authentication credentials."
            await refuse(grpc.StatusCode.UNAUTHENTICATED, message)
        self.refusals -= 1


class _Stream:
    """One call."""

    def __init__(self, simulator: Simulator, api: str, context: Any, session: Session) -> None:
        self._simulator = simulator
        self._faults = simulator.faults
        self._api = api
        self._speech = _SPEECH[api]
        self._context = context
        self._session = session
        self._heard = simulator.recogniser()
        self._drop_s = simulator.next_drop_s()
        self._told = 0
        """Words that finals have said."""
        self._seen = 0
        """Words that interims have said."""
        self._interims = False
        self._ends_s = asyncio.get_running_loop().time() + simulator.max_stream_s

    async def serve(self) -> None:
        """Take the configuration, then audio until the half-close, then say the rest."""
        await self._configure()
        while (request := await self._receive()) is not None:
            await self._take(request)
        self._session.ended = True
        self._session.cut()
        if self._faults.drop_at_goodbye:
            raise Dropped
        if self._faults.never_confirm or self._faults.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(self._faults.late_final_s)
        words = self._heard.finish()
        seconds = math.ceil(self._audio_s)
        if words[self._told :]:
            await self._say_final(words[self._told :], billed_s=seconds)
        else:
            await self._respond(self._with_billing(self._response(), seconds))

    @property
    def _audio_s(self) -> float:
        return len(self._session.audio) / SAMPLE_BYTES / SAMPLE_RATE

    async def _configure(self) -> None:
        request = await self._receive()
        if request is None:
            await self._refuse("Malordered Data Received. Expected config, got the end.")
        if not request.HasField("streaming_config"):
            await self._refuse(
                "Malordered Data Received. Expected initial message with streaming_config."
            )
        self._simulator.configurations.append(request)
        self._session.texts.append(str(request))
        complaint = (_complaint_v1 if self._api == "v1" else _complaint_v2)(request)
        if complaint is not None:
            await self._refuse(complaint)
        config = request.streaming_config
        features = config if self._api == "v1" else config.streaming_features
        self._interims = features.interim_results

    async def _receive(self) -> Any:
        """Return the next request, None at the half-close; ends a stream that is idle or old."""
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(self._context.read())
        reading.add_done_callback(_look)
        left_s = self._ends_s - loop.time()
        done, _ = await asyncio.wait({reading}, timeout=min(self._simulator.idle_s, left_s))
        if not done and not self._faults.silent:
            old = left_s < self._simulator.idle_s
            await self._end(grpc.StatusCode.OUT_OF_RANGE, _TOO_LONG if old else _IDLE)
        message = await reading
        if message is grpc.aio.EOF:
            return None
        if len(message) > MAX_MESSAGE_BYTES:
            await self._refuse(f"Audio chunk can be of a maximum of 15 KB, got {len(message)}.")
        try:
            return self._speech.StreamingRecognizeRequest.pb().FromString(message)
        except DecodeError:
            return await self._end(grpc.StatusCode.INTERNAL, "Failed parsing the request.")

    async def _take(self, request: Any) -> None:
        field = "audio_content" if self._api == "v1" else "audio"
        if not request.HasField(field):
            await self._refuse("Malordered Data Received. Expected audio_content.")
        pcm = getattr(request, field)
        first = not self._session.chunks
        self._session.heard(pcm)
        self._heard.feed(pcm)
        if self._drop_s is not None and self._audio_s >= self._drop_s:
            raise Dropped
        if first:
            await self._first_answer()
        stop_s = self._faults.stop_reading_s
        if stop_s is not None and self._audio_s >= stop_s:
            self._simulator.relay.link(self._context.peer()).stop_reading()
            await asyncio.Event().wait()
        await self._say_words(self._heard.words())

    async def _first_answer(self) -> None:
        faults = self._faults
        if faults.close_code is not None:
            await self._end(_OF_NUMBER[faults.close_code], faults.close_reason)
        if faults.slow:
            self._simulator.relay.link(self._context.peer()).slow = True
        if faults.garbage:
            await self._context.write(b"\xff\xffgarbage")
        if faults.huge:
            await self._context.write(b"\xff" * HUGE_BYTES)
        if faults.invalid_utf8:
            response = self._response()
            response.results.add().alternatives.add().transcript = "?????"
            await self._context.write(response.SerializeToString().replace(b"?????", b"\xff" * 5))

    async def _say_words(self, words: Sequence[SpokenWord]) -> None:
        """A final for every few words, and interims in two parts of different stability."""
        step = self._simulator.words_per_final
        while len(words) - self._told >= step:
            await self._say_final(words[self._told : self._told + step])
        if len(words) <= max(self._seen, self._told) or not self._interims:
            return
        self._seen = len(words)
        *stable, last = words[self._told :]
        response = self._response()
        if stable:
            self._add_interim(response, stable, 0.9, "")
        self._add_interim(response, [last], 0.01, " " if stable else "")
        await self._respond(response)

    async def _say_final(self, words: Sequence[SpokenWord], billed_s: int | None = None) -> None:
        response = self._response()
        result = response.results.add(is_final=True, language_code="en-us")
        lead = " " if self._told else ""
        best = result.alternatives.add(
            transcript=lead + self._simulator.text(words), confidence=0.9
        )
        self._set_time(result, "result_end", words[-1].end)
        for word in words:
            said = best.words.add(word=word.text)
            if "no_times" not in self._faults:
                self._set_time(said, "start", word.start)
                self._set_time(said, "end", word.end)
        self._told += len(words)
        for _ in range(2 if self._faults.duplicate_finals else 1):
            await self._respond(response)
        if billed_s is not None:
            await self._respond(self._with_billing(self._response(), billed_s))

    def _add_interim(
        self, response: Any, words: Sequence[SpokenWord], stability: float, lead: str
    ) -> None:
        result = response.results.add(stability=stability)
        lead = lead or (" " if self._told else "")
        result.alternatives.add(transcript=lead + self._simulator.text(words))
        self._set_time(result, "result_end", words[-1].end)

    def _response(self) -> Any:
        return self._speech.StreamingRecognizeResponse.pb()()

    def _set_time(self, owner: Any, name: str, samples: int) -> None:
        if "coarse_times" in self._faults:
            samples -= samples % (SAMPLE_RATE // 10)
        duration = getattr(owner, name + ("_time" if self._api == "v1" else "_offset"))
        duration.FromMicroseconds(samples * 1_000_000 // SAMPLE_RATE)

    def _with_billing(self, response: Any, seconds: int) -> Any:
        if self._api == "v1":
            response.total_billed_time.seconds = seconds
        else:
            response.metadata.total_billed_duration.seconds = seconds
        return response

    async def _respond(self, response: Any) -> None:
        if not self._faults.silent:
            await self._context.write(response.SerializeToString())

    async def _refuse(self, message: str) -> NoReturn:
        return await self._end(grpc.StatusCode.INVALID_ARGUMENT, message)

    async def _end(self, status: grpc.StatusCode, message: str) -> NoReturn:
        self._session.closed_code = status.value[0]
        if status is grpc.StatusCode.OK:  # which cannot be aborted with
            self._context.set_details(message)
        return await self._context.abort(status, message)


def _look(task: asyncio.Task[Any]) -> None:
    """Take notice of how a task ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _advise(context: Any, retry_after: str | None) -> None:
    """Say when to come back, as google.rpc.RetryInfo in the status's details."""
    if retry_after is None:
        return
    status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="refused")
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMicroseconds(round(float(retry_after) * 1_000_000))
    status.details.add().Pack(info)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))


def _complaint_v1(request: Any) -> str | None:
    config = request.streaming_config.config
    if config.encoding != speech_v1.RecognitionConfig.AudioEncoding.LINEAR16:
        return "Invalid recognition 'config': bad encoding."
    if config.sample_rate_hertz != SAMPLE_RATE:
        return "Invalid recognition 'config': bad sample rate hertz."
    if not config.language_code:
        return "Invalid recognition 'config': bad language code."
    if len(config.alternative_language_codes) > 3:
        return "Invalid recognition 'config': too many alternative languages."
    return None


def _complaint_v2(request: Any) -> str | None:
    found = _RECOGNIZER.fullmatch(request.recognizer)
    if found is None:
        return "Invalid resource field value in the request: recognizer."
    config = request.streaming_config.config
    decoding = config.explicit_decoding_config
    if decoding.encoding != speech_v2.ExplicitDecodingConfig.AudioEncoding.LINEAR16:
        return "Must specify an encoding for headerless audio."
    if decoding.sample_rate_hertz != SAMPLE_RATE or decoding.audio_channel_count != 1:
        return "Invalid sample rate or channel count."
    if found[1] == "_" and not (config.model and config.language_codes):
        return "The empty Recognizer needs a model and language_codes in the request."
    return None
