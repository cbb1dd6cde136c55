"""Recordings of a session: each is measured in a process of its own, one at a time, and forgotten with the session."""

import multiprocessing
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeAlias

from vitau.errors import VitauError
from vitau.processes import init_worker

ENDED: Final = (
    "the process that measured it ended unexpectedly: the file may be damaged, or the memory too small; "
    "try a shorter recording, or write it anew with another program"
)

MAX_NAME: Final = 100
"""Characters of a file name that are kept."""

Progress: TypeAlias = Callable[[int, int], None]
Measure: TypeAlias = Callable[[Path, Path, Mapping[str, Any], Progress], None]
"""(recording, folder for the results, options, progress) → None; run in another process, so it must be importable."""


class State(StrEnum):
    """The state of a recording."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One recording.

    Attributes:
        number: in the order in which they came, from 1; the folder is named by it.
        name: of the file, as the browser gave it; shown to its owner only.
        folder: with the recording and, in ``results``, everything that was measured.
        state: of the measurement.
        done: frames so far.
        total: frames in all, 0 while unknown.
        reason: one sentence, if it failed.
    """

    number: int
    name: str
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    state: State = State.WAITING
    done: int = 0
    total: int = 0
    reason: str = ""

    @property
    def recording(self) -> Path:
        """The file, under the name that its owner knows: tables and the report use it."""
        return self.folder / "recording" / self.name

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results"


class Jobs:
    """The recordings of a session, measured one after the other.

    Args:
        folder: private folder of the session.
        measure: the work; it raises :class:`VitauError` or ``ValueError`` with a sentence for a person.
    """

    def __init__(self, folder: Path, measure: Measure) -> None:
        self._folder, self._measure = folder, measure
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[int | None] = SimpleQueue()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._running: int | None = None
        self._stopping = False
        self._num_made = 0
        self._thread = threading.Thread(target=self._run, name="measure", daemon=True)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def stop(self) -> None:
        """End the running measurement, and measure no further one."""
        self._stopping = True
        self._waiting.put(None)
        self._kill()
        self._thread.join()

    def new(self, name: str, options: Mapping[str, Any]) -> Job:
        """Make the folder of a recording that is about to arrive; :meth:`submit` follows.

        Args:
            name: of the file, from the browser; folders, and characters that no file name should have, are left out.
            options: of the measurement.
        """
        with self._lock:
            self._num_made += 1
            number = self._num_made
        folder = self._folder / f"{number:04d}"
        job = Job(number=number, name=file_name(name), folder=folder, options=options)
        job.recording.parent.mkdir(mode=0o700, parents=True)
        return job

    def drop(self, job: Job) -> None:
        """Delete the folder of a recording that did not arrive whole."""
        shutil.rmtree(job.folder, ignore_errors=True)

    def submit(self, job: Job) -> None:
        """Queue a recording that is complete."""
        with self._lock:
            self._jobs[job.number] = job
        self._waiting.put(job.number)

    def all(self) -> list[Job]:
        """Return the recordings, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def get(self, number: int) -> Job | None:
        """Return a recording, or ``None`` if there is none of this number."""
        with self._lock:
            return self._jobs.get(number)

    def forget(self, number: int) -> bool:
        """Delete a recording with its results; return whether there was one. A running measurement is ended."""
        with self._lock:
            job = self._jobs.pop(number, None)
        if job is None:
            return False
        if self._running == number:
            self._kill()
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def _update(self, number: int, **changes: Any) -> Job | None:
        """Change what is known of a recording, unless it was deleted."""
        with self._lock:
            job = self._jobs.get(number)
            if job is not None:
                job = self._jobs[number] = replace(job, **changes)
            return job

    def _run(self) -> None:
        while (number := self._waiting.get()) is not None and not self._stopping:
            job = self._update(number, state=State.RUNNING)
            if job is None:
                continue
            self._running = number
            reason = self._measure_one(job)
            self._running = None
            if self._update(number, state=State.FAILED if reason else State.DONE, reason=reason) is None:
                shutil.rmtree(job.folder, ignore_errors=True)  # deleted while its process still wrote

    def _measure_one(self, job: Job) -> str:
        """Measure a recording in a new process; return the reason if that failed, else an empty text."""
        context = multiprocessing.get_context("spawn")  # a crash of a decoder ends that process, not the server
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(self._measure, job.recording, job.results, dict(job.options), writer))
        process.start()
        self._process = process
        writer.close()
        reason = ENDED
        try:
            while True:
                kind, *values = reader.recv()
                if kind == "progress":
                    self._update(job.number, done=values[0], total=values[1])
                else:
                    reason = values[0]
                    break
        except EOFError:
            pass
        finally:
            process.join()
            self._process = None
            reader.close()
        return reason


def file_name(name: str) -> str:
    """Return a safe file name: without folders, leading dots and characters that cannot be printed, and not too long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    safe = Path("".join(character for character in last if character.isprintable()).lstrip("."))
    return (safe.stem[:MAX_NAME] or "recording") + safe.suffix[:10]


def _work(measure: Measure, recording: Path, results: Path, options: Mapping[str, Any], writer: Connection) -> None:
    """Measure in this process, and tell the server about it."""
    init_worker()
    try:
        measure(recording, results, options, lambda done, total: writer.send(("progress", done, total)))
        writer.send(("ended", ""))
    except (VitauError, ValueError, OSError) as error:
        writer.send(("ended", str(error)))
