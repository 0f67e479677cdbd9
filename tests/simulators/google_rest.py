"""Google Speech-to-Text v1 over REST: recognize, longrunningrecognize and operations.

As strict as the service about names, types, limits and keys. Faults of its own, in
``Faults.other``: ``lost_submission`` (the job is taken and the connection breaks before the
answer, once), ``poll_503`` and ``poll_lost`` (once each), ``expired`` (no job is known when it is
asked for), ``no_list`` (403 for the list of jobs), ``operation_error=CODE``.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from tests.simulators.core import Dropped, Session
from tests.simulators.google_http import Answer, HttpSimulator, Request, json_answer
from tests.simulators.google_proto import InvalidError, canonical
from tests.simulators.google_storage import Simulator as StorageSimulator
from tests.simulators.speech import SpokenWord

MAX_INLINE_S: Final = 60
MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
WORDS_A_RESULT: Final = 12
_METADATA: Final = "type.googleapis.com/google.cloud.speech.v1.LongRunningRecognizeMetadata"
_RESPONSE: Final = "type.googleapis.com/google.cloud.speech.v1.LongRunningRecognizeResponse"
_GRPC_CODES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RefusedError(Exception):
    """The request is refused."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


@dataclass(slots=True)
class Job:
    """An operation."""

    name: str
    uri: str
    response: dict[str, Any]
    ready: float
    """The monotonic time before which it is not done."""
    started: float = field(default_factory=time.time)
    looks: int = 0


