"""The metrics, read back by a strict reader of their format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_edge.errors import FailureKind
from stt_edge.service.counters import LATENCIES_S, Counters
from stt_edge.service.metrics import render
from stt_edge.service.status import (
    CountersStatus,
    EarStatus,
    ProviderStatus,
    SinkStatus,
    SpoolStatus,
    StatusDocument,
    StoreStatus,
)
from tests.service.bench import A, head_of, record, tail_of
from tests.service.exposition import read, value
from tests.service.test_status import WELL

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def counted() -> Counters:
    counters = Counters()
    head = head_of(A)
    for latency_ms in (200, 640, 1000, 70_000, None):
        counters.committed(replace(record(head), latency_ms=latency_ms))
    counters.committed(replace(record(head), provider="cloud", latency_ms=90_000, delayed=True))
    counters.ended(tail_of(head))
    counters.reconnected(FailureKind.LOST)
    return counters


FULL = replace(
    WELL,
    muted=True,
    ear=replace(WELL.ear, frames=160_000_000, overruns=3, lost_ms=1500),
    providers=(
        ProviderStatus("cloud", "blocked", connections=("streaming", "held", "streaming")),
        ProviderStatus("pocketsphinx", "up", sent_s=31.4, billed_s=45, cost=0.0125),
    ),
    store=StoreStatus(12, 65.0, used_bytes=4096, max_bytes=1 << 26, pending=2),
    spool=SpoolStatus(bytes=64_000, seconds=2.0, dropped_s=7.5),
    counters=counted().status(),
    sinks={"mqtt": SinkStatus("down", 7), "jsonl": SinkStatus()},
    problems=("one", "two"),
)


@pytest.mark.parametrize("document", [StatusDocument(), WELL, FULL])
def test_every_document_is_in_the_format(document: StatusDocument) -> None:
    read(render(document))
    read(render(document, {"node": 'kit"chen\\'}))


def test_the_promised_names_have_the_numbers_of_the_status() -> None:
    found = read(render(FULL))
    for name, labels, number in (
        ("build_info", {"version": "0.1.0"}, 1),
        ("capture_frames_total", {}, 160_000_000),
        ("capture_overruns_total", {}, 3),
        ("capture_gap_seconds_total", {}, 1.5),
        ("speech_seconds_total", {}, 0.2),
        ("finals_total", {"provider": "scripted"}, 5),
        ("finals_total", {"provider": "cloud"}, 1),
        ("final_latency_seconds_bucket", {"le": "0.25"}, 1),
        ("final_latency_seconds_bucket", {"le": "1"}, 3),
        ("final_latency_seconds_bucket", {"le": "60"}, 3),
        ("final_latency_seconds_bucket", {"le": "+Inf"}, 4),
        ("final_latency_seconds_sum", {}, 71.84),
        ("session_state", {"state": "streaming"}, 2),
        ("session_state", {"state": "held"}, 1),
        ("session_state", {"state": "draining"}, 0),
        ("reconnects_total", {"reason": "lost"}, 1),
        ("spool_bytes", {}, 64_000),
        ("spool_seconds", {}, 2),
        ("spool_dropped_seconds_total", {}, 7.5),
        ("outbox_pending", {"sink": "mqtt"}, 7),
        ("outbox_pending", {"sink": "jsonl"}, 0),
        ("sink_up", {"sink": "mqtt"}, 0),
        ("provider_blocked", {}, 1),
        ("provider_up", {"provider": "pocketsphinx"}, 1),
        ("provider_day_cost", {"provider": "pocketsphinx"}, 0.0125),
        ("ear_state", {"state": "hearing"}, 1),
        ("ear_state", {"state": "absent"}, 0),
        ("muted", {}, 1),
        ("store_bytes", {}, 4096),
        ("store_pending", {}, 2),
        ("backlog_seconds", {}, 31),
        ("problems", {}, 2),
    ):
        assert value(found, f"stt_edge_{name}", **labels) == pytest.approx(number), name


def test_what_devices_and_providers_say_is_nowhere_in_them() -> None:
    said = replace(
        FULL,
        ear=EarStatus("faulted", device="A device", trouble="Some trouble."),
        providers=(ProviderStatus("cloud", "blocked", message="A message"),),
        sinks={"mqtt": SinkStatus("down", 7, "Another message")},
        problems=("A problem",),
    )
    text = render(said)
    for free in ("A device", "trouble", "message", "A problem", "/etc/"):
        assert free not in text


@given(name=st.text(min_size=1))
def test_any_name_from_the_configuration_is_read_back_as_it_was(name: str) -> None:
    text = render(replace(FULL, sinks={name: SinkStatus(pending=3)}), {"node": name})
    assert value(read(text), "stt_edge_outbox_pending", sink=name, node=name) == 3


HALF_A_HISTOGRAM = """\
# HELP a A.
# TYPE a histogram
a_bucket{le="1"} 2
a_bucket{le="+Inf"} 1
"""


def test_the_reader_is_strict_enough_to_refuse() -> None:
    good = '# HELP a About.\n# TYPE a gauge\na{b="c"} 1\n'
    assert value(read(good), "a", b="c") == 1
    for bad in (
        good.replace("a{b", "b{b"),
        good.replace(" 1", " one"),
        good.replace(" 1", " 1 1700000000"),
        good.replace('"c"', "c"),
        good.replace('"c"', '"c\\d"'),
        good.replace('b="c"', 'b="c",b="d"'),
        good.replace("gauge", "counter"),
        good.replace("gauge", "number"),
        good.replace("# TYPE a gauge\n", ""),
        good + good,
        good.removesuffix("\n"),
        good + 'a{b="c"} 2\n',
        "# HELP a About.\n# TYPE a gauge\n",
        HALF_A_HISTOGRAM,
        HALF_A_HISTOGRAM + "a_sum 1\na_count 2\n",
    ):
        with pytest.raises((ValueError, KeyError)):
            read(bad)


def test_every_latency_falls_into_the_bucket_that_ends_with_it() -> None:
    for bound in LATENCIES_S:
        counters = Counters()
        counters.committed(replace(record(head_of(A)), latency_ms=round(bound * 1000)))
        within = counters.status().latency.within_s
        assert {float(each): count for each, count in within.items()} == {
            other: int(other >= bound) for other in LATENCIES_S
        }
    assert CountersStatus().latency.count == 0


def test_every_metric_is_in_the_documentation_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(stt_edge_\w+)[`{]", OPERATIONS, re.MULTILINE))
    assert documented == set(read(render(FULL)))
