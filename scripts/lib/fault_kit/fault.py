"""What a fault is: a module that brings it about and says whether the daemon stood it.

Such a module lies in ``scripts/lib/faults`` and has ``NAME`` ("F4"), ``TITLE``, and
``run(work, quick) -> str``: what was measured, in one line. It raises AssertionError or FaultError
where the figure is missed. Nothing else is needed to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from scripts.lib import faults

ROOT: Final = Path(__file__).resolve().parents[3]


class FaultError(Exception):
    """A figure was missed, or the fault could not be brought about; the message says which."""


class Fault(Protocol):
    """The module of one fault."""

    NAME: str
    TITLE: str

    def run(self, work: Path, quick: bool) -> str:
        """Bring it about in an empty folder; return what was measured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one fault went."""

    name: str
    title: str
    held: bool
    remark: str
    took_s: float


def discovered() -> list[Fault]:
    """Return the faults there are, in the order of their numbers."""
    modules = [
        importlib.import_module(f"{faults.__name__}.{found.name}")
        for found in pkgutil.iter_modules(faults.__path__)
        if found.name != "__main__"
    ]
    there = [cast("Fault", module) for module in modules if hasattr(module, "NAME")]
    return sorted(there, key=lambda fault: int(fault.NAME.removeprefix("F")))


def chosen(there: Iterable[Fault], names: Iterable[str]) -> list[Fault]:
    """Return the faults that are named. Raises FaultError for a name that is none."""
    by_name = {fault.NAME: fault for fault in there}
    wanted = [name.strip().upper() for name in names]
    if unknown := [name for name in wanted if name not in by_name]:
        raise FaultError(f"no fault {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def undergo(fault: Fault, work: Path, *, quick: bool) -> Outcome:
    """Bring a fault about, and say how it went."""
    work.mkdir(parents=True)
    begun = time.monotonic()
    try:
        remark, held = fault.run(work, quick), True
    except (AssertionError, FaultError, TimeoutError, OSError) as error:
        remark, held = str(error) or type(error).__name__, False
        if not isinstance(error, FaultError):
            traceback.print_exc()
    return Outcome(fault.NAME, fault.TITLE, held, remark, time.monotonic() - begun)


def progress(message: str) -> None:
    """Say on standard error how far it is."""
    print(f"    {message}", file=sys.stderr, flush=True)
