"""What the provider is given is the recording, byte for byte, for every record.

Every twelfth recording in the ordinary run; all of them with STT_EDGE_WHOLE_SET=1 (two minutes).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stt_edge.config.settings import Config
from stt_edge.ear.decode import open_recording
from stt_edge.service.transcription import Transcription
from tests.session.scripted import EchoRemote
from tests.shared_data import DATA, manifest, needs_data

pytestmark = needs_data

USABLE = [row for row in manifest() if row["kind"] != "malformed"]
CHOSEN = USABLE if os.environ.get("STT_EDGE_WHOLE_SET") else USABLE[::12]


def samples_of(path: Path) -> bytes:
    recording = open_recording(str(path))
    try:
        return b"".join(iter(lambda: recording.read(16_000), b""))
    finally:
        recording.close()


@pytest.mark.parametrize("form", ["file", "orig_file"])
async def test_no_sample_is_lost_or_doubled(form: str) -> None:
    remote = EchoRemote()
    job = Transcription(Config(node="here"), remote.provider, give_up_s=5, progress=lambda _: None)
    spoken = 0
    async with job.open():
        for row in CHOSEN:
            if not row[form] or row[form].endswith(".raw"):
                continue
            path = DATA / row[form]
            source, before = samples_of(path), len(remote.wires)
            records = await job.transcribe(str(path))
            given = [wire.pcm for wire in remote.wires[before:]]
            assert len(given) == len(records), row["id"]
            for record, pcm in zip(records, given, strict=True):
                expected = source[2 * record.start_sample : 2 * record.end_sample]
                assert pcm == expected, f"{row['id']} {record.start_sample}"
                assert record.lost_ms == 0
            spoken += _is_speech(row) and bool(records)
    assert spoken >= 0.9 * sum(_is_speech(row) for row in CHOSEN if row[form])


def _is_speech(row: dict[str, Any]) -> bool:
    return row["kind"] == "speech" and not str(row["orig_file"]).endswith(".raw")
