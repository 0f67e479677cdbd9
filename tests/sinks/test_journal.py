"""The journal sink, against a real journald of our own in a mount namespace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stt_edge import systemd_python
from stt_edge.errors import UnavailableError
from stt_edge.message_ids import MessageId
from stt_edge.sinks import registry
from stt_edge.sinks.base import SinkContext, SinkUnavailableError
from stt_edge.sinks.journal import JournalSink, Options, fields_of
from tests.sinks.namespaces import needs_journald, run_in_namespace, run_python
from tests.sinks.samples import record

needs_binding = pytest.mark.skipif(
    bool(systemd_python.MISSING), reason=f"no systemd-python: {systemd_python.MISSING}"
)

SHELL = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/run/journald.log 2>&1 &
journald=$!
trap 'kill $journald; wait $journald || true' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
run >/run/output
journalctl --sync
journalctl --output=json --all --no-pager -t stt-edge | tee /run/entries
"""

SENDER = """
import asyncio, os
from tests.sinks.samples import record
from stt_edge.sinks import registry
from stt_edge.sinks.base import SinkContext
from pathlib import Path

async def main():
    sink = registry.build("journal", None, SinkContext(Path("/nowhere")))
    await sink.open()
    for said in eval(os.environ["RECORDS"]):
        await sink.write(said)
    await sink.close()

asyncio.run(main())
"""


def entries_of(records: str) -> list[dict[str, Any]]:
    """Return the journal's entries for the records of an expression."""
    done = run_in_namespace(SHELL, SENDER, RECORDS=records)
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_binding
@needs_journald
def test_a_record_is_an_entry_with_its_text_as_the_message_and_fields_to_search_for() -> None:
    [entry] = entries_of(
        "[record('Opnaðu gluggann', id='0198f2c1', lost_ms=120, truncated=True, "
        "confidence=0.9312345)]"
    )
    expected = {
        "MESSAGE": "Opnaðu gluggann",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "stt-edge",
        "MESSAGE_ID": MessageId.FINAL.value,
        "STT_FINAL_ID": "0198f2c1",
        "STT_UTTERANCE_ID": "0198f2c1",
        "STT_TEXT": "Opnaðu gluggann",
        "STT_START": "2026-11-20T16:20:31.482Z",
        "STT_END": "2026-11-20T16:20:33.482Z",
        "STT_LANGUAGE": "en",
        "STT_CONFIDENCE": "0.931",
        "STT_PROVIDER": "pocketsphinx",
        "STT_MODEL": "en-us",
        "STT_NODE": "kitchen",
        "STT_DURATION_MS": "2000",
        "STT_LATENCY_MS": "640",
        "STT_LOST_MS": "120",
        "STT_DELAYED": "0",
        "STT_TRUNCATED": "1",
        "_TRANSPORT": "journal",
    }
    assert {name: entry.get(name) for name in expected} == expected


@needs_binding
@needs_journald
def test_no_text_can_forge_a_field_an_entry_or_break_the_sink() -> None:
    nasty = "first\nPRIORITY=0\n\nMESSAGE=forged\n\0STT_NODE=cellar"
    entries = entries_of(
        f"[record({nasty!r}), record('half \\ud83e'), record('word ' * 60_000), record('last')]"
    )
    assert [entry["STT_TEXT"] for entry in entries[1:]] == ["half ?", "word " * 60_000, "last"]
    first = entries[0]
    assert first["PRIORITY"] == "6"
    assert first["STT_NODE"] == "kitchen"
    # journalctl prints a value with a zero byte as a list of bytes
    assert bytes(first["MESSAGE"]).decode() == nasty


def test_what_is_not_known_is_left_out() -> None:
    said = record(language=None, confidence=None, model=None, latency_ms=None)
    names = {name for name, _ in fields_of(said)}
    assert not names & {
        "STT_LANGUAGE",
        "STT_CONFIDENCE",
        "STT_MODEL",
        "STT_LATENCY_MS",
        "STT_SUPERSEDES",
    }


def test_every_field_is_one_journald_takes() -> None:
    names = [name for name, _ in fields_of(record(supersedes="0198f2c0"))]
    assert len(names) == len(set(names))
    for name in names:
        assert name.replace("_", "").isalnum()
        assert name == name.upper()
        assert not name.startswith("_")
        assert len(name) <= 64


@pytest.mark.skipif(systemd_python.JOURNAL_SOCKET.exists(), reason="there is a journal here")
@needs_binding
async def test_without_a_journal_the_sink_says_so_instead_of_dropping_entries() -> None:
    sink = JournalSink()
    with pytest.raises(SinkUnavailableError, match="/run/systemd/journal/socket"):
        await sink.open()
    with pytest.raises(SinkUnavailableError, match="takes no entries: No such file"):
        await sink.write(record())
    await sink.close()


def test_without_systemd_python_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(systemd_python, "MISSING", "No module named 'systemd'")
    with pytest.raises(UnavailableError, match=r'pip install "stt-edge\[systemd\]"'):
        registry.build("journal", Options(), SinkContext(Path("/nowhere")))


WITHOUT = """
import sys
sys.modules["systemd"] = None
sys.modules["systemd.journal"] = None
from stt_edge import systemd_python
print(systemd_python.journal, bool(systemd_python.MISSING))
"""


def test_the_program_imports_without_systemd_python() -> None:
    done = run_python(WITHOUT)
    assert done.stdout.split() == ["None", "True"], done.stderr
