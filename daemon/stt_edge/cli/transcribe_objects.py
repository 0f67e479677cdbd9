"""``stt-edge transcribe gs://bucket/object`` and ``--bucket``: Google reads from object storage."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stt_edge.cli.transcribe_order import Teller, in_order
from stt_edge.errors import FailureKind, InputError, ProviderError
from stt_edge.frozen import frozen
from stt_edge.ids import uuid7
from stt_edge.model import SAMPLE_RATE, Record, Word, samples_to_ms, samples_to_s

if TYPE_CHECKING:
    from stt_edge.config.settings import Config, ProviderEntry
    from stt_edge.service.object_jobs import ObjectJob, ObjectPart, ObjectProgress, ObjectResult

KIND: Final = "google_rest"
"""The provider whose options say how Google is spoken to."""
_SCHEME: Final = "gs://"
_AT_ONCE: Final = 4
_ABOUT_ONE: Final = (FailureKind.REQUEST, FailureKind.UTTERANCE)
"""What may be wrong with one recording and not with the next."""


def is_object(name: str) -> bool:
    """Return whether a name is an object's address rather than a file's."""
    return name.startswith(_SCHEME)


async def transcribe(config: Config, args: argparse.Namespace, teller: Teller) -> None:
    """Transcribe objects, and files by way of ``args.bucket``. Raises as ``run_object_job``."""
    from stt_edge.service.paths import daemon_paths
    from stt_edge.service.transcription_job import make_private, remove_job, remove_unused

    entry = _entry(config, args.provider)
    if args.bucket is None and not all(map(is_object, args.files)):
        raise InputError(
            "Files and objects of a bucket cannot be mixed without --bucket.",
            "Name the bucket the files go to, or transcribe them by themselves.",
        )
    directory = daemon_paths(None).state / "transcribe"
    make_private(directory)
    remove_unused(directory)
    run = _Run(config, entry, args, directory, teller)
    await in_order(run.transcribe, args.files, args.jobs or _AT_ONCE, teller)
    for path in args.files:
        remove_job(run.directory_of(path))


@frozen
class _Run:
    """What the jobs of one command have in common."""

    config: Config
    entry: ProviderEntry
    args: argparse.Namespace
    directory: Path
    teller: Teller

    def directory_of(self, path: str) -> Path:
        """Return the directory of a job: the same one for the same recording and options."""
        from stt_edge.service.transcription_job import digest, file_identity, options_identity

        identity = [path] if is_object(path) else [*file_identity(path), self.args.bucket]
        options = options_identity(self.entry.options)
        return self.directory / digest(["object", identity, self.config.audio.channel, options])

    async def transcribe(self, path: str) -> list[Record]:
        """Return the records of an object or a file. Raises as ``run_object_job`` does."""
        from stt_edge.service.object_jobs import run_object_job

        def show(progress: ObjectProgress) -> None:
            self.teller.progress(f"{path}: {progress.step.value}, {progress.percent} %")

        try:
            result = await run_object_job(self._job(path), on_progress=show)
        except ProviderError as error:
            if error.kind not in _ABOUT_ONE:
                raise
            raise InputError(f"{path}: {error.message}", error.remedy) from error
        if result.warning:
            self.teller.warn(f"{path}: {result.warning}")
        return records_of(result, self.entry.name, self.config.node)

    def _job(self, path: str) -> ObjectJob:
        from stt_edge.service.object_jobs import ObjectJob

        gs = is_object(path)
        return ObjectJob(
            options=self.entry.options,
            directory=self.directory_of(path),
            uri=path if gs else None,
            recording=None if gs else Path(path),
            bucket=None if gs else self.args.bucket,
            channel=self.config.audio.channel,
            give_up_s=self.args.give_up,
            # Nothing else is forgotten: what has been uploaded is there to be used, and deleted.
            submit_again=self.args.fresh,
        )


def records_of(result: ObjectResult, provider: str, node: str) -> list[Record]:
    """Return a record for each part; what has no time of its own lies behind the one before."""
    began = datetime.now(UTC)
    records: list[Record] = []
    end = 0
    for part in result.parts:
        start, end = _span(part, end, result.duration_s)
        records.append(
            Record(
                id=uuid7(),
                stream=result.operation,
                start=began + timedelta(seconds=samples_to_s(start)),
                end=began + timedelta(seconds=samples_to_s(end)),
                start_sample=start,
                end_sample=end,
                text=part.text,
                provider=provider,
                node=node,
                duration_ms=samples_to_ms(end - start),
                speech_ms=samples_to_ms(end - start),
                language=part.language,
                confidence=part.confidence,
                model=result.model,
                delayed=True,
                words=tuple(
                    Word(word.text, _sample(word.start_s), _sample(word.end_s), word.confidence)
                    for word in part.words
                ),
            )
        )
    return records


def _span(part: ObjectPart, before: int, duration_s: float | None) -> tuple[int, int]:
    start = before
    if part.start_s is not None:
        start = _sample(part.start_s)
    elif part.words:
        start = _sample(part.words[0].start_s)
    end = part.end_s if part.end_s is not None else duration_s
    if part.end_s is None and part.words:
        end = part.words[-1].end_s
    return start, max(start, start if end is None else _sample(end))


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _entry(config: Config, name: str | None) -> ProviderEntry:
    """Return the provider to use: the one named, else the first that can read from a bucket."""
    from stt_edge.service.transcription import choose

    if name is not None:
        (entry,) = choose(config, name).providers
    else:
        able = [entry for entry in config.providers if entry.kind == KIND]
        entry = able[0] if able else choose(config, KIND).providers[0]
    if entry.kind != KIND:
        raise InputError(
            f"The provider {entry.name} does not read from a bucket.",
            f"Name one of kind {KIND} with --provider.",
        )
    return entry
