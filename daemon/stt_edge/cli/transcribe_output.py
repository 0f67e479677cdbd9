"""What ``stt-edge transcribe`` writes: formats, and where they go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from stt_edge.cli.common import flush_output, printable, style, to_json, write_output
from stt_edge.errors import InputError
from stt_edge.model import Record, samples_to_s

FORMATS: Final = ("text", "json", "jsonl", "srt", "vtt")
_ENDINGS: Final = {"text": "txt"}
_CAPTIONS: Final = ("srt", "vtt")


class Output(Protocol):
    """Takes the records of one recording after the other."""

    def add(self, path: str, records: Sequence[Record]) -> None:
        """Write, or keep until ``finish``, the records of a recording."""

    def finish(self) -> None:
        """Write what was kept: every recording has been added."""


@contextlib.contextmanager
def open_output(form: str, where: Path | None, files: Sequence[str]) -> Iterator[Output]:
    """Return where the records of ``files`` go: standard output, a file, or a directory.

    A directory gets one file a recording. Raises InputError when that is not possible.
    """
    if where is not None and where.is_dir():
        yield FolderOutput(form, _targets(form, where, files))
        return
    if form in _CAPTIONS and len(set(files)) > 1:
        raise InputError(
            f"Captions of {len(set(files))} recordings do not fit into one file.",
            "Name a directory with --output: it gets a file for each.",
        )
    named = len(files) > 1
    if where is None:
        yield SingleOutput(form, _print, named=named)
        return
    if any(_is_same(where, Path(path)) for path in files):
        raise InputError(f"{where}: is one of the recordings.", "Name another --output.")
    with _created(where) as file:
        yield SingleOutput(form, lambda text: _write(file, where, text), named=named, file=file)


class SingleOutput:
    """Everything in one text, as it comes; a JSON array in the end."""

    def __init__(
        self, form: str, write: Callable[[str], None], *, named: bool, file: TextIO | None = None
    ) -> None:
        """Write by ``write``, to ``file`` unless that is None; ``named``: lines name the file."""
        self._form = form
        self._write = write
        self._named = named
        self._file = file
        self._kept: list[dict[str, Any]] = []

    def add(self, path: str, records: Sequence[Record]) -> None:
        """Write the records of a recording."""
        if self._form == "json":
            self._kept += [as_json(path, record) for record in records]
        elif text := render(self._form, path, records, named=self._named, stream=self._file):
            self._write(text)

    def finish(self) -> None:
        """Write the JSON array, if that is the format."""
        if self._form == "json":
            self._write(f"{to_json(self._kept, indent=2)}\n")


class FolderOutput:
    """A file for each recording, there when it is whole."""

    def __init__(self, form: str, targets: dict[str, Path]) -> None:
        """Write what is in the recording named by a key to the path beside it."""
        self._form = form
        self._targets = targets

    def add(self, path: str, records: Sequence[Record]) -> None:
        """Write the file of a recording."""
        target = self._targets[path]
        unfinished = target.with_name(f".{target.name}.unfinished")
        with _created(unfinished) as file:
            single = SingleOutput(
                self._form, lambda text: _write(file, target, text), named=False, file=file
            )
            single.add(path, records)
            single.finish()
        unfinished.replace(target)

    def finish(self) -> None:
        """Do nothing: every file is written."""


def render(
    form: str, path: str, records: Sequence[Record], *, named: bool, stream: TextIO | None = None
) -> str:
    """Return the records of one recording as text, JSON lines, SRT or VTT."""
    if form in _CAPTIONS:
        from stt_edge.service import captions

        cues = captions.cues_of(records)
        return captions.srt(cues) if form == "srt" else captions.vtt(cues)
    if form == "jsonl":
        lines = [to_json(as_json(path, record)) for record in records]
    else:
        lines = [_text_line(f"{path}: " if named else "", record, stream) for record in records]
    return "".join(f"{line}\n" for line in lines)


def as_json(path: str, record: Record) -> dict[str, Any]:
    """Return a record as ``--format jsonl`` has it: the file, and its own times in seconds."""
    from stt_edge.record_json import record_to_json

    body = record_to_json(record)
    body.update(
        start=samples_to_s(record.start_sample),
        end=samples_to_s(record.end_sample),
    )
    return {"file": path, **body}


def _text_line(name: str, record: Record, stream: TextIO | None) -> str:
    start, end = (_clock(samples) for samples in (record.start_sample, record.end_sample))
    place = style(f"{printable(name)}[{start} – {end}]", "dim", stream=stream)
    return f"{place} {printable(record.text)}"


def _clock(samples: int) -> str:
    """Return ``1:02:03.4``, without the hours where there are none."""
    tenths = round(samples_to_s(samples) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{text}" if hours else text


def _targets(form: str, directory: Path, files: Sequence[str]) -> dict[str, Path]:
    """Return the file for each recording: ``talk.srt`` for ``talk.wav``; two talks keep endings."""
    ending = _ENDINGS.get(form, form)
    paths = list(dict.fromkeys(files))
    stems = [Path(path).stem for path in paths]
    names = {
        path: f"{stem if stems.count(stem) == 1 else Path(path).name}.{ending}"
        for path, stem in zip(paths, stems, strict=True)
    }
    for path, name in names.items():
        if list(names.values()).count(name) > 1:
            raise InputError(
                f"{directory / name}: would hold two of the recordings.",
                f"Transcribe {path} by itself, or give it another name.",
            )
        if any(_is_same(directory / name, Path(other)) for other in paths):
            raise InputError(
                f"{directory / name}: is one of the recordings.", "Name another --output."
            )
    return {path: directory / name for path, name in names.items()}


def _is_same(target: Path, recording: Path) -> bool:
    try:
        return target.samefile(recording)
    except OSError:
        return False


@contextlib.contextmanager
def _created(path: Path) -> Iterator[TextIO]:
    try:
        # A file name may hold bytes that are no text; JSON and readers can do with an escape.
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "Name another --output.") from error
    with file:
        yield file


def _write(file: TextIO, path: Path, text: str) -> None:
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "Name another --output.") from error


def _print(text: str) -> None:
    write_output(text.removesuffix("\n"))
    flush_output()
