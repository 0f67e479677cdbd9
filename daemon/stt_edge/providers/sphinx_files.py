"""The files a pocketsphinx model is made of, and where they are found."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import util
from pathlib import Path
from typing import Final

from stt_edge.frozen import frozen

PACKAGE: Final = "pocketsphinx"
_OWN_MODEL: Final = Path("model", "en-us")
_PHONE_MODEL: Final = "-phone."


class OptionError(Exception):
    """An option cannot be used: which one, and why."""

    def __init__(self, key: str, message: str) -> None:
        """Keep the name of the option."""
        super().__init__(message)
        self.key = key


@frozen
class ModelFiles:
    """A model. Its language model is None where a grammar takes its place."""

    name: str
    hmm: Path
    dictionary: Path
    lm: Path | None


def package_directory() -> Path | None:
    """Return where the package lies, or None when it is not installed. Does not import it."""
    found = util.find_spec(PACKAGE)
    places = [] if found is None else list(found.submodule_search_locations or ())
    return Path(places[0]) if places else None


def find_model(
    model: str | None, hmm: str | None, lm: str | None, dictionary: str | None, *, with_lm: bool
) -> ModelFiles:
    """Return the files of the model in a directory, or those named one by one.

    Without a directory it is the package's own model. Raises OptionError.
    """
    place = _directory(model)
    return ModelFiles(
        name=place.name,
        hmm=_acoustic_model("hmm", Path(hmm)) if hmm else _acoustic_model("model", _hmm_in(place)),
        dictionary=_given("dict", dictionary) or _only(place, (".dict", ".dic"), "dictionary"),
        lm=(
            _given("lm", lm) or _only(place, (".lm.bin", ".lm.gz", ".lm"), "language model")
            if with_lm
            else None
        ),
    )


def _directory(model: str | None) -> Path:
    if model is not None:
        if not Path(model).is_dir():
            raise OptionError("model", f"{model} is no directory")
        return Path(model)
    package = package_directory()
    if package is None:
        raise OptionError("model", f"the package {PACKAGE} is not installed")
    return package / _OWN_MODEL


def _given(key: str, path: str | None) -> Path | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise OptionError(key, f"{path} is no file")
    return Path(path)


def _hmm_in(place: Path) -> Path:
    candidates = [place, *sorted(entry for entry in place.iterdir() if entry.is_dir())]
    return _one(place, [path for path in candidates if (path / "mdef").is_file()], "hmm", "mdef")


def _acoustic_model(key: str, path: Path) -> Path:
    for name in ("mdef", "means", "variances", "transition_matrices"):
        if not (path / name).is_file():
            raise OptionError(key, f"{path} is no acoustic model: it has no {name}")
    return path


def _only(place: Path, endings: Iterable[str], what: str) -> Path:
    files = sorted(path for path in place.iterdir() if path.is_file())
    for ending in endings:
        fitting = [path for path in files if path.name.endswith(ending)]
        fitting = [path for path in fitting if _PHONE_MODEL not in path.name]
        if fitting:
            return _one(place, fitting, "dict" if what == "dictionary" else "lm", what)
    raise OptionError("model", f"{place} has no {what} ({', '.join(endings)})")


def _one(place: Path, found: list[Path], key: str, what: str) -> Path:
    if not found:
        raise OptionError("model", f"{place} has no acoustic model (a directory with {what})")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise OptionError("model", f"{place} has several: {names}; name one by {key}")
    return found[0]
