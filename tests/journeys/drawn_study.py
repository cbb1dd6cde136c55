"""A drawn study in the shape of the paper's: patients in color clips as YFP has them, controls in gray images as CK+ has them.

Nobody is real. The cameras differ by cohort on purpose: that is what the shortcut probe must find.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import Person, draw_person
from vitau.schema import AUS

SEED = 21
NUM_PATIENTS, NUM_CLIPS, NUM_CONTROLS, NUM_UNKNOWN = 21, 32, 30, 5
IMAGES = 6
"""Images of a control's sequence, from rest to the apex of a smile."""


@dataclass(frozen=True, kw_only=True)
class DrawnStudy:
    """The folders of a drawn study.

    Attributes:
        yfp: one clip per file, ``patient03_2.mp4``.
        ckplus: ``cohn-kanade-images/S005/001/S005_001_00000001.png``, gray.
        unknown: clips of further people, half of them patients.
        labels: two readers' answers about the patients, to import.
        patients: by the name in the file names.
    """

    yfp: Path
    ckplus: Path
    unknown: Path
    labels: Path
    patients: dict[str, Person]


def draw_study(folder: Path) -> DrawnStudy:
    """Draw the study into a folder."""
    patients = {f"patient{number:02d}": draw_person(SEED, number, palsied=True) for number in range(NUM_PATIENTS)}
    study = DrawnStudy(
        yfp=folder / "yfp",
        ckplus=folder / "ckplus",
        unknown=folder / "unknown",
        labels=folder / "labels.csv",
        patients=patients,
    )
    for path in (study.yfp, study.ckplus, study.unknown):
        path.mkdir(parents=True)
    for number, (name, person) in enumerate(patients.items()):
        write_clip(study.yfp / f"{name}_1.mp4", person, frames_per_task=1)
        if number < NUM_CLIPS - NUM_PATIENTS:
            write_clip(study.yfp / f"{name}_2.mp4", person, frames_per_task=2)
    for number in range(NUM_CONTROLS):
        _draw_sequence(study.ckplus / "cohn-kanade-images", 5 + number, draw_person(SEED, 100 + number, palsied=False))
    for number in range(NUM_UNKNOWN):
        write_clip(study.unknown / f"visit{number}.mp4", draw_person(SEED, 200 + number, palsied=number % 2 == 0), 1)
    _write_labels(study)
    return study


def _draw_sequence(root: Path, number: int, person: Person) -> None:
    folder = root / f"S{number:03d}" / "001"
    folder.mkdir(parents=True)
    rng = np.random.default_rng([SEED, number])
    for image in range(IMAGES):
        gray = cv2.cvtColor(draw_frame(person, "smile", image / (IMAGES - 1), rng).image, cv2.COLOR_RGB2GRAY)
        cv2.imwrite(str(folder / f"S{number:03d}_001_{image + 1:08d}.png"), gray)


def _write_labels(study: DrawnStudy) -> None:
    with study.labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("subject", "reader", "au", "affected", "side"))
        for name, person in study.patients.items():
            for reader in ("reader-a", "reader-b"):
                for au in AUS:
                    affected = au in person.affected
                    writer.writerow((name, reader, au, "yes" if affected else "no", person.side if affected else ""))
