"""People with stored measures: exact landmarks of drawn faces, of which the left side moves less. No picture is drawn."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.execution.clip_worker import frames_version
from flows.measuring.people import measure_keys
from flows.workspace import Workspace
from vitau.catalog.catalog import FrameTable
from vitau.measures.geometry import measure_points
from vitau.measures.stored import FrameMeasurer
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import Clip, Cohort, Subject


def add_person(workspace: Workspace, subject: str, *, severity: float | None, index: int = 0, visit: str | None = None) -> None:
    """Record a patient, or another clip of one, with a clip and its measures.

    Args:
        workspace: where to.
        subject: the pseudonym.
        severity: share of the left side's movement that is missing; ``None`` stores no measures.
        index: number of the drawn person.
        visit: name of the visit at which the clip was recorded.
    """
    clip = sha256(f"{subject} {visit}".encode()).hexdigest()
    key = f"subjects/{subject}/clips/{clip}/frames-{frames_version()}.parquet"
    catalog = workspace.catalog
    catalog.add_subject(Subject(pseudonym=subject, cohort=Cohort.PALSY, source="s", synthetic=True))
    catalog.add_clip(Clip(sha256=clip, subject=subject, source="s", suffix=".mp4", visit=visit))
    catalog.add_frame_table(
        FrameTable(
            clip=clip,
            recipe=frames_version(),
            key=key,
            num_frames=16,
            num_faces=16,
            quarantine_key=f"{key}.quarantine",
            quarantined={},
        )
    )
    if severity is not None:
        workspace.store.put(measure_keys(workspace)[clip], _table(workspace.settings.work, severity, index))


def _table(folder: Path, severity: float, index: int) -> bytes:
    person, rng = draw_person(31, index, palsied=False), np.random.default_rng([31, index])
    points = np.stack([draw_landmarks(person, task, amount, rng) for task in ("rest", *TASKS) for amount in (0.5, 1.0)])
    columns = measure_points(points)
    for name in [name for name in columns if name.endswith("_left")]:
        rest = columns[name][0]
        columns[name] = rest + (columns[name] - rest) * (1 - severity)
    empty = folder / "empty.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    FrameMeasurer().write(empty)
    schema = pq.read_schema(empty)
    known = {
        "frame_index": np.arange(len(points)),
        "time_s": np.arange(len(points)) / 6,
        "usable": np.ones(len(points), dtype=bool),
        "refined_landmarks": list(points.reshape(len(points), -1).astype(np.float32)),
        **columns,
    }
    missing = pa.nulls(len(points), pa.float64())
    arrays = [pa.array(known[field.name], type=field.type) if field.name in known else missing for field in schema]
    size = {"width": "640", "height": "480", "mirrored": "false"}
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema.with_metadata(size)), out)
    return out.getvalue().to_pybytes()
