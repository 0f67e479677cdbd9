"""Where the tests of the store keep its file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def memory_path() -> Iterator[Path]:
    """A directory in memory where there is one: hundreds of fsyncs on a disk take their time."""
    usable = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(
        prefix="stt-edge-store-", dir=SHARED_MEMORY if usable else None
    ) as directory:
        yield Path(directory)


@pytest.fixture
def path(memory_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=memory_path) as directory:
        yield Path(directory) / "state" / "store.db"
