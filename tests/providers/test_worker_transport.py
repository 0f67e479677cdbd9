"""Real worker processes, and all that may become of them. Few phrases load in no time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.providers import pocketsphinx
from stt_edge.providers.base import Finalized, Provider, Transport, TransportClosedError
from stt_edge.providers.pocketsphinx import Options
from stt_edge.providers.transports.worker import WorkerHost
from stt_edge.providers.transports.worker_process import WorkerProcess
from tests.providers.client import Client, using

pytest.importorskip("pocketsphinx")

NOISE = random.Random(1).randbytes(32_000)
PHRASES = ("turn on the lamp", "stop")


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    async with using(pocketsphinx.build("ps", Options(phrases=PHRASES))) as built:
        yield built


def host_of(provider: Provider) -> WorkerHost:
    host = getattr(provider.aclose, "__self__", None)
    assert isinstance(host, WorkerHost)
    return host


async def open_client(provider: Provider) -> Client:
    client = Client(provider)
    await client.connect()
    return client


async def gone(pid: int) -> None:
    """Wait until a process has ended and has been reaped."""
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def use(provider: Provider) -> int:
    """Use the worker for an utterance, in good order; return its process id."""
    client = await open_client(provider)
    await client.utterance(NOISE)
    pid = host_of(provider).pid
    await client.goodbye()
    assert pid is not None
    return pid


async def hinted(provider: Provider) -> int:
    """Say that somebody may speak; return the process id of the worker that starts."""
    assert provider.warm is not None
    provider.warm()
    async with asyncio.timeout(10):
        while (pid := host_of(provider).pid) is None:
            await asyncio.sleep(0.01)
    return pid


async def test_connections_share_one_worker(provider: Provider) -> None:
    assert host_of(provider).pid is None
    assert await use(provider) == await use(provider)


async def test_several_utterances_go_on_one_connection(provider: Provider) -> None:
    client = await open_client(provider)
    for _ in range(3):
        await client.utterance(NOISE)
    await client.goodbye()


async def test_a_use_that_ended_well_has_the_code_of_a_good_end(provider: Provider) -> None:
    client = await open_client(provider)
    client.protocol.goodbye()
    await client.flush()
    with pytest.raises(TransportClosedError) as caught:
        await client.transport.receive()
    assert (caught.value.code, caught.value.reason) == (0, "")
    await client.transport.close()


async def test_a_second_connection_waits_for_the_first(provider: Provider) -> None:
    first = await open_client(provider)
    second = asyncio.create_task(open_client(provider))
    await asyncio.sleep(0.05)
    assert not second.done()
    await first.goodbye()
    await (await second).goodbye()


async def test_a_worker_killed_in_an_utterance_is_a_loss_and_the_next_gets_another(
    provider: Provider,
) -> None:
    client = await open_client(provider)
    await client.speak(NOISE)
    pid = host_of(provider).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    client.protocol.finalize()
    with contextlib.suppress(TransportClosedError):
        await client.flush()
    with pytest.raises(ProviderError, match="SIGKILL") as caught:
        await client.goodbye()
    assert caught.value.kind is FailureKind.LOST
    assert caught.value.code == "-9"
    await client.transport.close()
    assert await use(provider) != pid


async def test_a_worker_that_hangs_is_killed_when_it_is_let_go(provider: Provider) -> None:
    client = await open_client(provider)
    await client.speak(NOISE)
    pid = host_of(provider).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(client.transport.receive())
    await client.transport.close()
    with pytest.raises(TransportClosedError):
        await waiting
    await gone(pid)
    assert await use(provider) != pid


async def test_a_worker_that_owes_an_answer_for_too_long_is_killed(provider: Provider) -> None:
    client = await open_client(provider)
    pid = host_of(provider).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    host_of(provider).stall_s = 0.2
    await client.speak(NOISE)
    with pytest.raises(ProviderError, match=r"has not answered for 0\.2 s") as caught:
        await client.utterance(NOISE)
    assert caught.value.kind is FailureKind.TIMEOUT
    await client.transport.close()
    await gone(pid)


async def test_a_main_that_stood_still_does_not_blame_the_worker(provider: Provider) -> None:
    client = await open_client(provider)
    host_of(provider).stall_s = 0.5
    await client.speak(NOISE)
    client.protocol.finalize()
    await client.flush()
    time.sleep(1.0)
    await client.until(Finalized)
    await client.goodbye()


async def test_a_peer_that_reads_no_more_does_not_block_the_sender_for_ever(
    provider: Provider,
) -> None:
    client = await open_client(provider)
    pid = host_of(provider).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    client.protocol.begin()
    await client.flush()

    async def pump() -> None:
        while True:
            await client.transport.send(NOISE)

    pumping = asyncio.create_task(pump())
    await asyncio.sleep(0.1)
    assert not pumping.done()
    client.transport.abort()
    with pytest.raises(TransportClosedError):
        await pumping


async def test_an_utterance_given_up_leaves_the_worker_alive(provider: Provider) -> None:
    client = await open_client(provider)
    await client.speak(NOISE * 3)
    pid = host_of(provider).pid
    await client.transport.close()
    assert await use(provider) == pid


async def test_abort_kills_and_may_be_called_twice(provider: Provider) -> None:
    client = await open_client(provider)
    await client.speak(NOISE)
    pid = host_of(provider).pid
    assert pid is not None
    client.transport.abort()
    client.transport.abort()
    await client.transport.close()
    await gone(pid)
    with pytest.raises(TransportClosedError):
        await client.transport.receive()
    assert await use(provider) != pid


async def test_an_idle_worker_is_ended_and_started_again_when_needed() -> None:
    options = Options(phrases=PHRASES, idle_unload_s=0.05)
    async with using(pocketsphinx.build("ps", options)) as provider:
        client = await open_client(provider)
        pid = host_of(provider).pid
        assert pid is not None
        await client.goodbye()
        client = await open_client(provider)
        await asyncio.sleep(0.2)
        assert host_of(provider).pid == pid, "it was in use"
        await client.goodbye()
        await gone(pid)
        assert host_of(provider).pid is None
        assert await use(provider) != pid


async def test_a_hint_of_speech_starts_the_worker_that_is_used_then(provider: Provider) -> None:
    assert provider.warm is not None
    provider.warm()
    pid = await hinted(provider)
    provider.warm()
    assert await use(provider) == pid


async def test_a_hint_alone_does_not_keep_the_worker_for_ever() -> None:
    options = Options(phrases=PHRASES, idle_unload_s=0.1)
    async with using(pocketsphinx.build("ps", options)) as provider:
        await gone(await hinted(provider))


async def test_one_that_takes_longer_to_start_than_it_may_be_idle_is_ended_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = WorkerProcess.start

    async def slowly(*arguments: Any) -> WorkerProcess:
        await asyncio.sleep(0.3)
        return await begin(*arguments)

    monkeypatch.setattr(WorkerProcess, "start", slowly)
    options = Options(phrases=PHRASES, idle_unload_s=0.1)
    async with using(pocketsphinx.build("ps", options)) as provider:
        await gone(await hinted(provider))


async def test_a_worker_that_died_unused_is_replaced_in_silence(provider: Provider) -> None:
    pid = await use(provider)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while host_of(provider).pid is not None:  # it is reaped before the loop hears of it
            await asyncio.sleep(0.01)
    assert await use(provider) != pid


async def test_closing_the_provider_ends_a_worker_in_use(provider: Provider) -> None:
    client = await open_client(provider)
    await client.speak(NOISE)
    pid = host_of(provider).pid
    assert pid is not None
    assert provider.aclose is not None
    await provider.aclose()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(TransportClosedError):
        await drained(client.transport)
    client.transport.abort()


async def test_a_worker_gives_way_and_stays_to_itself(provider: Provider) -> None:
    client = await open_client(provider)
    pid = host_of(provider).pid
    assert pid is not None
    assert os.getsid(pid) == pid
    assert os.getpriority(os.PRIO_PROCESS, pid) >= os.getpriority(os.PRIO_PROCESS, 0) + 5
    score = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    assert score > int(Path("/proc/self/oom_score_adj").read_text())
    os.kill(pid, signal.SIGINT)
    await client.utterance(NOISE)
    await client.goodbye()


PARENT = """
import asyncio
from stt_edge.providers import pocketsphinx
from tests.providers.client import Client

