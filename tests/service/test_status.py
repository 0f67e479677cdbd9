"""The status document, its problems, its one line, and its way over the socket."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stt_edge.service.status import (
    BacklogStatus,
    CountersStatus,
    EarStatus,
    LatencyStatus,
    ProviderStatus,
    SinkStatus,
    SpeechStatus,
    SpoolStatus,
    StatusDocument,
    StatusSources,
    StoreStatus,
    assemble,
    duration,
    parse,
    problems_of,
    status_line,
)

WELL = StatusDocument(
    version="0.1.0",
    pid=7,
    uptime_s=3661.0,
    node="kitchen",
    config="/etc/stt-edge.yaml",
    ear=EarStatus("hearing", 120.0, "USB Audio", 48_000, -48.1, -60.2, openings=9, rejections=7),
    speech=SpeechStatus(True, 3.2),
    provider=ProviderStatus("pocketsphinx", "up"),
    providers=(
        ProviderStatus("cloud", "up", sent_s=31.4, billed_s=45.0, cost=0.0125),
        ProviderStatus("pocketsphinx", "up"),
    ),
    backlog=BacklogStatus(2, 31.0),
    store=StoreStatus(12, 65.0, used_bytes=2_621_440, max_bytes=64 << 20),
    spool=SpoolStatus(utterances=1, bytes=64_000, seconds=2.0),
    counters=CountersStatus(61.5, {"cloud": 12}, {"lost": 1}, LatencyStatus(1, 0.4, {"0.5": 1})),
    sinks={"jsonl": SinkStatus(), "journal": SinkStatus(pending=1)},
)


def test_the_document_is_put_together_from_its_sources() -> None:
    sources = StatusSources(
        ear=lambda: WELL.ear,
        muted=lambda: True,
        providers=lambda: (ProviderStatus("p", "blocked", "The key is refused."),),
        problems=lambda: ["The configuration was rejected."],
    )
    document = assemble(StatusDocument(node="kitchen", pid=7), sources, 60.0)
    assert (document.node, document.pid, document.uptime_s) == ("kitchen", 7, 60.0)
    assert document.muted
    assert document.ear is WELL.ear
    assert document.problems == (
        "Provider p is blocked: The key is refused.",
        "The configuration was rejected.",
    )


def test_the_json_form_has_the_promised_keys() -> None:
    body = json.loads(json.dumps(WELL.to_json()))
    assert {"version", "pid", "uptime_s", "node", "ear", "muted", "speech", "provider"} < set(body)
    assert {"state", "since_s", "device", "rate", "level_db", "noise_db", "silent_s"} < set(
        body["ear"]
    )
    assert {"gaps", "lost_ms", "openings", "rejections", "second_stage_share", "restarts"} < set(
        body["ear"]
    )
    assert body["backlog"] == {"utterances": 2, "seconds": 31.0}
    assert body["store"]["last_record_age_s"] == 65.0
    assert body["sinks"]["journal"]["pending"] == 1
    assert body["problems"] == []


def test_a_document_is_the_same_after_the_socket() -> None:
    document = replace(WELL, problems=("one", "two"))
    again = parse(json.loads(json.dumps(document.to_json())))
    assert again == document


def test_the_document_of_an_older_or_newer_daemon_is_understood() -> None:
    document = parse({"node": "x", "ear": {"state": "hearing", "mood": "good"}, "weather": 3})
    assert (document.node, document.ear.state, document.sinks) == ("x", "hearing", {})
    assert parse({}) == StatusDocument()


def test_being_well_or_muted_is_no_problem() -> None:
    assert problems_of(WELL) == []
    assert problems_of(replace(WELL, muted=True, ear=EarStatus("muted", 9999.0))) == []
    assert problems_of(replace(WELL, sinks={"jsonl": SinkStatus("starting")})) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (replace(WELL, ear=EarStatus("absent", trouble="No device. Plug it in.")), "Plug it in"),
        (replace(WELL, ear=EarStatus("busy")), "ear is busy"),
        (replace(WELL, ear=EarStatus("muting", trouble="It hangs.")), "It hangs"),
        (replace(WELL, ear=EarStatus("starting", 25.0)), "No sound has come"),
        (replace(WELL, ear=EarStatus("hearing", silent_s=61.0)), "nothing but zeros"),
        (
            replace(WELL, providers=(ProviderStatus("p", "backing-off", "503"),)),
            "backing off: 503",
        ),
        (replace(WELL, store=StoreStatus(pending=4)), "4 results wait"),
        (replace(WELL, store=StoreStatus(trouble="Too large. Raise it.")), "Raise it"),
        (replace(WELL, spool=SpoolStatus(trouble="Disk full. Free some.")), "Free some"),
        (replace(WELL, sinks={"mqtt": SinkStatus("down", 3, "refused")}), "mqtt is down: refused"),
    ],
)
def test_each_problem_is_named(document: StatusDocument, said: str) -> None:
    (problem,) = problems_of(document)
    assert said in problem


def test_the_status_line_sums_it_up() -> None:
    assert status_line(WELL) == (
        "hearing; speech for 3 s; pocketsphinx up; backlog 2 (31 s); last record 65 s ago"
    )
    muted = StatusDocument(ear=EarStatus("muted"))
    assert status_line(muted) == "muted"
    lost = replace(WELL, problems=("There is no capture device.",))
    assert status_line(lost).endswith("There is no capture device.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (119, "119 s"), (600, "10 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_a_duration_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
