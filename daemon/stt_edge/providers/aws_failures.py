"""What the exceptions of Amazon Transcribe mean, in the stream or in place of the upgrade.

An in-stream exception is followed by the end of the connection (Amazon Transcribe docs,
"Setting up a WebSocket stream"). Names come with and without "Exception", with a namespace before
or a link behind them, as the AWS protocols have it.
"""

from __future__ import annotations

from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.aws_signing import Credentials
from stt_edge.providers.base import HttpReply
from stt_edge.providers.failures import excerpt, http_failure
from stt_edge.providers.json_fields import Fields, MalformedError, parse_object

_KINDS: Final = {
    "BadRequest": FailureKind.REQUEST,
    "Serialization": FailureKind.REQUEST,
    "UnrecognizedClient": FailureKind.DENIED,
    "InvalidClientTokenId": FailureKind.DENIED,
    "InvalidSignature": FailureKind.DENIED,
    "SignatureDoesNotMatch": FailureKind.DENIED,
    "IncompleteSignature": FailureKind.DENIED,
    "MissingAuthenticationToken": FailureKind.DENIED,
    "AccessDenied": FailureKind.DENIED,
    "RequestExpired": FailureKind.CLOCK,
    "RequestTimeTooSkewed": FailureKind.CLOCK,
    "LimitExceeded": FailureKind.OVERLOADED,
    "Throttling": FailureKind.OVERLOADED,
    "Conflict": FailureKind.SERVER,
    "InternalFailure": FailureKind.SERVER,
    "ServiceUnavailable": FailureKind.SERVER,
}
_EXPIRED: Final = ("ExpiredToken",)
_IDLE: Final = "your request timed out"
_WRONG_CLOCK: Final = ("signature expired", "signature not yet current", "skew")

_REMEDIES: Final = {
    FailureKind.CLOCK: "Set the clock: timedatectl status.",
    FailureKind.REQUEST: "Check the provider's options, such as language, vocabulary and region.",
}
_NO_PERMISSION: Final = "Allow this key the action transcribe:StartStreamTranscriptionWebSocket."


class FailureReader:
    """Turns what the service says into a ProviderError."""

    def __init__(self, credentials: Credentials) -> None:
        """Have ``credentials`` looked for anew once they are refused."""
        self._credentials = credentials
        self._remedy = credentials.remedy

    def exception(self, name: str, message: str) -> ProviderError:
        """Return what an exception in the stream means."""
        return self._failure(name, message) or ProviderError(
            FailureKind.SERVER, _said(name, message), code=_bare(name)
        )

    def refusal(self, reply: HttpReply) -> ProviderError:
        """Return what an HTTP answer in place of the upgrade means."""
        body = _fields(reply.body)
        name = reply.headers.get("x-amzn-errortype") or _text(body, "__type")
        usual = http_failure(reply.status, reply.headers, reply.body)
        failure = self._failure(name, message_in(reply.body))
        if failure is not None:
            failure.retry_after_s = usual.retry_after_s
            return failure
        if usual.kind is FailureKind.DENIED:
            self._credentials.forget()
            usual.remedy = self._remedy
        return usual

    def _failure(self, name: str, message: str) -> ProviderError | None:
        """Return what a known exception means."""
        kind = self._kind(_bare(name), message.lower())
        if kind is None:
            return None
        remedy = self._remedy if kind is FailureKind.DENIED else _REMEDIES.get(kind, "")
        if _bare(name) == "AccessDenied":
            remedy = _NO_PERMISSION
        return ProviderError(kind, _said(name, message), code=_bare(name), remedy=remedy)

    def _kind(self, name: str, message: str) -> FailureKind | None:
        kind = _KINDS.get(name)
        if name == "BadRequest" and message.startswith(_IDLE):
            return FailureKind.LOST  # nobody spoke for 15 s: nothing is wrong
        if kind is FailureKind.DENIED and any(sign in message for sign in _WRONG_CLOCK):
            return FailureKind.CLOCK
        if name in _EXPIRED:
            return FailureKind.SERVER if self._credentials.renew() else FailureKind.DENIED
        if kind is FailureKind.DENIED:
            self._credentials.forget()
        return kind


def message_in(body: bytes) -> str:
    """Return the message in the JSON of an exception; empty when there is none."""
    fields = _fields(body)
    return _text(fields, "Message") or _text(fields, "message")


def _fields(body: bytes) -> Fields:
    try:
        return parse_object(body)
    except MalformedError:
        return Fields({})


def _text(fields: Fields, name: str) -> str:
    try:
        return fields.text(name)
    except MalformedError:
        return ""


def _bare(name: str) -> str:
    return name.partition(":")[0].rpartition("#")[2].strip().removesuffix("Exception")


def _said(name: str, message: str) -> str:
    said = excerpt(message)
    return f"the provider reports {excerpt(name) or 'an error'}{f': {said}' if said else ''}."
