"""The codec of AWS event streams, against published vectors, botocore and AWS's own client."""

from __future__ import annotations

import contextlib
import uuid
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.providers.aws_event_stream import EventMessage, decode, encode
from stt_edge.providers.json_fields import MalformedError

EMPTY = "000000100000000005c248eb7d98c8ff"
AUDIO = (
    "0000007000000058f940e6600d3a636f6e74656e742d747970650700186170706c69636174696f6e2f6f63746574"
    "2d73747265616d0b3a6576656e742d7479706507000a417564696f4576656e740d3a6d6573736167652d74797065"
    "0700056576656e740000010002000300ebec7dd7"
)
END = (
    "0000006800000058a9d03a230d3a636f6e74656e742d747970650700186170706c69636174696f6e2f6f63746574"
    "2d73747265616d0b3a6576656e742d7479706507000a417564696f4576656e740d3a6d6573736167652d74797065"
    "0700056576656e745cc64095"
)
EXCEPTION = (
    "000000820000006194b16d550d3a6d6573736167652d74797065070009657863657074696f6e0f3a657863657074"
    "696f6e2d7479706507001342616452657175657374457863657074696f6e0d3a636f6e74656e742d747970650700"
    "106170706c69636174696f6e2f6a736f6e7b224d657373616765223a22626164227d23bc939f"
)
SIGNED_END = (
    "0000005300000043f5447a58053a64617465080000019b7ca98c88103a6368756e6b2d7369676e61747572650600"
    "20f49af69d5f4e7776c2172ab58a2a862c78f54190de283a007d3bad69b8080ebaedc90421"
)
AUDIO_HEADERS = {
    ":content-type": "application/octet-stream",
    ":event-type": "AudioEvent",
    ":message-type": "event",
}
PCM = bytes.fromhex("0000010002000300")


def patched(message: bytes, at: int, new: bytes) -> bytes:
    """``message`` with other bytes in one place and both checksums right again."""
    body = bytearray(message[:-4])
    body[at : at + len(new)] = new
    body[8:12] = zlib.crc32(body[:8]).to_bytes(4)
    return bytes(body) + zlib.crc32(body).to_bytes(4)


@pytest.mark.parametrize(
    ("headers", "payload", "expected"),
    [({}, b"", EMPTY), (AUDIO_HEADERS, PCM, AUDIO), (AUDIO_HEADERS, b"", END)],
)
def test_messages_are_encoded_as_aws_encodes_them(
    headers: dict[str, str], payload: bytes, expected: str
) -> None:
    assert encode(headers, payload).hex() == expected


def test_the_message_of_botocores_own_tests_has_the_same_checksums() -> None:
    message = encode({"content-type": "application/json"}, b"{'foo':'bar'}")
    assert message[:12].hex() == "0000003d0000002007fd8396"
    assert message[-4:].hex() == "8d9c08b1"


def test_an_exception_is_decoded() -> None:
    message = decode(bytes.fromhex(EXCEPTION))
    assert message.text(":exception-type") == "BadRequestException"
    assert message.text(":message-type") == "exception"
    assert message.payload == b'{"Message":"bad"}'
    assert message.text("no-such-header") == ""


def test_a_timestamp_and_bytes_are_decoded() -> None:
    headers = decode(bytes.fromhex(SIGNED_END)).headers
    signed = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert headers[":date"] == round(signed.timestamp() * 1000)
    assert isinstance(headers[":chunk-signature"], bytes)
    with pytest.raises(MalformedError, match="no text"):
        decode(bytes.fromhex(SIGNED_END)).text(":date")


@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=6),
    st.binary(max_size=500),
)
def test_what_was_encoded_is_decoded_the_same_here_and_by_botocore(
    headers: dict[str, str], payload: bytes
) -> None:
    eventstream = pytest.importorskip("botocore.eventstream", reason="botocore decodes it too")
    message = encode(headers, payload)
    assert decode(message) == EventMessage(headers, payload)
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(message)
    (theirs,) = list(buffer)
    assert (theirs.headers, theirs.payload) == (headers, payload)


def test_every_type_of_header_that_awss_own_client_writes_is_decoded() -> None:
    theirs = pytest.importorskip("amazon_transcribe.eventstream", reason="AWS's client writes it")
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    written = {
        "yes": True,
        "no": False,
        "one": theirs.Int8HeaderValue(-5),
        "two": theirs.Int16HeaderValue(-500),
        "four": 70_000,
        "eight": theirs.Int64HeaderValue(1 << 40),
        "bytes": b"\x00\xff",
        "text": "góðan dag",
        "time": moment,
        "uuid": uuid.UUID(int=77),
    }
    message = decode(theirs.EventStreamMessageSerializer().serialize(written, b"x"))
    assert message.headers == {
        **written,
        "one": -5,
        "two": -500,
        "eight": 1 << 40,
        "time": round(moment.timestamp() * 1000),
    }


@pytest.mark.parametrize("at", range(len(bytes.fromhex(AUDIO))))
def test_no_byte_of_a_message_can_change_unnoticed(at: int) -> None:
    message = bytearray.fromhex(AUDIO)
    message[at] ^= 0x10
    with pytest.raises(MalformedError):
        decode(bytes(message))


def test_a_message_that_is_cut_short_or_followed_by_more_is_refused() -> None:
    message = bytes.fromhex(AUDIO)
    for wrong in (b"", message[:15], message[:-1], message + b"\0", message + message):
        with pytest.raises(MalformedError):
            decode(wrong)


@pytest.mark.parametrize(
    ("at", "new", "said"),
    [
        (0, (0x71).to_bytes(4), "another length"),
        (4, (0x1000).to_bytes(4), "longer than their message"),
        (12, b"\x00", "no name"),
        (12, b"\xff", "cut short"),
        (26, b"\x0a", "unknown type"),
        (27, b"\xff\xff", "cut short"),
        (13, b"\xff", "no UTF-8"),
    ],
)
def test_headers_that_make_no_sense_are_refused_though_the_checksums_are_right(
    at: int, new: bytes, said: str
) -> None:
    with pytest.raises(MalformedError, match=said):
        decode(patched(bytes.fromhex(AUDIO), at, new))


def test_a_header_that_comes_twice_is_refused() -> None:
    twice = encode({"a": "1", "b": "2"}, b"").replace(b"\x01b", b"\x01a")
    with pytest.raises(MalformedError, match="before"):
        decode(patched(twice, 0, b""))


@given(st.binary(max_size=200))
def test_anything_at_all_is_a_message_or_malformed(data: bytes) -> None:
    total = 16 + len(data)
    message = patched(bytes(12) + data + bytes(4), 0, total.to_bytes(4) + len(data).to_bytes(4))
    with contextlib.suppress(MalformedError):
        assert decode(message).payload == b""


@pytest.mark.parametrize("headers", [{"": "x"}, {"n" * 256: "x"}, {"name": "x" * 40_000}])
def test_headers_that_are_too_long_are_not_encoded(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="too long"):
        encode(headers, b"")


def test_a_payload_that_is_too_long_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode({}, bytes(16 * 1024 * 1024 + 1))
