"""Checks ``daemon``, ``muted`` and ``budget``: what the running service says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from stt_edge import __version__
from stt_edge.errors import PermissionDeniedError
from stt_edge.service.doctor.case import Case
from stt_edge.service.doctor.finding import Finding, doubtful, failing, well
from stt_edge.service.doctor.muting import is_muted
from stt_edge.service.status import StatusDocument, duration


def check_daemon(case: Case) -> Iterator[Finding]:
    """Ask the running service how it is, and pass on what it says."""
    if case.status is not None:
        yield from _running(case, case.status)
    elif isinstance(case.silence, PermissionDeniedError):
        yield doubtful("daemon", f"It runs, but {case.silence.message}", case.silence.remedy)
    elif case.silence is not None:
        yield failing("daemon", case.silence.message, case.silence.remedy)
    elif case.unit.installed:
        remedy = f"sudo systemctl start {case.unit.name}"
        yield failing("daemon", "stt-edge is installed, and does not run.", remedy)
    else:
        yield well("daemon", "no stt-edge runs; the device is opened for a moment.")


def check_muted(case: Case) -> Iterator[Finding]:
    """Say whether it is muted, which is no fault and is often forgotten."""
    if is_muted(case):
        yield doubtful("muted", "The microphone is muted, and stays so.", "stt-edge unmute")
    else:
        yield well("muted", "is not muted.")


def check_budget(case: Case) -> Iterator[Finding]:
    """Say whether the budget of the day is spent."""
    budget = case.config.budget
    if budget.seconds_per_day is None and budget.money_per_day is None:
        return
    if case.status is None:
        return  # who counts is the running service
    if case.status.budget_spent:
        yield doubtful(
            "budget",
            "The budget of the day is spent: until midnight only what costs nothing is used.",
            "Raise budget: in the configuration and reload, or name a local provider too.",
        )
    else:
        billed_s = sum(provider.billed_s for provider in case.status.providers)
        yield well("budget", f"is not spent; {billed_s:.0f} s are billed today.")


def _running(case: Case, status: StatusDocument) -> Iterator[Finding]:
    message = f"runs as process {status.pid} and {case.user.name}, for {duration(status.uptime_s)}"
    yield well("daemon", f"{message}; the ear is {status.ear.state}.")
    if status.version != __version__:
        yield doubtful(
            "daemon",
            f"What runs is version {status.version}, and this is {__version__}.",
            f"sudo systemctl restart {case.unit.name}",
        )
    for problem in status.problems:
        yield doubtful("daemon", problem, "stt-edge status shows it with everything around it.")
