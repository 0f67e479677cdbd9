"""The stdout sink: live text on a real (pseudo-)terminal, JSON lines into anything else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stt_edge.record_json import record_to_json
from stt_edge.sinks.base import SinkUnavailableError
from stt_edge.sinks.stdout import StdoutSink
from tests.sinks.samples import record
from tests.sinks.screen import Terminal

XTERM = {"TERM": "xterm-256color"}


@asynccontextmanager
async def opened(
    descriptor: int, environment: Mapping[str, str] = XTERM
) -> AsyncIterator[StdoutSink]:
    sink = StdoutSink(descriptor, environment)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def drawn(sink: StdoutSink) -> None:
    """Wait until everything the sink has been told so far is on the terminal."""
    await sink._calls.call(lambda: None)


async def test_live_text_stands_on_one_line_and_the_final_replaces_it() -> None:
    said = record("open the window")
    with Terminal(columns=60) as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.speech(True)
            await drawn(sink)
            assert terminal.look() == ["…"]
            for text in ("open", "open the wind", "oh"):
                sink.partial(said.id, text)
                await drawn(sink)
                assert terminal.look() == [text]
            sink.speech(False)
            await drawn(sink)
            assert terminal.look() == ["oh"]
            await sink.write(said)
            first, rest = terminal.look()
            assert re.fullmatch(r"\d\d:\d\d:\d\d  open the window  \(pocketsphinx 0\.93\)", first)
            assert rest == ""


async def test_a_late_record_is_printed_above_the_live_text_of_another_utterance() -> None:
    with Terminal(columns=60) as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.partial("another", "still speaking")
            await drawn(sink)
            await sink.write(record("from yesterday", delayed=True))
            await drawn(sink)
            first, live = terminal.look()
            assert "from yesterday  (pocketsphinx 0.93, delayed)" in first
            assert live == "still speaking"


async def test_live_text_is_cut_to_the_width_the_terminal_has_at_that_moment() -> None:
    with Terminal(columns=12) as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.partial("one", "one two three four")
            await drawn(sink)
            assert terminal.look() == ["…three four"]
            sink.partial("one", "一二三四五六七")
            await drawn(sink)
            assert terminal.look() == ["…三四五六七"]
            assert not terminal.screen.wrapped
            terminal.resize(80)
            sink.partial("one", "one two three four")
            await drawn(sink)
            assert terminal.look() == ["one two three four"]


async def test_speech_that_came_to_nothing_leaves_an_empty_line() -> None:
    with Terminal() as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.speech(True)
            sink.speech(False)
            await drawn(sink)
            assert terminal.look() == [""]
            sink.partial("one", "mumble")
            sink.partial("one", "")
            await drawn(sink)
            assert terminal.look() == [""]


async def test_closing_takes_the_live_text_away() -> None:
    with Terminal() as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.partial("one", "half a sen")
            await drawn(sink)
        assert terminal.look() == [""]


async def test_text_cannot_steer_the_terminal() -> None:
    with Terminal(columns=80) as terminal:
        async with opened(terminal.descriptor) as sink:
            sink.partial("one", "\x1b[2J\x07partial")
            await drawn(sink)
            await sink.write(record("\x1b]0;title\x07\nsecond line"))
            assert len(terminal.look()) == 2
        sent = terminal.raw.decode().replace("\x1b[K", "").replace("\x1b[2m", "")
        assert "\x1b" not in sent.replace("\x1b[22m", "")
        assert "\x07" not in sent


@pytest.mark.parametrize(
    ("environment", "coloured", "live"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
    ],
)
async def test_colours_and_live_text_only_where_the_terminal_has_them(
    environment: dict[str, str], coloured: bool, live: bool
) -> None:
    with Terminal(columns=60) as terminal:
        async with opened(terminal.descriptor, environment) as sink:
            sink.partial("one", "live text")
            await drawn(sink)
            assert (terminal.look() == ["live text"]) is live
            await sink.write(record("the end"))
            assert any("the end" in line for line in terminal.look())
        assert bool(terminal.screen.colours) is coloured
        if not live:
            assert b"\x1b" not in terminal.raw


async def test_into_a_pipe_each_record_is_a_line_of_json_at_once_and_nothing_else() -> None:
    reading, writing = os.pipe()
    said = record('さようなら "so"\nlong')
    async with opened(writing) as sink:
        sink.speech(True)
        sink.partial(said.id, "さよ")
        await sink.write(said)
        line = os.read(reading, 65536)
        await sink.write(said)
        assert os.read(reading, 65536) == line
    assert json.loads(line) == record_to_json(said)
    assert line.count(b"\n") == 1
    assert "さようなら".encode() in line
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)


async def test_into_a_file_each_record_is_a_line_of_json(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        async with opened(file.fileno()) as sink:
            await sink.write(record("one"))
            await sink.write(record("two"))
    lines = (tmp_path / "out").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]


async def test_a_reader_that_has_gone_makes_the_sink_unavailable_not_the_program() -> None:
    reading, writing = os.pipe()
    async with opened(writing) as sink:
        os.close(reading)
        with pytest.raises(SinkUnavailableError, match="Nobody reads"):
            await sink.write(record())
    os.close(writing)


async def test_a_terminal_that_has_gone_makes_the_sink_unavailable() -> None:
    import pty

    master, slave = pty.openpty()
    async with opened(slave) as sink:
        os.close(master)
        sink.partial("one", "who listens?")
        await drawn(sink)
        with pytest.raises(SinkUnavailableError, match="takes nothing"):
            await sink.write(record())
    os.close(slave)


async def test_a_slow_reader_gets_everything_and_does_not_stop_the_event_loop() -> None:
    reading, writing = os.pipe()
    received = bytearray()
    go = threading.Event()

    def read() -> None:
        go.wait(30)
        while data := os.read(reading, 1000):
            received.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    said = record("word " * 50_000)
    async with opened(writing) as sink:
        task = asyncio.create_task(sink.write(said))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        await task
    os.close(writing)
    reader.join()
    os.close(reading)
    assert json.loads(received)["text"] == said.text


async def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    reading, writing = os.pipe()
    sink = StdoutSink(writing)
    await sink.open()
    task = asyncio.create_task(sink.write(record("word " * 50_000)))
    while not _full(writing):
        await asyncio.sleep(0.001)
    task.cancel()
    await sink.close()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("sink-stdout")]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    os.close(reading)
    os.close(writing)


def _full(descriptor: int) -> bool:
    import select

    return not select.select([], [descriptor], [], 0)[1]
