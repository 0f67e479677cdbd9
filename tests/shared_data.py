"""Real recordings with references, where they lie beside the project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(
    os.environ.get("STT_EDGE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)

needs_data = pytest.mark.skipif(
    not (DATA / "manifest.jsonl").is_file(),
    reason=f"no recordings in {DATA} (set STT_EDGE_TEST_DATA to a folder that has manifest.jsonl)",
)


def manifest() -> list[dict[str, Any]]:
    """Return a row for each recording, as its manifest has it; no rows where there is none."""
    path = DATA / "manifest.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
