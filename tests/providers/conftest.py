"""A worker is started from the sources under test, wherever the tests are started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import stt_edge


@pytest.fixture(autouse=True)
def _sources_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Path(stt_edge.__file__).parents[1], Path(__file__).parents[2]]
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*map(str, places), inherited]))
