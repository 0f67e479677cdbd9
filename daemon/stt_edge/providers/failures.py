"""What refusals mean: HTTP statuses, WebSocket close codes and gRPC statuses, as most mean them.

A provider that means something else by a code says so in its own module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.redaction import redact

_LONGEST: Final = 200
_READ: Final = 2000
"""Of what a provider said, no more than this is looked at."""

_HTTP: Final[dict[int, FailureKind]] = {
    400: FailureKind.REQUEST,
    401: FailureKind.DENIED,
    402: FailureKind.DENIED,
    403: FailureKind.DENIED,
    404: FailureKind.REQUEST,
    405: FailureKind.REQUEST,
    407: FailureKind.CONNECT,
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER,
    410: FailureKind.REQUEST,
    413: FailureKind.UTTERANCE,
    415: FailureKind.REQUEST,
    422: FailureKind.REQUEST,
    425: FailureKind.SERVER,
    429: FailureKind.OVERLOADED,
}

# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_GRPC: Final[dict[int, tuple[str, FailureKind]]] = {
    1: ("CANCELLED", FailureKind.LOST),
    2: ("UNKNOWN", FailureKind.SERVER),
    3: ("INVALID_ARGUMENT", FailureKind.REQUEST),
    4: ("DEADLINE_EXCEEDED", FailureKind.TIMEOUT),
    5: ("NOT_FOUND", FailureKind.REQUEST),
    6: ("ALREADY_EXISTS", FailureKind.SERVER),
    7: ("PERMISSION_DENIED", FailureKind.DENIED),
    8: ("RESOURCE_EXHAUSTED", FailureKind.OVERLOADED),
    9: ("FAILED_PRECONDITION", FailureKind.REQUEST),
    10: ("ABORTED", FailureKind.LOST),
    11: ("OUT_OF_RANGE", FailureKind.LOST),
    12: ("UNIMPLEMENTED", FailureKind.REQUEST),
    13: ("INTERNAL", FailureKind.SERVER),
    14: ("UNAVAILABLE", FailureKind.LOST),
    15: ("DATA_LOSS", FailureKind.SERVER),
    16: ("UNAUTHENTICATED", FailureKind.DENIED),
}

_REMEDIES: Final = {
    FailureKind.DENIED: "Check the key and the account.",
    FailureKind.REQUEST: "Check the provider's options, such as model, language and url.",
}


def http_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, remedy: str = ""
) -> ProviderError:
    """Return what an HTTP status other than success means; ``headers`` have lower-case names."""
    kind = _HTTP.get(status)
    retry_after_s = _retry_after_s(headers)
    if kind is None:
        kind = FailureKind.SERVER if status >= 500 else FailureKind.REQUEST
    if status == 503 and retry_after_s is not None:
        kind = FailureKind.OVERLOADED
    said = excerpt(body[: 4 * (_READ + 1)].decode(errors="replace")).rstrip(".")
    return ProviderError(
        kind,
        f"the provider answered HTTP {status}{f': {said}' if said else ''}.",
        code=str(status),
        retry_after_s=retry_after_s,
        remedy=remedy or _REMEDIES.get(kind, ""),
    )


def close_failure(code: int | None, reason: str) -> ProviderError:
    """Return what a WebSocket close code means in the middle of a session (RFC 6455, 7.4)."""
    said = excerpt(reason).rstrip(".")
    given = "without a code" if code is None else f"with code {code}"
    message = f"the provider closed the connection {given}{f': {said}' if said else ''}."
    kind = {
        1002: FailureKind.PROTOCOL,
        1003: FailureKind.REQUEST,
        1007: FailureKind.PROTOCOL,
        1008: FailureKind.DENIED,
        1011: FailureKind.SERVER,
        1013: FailureKind.OVERLOADED,
    }.get(code or 0, FailureKind.LOST)
    named = None if code is None else str(code)
    return ProviderError(kind, message, code=named, remedy=_REMEDIES.get(kind, ""))


def grpc_failure(code: int, message: str) -> ProviderError:
    """Return what a gRPC status other than OK means."""
    name, kind = _GRPC.get(code, (str(code), FailureKind.PROTOCOL))
    said = excerpt(message).rstrip(".")
    return ProviderError(
        kind,
        f"the provider answered {name}{f': {said}' if said else ''}.",
        code=name,
        remedy=_REMEDIES.get(kind, ""),
    )


def excerpt(text: str) -> str:
    """Return the beginning of what a provider said, on one printable line, without secrets."""
    words = "".join(sign if sign.isprintable() else " " for sign in text[:_READ]).split()
    line = redact(" ".join(words))
    if len(text) > _READ and len(line) <= _LONGEST:
        line = line.rpartition(" ")[0]  # half a secret would not be known for one
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait a server asks for, in seconds; a date in Retry-After is not understood."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= seconds <= 86_400:
            return seconds
    return None
