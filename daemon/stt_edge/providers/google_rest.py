"""Google Speech-to-Text v1 over REST: each utterance is sent whole, then asked for until done.

Slower than the streaming provider ``google`` and without partials; what it takes is a job that has
a name, so that an answer survives a lost connection and a restart. Facts are from the REST
reference of ``speech:longrunningrecognize``, ``speech:recognize`` and ``operations``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.model import SAMPLE_BYTES, SAMPLE_RATE
from stt_edge.providers import google_results
from stt_edge.providers.base import (
    Billing,
    Capabilities,
    Event,
    Failed,
    Farewell,
    HttpReply,
    Incoming,
    PartTimes,
    Provider,
    Submitted,
)
from stt_edge.providers.base import Final as FinalResult
from stt_edge.providers.conversation import Conversation
from stt_edge.providers.failures import excerpt
from stt_edge.providers.google_auth import GoogleAccount
from stt_edge.providers.google_requests import (
    Options,
    next_delay_s,
    question,
    recognition_config,
    submission,
)
from stt_edge.providers.json_fields import Fields, MalformedError, parse_object
from stt_edge.providers.transports.http import HttpEndpoint, HttpTransport

__all__ = ("CAPABILITIES", "GoogleRestProtocol", "Options", "build", "make_transport")

URL: Final = "https://speech.googleapis.com"
MAX_INLINE_S: Final = 60
"""The longest audio a request may carry itself (Quotas and limits, content limits)."""
DENIED_REMEDY: Final = "Check the key or the account, and that the Speech-to-Text API is enabled."
_MAX_INLINE_BYTES: Final = MAX_INLINE_S * SAMPLE_RATE * SAMPLE_BYTES
_AUTO_BYTES: Final = 15 * SAMPLE_RATE * SAMPLE_BYTES

_Awaited = Literal["operation", "results"]
"""What the answer to the question under way will be."""

CAPABILITIES: Final = Capabilities(
    billing=Billing.AUDIO,
    part_times=PartTimes.WORDS,
    confidence=True,
    max_connections=4,
    drain_timeout_s=2 * MAX_INLINE_S + 60.0,
    on_drain_timeout="resend",
    max_utterance_s=MAX_INLINE_S,
    resumable=True,
)


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP when a package is missing."""
    account = GoogleAccount(name, options)
    account.check()
    capabilities = replace(CAPABILITIES, resumable=options.method != "recognize")
    return Provider(
        name=name,
        capabilities=options.apply(capabilities),
        make_protocol=partial(GoogleRestProtocol, options),
        make_transport=lambda: make_transport(options, account),
        model=options.model,
        language=options.language,
        watched=account.watched,
        price_per_hour=options.price_per_hour,
    )


def make_transport(options: Options, account: GoogleAccount) -> HttpTransport:
    """Return a transport whose requests carry what lets ``account`` in."""
    return HttpTransport(
        lambda: HttpEndpoint(options.url or URL, account.headers()), ca_file=options.ca_file
    )


class GoogleRestProtocol(Conversation):
    """One utterance: sent whole at the goodbye, or asked for by the name of its operation."""

    def __init__(self, options: Options) -> None:
        """Keep the options; nothing is asked until ``goodbye`` or ``resume``."""
        super().__init__()
        self._options = options
        self._pcm = bytearray()
        self._operation = ""
        """The name of the job; empty as long as there is none."""
        self._delay_s = options.poll_s
        self._awaits: _Awaited | None = None
        self._over = False

    def begin(self) -> None:
        """Start an utterance."""
        self._pcm.clear()

    def resume(self, token: str) -> None:
        """Ask for the operation of an earlier connection."""
        self._operation = token
        self._ask(0.0)

    def send_audio(self, pcm: bytes) -> None:
        """Keep a chunk. Raises ProviderError of kind UTTERANCE beyond what a request may carry."""
        if len(self._pcm) + len(pcm) > _MAX_INLINE_BYTES:
            raise ProviderError(
                FailureKind.UTTERANCE,
                f"the utterance is longer than the {MAX_INLINE_S} s that a request may carry.",
            )
        self._pcm += pcm

    def goodbye(self) -> None:
        """Send the utterance; nothing where there is none, or its operation was asked for."""
        if not self._pcm:
            return
        method = self._options.method
        if method == "auto":
            method = "recognize" if len(self._pcm) <= _AUTO_BYTES else "longrunning"
        config = recognition_config(self._options)
        config |= {"encoding": "LINEAR16", "sampleRateHertz": SAMPLE_RATE}
        audio = {"content": base64.b64encode(self._pcm).decode()}
        self._pcm.clear()
        at_once = method == "recognize"
        self._awaits = "results" if at_once else "operation"
        verb = "recognize" if at_once else "longrunningrecognize"
        self._say(submission(config, audio, method=verb))

    def closed(self, code: int | None, reason: str) -> Sequence[Event]:
        """Return ``Farewell`` after the answer; before it, that it is lost."""
        if self._over:
            return (Farewell(),)
        said = f": {excerpt(reason)}" if reason else ""
        lost = f"the connection ended without an answer{said}."
        number = None if code is None else str(code)
        return (Failed(ProviderError(FailureKind.LOST, lost, code=number)),)

    def _hear(self, message: Incoming) -> Iterable[Event]:
        awaited, self._awaits = self._awaits, None
        if not isinstance(message, HttpReply) or awaited is None:
            raise MalformedError("an answer to no question")
        if message.status != 200:
            return (Failed(google_results.refusal(message, remedy=DENIED_REMEDY)),)
        fields = parse_object(message.body)
        if awaited == "results":
            return self._finished(google_results.read_results(fields))
        return self._heard_of_operation(fields)

    def _heard_of_operation(self, fields: Fields) -> Iterable[Event]:
        operation = google_results.read_operation(fields)
        if self._operation and operation.name != self._operation:
            raise MalformedError("an answer about another operation")
        if not self._operation:
            self._operation = operation.name
            yield Submitted(operation.name)
        if operation.failure is not None:
            if operation.failure.kind is not FailureKind.UTTERANCE:
                # Asked again it would say the same; this kind has the utterance sent again.
                operation.failure.kind = FailureKind.REQUEST
            yield Failed(operation.failure)
        elif operation.done:
            yield from self._finished(google_results.read_results(operation.response))
        else:
            self._ask(self._delay_s)
            self._delay_s = next_delay_s(self._delay_s)

    def _finished(self, finals: Iterable[FinalResult]) -> Iterable[Event]:
        self._over = True
        final = google_results.joined(finals)
        if final is not None:
            yield replace(final, language=self._language(final.language))
        yield Farewell()

    def _language(self, code: str | None) -> str | None:
        """Return the configured spelling of a language; the service has its names in lower case."""
        configured = (self._options.language, *self._options.alternative_languages)
        return next((name for name in configured if name.lower() == (code or "").lower()), code)

    def _ask(self, delay_s: float) -> None:
        self._awaits = "operation"
        self._say(question(self._operation, delay_s))
