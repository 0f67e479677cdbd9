"""What every test may rely on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

from stt_edge import redaction

# Nothing is asserted about elapsed time, also not by way of a deadline for an example.
settings.register_profile("stt-edge", deadline=None)
settings.load_profile("stt-edge")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command does to the log of the process it runs in."""
    loggers = (logging.getLogger(), logging.getLogger("stt_edge"))
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(autouse=True)
def secrets_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the keys a test has read: they would be masked in the words of others."""
    monkeypatch.setattr(redaction, "_secrets", redaction._secrets)
