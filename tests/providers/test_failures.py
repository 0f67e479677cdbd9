"""What statuses and close codes are taken for, and what of them is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge import redaction
from stt_edge.errors import FailureKind
from stt_edge.providers.failures import close_failure, excerpt, grpc_failure, http_failure
from stt_edge.redaction import redact, register_secret

K = FailureKind


@pytest.fixture(autouse=True)
def _secrets_as_before() -> Iterator[None]:
    before = redaction._secrets
    yield
    redaction._secrets = before


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after_s"),
    [
        (400, {}, K.REQUEST, None),
        (401, {}, K.DENIED, None),
        (402, {}, K.DENIED, None),
        (403, {}, K.DENIED, None),
        (404, {}, K.REQUEST, None),
        (407, {}, K.CONNECT, None),
        (408, {}, K.TIMEOUT, None),
        (413, {}, K.UTTERANCE, None),
        (418, {}, K.REQUEST, None),
        (429, {}, K.OVERLOADED, None),
        (429, {"retry-after": "7"}, K.OVERLOADED, 7.0),
        (429, {"retry-after-ms": "250", "retry-after": "7"}, K.OVERLOADED, 0.25),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, K.OVERLOADED, None),
        (429, {"retry-after": "-1"}, K.OVERLOADED, None),
        (429, {"retry-after": "nan"}, K.OVERLOADED, None),
        (429, {"retry-after": "1e9"}, K.OVERLOADED, None),
        (301, {}, K.REQUEST, None),
        (500, {}, K.SERVER, None),
        (503, {}, K.SERVER, None),
        (503, {"retry-after": "0"}, K.OVERLOADED, 0.0),
        (599, {}, K.SERVER, None),
    ],
)
def test_an_http_status_is_taken_for(
    status: int, headers: dict[str, str], kind: FailureKind, retry_after_s: float | None
) -> None:
    failure = http_failure(status, headers, b"")
    assert (failure.kind, failure.code, failure.retry_after_s) == (
        kind,
        str(status),
        retry_after_s,
    )
    assert failure.message == f"the provider answered HTTP {status}."


def test_a_refusal_says_what_the_provider_said_and_what_to_do() -> None:
    failure = http_failure(401, {}, b'{"err": "no\nsuch key"}.')
    assert failure.message == 'the provider answered HTTP 401: {"err": "no such key"}.'
    assert failure.remedy == "Check the key and the account."
    assert http_failure(401, {}, b"", remedy="Do this.").remedy == "Do this."
    assert http_failure(500, {}, b"").remedy == ""
    assert http_failure(500, {}, b"\xff\xfe").kind is K.SERVER


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (None, K.LOST),
        (1000, K.LOST),
        (1002, K.PROTOCOL),
        (1003, K.REQUEST),
        (1006, K.LOST),
        (1007, K.PROTOCOL),
        (1008, K.DENIED),
        (1011, K.SERVER),
        (1013, K.OVERLOADED),
        (4999, K.LOST),
    ],
)
def test_a_close_code_is_taken_for(code: int | None, kind: FailureKind) -> None:
    failure = close_failure(code, "")
    assert failure.kind is kind
    assert failure.code == (None if code is None else str(code))
    assert "None" not in str(failure)


def test_the_reason_of_a_close_is_shown() -> None:
    assert close_failure(1011, "out of\r\nthings.").message == (
        "the provider closed the connection with code 1011: out of things."
    )


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (3, "INVALID_ARGUMENT", K.REQUEST),
        (4, "DEADLINE_EXCEEDED", K.TIMEOUT),
        (7, "PERMISSION_DENIED", K.DENIED),
        (8, "RESOURCE_EXHAUSTED", K.OVERLOADED),
        (11, "OUT_OF_RANGE", K.LOST),
        (13, "INTERNAL", K.SERVER),
        (14, "UNAVAILABLE", K.LOST),
        (16, "UNAUTHENTICATED", K.DENIED),
        (99, "99", K.PROTOCOL),
    ],
)
def test_a_grpc_status_is_taken_for(code: int, name: str, kind: FailureKind) -> None:
    failure = grpc_failure(code, "why.")
    assert (failure.kind, failure.code) == (kind, name)
    assert failure.message == f"the provider answered {name}: why."


@given(st.text(max_size=300) | st.text(min_size=1990, max_size=2010))
def test_an_excerpt_is_one_short_printable_line(text: str) -> None:
    shown = excerpt(text)
    assert len(shown) <= 200
    assert shown.isprintable()
    assert shown == shown.strip()
    shown.encode()


def test_a_long_text_is_cut_and_shows_it() -> None:
    assert excerpt("x" * 200) == "x" * 200
    assert excerpt("x" * 201) == "x" * 199 + "…"
    assert excerpt("x" * 100_000) == "x" * 199 + "…"


def test_no_part_of_a_secret_is_in_an_excerpt_wherever_it_is_cut() -> None:
    register_secret("unseen-value-4711")
    assert excerpt("key unseen-value-4711 is wrong") == "key *** is wrong"
    for before in range(1970, 2001):
        assert "unseen" not in excerpt(" " * before + "unseen-value-4711 more")
    body = b" " * 1990 + "þ unseen-value-4711".encode()
    assert "unseen" not in str(http_failure(400, {}, body))
    for before in range(180, 205):
        assert "unseen" not in excerpt("x" * before + " unseen-value-4711 y")
    for failure in (
        http_failure(401, {}, b"bad unseen-value-4711"),
        close_failure(1008, "bad unseen-value-4711"),
        grpc_failure(16, "bad unseen-value-4711"),
    ):
        assert "***" in failure.message


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hush@hush@host/x",
        "wss://host/x?api_key=hush-hush&b=1",
        "{'Authorization': 'Bearer hush-hush'}",
        "Proxy-Authorization: Basic hush-hush",
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(text: str) -> None:
    assert "hush" not in redact(text)
    assert "***" in excerpt(text)
