"""The worker's own program, with an engine that only counts."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stt_edge.providers.worker import main as worker
from stt_edge.providers.worker.frames import Frame, FrameDecoder, FrameKind

WORD = bytes(3200)


class Served:
    """A server in a thread, and the other ends of its pipes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        source, self._to = os.pipe()
        self._from, output = os.pipe()
        self._decoder = FrameDecoder()
        self._came: list[Frame] = []
        self.code: int | None = None

        def serve() -> None:
            self.code = worker.Server("tests.fakes.engine:CountingEngine", source, output).run()
            os.close(source)
            os.close(output)

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        self.text(settings)

    def send(self, *frames: Frame) -> None:
        os.write(self._to, b"".join(frame.encode() for frame in frames))

    def text(self, body: dict[str, Any]) -> None:
        self.send(Frame(FrameKind.TEXT, json.dumps(body).encode()))

    def next(self) -> Frame | None:
        while not self._came:
            data = os.read(self._from, 1 << 16)
            if not data:
                return None
            self._came += self._decoder.feed(data)
        return self._came.pop(0)

    def said(self) -> dict[str, Any]:
        frame = self.next()
        assert frame is not None
        assert frame.kind is FrameKind.TEXT
        body: dict[str, Any] = json.loads(frame.payload)
        return body

    def until(self, kind: str) -> list[dict[str, Any]]:
        bodies = [self.said()]
        while bodies[-1]["type"] != kind:
            bodies.append(self.said())
        return bodies

    def end(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1
        self._thread.join()

    def close(self) -> None:
        self.end()
        os.close(self._from)


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served({})
    yield server
    server.close()


def opened(number: int) -> Frame:
    return Frame.numbered(FrameKind.OPEN, number)


def closed(number: int) -> Frame:
    return Frame.numbered(FrameKind.CLOSE, number)


def verb(name: str) -> Frame:
    return Frame(FrameKind.TEXT, json.dumps({"do": name}).encode())


def audio(words: int = 1) -> Frame:
    return Frame(FrameKind.BINARY, WORD * words)


def test_a_use_is_ready_says_one_final_an_utterance_and_ends(served: Served) -> None:
    served.send(opened(1), verb("begin"), audio(2), verb("finish"))
    assert served.said() == {"type": "ready", "model": "counting"}
    *_, final, _ = served.until("finished")
    assert final == {
        "type": "final",
        "end": 3200,
        "words": [["w0", 0, 1600, None], ["w1", 1600, 3200, None]],
        "confidence": None,
    }
    served.send(verb("begin"), audio(1), verb("finish"), verb("goodbye"))
    bodies = served.until("finished")
    assert [body["type"] for body in bodies] == ["final", "finished"]
    assert bodies[0]["words"][-1][0] == "w0"
    assert served.next() == closed(1)


def test_an_utterance_without_words_has_no_final(served: Served) -> None:
    served.send(opened(1), verb("begin"), verb("finish"))
    served.said()
    assert served.said() == {"type": "finished"}


def test_a_goodbye_finishes_what_is_still_open(served: Served) -> None:
    served.send(opened(1), verb("begin"), audio(), verb("goodbye"))
    assert [body["type"] for body in served.until("finished")][-2:] == ["final", "finished"]
    assert served.next() == closed(1)


def test_a_use_that_is_given_up_is_closed_once_and_says_nothing_more(served: Served) -> None:
    served.send(opened(7), verb("begin"), audio(), closed(7), closed(7))
    assert served.said()["type"] == "ready"
    assert served.next() == closed(7)
    served.send(closed(7), opened(8))
    assert served.said()["type"] == "ready"


def test_giving_up_overtakes_audio_that_waits(served: Served) -> None:
    served.send(opened(1), verb("begin"), *[audio()] * 12, verb("finish"), closed(1), opened(2))
    assert [served.said()["type"], served.next(), served.said()["type"]] == [
        "ready",
        closed(1),
        "ready",
    ]


def test_partials_come_when_there_is_something_new_and_no_more_than_four_a_second(
    served: Served,
) -> None:
    started_s = time.monotonic()
    served.send(opened(1), verb("begin"))
    for _ in range(30):
        served.send(audio())
        time.sleep(0.02)
    served.send(verb("finish"))
    bodies = served.until("finished")
    elapsed_s = time.monotonic() - started_s
    partials = [body["words"] for body in bodies if body["type"] == "partial"]
    assert 1 <= len(partials) <= 1 + elapsed_s / 0.25
    assert len({len(words) for words in partials}) == len(partials)


def test_audio_without_anything_new_is_acknowledged_even_when_no_more_comes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_HEARD_S", 0.02)
    monkeypatch.setattr(worker, "_PARTIAL_S", 0.01)
    served.send(opened(1), verb("begin"), Frame(FrameKind.BINARY, bytes(100)))
    assert served.said()["type"] == "ready"
    assert served.said() == {"type": "heard", "end": 50}


def test_an_engine_that_cannot_be_loaded_says_why_and_ends() -> None:
    server = Served({"refuse": "no model"})
    assert server.said() == {
        "type": "error",
        "kind": "setup",
        "message": "no model",
        "remedy": "Do something.",
    }
    assert server.next() is None
    server.close()
    assert server.code == 69


def test_the_worker_ends_when_main_closes_the_pipe(served: Served) -> None:
    served.send(opened(1), verb("begin"), audio())
    served.end()
    assert served.code == 0
