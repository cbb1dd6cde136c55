"""Fake data sets with the real layouts and file names; run as a script, it writes them into a folder."""

import sys
from pathlib import Path

import cv2
import numpy as np

CKPLUS_SEQUENCES = (
    ("S005", "001", 3, (640, 490), True),
    ("S005", "002", 2, (640, 490), True),
    ("S132", "001", 3, (640, 480), False),
)
"""Subject, sequence, images, size, grayscale."""


def write_ckplus(root: Path, *, nested: bool = False, copied: bool = False, stray: bool = False) -> Path:
    """Write CK+ with its original layout, optionally nested, with a copy, or with stray files of two systems."""
    images = root / "cohn-kanade-images" / "cohn-kanade-images" if nested else root / "cohn-kanade-images"
    rng = np.random.default_rng(5)
    for subject, sequence, num_images, size, gray in CKPLUS_SEQUENCES:
        for index in range(1, num_images + 1):
            name = f"{subject}_{sequence}_{index:08d}.png"
            picture = rng.integers(0, 255, (size[1], size[0]) if gray else (size[1], size[0], 3)).astype(np.uint8)
            write_image(images / subject / sequence / name, picture)
            if copied and subject == "S132":
                write_image(root / "extended" / "copy" / "cohn-kanade-images" / subject / sequence / name, picture)
    if stray:
        for name in (".DS_Store", "S005/Thumbs.db", "S005/001/._S005_001_00000001.png", "ReadMeCohnKanadeDatabase_website.txt"):
            (images / name).write_bytes(b"stray")
    return root


def write_yfp(root: Path) -> Path:
    """Write YFP as image sequences in a folder per patient, and as clips named after the patient."""
    for patient, sequence in (("patient01", "1"), ("patient01", "2"), ("patient02", "1")):
        for index in range(1, 4):
            write_image(root / patient / sequence / f"{index}.jpg", np.full((30, 40, 3), index, np.uint8))
    for name in ("patient03_1.mp4", "patient03_2.mp4"):
        (root / name).write_bytes(b"not decoded here")
    (root / ".DS_Store").write_bytes(b"stray")
    return root


def write_photos(root: Path) -> Path:
    """Write photos by cohort and person."""
    for name in ("palsy/7/rest.jpg", "palsy/7/smile.jpg", "palsy/8.png", "control/7.jpg"):
        write_image(root / name, np.full((30, 40, 3), 99, np.uint8))
    (root / "palsy" / "notes.txt").write_text("stray")
    return root


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image; create missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write_ckplus(out / "ckplus", nested=True, copied=True, stray=True)
    write_yfp(out / "yfp")
    write_photos(out / "photos")
