"""Keeps secrets out of logs: the values of known ones, and the looks of unknown ones."""

from __future__ import annotations

import re
import threading
from typing import Final

MASK: Final = "***"
_SHORTEST: Final = 4
"""A shorter value would be found inside ordinary words."""

_NAMES: Final = (
    "access_token|api[-_]?key|auth|authorization|credential|key|passphrase|password|passwd|"
    "secret|sig|signature|token|x-amz-credential|x-amz-security-token|x-amz-signature"
)
_QUERY: Final = re.compile(rf"(?i)\b((?:{_NAMES})=['\"]?)[^&\s\"'<>]+")
_HEADER: Final = re.compile(
    r"(?i)\b((?:proxy-)?authorization|x-api-key|xi-api-key|api-key)(['\"]?\s*[:=]\s*['\"]?)"
    r"(?:(?:basic|bearer|token)\s+)?[^\s'\",;]+"
)
_USER_INFO: Final = re.compile(r"(?i)(?<![a-z0-9+.-])([a-z0-9+.-]+://[^/\s:@]*:)[^/\s]+@")

_lock = threading.Lock()
_secrets: tuple[str, ...] = ()


def register_secret(value: str) -> None:
    """Replace ``value``, as it is and as it stands in a URL, wherever it would be logged."""
    global _secrets
    from urllib.parse import quote, quote_plus

    forms = {value, value.strip(), quote(value, safe=""), quote_plus(value)}
    with _lock:
        known = set(_secrets) | {form for form in forms if len(form) >= _SHORTEST}
        _secrets = tuple(sorted(known, key=len, reverse=True))


def redact(text: str) -> str:
    """Return ``text`` with every secret in it replaced by ``***``."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    return _USER_INFO.sub(rf"\1{MASK}@", text)
