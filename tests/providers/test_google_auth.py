"""Who we are to Google: keys, service accounts, and the credentials of the machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import google_auth
from stt_edge.providers.google_auth import GoogleAccount, GoogleOptions
from stt_edge.redaction import redact

pytest.importorskip("google.auth", reason="needs google-auth")
pytest.importorskip("requests", reason="needs requests")

TOKEN = "ya29.a-token-of-the-test"


class TokenServer:
    """Answers as https://oauth2.googleapis.com/token does."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: dict[str, Any] = {"access_token": TOKEN, "expires_in": 3600}
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked += 1
                body = json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/token"


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    found = TokenServer()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture(scope="module")
def private_key() -> str:
    pytest.importorskip("cryptography", reason="needs cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def service_account(tmp_path: Path, tokens: TokenServer, private_key: str) -> Path:
    path = tmp_path / "account.json"
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "try@p.iam.gserviceaccount.com",
        "token_uri": tokens.url,
    }
    path.write_text(json.dumps(account))
    return path


def account(**options: Any) -> GoogleAccount:
    return GoogleAccount("g", GoogleOptions(**options))


def refusal(of: GoogleAccount) -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        of.headers()
    return failed.value


def test_a_key_goes_into_a_header_and_is_read_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("first\n")
    found = account(api_key_file=str(tmp_path / "key"))
    assert found.headers() == {"x-goog-api-key": "first"}
    (tmp_path / "key").write_text("second\n")
    assert found.headers() == {"x-goog-api-key": "second"}
    assert found.watched == (str(tmp_path / "key"),)
    assert str(tmp_path / "key") in found.remedy


def test_a_key_that_is_missing_is_denied(tmp_path: Path) -> None:
    assert refusal(account(api_key_file=str(tmp_path / "no"))).kind is FailureKind.DENIED


def test_a_service_account_gets_a_token_and_keeps_it(
    service_account: Path, tokens: TokenServer
) -> None:
    found = account(credentials_file=str(service_account))
    for _ in range(2):
        assert found.headers()["authorization"] == f"Bearer {TOKEN}"
    assert tokens.asked == 1
    assert found.watched == (str(service_account),)


def test_a_service_account_that_changes_gets_another_token(
    service_account: Path, tokens: TokenServer
) -> None:
    found = account(credentials_file=str(service_account))
    found.headers()
    service_account.write_text(service_account.read_text() + "\n")
    found.headers()
    assert tokens.asked == 2


def test_neither_the_token_nor_the_private_key_is_shown(
    service_account: Path, private_key: str
) -> None:
    account(credentials_file=str(service_account)).headers()
    assert TOKEN not in redact(f"said {TOKEN}")
    assert private_key not in redact(f"said {private_key}")


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, "denied"),
        (
            400,
            {
                "error": "invalid_grant",
                "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) "
                "and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
            },
            "clock",
        ),
    ],
)
def test_a_token_that_is_refused_says_why(
    service_account: Path, tokens: TokenServer, status: int, answer: dict[str, str], kind: str
) -> None:
    tokens.status, tokens.answer = status, answer
    failure = refusal(account(credentials_file=str(service_account)))
    assert failure.kind == kind
    assert failure.remedy
    assert answer["error_description"][:11] in failure.message


def test_no_way_to_the_token_server_is_no_refusal(
    service_account: Path, tokens: TokenServer
) -> None:
    text = service_account.read_text().replace(tokens.url, "http://127.0.0.1:1/token")
    service_account.write_text(text)
    failure = refusal(account(credentials_file=str(service_account)))
    assert failure.kind is FailureKind.CONNECT


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"type": "authorized_user"}', b'{"type": "service_account"}', b"\xff"],
)
def test_a_file_that_is_no_service_account_is_denied(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "account.json"
    path.write_bytes(content)
    failure = refusal(account(credentials_file=str(path)))
    assert failure.kind is FailureKind.DENIED
    assert str(path) in failure.message


def test_a_damaged_private_key_is_denied(service_account: Path) -> None:
    known = json.loads(service_account.read_text()) | {"private_key": "damaged"}
    service_account.write_text(json.dumps(known))
    failure = refusal(account(credentials_file=str(service_account)))
    assert failure.kind is FailureKind.DENIED
    assert "damaged" not in failure.message.partition(str(service_account))[0]


def test_without_either_the_machines_own_credentials_are_used(
    service_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account))
    assert account().headers()["authorization"] == f"Bearer {TOKEN}"


def test_a_machine_without_credentials_is_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no.json"))
    failure = refusal(account())
    assert failure.kind is FailureKind.DENIED
    assert "api_key_file" in failure.remedy


def test_a_key_needs_no_package_of_googles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_auth, "installed", lambda module: False)
    account(api_key_file="/k").check()
    with pytest.raises(ProviderError) as failed:
        account().check()
    assert failed.value.kind is FailureKind.SETUP
    assert "stt-edge[google]" in failed.value.remedy


def test_a_key_and_a_service_account_are_one_too_many() -> None:
    found = GoogleOptions(api_key_file="/k", credentials_file="/c")
    assert [key for key, _ in found.problems()] == ["credentials_file"]
