"""What C libraries print, tried with a real file descriptor 2 in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from .running import DAEMON

PRELUDE = """
import os, sys
from stt_edge.ear.chatter import Chatter
S = 1_000_000_000
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stderr


def test_a_few_lines_are_passed_on() -> None:
    assert run(
        """
with Chatter() as chatter:
    os.write(2, b"ALSA lib: one\\n\\nALSA lib: two\\n")
    chatter.pass_on(S)
    chatter.say("our own")
"""
    ).splitlines() == ["ALSA lib: one", "ALSA lib: two", "our own"]


def test_a_flood_neither_blocks_nor_reaches_the_log() -> None:
    lines = run(
        """
with Chatter() as chatter:
    for second in range(1, 60):
        for n in range(2000):
            try:
                os.write(2, b"Expression 'ret' failed in %d, line %d\\n" % (second, n))
            except BlockingIOError:
                pass
        chatter.pass_on(second * S)
"""
    ).splitlines()
    assert 20 <= len(lines) <= 25


def test_how_much_was_left_out_is_said_when_there_is_room_again() -> None:
    lines = run(
        """
with Chatter() as chatter:
    os.write(2, b"".join(b"line %d\\n" % n for n in range(100)))
    chatter.pass_on(S)
    os.write(2, b"later\\n")
    chatter.pass_on(600 * S)
"""
    ).splitlines()
    assert lines[-2:] == ["(80 lines of the sound libraries left out)", "later"]


def test_the_same_line_over_and_over_is_passed_on_once() -> None:
    assert run(
        """
with Chatter() as chatter:
    os.write(2, b"overrun\\n" * 10)
    chatter.pass_on(S)
"""
    ).splitlines() == ["overrun"]


def test_what_looking_for_devices_printed_can_be_dropped() -> None:
    assert (
        run(
            """
with Chatter() as chatter:
    os.write(2, b"Unknown PCM\\n")
    chatter.discard()
    chatter.pass_on(S)
"""
        )
        == ""
    )


def test_afterwards_standard_error_is_as_it_was_and_a_traceback_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + "with Chatter():\n    os.write(2, b'x\\n'); 1 / 0\n"],
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr.startswith("x\n")
    assert "ZeroDivisionError" in done.stderr


def test_without_being_entered_it_does_nothing() -> None:
    assert run("c = Chatter(); c.pass_on(S); c.discard(); c.say('hello')\n") == "hello\n"
