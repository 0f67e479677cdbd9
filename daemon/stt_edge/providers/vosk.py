"""Vosk: speech recognition on this machine, with a Kaldi model of the user's choice.

It runs in a worker process of its own (``worker/vosk.py``), so this module never imports it. The
files of a model are those its library opens (vosk-api, model.cc).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stt_edge.config.schema import option
from stt_edge.errors import FailureKind, ProviderError
from stt_edge.frozen import frozen
from stt_edge.providers.base import Provider
from stt_edge.providers.local_engine import (
    LOCAL,
    ModelError,
    inner_directories,
    model_directory,
    require,
    worker_provider,
)

_PACKAGE: Final = "vosk"
EXTRA: Final = "vosk"
PACKAGES: Final = (_PACKAGE,)
CAPABILITIES: Final = LOCAL
_WHERE_FROM: Final = "get one from https://alphacephei.com/vosk/models and unpack it"


@frozen
class _Layout:
    """Where the parts of a model lie; of alternatives, each a set of files, one has to be there."""

    acoustic: str
    parts: dict[str, tuple[tuple[str, ...], ...]]
    lookahead: tuple[str, ...]
    """The graph that can be cut down to phrases."""


_LAYOUTS: Final = (
    _Layout(
        acoustic="am/final.mdl",
        parts={
            "features": (("conf/mfcc.conf",), ("conf/fbank.conf",)),
            "graph": (("graph/HCLG.fst",), ("graph/HCLr.fst", "graph/Gr.fst")),
        },
        lookahead=("graph/HCLr.fst", "graph/Gr.fst"),
    ),
    _Layout(  # of models made before 2020
        acoustic="final.mdl",
        parts={
            "features": (("mfcc.conf",),),
            "graph": (("HCLG.fst",), ("HCLr.fst", "Gr.fst")),
        },
        lookahead=("HCLr.fst", "Gr.fst"),
    ),
)


@frozen
class Options:
    """The keys of a provider of this kind."""

    model: str | None = option(None, doc="directory of the model, unpacked", path=True)
    phrases: tuple[str, ...] | None = option(
        None, doc="understand these phrases and nothing else; needs a small model"
    )
    language: str | None = option(
        None, doc="label of the results; the model decides what is understood"
    )
    idle_unload_s: float = option(
        120.0, minimum=0, maximum=86_400, doc="give the model's memory back after this long unused"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        if self.phrases is not None and not any(phrase.strip() for phrase in self.phrases):
            yield "phrases", "the list is empty; remove the line for free speech"
        try:
            layout, place = _find(self.model)
        except ModelError as error:
            yield "model", str(error)
            return
        if self.phrases and not _all_in(place, layout.lookahead):
            yield "phrases", f"{place.name} cannot be limited to phrases; a small model can"


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    require(name, _PACKAGE, "vosk")
    for key, message in options.problems():
        raise ProviderError(FailureKind.SETUP, f"{name}: {key}: {message}.")
    _, place = _find(options.model)
    phrases = None if options.phrases is None else [_spoken(phrase) for phrase in options.phrases]
    return worker_provider(
        name,
        _PACKAGE,
        {"model": place.name, "directory": str(place), "phrases": phrases},
        language=options.language,
        idle_unload_s=options.idle_unload_s,
        confidence=True,
    )


def _find(model: str | None) -> tuple[_Layout, Path]:
    """Return how the model lies in its directory. Raises ModelError."""
    place = model_directory(model, _WHERE_FROM)
    layout = _layout_of(place)
    if layout is None:
        for inner in inner_directories(place):
            if _layout_of(inner) is not None:
                raise ModelError(f"{place} holds no model itself; name {inner}")
        raise ModelError(f"{place} is no Vosk model: it has no am/final.mdl; {_WHERE_FROM}")
    for part, alternatives in layout.parts.items():
        if not any(_all_in(place, files) for files in alternatives):
            wanted = " or ".join(" and ".join(files) for files in alternatives)
            raise ModelError(f"{place} is no whole Vosk model: it lacks its {part}, {wanted}")
    return layout, place.resolve()


def _layout_of(place: Path) -> _Layout | None:
    return next((layout for layout in _LAYOUTS if (place / layout.acoustic).is_file()), None)


def _all_in(place: Path, files: tuple[str, ...]) -> bool:
    return all((place / name).is_file() for name in files)


def _spoken(phrase: str) -> str:
    """Return a phrase as the dictionaries of the models have it: in lower case, one space apart."""
    return " ".join(phrase.lower().split())
