"""How checks are carried out: side by side, with a time limit, and whatever they run into."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.checks import CHECKS, Check, examine, in_thread
from stt_edge.service.doctor.finding import AS_ROOT, Finding, Level, well
from stt_edge.service.doctor.threads import LooseThreads
from tests.service.doctoring import case

ROOT = Path(__file__).resolve().parents[2]


async def hangs(_: Case) -> AsyncIterator[Finding]:
    yield well("hanging", "so far")
    await asyncio.Event().wait()


async def is_well(_: Case) -> AsyncIterator[Finding]:
    yield well("good", "is good.")


async def look(directory: Path, *checks: Check) -> list[Finding]:
    return [finding async for finding in examine(case(directory), checks)]


async def test_one_that_hangs_is_given_up_and_stops_no_other(tmp_path: Path) -> None:
    found = await look(tmp_path, Check("hanging", hangs, 0.05), Check("good", is_well))
    assert [(each.name, each.level) for each in found] == [
        ("hanging", Level.OK),
        ("hanging", Level.FAIL),
        ("good", Level.OK),
    ]
    assert "within 0.05 s" in found[1].message
    assert found[1].remedy


async def test_a_thread_that_hangs_is_given_up_too(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(LooseThreads())
    release = threading.Event()

    def stuck(_: Case) -> Iterator[Finding]:
        yield well("stuck", "so far")
        release.wait()

    found = await look(tmp_path, Check("stuck", in_thread(stuck), 0.2), Check("good", is_well))
    release.set()
    assert [each.level.value for each in found] == ["ok", "fail", "ok"]


async def test_what_may_not_be_seen_is_a_doubt_and_a_broken_disk_a_failure(tmp_path: Path) -> None:
    def refuse(number: int) -> Check:
        def refused(_: Case) -> Iterator[Finding]:
            raise OSError(number, os.strerror(number), "/var/lib/stt-edge")
            yield

        return Check("refused", in_thread(refused))

    denied, broken = await look(tmp_path, refuse(errno.EACCES), refuse(errno.EIO))
    assert (denied.level, denied.remedy) == (Level.WARN, AS_ROOT)
    assert "/var/lib/stt-edge may not be looked at by this user" in denied.message
    assert broken.level is Level.FAIL
    assert "Input/output error" in broken.message


async def test_findings_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    turn = asyncio.Event()

    async def late(_: Case) -> AsyncIterator[Finding]:
        await turn.wait()
        yield well("late", "comes second and is told first.")

    async def early(_: Case) -> AsyncIterator[Finding]:
        turn.set()
        yield well("early", "comes first and is told second.")

    waited: list[str] = []
    checks = (Check("late", late), Check("early", early))
    found = [each.name async for each in examine(case(tmp_path), checks, waited.append)]
    assert found == waited == ["late", "early"]


async def test_without_a_provider_that_is_the_finding(tmp_path: Path) -> None:
    found = [finding async for finding in examine(case(tmp_path))]
    assert (found[-1].name, found[-1].level) == ("providers", Level.FAIL)


def test_every_check_has_a_name_in_kebab_case() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name and "_" not in name for name in names)


def test_ctrl_c_ends_it_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        port = silent.getsockname()[1]
        key = tmp_path / "key"
        key.write_text("sesame\n")
        key.chmod(0o600)
        provider = f"{{name: deepgram, url: 'ws://127.0.0.1:{port}/', api_key_file: {key}}}"
        path = tmp_path / "config.yaml"
        path.write_text(f"audio: {{file: none.wav}}\nproviders: [{provider}]\n")
        doctor = subprocess.Popen(
            [sys.executable, "-m", "stt_edge", "doctor", "-c", str(path)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "daemon"),
                "STATE_DIRECTORY": str(tmp_path / "state"),
                "RUNTIME_DIRECTORY": str(tmp_path / "run"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(60)
        with silent.accept()[0]:
            doctor.send_signal(signal.SIGINT)
            _, said = doctor.communicate(timeout=30)
    assert doctor.returncode == 130
    assert "Traceback" not in said
