"""Many jobs behind one dispatcher: each utterance's audio and results belong to its own job."""

from __future__ import annotations

import threading

from stt_edge.errors import LogError
from stt_edge.model import AudioSpan, Part, Record, UtteranceState
from stt_edge.service.transcription_job import FileJob
from stt_edge.session.budget import Cost


class Window:
    """Keeps the ear from hearing far more than the provider has taken."""

    def __init__(self, size: int) -> None:
        """Let ``size`` utterances be heard before the first of them is finished."""
        self._size = size
        self._inside = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Wait, on any thread, until there is room; return False once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._size or self._closed)
            self._inside += 1
            return not self._closed

    def leave(self) -> None:
        """Make room."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody in who waits: nothing will be finished any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Router:
    """The audio log and the results of every job that is open, as a dispatcher wants them."""

    def __init__(self, window: Window) -> None:
        """Start with no job; ``window`` is left by every utterance that is finished."""
        self._window = window
        self._jobs: dict[str, FileJob] = {}
        self._open: list[FileJob] = []
        self.finished = 0
        """How many utterances have been finished."""

    def add(self, job: FileJob) -> None:
        """Take a job that has been opened."""
        self._open.append(job)

    def remove(self, job: FileJob) -> None:
        """Forget a job: nothing of it is under way."""
        self._open.remove(job)
        self._jobs = {name: each for name, each in self._jobs.items() if each is not job}

    def belongs(self, utterance_id: str, job: FileJob) -> None:
        """Note whose an utterance is."""
        self._jobs[utterance_id] = job

    def jobs(self) -> list[FileJob]:
        """Return the jobs that are open."""
        return list(self._open)

    @property
    def trouble(self) -> str:
        """Why results cannot be stored, in one line; empty while they can."""
        return next((job.results.trouble for job in self._open if job.results.trouble), "")

    def read(self, utterance_id: str, from_sample: int, max_samples: int) -> list[AudioSpan]:
        """Return audio of an utterance. Raises LogError. See ``session.ports``."""
        job = self._jobs.get(utterance_id)
        if job is None:
            raise LogError(f"Utterance {utterance_id} belongs to no recording.")
        return job.log.read(utterance_id, from_sample, max_samples)

    def commit(self, part: Part, acked: int) -> None:
        """Store a part together with the utterance's acknowledged position."""
        self._jobs[part.utterance_id].results.commit(part, acked)

    def finish(self, utterance_id: str, state: UtteranceState, record: Record | None) -> None:
        """Store the record, if there is one, and the utterance's final state."""
        self._jobs[utterance_id].finish(utterance_id, state, record)
        self.finished += 1
        self._window.leave()

    def provisional(self, utterance_id: str, record: Record | None) -> None:
        """Store a fallback's record; there is none where there is one provider."""
        self._jobs[utterance_id].results.provisional(utterance_id, record)

    def job(self, utterance_id: str, job: tuple[str, str] | None) -> None:
        """Store which provider has made a job of the utterance, and its token; None for none."""
        self._jobs[utterance_id].results.job(utterance_id, job)

    def usage(self, provider: str, cost: Cost) -> None:
        """Count nothing: the meter is the daemon's."""

    def congested(self) -> bool:
        """Return whether so many results wait that no new session should open."""
        return any(job.results.congested() for job in self._open)
