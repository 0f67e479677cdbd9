"""The wire of Amazon Transcribe as the service sees it: event streams, signatures, parameters.

Nothing in here is shared with the client, and nothing comes from botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote

ACCESS_KEY: Final = "AKIDEXAMPLE"
REGION: Final = "us-east-1"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_LONGEST: Final = timedelta(minutes=5)
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TIME: Final = "%Y%m%dT%H%M%SZ"

Value = str | bytes | datetime


class Refused(Exception):  # noqa: N818  what the service answers, not an error of ours
    """The service answers with one of its exceptions."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status


# --- event streams ---


def encode_message(headers: Sequence[tuple[str, Value]], payload: bytes = b"") -> bytes:
    """Return an event-stream message."""
    block = b"".join(encode_header(name, value) for name, value in headers)
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    whole = prelude + block + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def encode_header(name: str, value: Value) -> bytes:
    """Return one header: a string, bytes or a timestamp."""
    key = struct.pack(">B", len(name)) + name.encode()
    if isinstance(value, datetime):
        return key + struct.pack(">Bq", 8, round(value.timestamp() * 1000))
    data, kind = (value.encode(), 7) if isinstance(value, str) else (value, 6)
    return key + struct.pack(">BH", kind, len(data)) + data


def decode_message(data: bytes) -> tuple[dict[str, Value], bytes]:
    """Return headers and payload. Raises Refused with a SerializationException."""
    if len(data) < 16:
        raise Refused("SerializationException", "message too short")
    total, size, prelude_crc = struct.unpack(">III", data[:12])
    if zlib.crc32(data[:8]) != prelude_crc:
        raise Refused("SerializationException", "prelude checksum mismatch")
    if total != len(data) or size > total - 16:
        raise Refused("SerializationException", "lengths do not fit")
    if zlib.crc32(data[:-4]) != struct.unpack(">I", data[-4:])[0]:
        raise Refused("SerializationException", "message checksum mismatch")
    return _headers(data[12 : 12 + size]), data[12 + size : -4]


