"""Write snapshots of drawn people whose recordings differ between the cohorts, or do not."""

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitau.data.snapshot import freeze, snapshot_schema
from vitau.media.crops import quality, to_jpeg
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.schema import AUS, Cohort, Split
from vitau.store import Store

FRAME_SIZE = (640, 480)


def freeze_cohort(
    store: Store,
    folder: Path,
    num_people: int = 40,
    *,
    gray: Collection[Cohort] = (),
    encodings: dict[Cohort, dict[str, str]] | None = None,
    sources: dict[Cohort, str] | None = None,
    seed: int = 3,
) -> str:
    """Freeze two drawn frames of each person, half of them palsied; return the digest.

    Args:
        store: gets the frame tables and the snapshot.
        folder: for the files on their way.
        num_people: people; splits take turns.
        gray: cohorts whose frames have no color.
        encodings: metadata of the frame tables by cohort; by default none, as in tables of before.
        sources: name of the source by cohort; ``drawn`` by default.
        seed: of the population.
    """
    rows = []
    for index in range(num_people):
        person = draw_person(seed, index)
        cohort = Cohort.PALSY if person.palsied else Cohort.CONTROL
        rng = np.random.default_rng([seed, index])
        frames = [_frame(number, draw_crop(person, "smile", 0.5 + 0.4 * number, rng, 256), cohort in gray) for number in (0, 1)]
        table = pa.Table.from_pylist(frames).replace_schema_metadata((encodings or {}).get(cohort))
        pq.write_table(table, folder / "frames.parquet")
        clip = f"{index:064x}"
        key = f"subjects/s{index:03d}/clips/{clip}/frames-0.parquet"
        store.put(key, folder / "frames.parquet")
        rows += [
            {"subject": f"s{index:03d}", "clip": clip, "frame_index": frame["frame_index"], "frames_key": key}
            | {"source": (sources or {}).get(cohort, "drawn"), "cohort": str(cohort)}
            | {"split": str(list(Split)[index // 2 % 3]), "side": person.side and str(person.side)}
            | {str(au): au in person.affected for au in AUS}
            for frame in frames
        ]
    return freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), store, 0).digest


def _frame(number, drawing, is_gray):
    crop, landmarks = drawing.image, drawing.landmarks
    if is_gray:
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    measured = quality(crop, landmarks, landmarks + np.array([192, 112]), FRAME_SIZE)
    return {
        "frame_index": number,
        "crop": to_jpeg(crop),
        "crop_landmarks": landmarks.astype(np.float32).ravel().tolist(),
        **{name: getattr(measured, name) for name in measured.__slots__},
    }
