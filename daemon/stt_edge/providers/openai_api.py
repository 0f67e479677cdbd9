"""What OpenAI's request over HTTP and its realtime session have in common: options and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import HttpReply
from stt_edge.providers.failures import excerpt, http_failure
from stt_edge.providers.json_fields import Fields, MalformedError, parse_object
from stt_edge.providers.options import KeyOptions
from stt_edge.providers.secret_file import SecretFile

_NO_KEYWORD: Final = re.compile(r"[<>\r\n]|^\s*$")
_CODES: Final = {
    "insufficient_quota": FailureKind.DENIED,
    "billing_hard_limit_reached": FailureKind.DENIED,
    "invalid_api_key": FailureKind.DENIED,
    "authentication_error": FailureKind.DENIED,
    "permission_error": FailureKind.DENIED,
    "model_not_found": FailureKind.REQUEST,
    "rate_limit_exceeded": FailureKind.OVERLOADED,
    "server_error": FailureKind.SERVER,
    "session_expired": FailureKind.LOST,
}
"""Of errors; the types without a meaning of their own (invalid_request_error) are not here."""
_REMEDIES: Final = {
    "insufficient_quota": "The account has no credit left: see to its billing.",
    "billing_hard_limit_reached": "The account's spending limit is reached: raise it.",
}


@frozen
class ModelOptions(KeyOptions):
    """What both are told."""

    language: str | None = option(
        None, doc="language that is spoken, such as en; without it the service finds out"
    )
    prompt: str | None = option(None, doc="text that tells the model what the speech is about")
    hotwords: tuple[str, ...] = option((), doc="words and names that are likely to be said")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong; a server of one's own (``url``) may want no key."""
        if self.url is None:
            yield from KeyOptions.problems(self)
        if any(_NO_KEYWORD.search(word) for word in self.hotwords):
            yield "hotwords", "each is one line, not empty, and without < and >"

    def authorization(self) -> dict[str, str]:
        """Return the header with the key, read anew. Raises ProviderError of kind DENIED."""
        if self.api_key_file is None:
            return {}
        return {"Authorization": f"Bearer {SecretFile(self.api_key_file).read()}"}

    def watched(self) -> tuple[str, ...]:
        """Return the files whose change may end a refusal."""
        return () if self.api_key_file is None else SecretFile(self.api_key_file).watched


def takes_hints(model: str) -> bool:
    """Return whether a model has ``languages`` and ``keywords`` in place of ``language``.

    It refuses the latter (OpenAI, Migrate from Whisper to GPT-Transcribe); others know only that.
    """
    return model.startswith(("gpt-transcribe", "gpt-live-transcribe"))


def detected_language(fields: Fields) -> str | None:
    """Return the code of the language a model says it heard, where it gives a code."""
    codes = [found.text("code") for found in fields.items("languages")]
    named = fields.text("language")  # Whisper gives a name, such as "english"; others "en"
    return next(filter(None, codes), None) or (named if 0 < len(named) <= 3 else None)


def http_error(reply: HttpReply, *, key_file: str | None = None) -> ProviderError:
    """Return what a refusal over HTTP means; ``error`` is an object, or a text (whisper.cpp)."""
    error, message = _error_in(reply.body)
    named = named_kind(error)
    remedy = _REMEDIES.get(error.text("code")) or _REMEDIES.get(error.text("type"))
    if reply.status == 402:
        remedy = _REMEDIES["insufficient_quota"]
    if remedy is None and reply.status in (401, 403) and key_file is not None:
        remedy = f"Put a valid key into {key_file}."
    usual = http_failure(reply.status, reply.headers, message.encode(), remedy=remedy or "")
    kind = FailureKind.SERVER if reply.status == 499 else usual.kind  # whisper.cpp gave it up
    if named not in (None, FailureKind.SERVER):  # of which the status knows more
        kind = named
    return ProviderError(
        kind,
        usual.message,
        code=error.text("code") or usual.code,
        retry_after_s=usual.retry_after_s,
        remedy=usual.remedy,
    )


def event_error(error: Fields, otherwise: FailureKind) -> ProviderError:
    """Return what the ``error`` of a realtime event means. Raises MalformedError."""
    code = error.text("code") or error.text("type")
    said = excerpt(error.text("message")) or "no message"
    return ProviderError(
        named_kind(error) or otherwise,
        f"the provider reports {excerpt(code) or 'an error'}: {said}",
        code=code or None,
        remedy=_REMEDIES.get(code, ""),
    )


def named_kind(error: Fields) -> FailureKind | None:
    """Return what an error's code means, else its type; None where neither says."""
    return _CODES.get(error.text("code")) or _CODES.get(error.text("type"))


def _error_in(body: bytes) -> tuple[Fields, str]:
    """Return the error's object, with texts for ``code`` and ``type``, and its message."""
    nothing = Fields({})
    try:
        reply = parse_object(body)
    except MalformedError:
        return nothing, body.decode(errors="replace")
    try:
        return nothing, reply.text("error")
    except MalformedError:
        pass
    try:
        error = reply.section("error")
        named_kind(error)
        return error, error.text("message")
    except MalformedError:
        return nothing, body.decode(errors="replace")
