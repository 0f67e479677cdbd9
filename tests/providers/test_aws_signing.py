"""Presigned URLs and where their credentials come from; an HMAC of our own checks botocore's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.aws_failures import FailureReader
from stt_edge.providers.aws_signing import (
    AccessKey,
    Credentials,
    SigningEndpoint,
    endpoint_url,
    presign,
)
from stt_edge.providers.base import HttpReply
from stt_edge.redaction import redact
from tests.simulators import aws_wire
from tests.simulators.aws_wire import Authority, canonical_query

pytest.importorskip("botocore", reason="botocore signs")

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "20260102T030405Z"
HOST = "transcribestreaming.us-east-1.amazonaws.com:8443"
PATH = "/stream-transcription-websocket"
PLAIN = {"language-code": "en-US", "media-encoding": "pcm", "sample-rate": "16000"}
STABLE = PLAIN | {
    "enable-partial-results-stabilization": "true",
    "partial-results-stability": "high",
    "vocabulary-name": "a b",
}
TOKEN = "TOKEN/abc+def=="
VECTORS = [
    (
        PLAIN,
        None,
        "54b711e87890280c25c4ce4372d10e3908fe03875d08b69c87ea46b1038e1511",
        "e476dbd4210caa5ec4cc80d21f1c55e564dd397eabbf5d289820ffaaf7144047",
    ),
    (
        PLAIN,
        TOKEN,
        "374e8269cf121dab969cce6c1e301230451df2748557255148bcf26239aecdfd",
        "a484fd359d7638863684ed256df55fc5eebff852362cfd02065d4d2bbb8a1aef",
    ),
    (
        STABLE,
        None,
        "aca6ebbc80062568aa9d27287d0fdc8ca68f520494781f1a48367bf9323c7d1a",
        "065152a82c4242200863f4ff46a079444b649da75e1671065a29a1ef52bbe45c",
    ),
]


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "PROFILE",
        "REGION",
        "DEFAULT_REGION",
        "DEFAULT_PROFILE",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "shared"))


def written(file: Path, secret: str = SECRET, *, section: str = "default", token: str = "") -> Path:
    lines = [f"[{section}]", "aws_access_key_id = AKIDEXAMPLE", f"aws_secret_access_key = {secret}"]
    file.write_text("\n".join([*lines, *([f"aws_session_token = {token}"] if token else [])]))
    return file


@pytest.mark.parametrize(("parameters", "token", "digest", "signature"), VECTORS)
def test_a_url_is_signed_as_published_for_a_fixed_time(
    parameters: dict[str, str],
    token: str | None,
    digest: str,
    signature: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW)
    key = AccessKey("AKIDEXAMPLE", SECRET, token)
    url = presign(f"wss://{HOST}{PATH}", "us-east-1", key, parameters)
    assert url.startswith(f"wss://{HOST}{PATH}?")
    query = urlsplit(url).query
    given = dict(parse_qsl(query, keep_blank_values=True))
    assert given.pop("X-Amz-Signature") == signature
    assert parameters.items() <= given.items()
    request = f"GET\n{PATH}\n{canonical_query(given)}\nhost:{HOST}\n\nhost\n{aws_wire.EMPTY_SHA256}"
    assert hashlib.sha256(request.encode()).hexdigest() == digest
    authority = Authority(SECRET, NOW, token)
    assert authority.sign(STAMP, request) == signature
    assert authority.check_query(query, HOST, PATH) == (parameters, bytes.fromhex(signature))


def test_the_simulators_keys_and_envelopes_are_signed_as_published() -> None:
    authority = Authority(SECRET, NOW)
    key = "bc87a4698941c45f83ff2f2af098284183be186d5a35a1b39bd9100a5825828e"
    assert authority.signing_key(STAMP).hex() == key
    pcm = bytes.fromhex("0000010002000300")
    audio = aws_wire.encode_message(
        [
            (":content-type", "application/octet-stream"),
            (":event-type", "AudioEvent"),
            (":message-type", "event"),
        ],
        pcm,
    )
    first = authority.sign_chunk(bytes(32), NOW, audio)
    assert first.hex() == "36eeb732f61a6e87c9f1a09db18940232e95b1b77ce48d9a924a403ce1f2fcde"
    last = authority.sign_chunk(first, NOW, b"")
    assert last.hex() == "f49af69d5f4e7776c2172ab58a2a862c78f54190de283a007d3bad69b8080eba"
    end = aws_wire.encode_message([(":date", NOW), (":chunk-signature", last)])
    assert len(end) == 83
    assert end.hex().endswith("ebaedc90421")


@pytest.mark.parametrize(
    ("region", "url", "expected"),
    [
        ("eu-west-1", None, f"wss://transcribestreaming.eu-west-1.amazonaws.com:8443{PATH}"),
        ("cn-north-1", None, f"wss://transcribestreaming.cn-north-1.amazonaws.com.cn:8443{PATH}"),
        ("eu-west-1", "ws://127.0.0.1:99", f"ws://127.0.0.1:99{PATH}"),
        ("eu-west-1", "ws://127.0.0.1:99/", f"ws://127.0.0.1:99{PATH}"),
        ("eu-west-1", "wss://proxy.lan/other", "wss://proxy.lan/other"),
    ],
)
def test_the_endpoint_is_the_regions_own_unless_a_url_is_given(
    region: str, url: str | None, expected: str
) -> None:
    assert endpoint_url(region, url) == expected


@pytest.mark.parametrize("url", ["ws://[::1", "ws://host:port/", "ws:///x", "https://x", "none"])
def test_a_url_that_is_none_is_an_error_before_anything_is_signed(url: str) -> None:
    with pytest.raises(ProviderError, match="url is none") as caught:
        endpoint_url("eu-west-1", url)
    assert caught.value.kind is FailureKind.SETUP


def test_credentials_are_read_from_the_file_each_time(tmp_path: Path) -> None:
    file = written(tmp_path / "key", "first/secret+1")
    credentials = Credentials(None, str(file))
    assert credentials.read() == ("AKIDEXAMPLE", "first/secret+1", None)
    written(file, "second/secret+2", token="a-token/of=sorts")
    assert credentials.read() == ("AKIDEXAMPLE", "second/secret+2", "a-token/of=sorts")
    assert credentials.watched == (str(file),)


def test_secrets_are_redacted_once_they_are_read_and_never_shown(tmp_path: Path) -> None:
    file = written(tmp_path / "key", "quite/a+secret=", token="quite/a+token=")
    key = Credentials(None, str(file)).read()
    assert redact("x quite/a+secret= quite%2Fa%2Btoken%3D y") == "x *** *** y"
    assert "secret" not in repr(key)
    assert "token" not in str(key)
    endpoint = SigningEndpoint(Credentials(None, str(file)), PLAIN, region="eu-west-1", url=None)
    assert "quite" not in repr(endpoint())
    assert endpoint().where == "transcribestreaming.eu-west-1.amazonaws.com:8443"


def test_a_profile_names_a_section_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "key", section="kitchen")
    assert Credentials("kitchen", str(file)).read().secret_key == SECRET
    with pytest.raises(ProviderError, match="none found") as caught:
        Credentials(None, str(file)).read()
    assert caught.value.kind is FailureKind.DENIED
    assert "under [default]" in caught.value.remedy


def test_without_a_file_the_environment_comes_first_and_then_the_shared_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = Credentials(None, None)
    assert credentials.watched == (str(tmp_path / "shared"),)
    with pytest.raises(ProviderError, match="none found"):
        credentials.read()
    written(tmp_path / "shared", "of-the-shared-file")
    assert credentials.read().secret_key == "of-the-shared-file"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    credentials.forget()
    assert credentials.read() == ("AKIDENVIRONMENT", "of-the-environment", None)


def refused_in_the_stream(reader: FailureReader) -> None:
    reader.exception("UnrecognizedClientException", "")


def refused_without_a_name(reader: FailureReader) -> None:
    reader.refusal(HttpReply(403))


def expired(reader: FailureReader) -> None:
    reader.exception("ExpiredTokenException", "")


@pytest.mark.parametrize("refuse", [refused_in_the_stream, refused_without_a_name, expired])
def test_credentials_of_the_chain_are_kept_until_they_are_refused(
    refuse: Callable[[FailureReader], None], tmp_path: Path
) -> None:
    credentials = Credentials(None, None)
    written(tmp_path / "shared", "the-first")
    assert credentials.read().secret_key == "the-first"
    written(tmp_path / "shared", "the-second")
    assert credentials.read().secret_key == "the-first"
    refuse(FailureReader(credentials))
    assert credentials.read().secret_key == "the-second"


def test_a_profile_that_is_added_later_is_found(tmp_path: Path) -> None:
    credentials = Credentials("kitchen", None)
    with pytest.raises(ProviderError, match="kitchen"):
        credentials.read()
    written(tmp_path / "shared", "at-last", section="kitchen")
    assert credentials.read().secret_key == "at-last"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "none found"),
        ("[default]\naws_access_key_id = AKIDEXAMPLE\n", "aws_secret_access_key"),
        ("no section\n", "parse"),
        ("[default]\naws_access_key_id = A\naws_secret_access_key =\n", "none found"),
    ],
)
def test_a_file_without_credentials_says_so_and_what_to_write(
    content: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ProviderError, match=said) as caught:
        Credentials(None, str(file)).read()
    assert caught.value.kind is FailureKind.DENIED
    assert f"Put a valid key into {file}" in caught.value.remedy


def test_a_profile_that_does_not_exist_is_named() -> None:
    for call in (Credentials("attic", None).read, Credentials("attic", None).region):
        with pytest.raises(ProviderError, match="attic") as caught:
            call()
        assert caught.value.kind is FailureKind.DENIED


def test_credentials_that_cannot_be_fetched_now_are_no_reason_to_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A container's credentials come from a server; here nobody listens.
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/none")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    with pytest.raises(ProviderError) as caught:
        Credentials(None, None).read()
    assert caught.value.kind is FailureKind.CONNECT


def test_expired_credentials_are_looked_for_once_more_before_they_are_given_up(
    tmp_path: Path,
) -> None:
    file = written(tmp_path / "key", token="one-token")
    credentials = Credentials(None, str(file))
    credentials.read()
    assert credentials.renew()
    credentials.read()
    assert not credentials.renew()
    written(file, token="another-token")
    credentials.read()
    assert credentials.renew()


def test_the_region_comes_from_the_environment_where_none_is_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = Credentials(None, str(written(tmp_path / "key")))
    endpoint = SigningEndpoint(credentials, PLAIN, region=None, url=None)
    with pytest.raises(ProviderError, match="No AWS region") as caught:
        endpoint()
    assert caught.value.kind is FailureKind.SETUP
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    credentials.forget()
    assert endpoint().where == "transcribestreaming.eu-north-1.amazonaws.com:8443"
