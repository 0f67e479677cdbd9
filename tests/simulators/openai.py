"""OpenAI's ``POST /v1/audio/transcriptions``, and other servers that have it.

Faults of its own: ``whisper_cpp`` (no key, path /inference, errors as a text), ``speaches`` (no
key, any model, more fields), ``quota`` (429 insufficient_quota), ``rate_limit`` (429 as Groq has
it), ``loading`` (503 three times), ``no_words`` (segments only).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE, samples_to_s
from tests.simulators import core
from tests.simulators.speech import SpokenWord

LARGEST_BYTES: Final = 25 * 1024 * 1024
SHORTEST_S: Final = 0.1
_HINTED: Final = ("gpt-transcribe",)
_JSON_ONLY: Final = ("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
_WHISPER: Final = ("whisper-1", "whisper-large-v3", "whisper-large-v3-turbo")
_REPEATED: Final = frozenset(
    {"languages[]", "keywords[]", "timestamp_granularities[]", "include[]"}
)
_SINGLE: Final = frozenset(
    {"file", "model", "language", "prompt", "temperature", "response_format", "stream"}
)
_SPEACHES_FIELDS: Final = frozenset({"hotwords", "without_timestamps", "vad_filter"})
_PIECE: Final = 3200
_NAME: Final = re.compile(
    rb'(?i)content-disposition: form-data; name="([^"]*)"(; filename="(.*)")?'
)


class Refused(Exception):  # noqa: N818  an answer, and no error of the simulator's
    """The request is answered with an error."""

    def __init__(self, status: int, code: str | None, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind or "invalid_request_error"


class Hung(Exception):  # noqa: N818
    """The connection is to be broken without an answer."""


@dataclass
class Request:
    """A request, read and taken apart."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    form: dict[str, list[str]] = field(default_factory=dict)
    wav: bytes = b""

    def one(self, name: str, default: str = "") -> str:
        return self.form.get(name, [default])[0]


