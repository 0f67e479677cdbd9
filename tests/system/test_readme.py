"""What the README tells people is so."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from stt_edge.cli.main import COMMANDS
from stt_edge.errors import ExitCode
from stt_edge.message_ids import MessageId
from stt_edge.model import Record, Word
from stt_edge.record_json import record_to_json

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"README.md has no section {title!r}"
    return found


def test_every_command_is_listed_and_every_listed_command_exists() -> None:
    lines = re.findall(r"^    stt-edge (\S+)( \| \S+)?", section("Commands"), re.MULTILINE)
    listed = {name for line in lines for name in (line[0], line[1].strip(" |")) if name}
    assert listed == set(COMMANDS)


def test_every_exit_code_is_explained() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Commands"), re.MULTILINE)}
    ours = {value for name, value in vars(ExitCode).items() if name.isupper()}
    assert codes == ours


def test_every_key_of_a_record_is_explained() -> None:
    now = datetime.now(UTC)
    record = Record(
        id="an-id",
        stream="a-stream",
        start=now,
        end=now,
        start_sample=0,
        end_sample=16000,
        text="yes",
        provider="one",
        node="here",
        duration_ms=1000,
        speech_ms=800,
        supersedes="another",
        words=(Word("yes", 0, 16000),),
    )
    rows = re.findall(r"^\| (`.+?`) \|", section("The record"), re.MULTILINE)
    explained = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert explained == set(record_to_json(record))


def test_the_query_for_all_transcripts_has_their_message_id() -> None:
    assert f"MESSAGE_ID={MessageId.FINAL}" in section("The record")


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?<![\w/])(?:config|systemd)/[\w@.-]+", README)))
)
def test_every_file_to_install_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).is_file()
