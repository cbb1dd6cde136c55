"""Images of drawn people for pretraining, in no cohort: drawn in processes, cached once per setting."""

import fcntl
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.data.dataset import Crops
from vitau.processes import init_worker
from vitau.schema import Split
from vitau.store.atomic import atomic_path
from vitau.training.pretraining.draw_worker import DrawnPeople, draw_chunk

Array = npt.NDArray[Any]

CHUNK: Final = 50
VALIDATION_SHARE: Final = 0.08
DRAWING_VERSION: Final = "b7969dda08d4c5d584d5c04d83c1e293e810ec3e855b7c97e7615e85edb5704f"
"""Version of the drawing code, part of cache and training keys: replace it when a drawn image changes.

A test compares a few drawings with the numbers of this version.
"""


def drawn_crops(
    drawn: DrawnPeople, cache: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Crops:
    """Draw people, or read the cached ones of the same setting.

    Args:
        drawn: the setting.
        cache: folder of the cached images; they show no real person.
        workers: number of processes.
        progress: called with the number of people done and of all.

    Returns:
        Frames with pixels (S, S, 3) and exact landmarks. One person in twelve is in the validation split; half of them have a
        palsy. The images do not depend on the number of workers.
    """
    name = sha256(repr((sorted(asdict(drawn).items()), DRAWING_VERSION)).encode()).hexdigest()[:16]
    path = cache / f"drawn-{name}.npz"
    cache.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # two trainings that start together draw once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _draw_all(drawn, path, workers, progress)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    person_N = np.repeat(np.arange(drawn.num_people), drawn.frames_per_person)
    held_out = person_N >= round(drawn.num_people * (1 - VALIDATION_SHARE))
    return Crops(
        pixels_MSS3=arrays["pixels"],
        row_N=np.arange(len(person_N)),
        landmarks_NL2=arrays["landmarks"],
        palsied_N=arrays["palsied"],
        affected_NA=arrays["sided"].any(-1),
        known_NA=np.ones(arrays["sided"].shape[:2], bool),
        sided_NA2=arrays["sided"],
        subject_N=np.array([f"drawn-{person}" for person in person_N]),
        split_N=np.where(held_out, str(Split.VAL), str(Split.TRAIN)),
    )


def _draw_all(drawn: DrawnPeople, path: Path, workers: int, progress: Callable[[int, int], None] | None) -> None:
    chunks = [range(start, min(start + CHUNK, drawn.num_people)) for start in range(0, drawn.num_people, CHUNK)]
    parts: dict[int, dict[str, Array]] = {}
    done = 0
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=init_worker) as pool:
        futures = {pool.submit(draw_chunk, drawn, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            parts[futures[future].start] = future.result()
            done += len(futures[future])
            if progress:
                progress(done, drawn.num_people)
    arrays = {key: np.concatenate([parts[start][key] for start in sorted(parts)]) for key in parts[0]}
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the names of arrays for its own option
