"""A thousand records wait while the broker is away; ``scripts/faults`` does it with 100,000."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scripts.lib.faults import f14_broker as broker

from tests.mosquitto import needs_mosquitto

ROOT = Path(__file__).resolve().parents[2]


@needs_mosquitto
def test_a_broker_that_comes_back_gets_all_that_waited_in_order_and_memory_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'daemon'}{os.pathsep}{ROOT}")
    remark = broker.run(tmp_path, quick=True)
    assert remark.startswith("1000 records waited, all delivered in order")
