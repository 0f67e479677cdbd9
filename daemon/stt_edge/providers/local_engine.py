"""What providers that run in a worker process have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any, Final

from stt_edge.errors import FailureKind, ProviderError
from stt_edge.extras import install_command
from stt_edge.providers.base import Capabilities, PartTimes, Provider
from stt_edge.providers.transports.worker import WorkerHost, worker_command
from stt_edge.providers.worker_protocol import WorkerProtocol

_LONGEST_PASS_S: Final = 240.0
"""For what was still on its way to the worker, and the last pass over it all. A worker that hangs
is found by its transport before."""

LOCAL: Final = Capabilities(
    local=True,
    partials=True,
    part_times=PartTimes.WORDS,
    confidence=True,
    ready_message=True,
    finalize=True,
    max_connections=1,
    connect_timeout_s=60.0,
    drain_timeout_s=_LONGEST_PASS_S,
    finalize_timeout_s=_LONGEST_PASS_S,
)
"""What a worker can do, if its engine can."""


class ModelError(Exception):
    """The directory of a model cannot be used; the message says why and what to do."""


def require(name: str, package: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises ProviderError of kind SETUP, with the command that brings it.
    """
    if util.find_spec(package) is None:
        raise ProviderError(
            FailureKind.SETUP,
            f"The provider {name} needs the package {package}, which is not installed.",
            remedy=f"Install it: {install_command(extra)}",
        )


def worker_provider(
    name: str,
    engine: str,
    settings: Mapping[str, Any],
    *,
    language: str | None,
    idle_unload_s: float,
    confidence: bool,
) -> Provider:
    """Return a provider whose engine runs in a worker; ``settings["model"]`` names its model."""
    text = json.dumps(settings)
    host = WorkerHost(name, worker_command(engine), text, idle_unload_s=idle_unload_s)
    return Provider(
        name=name,
        capabilities=replace(LOCAL, confidence=confidence),
        make_protocol=partial(WorkerProtocol, language=language),
        make_transport=host.transport,
        model=settings["model"],
        language=language,
        warm=host.warm,
        aclose=host.aclose,
    )


def model_directory(model: str | None, where_from: str) -> Path:
    """Return the directory named by the option ``model``. Raises ModelError."""
    if model is None:
        raise ModelError(f"is needed: the directory of a model; {where_from}")
    place = Path(model)
    try:
        if not place.is_dir():
            what = "is no directory" if place.exists() else "does not exist"
            raise ModelError(f"{place} {what}; {where_from}")
        next(place.iterdir(), None)
    except OSError as error:
        raise ModelError(f"{place} cannot be read: {error.strerror or error}") from error
    return place


def inner_directories(place: Path) -> list[Path]:
    """Return the directories in a directory: an archive is easily unpacked one level too deep."""
    return sorted(entry for entry in place.iterdir() if entry.is_dir())
