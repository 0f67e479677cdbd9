"""Keys in files: where they are looked for, and what is refused as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_edge import redaction
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers.secret_file import SecretFile
from stt_edge.redaction import redact


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    before = redaction._secrets
    yield
    redaction._secrets = before


def refusal(secret: SecretFile) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        secret.read()
    assert caught.value.kind is FailureKind.DENIED
    assert str(secret.path) in caught.value.message
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("content", ["s3cret/+=", "s3cret/+=\n", "  s3cret/+=\r\n\n"])
def test_the_key_is_what_the_file_holds_without_space_around_it(
    content: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    assert SecretFile(str(file)).read() == "s3cret/+="


def test_a_key_that_was_read_is_never_logged(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("unseen/value+1")
    assert "unseen" in redact("unseen/value+1")
    SecretFile(str(file)).read()
    assert redact("a unseen/value+1 b unseen%2Fvalue%2B1 c") == "a *** b *** c"


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    secret = SecretFile(str(file))
    assert "cannot be read: No such file" in refusal(secret).message
    for key in ("first", "second"):
        file.write_text(key)
        assert secret.read() == key


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \r\n\n", "is empty"),
        (b"one\ntwo", "more than one line"),
        (b"one two", "more than one line"),
        (b"one\ttwo", "more than one line"),
        (b"one\x00two", "more than one line"),
        (b"one\x1b[0m", "more than one line"),
        ("lykill\u00fe".encode(), "other than a key"),
        (b"\xef\xbb\xbfkey", "other than a key"),
        (b"\xff\xfek\x00", "other than a key"),
        (b"x" * 70_000, "far too large"),
    ],
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    failure = refusal(SecretFile(str(file)))
    assert said in failure.message
    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None
    assert "one" not in failure.message.replace("more than one line or word", "").replace(
        str(file), ""
    )


def test_a_directory_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    assert "is no file" in refusal(SecretFile(str(tmp_path))).message
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in refusal(SecretFile(str(tmp_path / "pipe"))).message
    assert "is no file" in refusal(SecretFile("/dev/zero")).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key")
    file.chmod(0)
    assert "cannot be read: Permission denied" in refusal(SecretFile(str(file))).message


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "key")
    assert "cannot be read" in refusal(SecretFile(str(tmp_path / "key"))).message


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    assert "no file can have" in refusal(SecretFile(f"{tmp_path}/a\x00b")).message


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("at-home")
    secret = SecretFile("~/key")
    assert secret.read() == "at-home"
    assert secret.watched == (str(tmp_path / "key"),)


def test_the_home_of_nobody_is_a_file_that_cannot_be_read() -> None:
    assert "cannot be read" in refusal(SecretFile("~nobody-of-this-name/key")).message


def test_a_plain_name_is_a_systemd_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "deepgram").write_text("from-systemd\n")
    secret = SecretFile("deepgram")
    assert secret.read() == "from-systemd"
    assert secret.watched == (str(tmp_path / "deepgram"),)
    assert str(tmp_path / "other") in refusal(SecretFile("other")).remedy


def test_a_path_is_a_path_also_where_there_are_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("a-path")
    assert SecretFile(str(tmp_path / "key")).read() == "a-path"
    assert SecretFile("~/key").read() == "a-path"


def test_a_plain_name_without_credentials_says_what_to_write_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failure = refusal(SecretFile("deepgram"))
    assert "LoadCredential" in failure.remedy
    assert "deepgram is no path" in failure.remedy
