"""The list of checks, and how they are carried out: side by side, each with a time limit.

A check yields findings over a ``Case``. It raises nothing for what is wrong with the machine but
OSError, which becomes a finding here. A new one is a function anywhere and a line in ``CHECKS``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from stt_edge.config.settings import ProviderEntry
from stt_edge.extras import install_command
from stt_edge.frozen import frozen
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.clock import check_clock
from stt_edge.service.doctor.disk import check_disk
from stt_edge.service.doctor.finding import AS_ROOT, Finding, doubtful, failing
from stt_edge.service.doctor.ownership import check_paths
from stt_edge.service.doctor.permission import check_alsa_major, check_group_audio
from stt_edge.service.doctor.running import check_budget, check_daemon, check_muted
from stt_edge.service.doctor.sinks import check_sinks
from stt_edge.service.doctor.sound import check_sound
from stt_edge.service.doctor.store import check_store
from stt_edge.service.doctor.unit import check_unit
from stt_edge.service.doctor.vad import check_vad

Look = Callable[[Case], AsyncIterator[Finding]]
_LIMIT_S: Final = 15.0
_SOUND_S: Final = 60.0
_NETWORK_S: Final = 90.0


@frozen
class Check:
    """Something to look at."""

    name: str
    """In kebab-case; findings that are not the check's own carry it."""
    look: Look
    limit_s: float = _LIMIT_S
    """After this long it is given up; what it has found by then counts."""


def in_thread(look: Callable[[Case], Iterator[Finding]]) -> Look:
    """Return a check that may wait for disks and other programs, as one for the event loop."""

    @functools.wraps(look)
    async def checked(case: Case) -> AsyncIterator[Finding]:
        loop = asyncio.get_running_loop()
        found: asyncio.Queue[Finding | None] = asyncio.Queue()

        def work() -> None:
            for finding in look(case):
                loop.call_soon_threadsafe(found.put_nowait, finding)

        working = asyncio.ensure_future(asyncio.to_thread(work))
        working.add_done_callback(lambda _: found.put_nowait(None))
        while (finding := await found.get()) is not None:
            yield finding
        await working

    return checked


CHECKS: Final[tuple[Check, ...]] = (
    Check("daemon", in_thread(check_daemon)),
    Check("unit", in_thread(check_unit)),
    Check("muted", in_thread(check_muted)),
    Check("device", in_thread(check_sound), _SOUND_S),
    Check("group-audio", in_thread(check_group_audio)),
    Check("alsa-major", in_thread(check_alsa_major)),
    Check("vad", in_thread(check_vad), _SOUND_S),
    Check("clock", in_thread(check_clock)),
    Check("disk", in_thread(check_disk)),
    Check("store", in_thread(check_store), _SOUND_S),
    Check("paths", in_thread(check_paths)),
    Check("sinks", check_sinks, _NETWORK_S),
    Check("budget", in_thread(check_budget)),
)


async def examine(
    case: Case,
    checks: Sequence[Check] | None = None,
    waiting_for: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Finding]:
    """Carry out every check (default: CHECKS, and one for each provider); yields in that order.

    ``waiting_for`` gets the name of the check whose findings come next, before they are there.
    """
    if checks is None:
        checks = (*CHECKS, *_provider_checks(case))
    under_way = [_UnderWay(check) for check in checks]
    tasks = [asyncio.create_task(each.carry_out(case)) for each in under_way]
    try:
        for each, task in zip(under_way, tasks, strict=True):
            waiting_for(each.check.name)
            await task
            for finding in each.found:
                yield finding
    finally:
        for task in tasks:
            task.cancel()


@dataclass(slots=True)
class _UnderWay:
    """A check that is being carried out."""

    check: Check
    found: list[Finding] = field(default_factory=list)

    async def carry_out(self, case: Case) -> None:
        name, limit_s = self.check.name, self.check.limit_s
        try:
            async with asyncio.timeout(limit_s):
                async for finding in self.check.look(case):
                    self.found.append(finding)
        except TimeoutError:
            message = f"This has not come to an end within {limit_s:g} s, and was given up."
            remedy = "A device, a disk or a program hangs; dmesg and the findings around may tell."
            self.found.append(failing(name, message, remedy))
        except PermissionError as error:
            message = f"{error.filename or 'Something'} may not be looked at by this user."
            self.found.append(doubtful(name, message, AS_ROOT))
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"{error.filename}: {reason}." if error.filename else f"{reason}."
            self.found.append(failing(name, message, "Check that path and the medium (dmesg)."))


def _provider_checks(case: Case) -> list[Check]:
    if not case.config.providers:
        return [Check("providers", _no_provider)]
    return [
        Check(f"provider {entry.name}", functools.partial(_provider, entry), _NETWORK_S)
        for entry in case.config.providers
    ]


async def _no_provider(_: Case) -> AsyncIterator[Finding]:
    yield failing(
        "providers",
        "None is configured, and the default one is not installed.",
        f"Configure one, or: {install_command('pocketsphinx')}",
    )


async def _provider(entry: ProviderEntry, case: Case) -> AsyncIterator[Finding]:
    from stt_edge.service.doctor.provider import check_provider

    async for finding in check_provider(entry, case.user):
        yield finding