def _headers(block: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    while block:
        end = 1 + block[0]
        name, kind = block[1:end].decode(), block[end]
        if kind == 8:
            (ms,) = struct.unpack(">q", block[end + 1 : end + 9])
            found[name] = datetime.fromtimestamp(ms / 1000, UTC)
            block = block[end + 9 :]
        elif kind in (6, 7):
            (size,) = struct.unpack(">H", block[end + 1 : end + 3])
            raw = block[end + 3 : end + 3 + size]
            found[name] = raw.decode() if kind == 7 else raw
            block = block[end + 3 + size :]
        else:
            raise Refused("SerializationException", f"header type {kind} is not expected")
    return found


# --- Signature Version 4 ---


@dataclass(frozen=True, slots=True)
class Authority:
    """Checks signatures against the one key there is."""

    secret: str
    now: datetime
    token: str | None = None
    region: str = REGION
    access_key: str = ACCESS_KEY

    def check_query(self, raw_query: str, host: str, path: str) -> tuple[dict[str, str], bytes]:
        """Return the service's parameters and the signature of a presigned URL. Raises Refused."""
        pairs = [pair.partition("=")[::2] for pair in raw_query.split("&") if pair]
        given = {unquote(name): unquote(value) for name, value in pairs}
        if len(given) < len(pairs):
            raise Refused("BadRequestException", "a parameter is given twice")
        if "X-Amz-Signature" not in given:
            raise Refused(
                "MissingAuthenticationTokenException", "Missing Authentication Token", 403
            )
        signature = given.pop("X-Amz-Signature")
        canonical = canonical_query(given)
        amz = {name: given.pop(name) for name in list(given) if name.startswith("X-Amz-")}
        if amz.get("X-Amz-Algorithm") != _ALGORITHM or amz.get("X-Amz-SignedHeaders") != "host":
            raise Refused("IncompleteSignatureException", "algorithm or signed headers", 403)
        self._check_token(amz.get("X-Amz-Security-Token"))
        expires = int(amz.get("X-Amz-Expires", "0"))
        if not 0 < expires <= 300:
            raise Refused("BadRequestException", "X-Amz-Expires must be between 1 and 300")
        stamp = amz.get("X-Amz-Date", "")
        request = f"GET\n{path}\n{canonical}\nhost:{host}\n\nhost\n{EMPTY_SHA256}"
        self._check(amz.get("X-Amz-Credential", ""), stamp, request, signature)
        self._check_time(stamp, timedelta(seconds=expires))
        return given, bytes.fromhex(signature)

    def check_headers(self, headers: Mapping[str, str], path: str) -> bytes:
        """Return the signature of a request signed in its headers. Raises Refused."""
        said = re.fullmatch(
            rf"{_ALGORITHM} Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)",
            headers.get("authorization", ""),
        )
        if said is None:
            raise Refused(
                "MissingAuthenticationTokenException", "Missing Authentication Token", 403
            )
        credential, names, signature = said.groups()
        self._check_token(headers.get("x-amz-security-token"))
        block = "".join(f"{name}:{headers[name].strip()}\n" for name in names.split(";"))
        stamp = headers.get("x-amz-date", "")
        request = f"POST\n{path}\n\n{block}\n{names}\n{EMPTY_SHA256}"
        self._check(credential, stamp, request, signature)
        self._check_time(stamp, _LONGEST)
        return bytes.fromhex(signature)

    def sign_chunk(self, prior: bytes, date: datetime, payload: bytes) -> bytes:
        """Return the signature of one signed envelope."""
        stamp = date.strftime(_TIME)
        dated = hashlib.sha256(encode_header(":date", date)).hexdigest()
        body = hashlib.sha256(payload).hexdigest()
        scope = self._scope(stamp)
        text = f"{_ALGORITHM}-PAYLOAD\n{stamp}\n{scope}\n{prior.hex()}\n{dated}\n{body}"
        return _hmac(self.signing_key(stamp), text)

    def signing_key(self, stamp: str) -> bytes:
        """Return the key of a day, in this region."""
        key = _hmac(b"AWS4" + self.secret.encode(), stamp[:8])
        for part in (self.region, "transcribe", "aws4_request"):
            key = _hmac(key, part)
        return key

    def sign(self, stamp: str, canonical_request: str) -> str:
        """Return the signature of a canonical request."""
        digest = hashlib.sha256(canonical_request.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{stamp}\n{self._scope(stamp)}\n{digest}"
        return _hmac(self.signing_key(stamp), text).hex()

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/transcribe/aws4_request"

    def _check_token(self, token: str | None) -> None:
        if token != self.token:
            raise Refused(
                "ExpiredTokenException",
                "The security token included in the request is expired",
                403,
            )

    def _check(self, credential: str, stamp: str, request: str, signature: str) -> None:
        access_key, _, scope = credential.partition("/")
        if access_key != self.access_key:
            raise Refused(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                403,
            )
        if scope != self._scope(stamp) or not hmac.compare_digest(
            self.sign(stamp, request), signature
        ):
            raise Refused(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
                403,
            )

    def _check_time(self, stamp: str, good_for: timedelta) -> None:
        signed = datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
        if self.now - signed > good_for:
            said = f"Signature expired: {stamp} is now earlier than {self.now - good_for:{_TIME}}"
            raise Refused("InvalidSignatureException", said, 403)
        if signed - self.now > _LONGEST:
            said = f"Signature not yet current: {stamp} is still later than {self.now:{_TIME}}"
            raise Refused("InvalidSignatureException", said, 403)


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return parameters encoded and in the order in which they are signed."""
    encoded = [
        (quote(name, safe="-_.~"), quote(given, safe="-_.~")) for name, given in parameters.items()
    ]
    return "&".join(f"{name}={given}" for name, given in sorted(encoded))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


# --- parameters ---

_FREE: Final = frozenset(
    (
        "vocabulary-name",
        "vocabulary-names",
        "vocabulary-filter-name",
        "vocabulary-filter-names",
        "language-options",
        "language-model-name",
        "pii-entity-types",
        "preferred-language",
    )
)
_LANGUAGE: Final = r"[a-z]{2,3}-[A-Z]{2}"
_BOOLEAN: Final = r"(?i:true|false)"
_FORMS: Final = {
    "language-code": _LANGUAGE,
    "sample-rate": r"\d{4,5}",
    "media-encoding": "pcm|ogg-opus|flac",
    "vocabulary-filter-method": "remove|mask|tag",
    "show-speaker-label": _BOOLEAN,
    "enable-channel-identification": _BOOLEAN,
    "number-of-channels": "2",
    "enable-partial-results-stabilization": _BOOLEAN,
    "partial-results-stability": "high|medium|low",
    "content-identification-type": "PII",
    "content-redaction-type": "PII",
    "identify-language": _BOOLEAN,
    "identify-multiple-languages": _BOOLEAN,
    "session-resume-window": r"[1-9]\d{0,2}",
    "transcript-format": "WRITTEN|SPOKEN",
}
_MODES: Final = ("language-code", "identify-language", "identify-multiple-languages")


def check_parameters(given: Mapping[str, str]) -> None:
    """Raise Refused with a BadRequestException for parameters that do not make a request."""
    for name, value in given.items():
        if name == "session-id":
            _require(_is_uuid(value), "session-id is no UUID")
        elif name not in _FREE:
            _require(name in _FORMS, f"unknown parameter {name}")
            _require(re.fullmatch(_FORMS[name], value) is not None, f"{name} has a wrong value")
    _require(8000 <= int(given.get("sample-rate", "0")) <= 48_000, "sample-rate")
    _require("media-encoding" in given, "media-encoding is missing")
    _require(
        sum(given.get(mode, "false").lower() != "false" for mode in _MODES) == 1,
        "give exactly one of language-code, identify-language, identify-multiple-languages",
    )
    options = [language for language in given.get("language-options", "").split(",") if language]
    identifies = "language-code" not in given
    _require(all(re.fullmatch(_LANGUAGE, language) for language in options), "language-options")
    _require(len(options) >= 2 or not identifies, "language-options must name two languages")
    _require(given.get("preferred-language", None) in (None, *options), "preferred-language")
    redacts = "content-redaction-type" in given
    _require(not (redacts and "content-identification-type" in given), "content types exclude")
    _require(
        "pii-entity-types" not in given or redacts or "content-identification-type" in given,
        "pii-entity-types needs a content type",
    )
    _require(
        "partial-results-stability" not in given
        or given.get("enable-partial-results-stabilization", "").lower() == "true",
        "partial-results-stability needs enable-partial-results-stabilization",
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _require(fulfilled: bool, message: str) -> None:
    if not fulfilled:
        raise Refused("BadRequestException", message)