class Simulator(core.Simulator):
    """The server; each request is a session."""

    scheme = "http"
    path = "/v1"

    @property
    def url(self) -> str:
        if "whisper_cpp" in self.faults:
            return f"http://127.0.0.1:{self.port}"
        return super().url

    def options(self, directory: Path) -> dict[str, Any]:
        if "whisper_cpp" in self.faults:
            return {"url": self.url, "path": "/inference", "model": "whisper"}
        if "speaches" in self.faults:
            return {"url": self.url, "model": "Systran/faster-whisper-small"}
        return super().options(directory)

    async def start(self) -> None:
        self._handlers: set[asyncio.Task[Any]] = set()
        self._loading = 3 if "loading" in self.faults else 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await core.accepted()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        session = core.Session()
        try:
            await self._answer(reader, writer, session)
        except (Hung, OSError, asyncio.IncompleteReadError):
            session.closed_code = 1006
            writer.transport.abort()
        except asyncio.CancelledError:  # the end of the simulator, which is no error
            writer.transport.abort()
        finally:
            self._handlers.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: core.Session
    ) -> None:
        request = await _read_head(reader)
        self.sessions.append(session)
        if self.faults.connect_s:
            await asyncio.sleep(self.faults.connect_s)
        try:
            await self._read_body(reader, request, session)
            self._admit(request)
            reply = await self._transcribe(request, session)
        except Refused as refused:
            self.refusals += 1
            reply = self._refusal(refused)
        await self._send(writer, reply)
        session.closed_code = 1000

    def _admit(self, request: Request) -> None:
        faults = self.faults
        if faults.http_status is not None:
            raise Refused(faults.http_status, None, "refused", "server_error")
        if "quota" in faults:
            message = "You exceeded your current quota, please check your plan and billing details."
            raise Refused(429, "insufficient_quota", message, "insufficient_quota")
        if "rate_limit" in faults:
            message = "Rate limit reached for model in organization on requests per minute."
            raise Refused(429, "rate_limit_exceeded", message, "requests")
        if self._loading:
            self._loading -= 1
            raise Refused(503, None, "Loading model")
        wanted = "/inference" if "whisper_cpp" in faults else "/v1/audio/transcriptions"
        if request.target != wanted:
            raise Refused(404, None, f"Invalid URL ({request.method} {request.target})")
        if request.method != "POST":
            raise Refused(405, "method_not_supported", "Not allowed")
        open_to_all = "whisper_cpp" in faults or "speaches" in faults
        if not open_to_all and request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refused(401, "invalid_api_key", "Incorrect API key provided: se***11.")

    async def _read_body(
        self, reader: asyncio.StreamReader, request: Request, session: core.Session
    ) -> None:
        """Read what was announced, in pieces, so that it can break off in the middle."""
        length = int(request.headers.get("content-length", "-1"))
        if length < 0:
            raise Refused(411, None, "Content-Length is missing")
        if length > LARGEST_BYTES + 65_536:
            raise Refused(413, None, f"Maximum content size limit ({LARGEST_BYTES}) exceeded")
        drop_s, stop_s = self.next_drop_s(), self.faults.stop_reading_s
        body = bytearray()
        while len(body) < length:
            body += await reader.readexactly(min(_PIECE, length - len(body)))
            seconds = len(body) / SAMPLE_BYTES / SAMPLE_RATE
            if stop_s is not None and seconds >= stop_s:
                await asyncio.Event().wait()
            if drop_s is not None and seconds >= drop_s:
                raise Hung
        request.body = bytes(body)
        session.ended = True

    async def _transcribe(self, request: Request, session: core.Session) -> tuple[bytes, str]:
        _take_apart(request)
        self._check(request)
        pcm = _pcm(request.wav)
        session.heard(pcm)
        session.texts.append(json.dumps(request.form, ensure_ascii=False))
        session.cut()
        recogniser = self.recogniser()
        recogniser.feed(pcm)
        faults = self.faults
        if faults.drop_at_goodbye:
            raise Hung
        if faults.never_confirm or faults.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(faults.late_final_s)
        if faults.garbage:
            return b'{"\0": [}', "application/json"
        if faults.huge:
            return b'{"text": "' + b"x" * core.HUGE_BYTES, "application/json"
        if faults.invalid_utf8:
            return b'{"text": "\xff\xfe"}', "application/json"
        words = recogniser.finish()
        return self._reply(request, words, len(pcm) // SAMPLE_BYTES)

    def _check(self, request: Request) -> None:
        form, model = request.form, request.one("model")
        if "file" not in form:
            raise Refused(400, None, "no 'file' field in the request")
        if "whisper_cpp" in self.faults:
            return
        speaches = "speaches" in self.faults
        for name in form.keys() - _SINGLE - _REPEATED - (_SPEACHES_FIELDS if speaches else set()):
            raise Refused(400, "unknown_parameter", f"Unknown parameter: '{name}'.")
        for name, values in form.items():
            if len(values) > 1 and name not in _REPEATED:
                raise Refused(400, "invalid_value", f"'{name}' is given twice.")
        if not model:
            raise Refused(400, "missing_required_parameter", "you must provide a model parameter")
        if not speaches:
            _check_model(request, model)

    def _reply(self, request: Request, words: list[SpokenWord], samples: int) -> tuple[bytes, str]:
        text = self.text(words)
        wanted = request.one("response_format", "json")
        usage = {"type": "duration", "seconds": -(-samples // SAMPLE_RATE)}
        if request.one("stream") == "true" and not request.one("model").startswith("whisper"):
            return "".join(_events(words, text)).encode(), "text/event-stream"
        if wanted == "text":
            return f"{text}\n".encode(), "text/plain"
        if wanted == "verbose_json":
            body = self._verbose(request, words, text, samples)
        else:
            body = {"text": text, "usage": usage}
            if request.one("model") in _HINTED:
                body["languages"] = [{"code": code} for code in form_languages(request)]
        return json.dumps(body, ensure_ascii=False).encode(), "application/json"

    def _verbose(
        self, request: Request, words: list[SpokenWord], text: str, samples: int
    ) -> dict[str, Any]:
        timed = [
            {"word": word.text, "start": samples_to_s(word.start), "end": samples_to_s(word.end)}
            for word in words
        ]
        segment: dict[str, Any] = {"id": 0, "seek": 0, "text": f" {text}", "tokens": []}
        segment |= {"start": 0.0, "end": samples_to_s(samples), "avg_logprob": -0.25}
        segment |= {"temperature": 0.0, "compression_ratio": 1.1, "no_speech_prob": 0.01}
        body: dict[str, Any] = {"task": "transcribe", "language": "english", "text": f" {text}"}
        body |= {"duration": samples_to_s(samples), "segments": [segment] if words else []}
        if "whisper_cpp" in self.faults:
            segment["words"] = list(_pieces(timed))
        elif "no_words" not in self.faults:
            body["words"] = timed
        return body

    def _refusal(self, refused: Refused) -> tuple[bytes, str, int]:
        error: Any = {"message": refused.message, "type": refused.kind}
        error |= {"param": None, "code": refused.code}
        if "whisper_cpp" in self.faults:
            error = refused.message
        return json.dumps({"error": error}).encode(), "application/json", refused.status

    async def _send(
        self, writer: asyncio.StreamWriter, reply: tuple[bytes, str] | tuple[bytes, str, int]
    ) -> None:
        body, content_type, *rest = reply
        status = rest[0] if rest else 200
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: {content_type}\r\n"
        retry_after = self.faults.retry_after or ("7" if "rate_limit" in self.faults else None)
        if retry_after is not None:
            head += f"Retry-After: {retry_after}\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        data = head.encode() + body
        step, pause_s = (1, 1.0) if self.faults.slow else (len(data), 0.0)
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            await asyncio.sleep(pause_s)


def form_languages(request: Request) -> list[str]:
    """Return the languages a hinted model was told; it may return none."""
    return request.form.get("languages[]", [])[:1]


def _check_model(request: Request, model: str) -> None:
    form = request.form
    if model not in _JSON_ONLY and model not in _WHISPER:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(404, "model_not_found", message)
    wanted = request.one("response_format", "json")
    if wanted not in ("json", "text", "verbose_json"):
        raise Refused(400, "invalid_value", f"Invalid response_format '{wanted}'.")
    if model in _JSON_ONLY and wanted == "verbose_json":
        message = f"response_format '{wanted}' is not compatible with model '{model}'."
        raise Refused(400, "unsupported_value", message)
    if "timestamp_granularities[]" in form and wanted != "verbose_json":
        raise Refused(400, "invalid_value", "timestamp_granularities needs verbose_json.")
    if model in _HINTED and "language" in form:
        raise Refused(400, "unsupported_parameter", "'language' is not supported; use 'languages'.")
    if model not in _HINTED and form.keys() & {"languages[]", "keywords[]"}:
        raise Refused(400, "unsupported_parameter", "'languages' and 'keywords' are not supported.")
    if any(re.search(r"[<>\r\n]", keyword) for keyword in form.get("keywords[]", [])):
        raise Refused(400, "invalid_value", "Invalid keyword.")
    if not 0 <= float(request.one("temperature", "0")) <= 1:
        raise Refused(400, "invalid_value", "temperature is out of range.")


async def _read_head(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = (line.partition(":") for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in headers})


def _take_apart(request: Request) -> None:
    """Read multipart/form-data as RFC 7578 and RFC 2046 have it, and nothing laxer."""
    kind = request.headers.get("content-type", "")
    found = re.fullmatch(
        r'multipart/form-data; ?boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?', kind
    )
    if found is None:
        raise Refused(415, None, f"Unsupported content type: '{kind}'.")
    boundary = b"--" + found[1].encode()
    opening, *parts, closing = (b"\r\n" + request.body).split(b"\r\n" + boundary)
    if opening or closing.strip(b"\r\n") != b"--":
        raise Refused(400, None, "Could not parse multipart form")
    for part in parts:
        head, separator, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = _NAME.match(head)
        if not separator or named is None or not part.startswith(b"\r\n"):
            raise Refused(400, None, "Could not parse multipart form")
        name = named[1].decode()
        if name == "file":
            if not named[3] or not named[3].endswith(b".wav"):
                raise Refused(400, None, "Invalid file format. Supported formats: ['wav']")
            request.wav, value = value, named[3]
        try:
            request.form.setdefault(name, []).append(value.decode())
        except UnicodeDecodeError:
            raise Refused(400, "invalid_value", f"'{name}' is no text.") from None


def _pcm(wav: bytes) -> bytes:
    """Return the samples of a WAV file of 16 kHz mono s16le."""
    if len(wav) > LARGEST_BYTES:
        raise Refused(413, None, f"Maximum content size limit ({LARGEST_BYTES}) exceeded")
    expected = (1, 1, SAMPLE_RATE, SAMPLE_RATE * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    sizes = (2, 2, 4, 4, 2, 2)
    at = 20
    fields = []
    for size in sizes:
        fields.append(int.from_bytes(wav[at : at + size], "little"))
        at += size
    right = wav[:4] == b"RIFF" and wav[8:16] == b"WAVEfmt " and wav[36:40] == b"data"
    lengths = int.from_bytes(wav[4:8], "little"), int.from_bytes(wav[40:44], "little")
    if not right or tuple(fields) != expected or lengths != (len(wav) - 8, len(wav) - 44):
        raise Refused(400, None, "Audio file might be corrupted or unsupported")
    if (len(wav) - 44) / SAMPLE_BYTES / SAMPLE_RATE < SHORTEST_S:
        raise Refused(400, "audio_too_short", "Audio file is too short. Minimum is 0.1 seconds.")
    return wav[44:]


def _events(words: list[SpokenWord], text: str) -> Iterator[str]:
    """Return server-sent events, as with ``stream``."""
    for at, word in enumerate(words):
        delta = {"type": "transcript.text.delta", "delta": " " * bool(at) + word.text}
        yield f"data: {json.dumps(delta)}\n\n"
    yield f"data: {json.dumps({'type': 'transcript.text.done', 'text': text})}\n\n"
    yield "data: [DONE]\n\n"


def _pieces(words: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return words as whisper.cpp has them: pieces, of which a word's first begins with a space."""
    for word in words:
        text, start, end = word["word"], word["start"], word["end"]
        half, middle = len(text) // 2 or 1, (start + end) / 2
        yield {"word": f" {text[:half]}", "start": start, "end": middle, "probability": 0.9}
        if text[half:]:
            yield {"word": text[half:], "start": middle, "end": end, "probability": 0.8}
