"""sherpa-onnx: speech recognition on this machine, with a streaming model of the user's choice.

It runs in a worker process of its own (``worker/sherpa.py``), so this module never imports it.
What kind of model lies in a directory follows from its files; which CTC model it is, from its name
(k2-fsa.github.io/sherpa/onnx, Pre-trained models, Streaming).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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

_PACKAGE: Final = "sherpa_onnx"
EXTRA: Final = "sherpa"
PACKAGES: Final = (_PACKAGE,)
CAPABILITIES: Final = LOCAL
_WHERE_FROM: Final = (
    "get a streaming one from https://k2-fsa.github.io/sherpa/onnx/pretrained_models and unpack it"
)
_KINDS: Final = {
    "transducer": ("encoder", "decoder", "joiner"),
    "paraformer": ("encoder", "decoder"),
    "zipformer2-ctc": ("model",),
    "nemo-ctc": ("model",),
    "wenet-ctc": ("model",),
    "t-one-ctc": ("model",),
}
"""The files of each kind, besides ``tokens.txt``."""
_CTC_NAMES: Final = {"nemo": "nemo-ctc", "wenet": "wenet-ctc", "t-one": "t-one-ctc"}
_INT8: Final = ".int8."


@frozen
class Options:
    """The keys of a provider of this kind."""

    model: str | None = option(None, doc="directory of a streaming model, unpacked", path=True)
    kind_of_model: str = option(
        "auto", choices=("auto", *_KINDS), doc="what the directory holds, if its files do not tell"
    )
    int8: bool = option(True, doc="of a model in both, use the small and fast variant")
    threads: int = option(2, minimum=1, maximum=64, doc="threads for the neural network")
    hotwords_file: str | None = option(
        None, path=True, doc="words to expect, one on each line; for transducers only"
    )
    hotwords_score: float = option(1.5, minimum=0, maximum=100, doc="how much they are preferred")
    hotwords_unit: str = option(
        "bpe", choices=("bpe", "cjkchar", "cjkchar+bpe"), doc="what the tokens of the model are"
    )
    language: str | None = option(
        None, doc="label of the results; the model decides what is understood"
    )
    idle_unload_s: float = option(
        120.0, minimum=0, maximum=86_400, doc="give the model's memory back after this long unused"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with the values together: pairs of a key and a message."""
        try:
            found = _find(self)
        except ModelError as error:
            yield "model", str(error)
            return
        if self.hotwords_file is None:
            return
        if found.kind != "transducer":
            yield "hotwords_file", f"a {found.kind} model takes no hotwords; remove it"
        elif not Path(self.hotwords_file).is_file():
            yield "hotwords_file", f"{self.hotwords_file} is no file"
        elif self.hotwords_unit != "cjkchar" and not (found.place / "bpe.vocab").is_file():
            yield "hotwords_file", f"{found.place} has no bpe.vocab, which hotwords need"


@frozen
class _Found:
    """A model in its directory."""

    place: Path
    kind: str
    files: dict[str, str]
    """Paths, by the name of the argument."""


def build(name: str, options: Options) -> Provider:
    """Return the provider. Raises ProviderError of kind SETUP."""
    require(name, _PACKAGE, "sherpa")
    for key, message in options.problems():
        raise ProviderError(FailureKind.SETUP, f"{name}: {key}: {message}.")
    found = _find(options)
    return worker_provider(
        name,
        "sherpa",
        {
            "model": found.place.name,
            "factory": "from_" + found.kind.replace("-", "_"),
            "arguments": _arguments(options, found),
        },
        language=options.language,
        idle_unload_s=options.idle_unload_s,
        confidence=found.kind == "transducer",
    )


def _arguments(options: Options, found: _Found) -> dict[str, Any]:
    arguments: dict[str, Any] = {**found.files, "num_threads": options.threads}
    if options.hotwords_file is not None:
        arguments |= {
            "decoding_method": "modified_beam_search",
            "hotwords_file": options.hotwords_file,
            "hotwords_score": options.hotwords_score,
            "modeling_unit": options.hotwords_unit,
        }
        if options.hotwords_unit != "cjkchar":
            arguments["bpe_vocab"] = str(found.place / "bpe.vocab")
    return arguments


def _find(options: Options) -> _Found:
    """Return the files of the model. Raises ModelError."""
    place = model_directory(options.model, _WHERE_FROM).resolve()
    if not (place / "tokens.txt").is_file():
        for inner in inner_directories(place):
            if (inner / "tokens.txt").is_file():
                raise ModelError(f"{place} holds no model itself; name {inner}")
        raise ModelError(f"{place} is no sherpa-onnx model: it has no tokens.txt; {_WHERE_FROM}")
    kind = options.kind_of_model
    if kind == "auto":
        kind = _kind_of(place)
    files = {"tokens": str(place / "tokens.txt")}
    for part in _KINDS[kind]:
        # A decoder is small: the publishers of the models advise against its int8 variant.
        int8 = options.int8 and (kind, part) != ("transducer", "decoder")
        files[part] = str(_one(place, kind, part, int8=int8))
    return _Found(place, kind, files)


def _kind_of(place: Path) -> str:
    if _candidates(place, "joiner"):
        return "transducer"
    if _candidates(place, "encoder"):
        return "paraformer"
    name = place.name.lower()
    return next((kind for mark, kind in _CTC_NAMES.items() if mark in name), "zipformer2-ctc")


def _one(place: Path, kind: str, part: str, *, int8: bool) -> Path:
    """Return the file of a part, in the wanted variant if there are two. Raises ModelError."""
    found = _candidates(place, part)
    wanted = [path for path in found if (_INT8 in path.name) == int8]
    left = wanted or found
    if not left:
        raise ModelError(f"{place} is no {kind} model: it has no {part}*.onnx; {_WHERE_FROM}")
    if len(left) > 1:
        names = ", ".join(path.name for path in left)
        raise ModelError(f"{place} has several: {names}; leave one of them there")
    return left[0]


def _candidates(place: Path, part: str) -> list[Path]:
    """Return the files that may be a part; of a model in one piece, any that there is."""
    pattern = "*.onnx" if part == "model" else f"{part}*.onnx"
    return sorted(path for path in place.glob(pattern) if path.is_file())
