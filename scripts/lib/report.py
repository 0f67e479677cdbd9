"""The figures of a benchmark as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def as_markdown(results: dict[str, Any]) -> str:
    """Return all figures as tables."""
    machine = results["machine"]
    where = f"{machine['architecture']}, {machine['processors']} processors, Linux "
    lines = [f"{where}{machine['kernel']}, Python {machine['python']}", ""]
    for title, rows in (
        ("Start and stop", _starts(results["start"])),
        ("Silence", _silence(results["silence"])),
        ("Speech", _speech(results.get("speech"))),
        ("Delays", _delays(results.get("delays"))),
        ("The gate over recordings", _plain(results.get("gate"))),
        ("The second stage, over recordings without speech", _plain(results.get("second_stage"))),
        ("Five minutes after the speech", _after(results.get("after"))),
    ):
        table = list(rows)
        if table:
            lines += [f"### {title}", "", *_table(table), ""]
    if "providers" in results:
        lines.append(providers_as_markdown(results["providers"]))
    return "\n".join(lines)


def providers_as_markdown(providers: dict[str, Any]) -> str:
    """Return what was measured of providers on a network, and why what is missing is."""
    lines = ["### Providers", "", *_table(list(_providers(providers["figures"]))), ""]
    lines += [f"Left out: {reason}." for reason in providers["left_out"]]
    return "\n".join(lines)


def _providers(figures: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    yield "provider", "what", "measured", "limit", ""
    for row in figures:
        yield row["provider"], row["what"], row["measured"], row["limit"], row["verdict"]


def _table(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    head, *body = rows
    yield _line(head)
    yield "|" + "---|" * len(head)
    yield from map(_line, body)


def _line(cells: tuple[Any, ...]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _starts(start: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    yield f"{start['starts']} starts", "median ms", "least", "most"
    for name, label in (
        ("ready_ms", "start of the process to READY"),
        ("hearing_ms", "start of the process to hearing (as status says it)"),
        ("stop_ms", "SIGTERM to the end of the process"),
    ):
        yield label, *_three(start[name])


def _silence(silence: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    seconds = silence["stt-edge"]["seconds"]
    reference = silence["arecord"]["cpu_ms_per_s"]
    yield (
        f"process tree, {seconds:.0f} s",
        "CPU ms per audio-second",
        "× arecord",
        "wake-ups a second",
        "PSS MiB",
        "processes / threads",
    )
    for name, cost in silence.items():
        yield (
            name,
            cost["cpu_ms_per_s"],
            f"{cost['cpu_ms_per_s'] / reference:.2f}" if reference else "-",
            cost["wakeups_per_s"],
            cost["pss_mib"],
            f"{cost['processes']} / {cost['threads']}",
        )


def _speech(speech: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
    if speech is None:
        return
    cost = speech["cost"]
    yield "what", "value"
    yield (
        "sentences, records, word for word",
        (f"{speech['sentences']}, {speech['records']}, {speech['word_for_word']}"),
    )
    yield "speech, s, and sound lost, ms", f"{speech['speech_s']}, {speech['lost_ms']}"
    yield "CPU ms per audio-second, pauses included", cost["cpu_ms_per_s"]
    yield (
        "CPU ms per second of speech",
        round(cost["cpu_ms_per_s"] * cost["seconds"] / speech["speech_s"], 1),
    )
    yield "wake-ups a second", cost["wakeups_per_s"]
    for name, pss in speech["pss_by_process"].items():
        yield f"PSS MiB, {name}", pss
    for name, label in (
        ("latency_ms", "end of speech to committed record, ms"),
        ("after_hangover_and_block_ms", "of that, beyond hangover and block, ms"),
    ):
        median, least, most = _three(speech[name])
        yield label, f"median {median} ({least} to {most})"


def _delays(delays: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
    if delays is None:
        return
    yield f"{delays['utterances']} sentences", "median ms", "least", "most"
    for name, label in (
        ("onset_delay_ms", "onset of the voice to the gate's decision"),
        ("audio_before_onset_ms", "audio handed over from before the onset"),
        ("end_delay_ms", "end of the voice to the end of the utterance (hangover included)"),
        ("speech_end_error_ms", "end of the voice as the gate places it, less the true one"),
    ):
        yield label, *_three(delays[name])
    yield "opening the device to its first block", delays["first_block_ms"], "", ""


def _plain(figures: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
    if figures is None:
        return
    yield "what", "value"
    for name, value in figures.items():
        shown = ", ".join([str(len(value)), *value]) if isinstance(value, list) else value
        yield name.replace("_", " "), shown


def _after(after: dict[str, Any] | None) -> Iterator[tuple[Any, ...]]:
    if after is None:
        return
    yield "process", "PSS MiB"
    yield from after["by_process"].items()
    yield "all", after["pss_mib"]


def _three(spread: dict[str, float]) -> tuple[float, float, float]:
    return spread["median"], spread["least"], spread["most"]
