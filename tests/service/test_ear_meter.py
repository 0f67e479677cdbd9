"""Counters that run on over restarts of the ear."""

from __future__ import annotations

from dataclasses import replace

from stt_edge.ear.wire import Health
from stt_edge.service.ear_meter import EarMeter

SEEN = Health(10, 1, 2, 1600, -40.0, -60.0, 0.5, 4, 3, 800, 16_000)


def test_nothing_is_known_before_anything_was_heard() -> None:
    meter = EarMeter()
    assert meter.latest is None
    assert meter.second_stage_share == 0.0
    assert meter.lost_ms == 0


def test_a_report_replaces_the_one_before_in_the_same_stream() -> None:
    meter = EarMeter()
    meter.opened()
    meter.seen(SEEN)
    meter.seen(replace(SEEN, blocks=20, openings=5))
    assert (meter.total.blocks, meter.total.openings) == (20, 5)


def test_the_streams_are_added_up() -> None:
    meter = EarMeter()
    for _ in range(3):
        meter.opened()
        meter.seen(SEEN)
        meter.closed()
    assert (meter.total.gaps, meter.total.rejections, meter.lost_ms) == (6, 9, 300)
    assert meter.second_stage_share == 0.05


def test_levels_are_known_only_while_a_stream_is_open() -> None:
    meter = EarMeter()
    meter.opened()
    meter.seen(SEEN)
    assert meter.latest == SEEN
    meter.closed()
    assert meter.latest is None