class Simulator(HttpSimulator):
    """The service; every request that carries or names audio is a session."""

    def __init__(
        self, *arguments: Any, storage: StorageSimulator | None = None, **keywords: Any
    ) -> None:
        """``storage`` is where ``gs://`` is looked up."""
        super().__init__(*arguments, **keywords)
        self.storage = storage
        self.jobs: dict[str, Job] = {}
        self.configs: list[dict[str, Any]] = []
        """RecognitionConfigs, in lower camel case and with the names of enums."""
        self.tokens: set[str] = set()
        """Access tokens that are let in, besides those of ``storage``."""
        self.requests: list[str] = []
        """Method and path of each."""
        self.looks = 2
        """How often a job is asked for before it is done."""
        self._spent: set[str] = set()

    def options(self, directory: Path) -> dict[str, Any]:
        return {**super().options(directory), "poll_s": 0.05}

    @property
    def submissions(self) -> int:
        """How many jobs were taken."""
        return len(self.jobs)

    async def answer(self, request: Request) -> Answer:
        self.requests.append(f"{request.method} {request.path}")
        try:
            self._let_in(request)
            return await self._route(request)
        except InvalidError as error:
            return self._refusal(RefusedError(400, str(error)))
        except RefusedError as error:
            return self._refusal(error)

    async def hangs(self, request: Request, received_bytes: int) -> bool:
        stop_s = self.faults.stop_reading_s
        return stop_s is not None and received_bytes * 3 / 4 >= stop_s * SAMPLE_RATE * SAMPLE_BYTES

    async def _route(self, request: Request) -> Answer:
        match request.method, request.path:
            case "POST", "/v1/speech:recognize":
                return await self._recognize(request)
            case "POST", "/v1/speech:longrunningrecognize":
                return self._long_running_recognize(request)
            case "GET", "/v1/operations":
                if "no_list" in self.faults:
                    raise RefusedError(403, "The caller does not have permission")
                return self._list(request)
            case "GET", path if path.startswith("/v1/operations/"):
                return self._look(request.parts[-1])
        raise RefusedError(404, f"Method {request.path} not found.")

    def _let_in(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = request.query.get("key", request.headers.get("x-goog-api-key"))
        if key is not None:
            if key != self.key:
                message = "API key not valid. Please pass a valid API key."
                raise RefusedError(400, message, "API_KEY_INVALID")
        elif token:
            issued = self.storage.tokens if self.storage is not None else set()
            if scheme != "Bearer" or token not in self.tokens | issued:
                message = "Request had invalid authentication credentials."
                raise RefusedError(401, message, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
        else:
            message = "The request is missing a valid API key."
            raise RefusedError(403, message, "CONSUMER_INVALID")

    async def _recognize(self, request: Request) -> Answer:
        config, audio = self._read(request)
        pcm, _ = self._pcm(
            config,
            audio,
            "Sync input too long. For audio longer than 1 min use "
            "LongRunningRecognize with a 'uri' parameter.",
        )
        words = self._hear(pcm)
        if self.faults.late_final_s:
            await asyncio.sleep(self.faults.late_final_s)
        if self.faults.never_confirm:
            await asyncio.Event().wait()
        if self.faults.drop_at_goodbye:
            raise Dropped
        return json_answer(self._response(config, words, pcm))

    def _long_running_recognize(self, request: Request) -> Answer:
        config, audio = self._read(request)
        pcm, uri = self._pcm(
            config, audio, "Inline audio exceeds duration limit. Please use a GCS URI."
        )
        response = self._response(config, self._hear(pcm), pcm)
        name = str(7_000_000_000_000_000_000 + len(self.jobs))
        ready = time.monotonic() + self.faults.late_final_s
        self.jobs[name] = Job(name, uri, response, ready)
        if self._once("lost_submission"):
            raise Dropped
        return json_answer({"name": name})

    def _look(self, name: str) -> Answer:
        job = self.jobs.get(name)
        if job is None or "expired" in self.faults:
            raise RefusedError(404, "Operation not found.")
        if self._once("poll_503"):
            raise RefusedError(503, "The service is currently unavailable.")
        if self._once("poll_lost"):
            raise Dropped
        job.looks += 1
        answer = self._operation(job)
        if "done" in answer and self.faults.drop_at_goodbye:
            raise Dropped
        return json_answer(answer)

    def _list(self, request: Request) -> Answer:
        size = int(request.query.get("pageSize", "100") or 100)
        first = int(request.query.get("pageToken", "0") or 0)
        newest_first = list(reversed(self.jobs.values()))
        page = [self._operation(job) for job in newest_first[first : first + size]]
        answer: dict[str, Any] = {"operations": page} if page else {}
        if first + size < len(newest_first):
            answer["nextPageToken"] = str(first + size)
        return json_answer(answer)

    def _operation(self, job: Job) -> dict[str, Any]:
        done = (
            job.looks > self.looks
            and time.monotonic() >= job.ready
            and not self.faults.never_confirm
        )
        metadata: dict[str, Any] = {
            "@type": _METADATA,
            "startTime": _timestamp(job.started),
            "lastUpdateTime": _timestamp(time.time()),
        }
        percent = 100 if done else min(99, 100 * job.looks // (self.looks + 1))
        if percent:
            metadata["progressPercent"] = percent
        if job.uri:
            metadata["uri"] = job.uri
        answer = {"name": job.name, "metadata": metadata}
        if not done:
            return answer
        for fault in self.faults.other:
            if fault.startswith("operation_error="):
                code = int(fault.partition("=")[2])
                error = {"code": code, "message": "It went wrong.", "details": []}
                return {**answer, "done": True, "error": error}
        return {**answer, "done": True, "response": {"@type": _RESPONSE, **job.response}}

    def _read(self, request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
        if len(request.body) > MAX_REQUEST_BYTES:
            message = f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes."
            raise RefusedError(400, message)
        try:
            body = json.loads(request.body)
        except ValueError:
            raise RefusedError(400, "Invalid JSON payload received. Unexpected token.") from None
        method = "longRunning" if "longrunning" in request.path else "sync"
        asked = canonical(body, method)
        config, audio = asked.get("config"), asked.get("audio")
        if not config or not audio:
            raise RefusedError(400, "RecognitionConfig and RecognitionAudio are required.")
        self.configs.append(config)
        if not config.get("languageCode"):
            raise RefusedError(400, "Invalid recognition 'config': bad language code.")
        if not 0 <= config.get("maxAlternatives", 0) <= 30:
            raise RefusedError(400, "Invalid recognition 'config': bad max alternatives.")
        if len(config.get("alternativeLanguageCodes", ())) > 3:
            raise RefusedError(400, "Invalid recognition 'config': too many languages.")
        if len(audio) != 1:
            raise RefusedError(400, "Exactly one of content or uri must be set.")
        return config, audio

    def _pcm(
        self, config: dict[str, Any], audio: dict[str, Any], too_long: str
    ) -> tuple[bytes, str]:
        """Return 16 kHz samples, and the address they came from."""
        uri = audio.get("uri", "")
        sound = self._object(uri) if uri else audio["content"]
        if not sound:
            raise RefusedError(400, "RecognitionAudio not set.")
        pcm = _decoded(config, sound)
        if not uri and len(pcm) > MAX_INLINE_S * SAMPLE_RATE * SAMPLE_BYTES:
            raise RefusedError(400, too_long)
        session = Session()
        self.sessions.append(session)
        session.texts.append(uri)
        drop_s = self.next_drop_s()
        if drop_s is not None and len(pcm) >= (drop := int(drop_s * SAMPLE_RATE) * SAMPLE_BYTES):
            session.heard(pcm[:drop])
            session.closed_code = 1006
            raise Dropped
        session.heard(pcm)
        session.cut()
        session.ended, session.closed_code = True, 1000
        if self.faults.close_code is not None:
            raise Dropped
        return pcm, uri

    def _object(self, uri: str) -> bytes:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if not uri.startswith("gs://") or not name:
            raise RefusedError(400, "Request contains an invalid argument: uri.")
        found = self.storage.objects.get((bucket, name)) if self.storage is not None else None
        if found is None:
            raise RefusedError(404, "Requested entity was not found.")
        return found.content

    def _hear(self, pcm: bytes) -> list[SpokenWord]:
        recogniser = self.recogniser()
        for at in range(0, len(pcm), 1 << 20):
            recogniser.feed(pcm[at : at + (1 << 20)])
        return recogniser.finish()

    def _response(
        self, config: dict[str, Any], words: list[SpokenWord], pcm: bytes
    ) -> dict[str, Any]:
        size = WORDS_A_RESULT
        results = [
            self._result(config, words[at : at + size], first=at == 0)
            for at in range(0, len(words), size)
        ]
        if self.faults.duplicate_finals:
            results += results[-1:]
        seconds = -(-len(pcm) // (SAMPLE_BYTES * SAMPLE_RATE))
        answer: dict[str, Any] = {"totalBilledTime": f"{seconds}s", "requestId": "4711"}
        return {"results": results, **answer} if results else answer

    def _result(
        self, config: dict[str, Any], words: list[SpokenWord], *, first: bool
    ) -> dict[str, Any]:
        best: dict[str, Any] = {"transcript": ("" if first else " ") + self.text(words)}
        best["confidence"] = round(sum(word.confidence for word in words) / len(words), 6)
        if config.get("enableWordTimeOffsets"):
            best["words"] = [self._word(config, word) for word in words]
        return {
            "alternatives": [best],
            "resultEndTime": _duration(words[-1].end),
            "languageCode": config["languageCode"].lower(),
        }

    def _word(self, config: dict[str, Any], word: SpokenWord) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "startTime": _duration(word.start),
            "endTime": _duration(word.end),
            "word": word.text,
        }
        if config.get("enableWordConfidence"):
            shown["confidence"] = word.confidence
        return shown

    def _once(self, fault: str) -> bool:
        if fault not in self.faults or fault in self._spent:
            return False
        self._spent.add(fault)
        return True

    def _refusal(self, error: RefusedError) -> Answer:
        self.refusals += 1
        body: dict[str, Any] = {"code": error.status, "message": error.message}
        body["status"] = _GRPC_CODES[error.status]
        if error.reason:
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            detail = {"@type": kind, "reason": error.reason, "domain": "googleapis.com"}
            body["details"] = [detail]
        return json_answer({"error": body}, error.status)


def _decoded(config: dict[str, Any], sound: bytes) -> bytes:
    """Return 16 kHz mono s16le. Raises RefusedError for what the config does not fit."""
    encoding = config.get("encoding", "ENCODING_UNSPECIFIED")
    rate = config.get("sampleRateHertz", 0)
    if sound[:4] in (b"RIFF", b"fLaC"):
        return _with_header(encoding, rate, sound)
    if encoding != "LINEAR16":
        raise RefusedError(400, "Invalid recognition 'config': bad encoding.")
    if not 8000 <= rate <= 48_000:
        raise RefusedError(400, "Invalid recognition 'config': bad sample rate hertz.")
    if rate != SAMPLE_RATE or len(sound) % SAMPLE_BYTES:
        raise RefusedError(400, "This simulator hears 16 kHz and whole samples only.")
    return sound


def _with_header(encoding: str, rate: int, sound: bytes) -> bytes:
    import io

    import soundfile

    fits = "LINEAR16" if sound[:4] == b"RIFF" else "FLAC"
    if encoding not in ("ENCODING_UNSPECIFIED", fits):
        raise RefusedError(400, f"Encoding in header is {fits}, and {encoding} was configured.")
    samples, found_rate = soundfile.read(io.BytesIO(sound), dtype="int16", always_2d=True)
    if rate not in (0, found_rate) or found_rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise RefusedError(400, "sample_rate_hertz must match the value in the header.")
    pcm: bytes = samples.astype("<i2").tobytes()
    return pcm


def _duration(samples: int) -> str:
    milliseconds = samples * 1000 // SAMPLE_RATE
    return (
        f"{milliseconds // 1000}.{milliseconds % 1000:03d}s"
        if milliseconds % 1000
        else (f"{milliseconds // 1000}s")
    )


def _timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))