async def main():
    provider = pocketsphinx.build("ps", pocketsphinx.Options(phrases=("stop",)))
    await Client(provider).connect()
    print(provider.aclose.__self__.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_worker_dies_with_main_even_if_it_cannot_see_it() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    await gone(pid)


async def test_a_model_that_is_none_is_an_error_of_the_setup(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("mdef", "means", "variances", "transition_matrices"):
        (tmp_path / name).write_text("nothing of the kind")
    error = await refusal(Options(hmm=str(tmp_path), phrases=PHRASES))
    assert error.kind is FailureKind.SETUP
    assert "nothing of the kind" in str(error)
    assert "nothing of the kind" in caplog.text


async def test_a_sound_that_is_none_is_an_error_of_the_setup(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extra = tmp_path / "words"
    extra.write_text("mycroft M AY K R OFF T\n")
    for phrases in (None, ("hey mycroft",)):
        error = await refusal(Options(phrases=phrases, extra_words=str(extra)))
        assert error.kind is FailureKind.SETUP
        assert "pocketsphinx cannot use the model en-us" in str(error)
        assert "OFF" in caplog.text, "what pocketsphinx said about it is in the log"
        caplog.clear()


async def refusal(options: Options) -> ProviderError:
    """What becomes of connecting to a provider that cannot be used."""
    async with using(pocketsphinx.build("ps", options)) as provider:
        client = Client(provider)
        with pytest.raises(ProviderError) as caught:
            await client.connect()
        await client.transport.close()
        return caught.value


def scripted(script: str) -> WorkerHost:
    """A host whose worker is a program that is no worker."""
    command = (sys.executable, "-c", script)
    return WorkerHost("odd", command, "{}", idle_unload_s=60, stall_s=20)


async def drained(transport: Transport) -> NoReturn:
    """Receive until that raises what ended it."""
    while True:
        await transport.receive()


async def ends_by(host: WorkerHost) -> Exception:
    transport = host.transport()
    await transport.connect()
    try:
        await drained(transport)
    except (ProviderError, TransportClosedError) as error:
        return error
    finally:
        await transport.close()
        await host.aclose()


async def test_a_program_that_cannot_be_started_is_a_failure_to_connect() -> None:
    host = WorkerHost("odd", ("/nowhere/at/all",), "{}", idle_unload_s=60)
    host.warm()
    for _ in range(2):
        with pytest.raises(ProviderError, match="cannot start the worker of odd") as caught:
            await host.transport().connect()
        assert caught.value.kind is FailureKind.CONNECT
    await host.aclose()


async def test_a_worker_out_of_step_is_killed() -> None:
    error = await ends_by(scripted("import time; print('hello!', flush=True); time.sleep(60)"))
    assert isinstance(error, TransportClosedError)
    assert error.code == -signal.SIGKILL


async def test_a_worker_that_floods_is_killed() -> None:
    flood = "import os\nwhile True: os.write(1, bytes([2, 0, 0, 0, 0, 123, 125]) * 1000)"
    host = scripted(flood)
    transport = host.transport()
    await transport.connect()
    await asyncio.sleep(0.3)
    with pytest.raises(ProviderError, match="says more than can be") as caught:
        await drained(transport)
    assert caught.value.kind is FailureKind.PROTOCOL
    await transport.close()
    await host.aclose()


async def test_what_a_library_prints_does_not_get_among_the_frames() -> None:
    script = (
        "import sys\nfrom stt_edge.providers.worker import main\n"
        "main._ENGINES['counting'] = 'tests.fakes.engine:CountingEngine'\n"
        "sys.exit(main.main(['counting']))"
    )
    command = (sys.executable, "-c", script)
    host = WorkerHost("counting", command, '{"print": "12345"}', idle_unload_s=60)
    transport = host.transport()
    await transport.connect()
    assert await transport.receive() == '{"type": "ready", "model": "counting"}'
    await transport.close()
    await host.aclose()


async def test_what_a_worker_writes_to_stderr_is_told_in_part_with_a_count_of_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    lines = "import sys\nfor n in range(500): print('line\\x1b', n, file=sys.stderr)\nsys.exit(3)"
    error = await ends_by(scripted(lines))
    assert isinstance(error, TransportClosedError)
    assert (error.code, "exit code 3; line" in error.reason) == (3, True)
    told = [record.getMessage() for record in caplog.records if ": line" in record.getMessage()]
    assert told == [f"worker odd: line  {number}" for number in range(10)]
    assert "worker odd wrote 490 lines more" in caplog.text
