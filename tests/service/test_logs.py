"""The program's own log: where it goes, what it looks like, what never gets into it."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from stt_edge import redaction, systemd_python
from stt_edge.message_ids import MessageId
from stt_edge.service import logs
from stt_edge.service.repeats import RepeatLimiter
from tests.sinks.namespaces import needs_journald, run_in_namespace, run_python

log = logging.getLogger("stt_edge.service.test")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Put logging back the way pytest wants it."""
    root, ours = logging.getLogger(), logging.getLogger("stt_edge")
    before = (root.level, ours.level, redaction._secrets)
    yield
    if logs._installed is not None:
        root.removeHandler(logs._installed)
        logs._installed = None
    root.setLevel(before[0])
    ours.setLevel(before[1])
    redaction._secrets = before[2]


def configured(level: str = "info", **environment: str) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, stream=stream, environment=environment)
    return stream


# --- where there is no journal ---


def test_in_a_file_a_line_has_utc_time_level_place_and_message() -> None:
    stream = configured()
    log.warning("device %s is gone", "hw:1")
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING service\.test: device hw:1 is gone\n"
    assert re.fullmatch(pattern, stream.getvalue())


@pytest.mark.parametrize(
    ("environment", "coloured", "clears"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_on_a_terminal_a_line_has_local_time_and_takes_live_text_away_first(
    environment: dict[str, str], coloured: bool, clears: bool
) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        logs.configure("info", stream=stream, environment=environment)
        log.error("something is wrong")
        seen = os.read(master, 4096).decode()
    os.close(master)
    assert ("\x1b[31m" in seen) is coloured
    assert seen.startswith("\r\x1b[K") is clears
    plain = re.sub(r"\x1b\[[0-9]*[mK]", "", seen).strip()
    if clears:
        assert re.fullmatch(r"\d\d:\d\d:\d\d ERROR service\.test: something is wrong", plain)


def test_the_level_counts_for_us_and_other_packages_are_heard_from_warning_on() -> None:
    stream = configured("debug")
    log.debug("ours in detail")
    logging.getLogger("websockets.client").debug("> TEXT what was said")
    logging.getLogger("websockets.client").info("connection open")
    logging.getLogger("asyncio").warning("slow callback")
    text = stream.getvalue()
    assert "ours in detail" in text
    assert "what was said" not in text
    assert "connection open" not in text
    assert "asyncio: slow callback" in text


def test_configuring_again_changes_the_level_and_doubles_no_line() -> None:
    stream = io.StringIO()
    for level in ("info", "warning"):
        logs.configure(level, stream=stream, environment={})
    log.info("not now")
    log.warning("once")
    assert stream.getvalue().count("\n") == 1


def test_a_log_call_whose_arguments_do_not_fit_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    logger = logging.Logger("stt_edge.careless")  # noqa: LOG001  pytest's own handlers would raise
    logger.addHandler(RepeatLimiter(logs._handler(stream, {}), per_minute=1))
    for _ in range(3):
        logger.warning("%d samples", "many")
    logger.warning("next")
    logger.handlers[0].flush()
    assert "next" in stream.getvalue()
    assert "%d samples … repeated 2 times" in stream.getvalue()
    assert "many" in capsys.readouterr().err


# --- the journal ---

JOURNAL = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/run/journald.log 2>&1 &
journald=$!
trap 'kill $journald; wait $journald || true' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.05; done
export -f run
systemd-cat -t stt-edge bash -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) run'
journalctl --sync
journalctl --output=json --all --no-pager -t stt-edge
"""

EVENTS = """
import logging, os, sys
if os.environ["BINDING"] == "no":
    sys.modules["systemd"] = sys.modules["systemd.journal"] = None
from stt_edge.message_ids import MessageId
from stt_edge.service import logs
logs.register_secret("hunter2-key")
logs.configure("debug")
log = logging.getLogger("stt_edge.service.test")
log.debug("in detail")
log.warning(
    "device %s is gone",
    "hw:1",
    extra={"message_id": MessageId.DEVICE_LOST, "fields": {"STT_DEVICE": "hw:1 hunter2-key"}},
)
try:
    raise ValueError("with hunter2-key inside")
except ValueError:
    log.exception("a mistake")
log.info("two\\nlines\\nPRIORITY=0")
log.critical("the end")
"""


def journal_entries(binding: str) -> list[dict[str, Any]]:
    done = run_in_namespace(JOURNAL, EVENTS, BINDING=binding)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(bool(systemd_python.MISSING), reason=systemd_python.MISSING)
@needs_journald
def test_into_the_journal_go_entries_with_fields_and_without_secrets() -> None:
    detail, gone, mistake, lines, end = journal_entries("yes")
    assert [entry["PRIORITY"] for entry in (detail, gone, mistake, lines, end)] == [*"74362"]
    expected = {
        "MESSAGE": "device hw:1 is gone",
        "MESSAGE_ID": MessageId.DEVICE_LOST.value,
        "SYSLOG_IDENTIFIER": "stt-edge",
        "LOGGER": "stt_edge.service.test",
        "CODE_FILE": "<string>",
        "CODE_FUNC": "<module>",
        "STT_DEVICE": "hw:1 ***",
        "_TRANSPORT": "journal",
    }
    assert {name: gone.get(name) for name in expected} == expected
    assert int(gone["CODE_LINE"]) > 1
    assert mistake["MESSAGE"].startswith("a mistake\nTraceback")
    assert mistake["MESSAGE"].endswith("ValueError: with *** inside")
    assert "MESSAGE_ID" not in mistake
    assert lines["MESSAGE"] == "two\nlines\nPRIORITY=0"


@needs_journald
def test_into_the_journal_without_systemd_python_go_lines_with_priorities() -> None:
    entries = journal_entries("no")
    assert {entry["_TRANSPORT"] for entry in entries} == {"stdout"}
    said = [(entry["PRIORITY"], entry["MESSAGE"]) for entry in entries]
    assert said[:2] == [
        ("7", "service.test: in detail"),
        ("4", "service.test: device hw:1 is gone"),
    ]
    traceback = [message for priority, message in said if priority == "3"]
    assert traceback[0] == "service.test: a mistake"
    assert traceback[-1] == "ValueError: with *** inside"
    assert said[-4:-1] == [("6", "service.test: two"), ("6", "lines"), ("6", "PRIORITY=0")]
    assert said[-1] == ("2", "service.test: the end")


def test_a_stream_is_the_journal_only_where_device_and_inode_say_so() -> None:
    reading, writing = os.pipe()
    status = os.fstat(writing)
    this = f"{status.st_dev}:{status.st_ino}"
    with os.fdopen(writing, "w") as stream, os.fdopen(reading):
        assert logs.is_journal(stream, {"JOURNAL_STREAM": this})
        assert not logs.is_journal(stream, {"JOURNAL_STREAM": "8:12345"})
        assert not logs.is_journal(stream, {})
    assert not logs.is_journal(stream, {"JOURNAL_STREAM": this}), "closed"
    assert not logs.is_journal(io.StringIO(), {"JOURNAL_STREAM": this}), "no file at all"


def journal_like() -> tuple[TextIO, TextIO, dict[str, str]]:
    """Return both ends of a pipe that the environment says is the journal."""
    reading, writing = os.pipe()
    status = os.fstat(writing)
    environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    return os.fdopen(reading), os.fdopen(writing, "w"), environment


@pytest.mark.skipif(systemd_python.JOURNAL_SOCKET.exists(), reason="there is a journal here")
@pytest.mark.skipif(bool(systemd_python.MISSING), reason=systemd_python.MISSING)
def test_while_journald_is_away_lines_go_to_standard_error() -> None:
    reading, writing, environment = journal_like()
    logs.configure("info", stream=writing, environment=environment)
    log.warning("still here")
    writing.close()
    assert reading.read() == "<4>service.test: still here\n"
    reading.close()


# --- repetition ---


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def limited(per_minute: int) -> tuple[logging.Logger, Collector, Clock, RepeatLimiter]:
    collector, clock = Collector(), Clock()
    limiter = RepeatLimiter(collector, per_minute, clock)
    logger = logging.Logger("stt_edge.repeating")  # noqa: LOG001  one that nobody else has
    logger.addHandler(limiter)
    return logger, collector, clock, limiter


def test_the_same_message_passes_so_often_a_minute_and_is_counted_beyond() -> None:
    logger, collector, clock, _ = limited(per_minute=3)
    for number in range(60):
        logger.warning("retry %d", number)
    assert collector.lines == ["retry 0", "retry 1", "retry 2"]
    clock.now_s += 60
    logger.warning("something else")
    assert collector.lines[3:] == ["retry 59 … repeated 57 times", "something else"]
    logger.warning("retry %d", 60)
    assert collector.lines[-1] == "retry 60", "a new minute has begun"


def test_other_messages_levels_and_events_are_not_held_back_with_it() -> None:
    logger, collector, _, _ = limited(per_minute=1)
    logger.warning("retry %d", 1)
    logger.warning("retry %d", 2)
    logger.error("retry %d", 3)
    logger.warning("another %d", 4)
    logger.warning("retry %d", 5, extra={"message_id": MessageId.MUTED})
    assert collector.lines == ["retry 1", "retry 3", "another 4", "retry 5"]


def test_what_was_held_back_is_reported_at_the_end_once() -> None:
    logger, collector, _, limiter = limited(per_minute=1)
    for _ in range(3):
        logger.warning("again")
    limiter.flush()
    limiter.flush()
    assert collector.lines == ["again", "again … repeated 2 times"]


def test_a_message_below_the_limit_is_never_mentioned_again() -> None:
    logger, collector, clock, limiter = limited(per_minute=2)
    logger.warning("twice")
    logger.warning("twice")
    clock.now_s += 3600
    logger.warning("later")
    limiter.flush()
    assert collector.lines == ["twice", "twice", "later"]


def test_the_limiter_keeps_no_record_and_forgets_old_messages() -> None:
    logger, _, clock, limiter = limited(per_minute=1)
    for number in range(100):
        logger.warning(f"message {number}")  # noqa: G004  as careless callers do
    assert len(limiter._windows) == 100
    clock.now_s += 61
    logger.warning("later")
    assert len(limiter._windows) == 1


def test_many_threads_lose_no_count() -> None:
    logger, collector, _, limiter = limited(per_minute=5)

    def flood() -> None:
        for _ in range(200):
            logger.warning("flood")

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limiter.flush()
    assert collector.lines == ["flood"] * 5 + ["flood … repeated 1595 times"]


FLOOD = """
import logging
from stt_edge.service import logs
logs.configure("info")
for number in range(100):
    logging.getLogger("stt_edge.x").warning("again %d", number)
"""


def test_the_count_is_reported_when_the_program_ends() -> None:
    done = run_python(FLOOD)
    lines = done.stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("x: again 99 … repeated 80 times")


# --- secrets ---


def test_a_registered_secret_never_appears_however_it_gets_there() -> None:
    logs.register_secret("s3cr/et+value")
    stream = configured()
    log.warning("key s3cr/et+value")
    log.warning("key %s", "s3cr/et+value")
    log.warning("url https://x.example/?q=s3cr%2Fet%2Bvalue")
    try:
        Path("/nowhere/s3cr/et+value").read_text()
    except OSError:
        log.exception("it failed")
    text = stream.getvalue()
    assert "s3cr" not in text
    assert text.count("***") >= 4


def test_a_key_file_with_a_line_break_at_its_end_is_masked_too() -> None:
    logs.register_secret("abcdef123\n")
    assert redaction.redact("sent abcdef123 to") == "sent *** to"


def test_longer_secrets_are_masked_before_those_inside_them_and_short_ones_not_at_all() -> None:
    for secret in ("abcd", "abcdefgh", "a", ""):
        logs.register_secret(secret)
    assert redaction.redact("abcdefgh abcd a") == "*** *** a"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("wss://a.example/v1?token=abc&x=1", "wss://a.example/v1?token=***&x=1"),
        ("https://a.example/?x=1&api_key=abc", "https://a.example/?x=1&api_key=***"),
        ("GET /?API-KEY=abc HTTP/1.1", "GET /?API-KEY=*** HTTP/1.1"),
        ("?access_token='abc'", "?access_token='***'"),
        ("X-Amz-Signature=abc&X-Amz-Date=1", "X-Amz-Signature=***&X-Amz-Date=1"),
        ("> Authorization: Bearer abc.def", "> Authorization: ***"),
        ("{'Authorization': 'Token abc', 'a': 1}", "{'Authorization': '***', 'a': 1}"),
        ("xi-api-key: abc", "xi-api-key: ***"),
        ("mqtt://user:pass@broker:1883/", "mqtt://user:***@broker:1883/"),
        ("monkey=banana; 3 keys; the token is missing",) * 2,
        ("http://host:8080/path?max_tokens=5",) * 2,
    ],
)
def test_what_looks_like_a_secret_is_masked_and_the_rest_stays(text: str, masked: str) -> None:
    assert redaction.redact(text) == masked
