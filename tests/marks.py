"""Marks of tests that need something besides Python."""

from __future__ import annotations

import pytest

from tests import pulse

needs_pulse = pytest.mark.skipif(
    not pulse.is_possible(),
    reason="needs pulseaudio, pulseaudio-utils and libasound2-plugins",
)
"""Put beside ``pytest.mark.sound`` on every test that uses a PulseMicrophone."""
