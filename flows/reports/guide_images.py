"""Images of the annotator's guide, with synthetic faces only: ``python -m flows.reports.guide_images`` draws them."""

from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from flows.settings import ROOT
from labeling.interface.guide import MARK_COLORS
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.media.synthetic.values import Floats, Image
from vitau.schema import AU, AUS, Side

SEED: Final = 2026
"""Seed of the population in the images."""


def rgb(color: str) -> tuple[int, int, int]:
    """Return the three bytes of a color such as ``#f0c83c``."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


COLORS: Final = {au: rgb(color) for au, color in MARK_COLORS.items()}
"""Region → its color, which its boxes on the labeling page have too."""


def main() -> None:
    """Draw all images."""
    images = ROOT / "docs" / "images"
    write(ROOT / "labeling" / "interface" / "regions.webp", regions_picture(360), quality=78)
    write(images / "guide-tasks.webp", tasks_picture(150), quality=80)
    write(images / "guide-side.webp", side_picture(300), quality=80)


def write(path: Path, image: Image, *, quality: int) -> None:
    """Write an RGB image as WebP."""
    _, encoded = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])
    path.write_bytes(encoded.tobytes())


def regions_picture(size: int) -> Image:
    """Draw a face at rest with its eight regions outlined on both sides, numbered like their keys."""
    drawing = draw_crop(find_person(palsied=False), "rest", 0.0, np.random.default_rng(0), size=2 * size)
    image, ellipses = drawing.image.copy(), region_ellipses(drawing.landmarks)
    shade = image.copy()
    for au in AUS:
        for center, axes in ellipses[au]:
            cv2.ellipse(shade, center, axes, 0, 0, 360, COLORS[au], -1, cv2.LINE_AA)
    image = cv2.addWeighted(shade, 0.35, image, 0.65, 0)
    for number, au in enumerate(AUS, start=1):
        for center, axes in ellipses[au]:
            cv2.ellipse(image, center, axes, 0, 0, 360, COLORS[au], 3, cv2.LINE_AA)
            caption(image, str(number), center, scale=1.1, color=COLORS[au])
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


def region_ellipses(landmarks: Floats) -> dict[AU, list[tuple[tuple[int, int], tuple[int, int]]]]:
    """Return the ellipses of each region as center and half axes, px, the one on the left of the image first."""
    unit = float(np.linalg.norm(landmarks[36:42].mean(axis=0) - landmarks[42:48].mean(axis=0)))
    above = np.array([0.0, -0.36 * unit])
    sides = {
        AU.AU1: (landmarks[[20, 21]].mean(axis=0) + above, landmarks[[22, 23]].mean(axis=0) + above, (0.17, 0.20)),
        AU.AU2: (landmarks[[17, 18, 19]].mean(axis=0) + above, landmarks[[24, 25, 26]].mean(axis=0) + above, (0.24, 0.20)),
        AU.AU4: (landmarks[17:22].mean(axis=0), landmarks[22:27].mean(axis=0), (0.36, 0.12)),
        AU.AU6: (
            landmarks[36] + np.array([-0.02 * unit, 0.34 * unit]),
            landmarks[45] + np.array([0.02 * unit, 0.34 * unit]),
            (0.25, 0.24),
        ),
        AU.AU9: (landmarks[[31, 39]].mean(axis=0), landmarks[[35, 42]].mean(axis=0), (0.13, 0.26)),
        AU.AU12: (landmarks[48] - np.array([0.10 * unit, 0]), landmarks[54] + np.array([0.10 * unit, 0]), (0.15, 0.17)),
    }
    ellipses = {au: [(point, axes), (other, axes)] for au, (point, other, axes) in sides.items()}
    ellipses[AU.AU25] = [(landmarks[[51, 57]].mean(axis=0), (0.26, 0.15))]
    ellipses[AU.AU26] = [(landmarks[[8, 57]].mean(axis=0) + np.array([0, 0.12 * unit]), (0.42, 0.17))]
    return {
        au: [(as_pixel(point), (round(width * unit), round(height * unit))) for point, (width, height) in spots]
        for au, spots in ellipses.items()
    }


def tasks_picture(size: int) -> Image:
    """Draw each task: a person without a palsy above, a person with a complete palsy below."""
    rows = []
    for person in (find_person(palsied=False), find_person(palsied=True)):
        row = []
        for task in TASKS:
            large = draw_crop(person, task, 1.0, np.random.default_rng(1), size=round(1.35 * size)).image
            left, top = round(0.175 * size), round(0.27 * size)
            image = np.full((size + 24, size, 3), 30, np.uint8)
            image[:size] = large[top : top + size, left : left + size]
            caption(image, task.replace("_", " "), (size // 2, size + 10), scale=0.42)
            row.append(image)
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def side_picture(size: int) -> Image:
    """Draw a one-sided smile, with the person's own left and right written on it."""
    image = draw_crop(find_person(palsied=True), "smile", 1.0, np.random.default_rng(2), size=size).image.copy()
    caption(image, "their right", (size // 4, size - 16), scale=0.55)
    caption(image, "their left", (3 * size // 4, size - 16), scale=0.55)
    cv2.line(image, (size // 2, 0), (size // 2, size), (255, 255, 255), 1, cv2.LINE_AA)
    return image


@cache
def find_person(*, palsied: bool) -> Person:
    """Return the first synthetic person with clearly visible lines, with or without a complete palsy of the left side."""
    for index in range(2000):
        person = draw_person(SEED, index, palsied=True)
        if person.side is Side.LEFT and len(person.affected) == len(AUS) and person.severity > 0.8 and person.look.age > 0.4:
            face = draw_crop(person, "rest", 0.0, np.random.default_rng(0), size=96).image[24:80, 24:72]
            if face.mean() > 125:
                return person if palsied else draw_person(SEED, index, palsied=False)
    raise AssertionError("none of the first 2000 people has a complete, strong palsy on the left and good light")


def caption(
    image: Image, text: str, center: tuple[int, int], *, scale: float, color: tuple[int, int, int] = (255, 255, 255)
) -> None:
    """Write ``text`` around ``center``, with a dark outline that makes it readable on skin and hair."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    corner = (center[0] - width // 2, center[1] + height // 2)
    for thickness, ink in ((round(6 * scale) + 2, (20, 20, 20)), (max(1, round(2 * scale)), color)):
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)


def as_pixel(point: Floats) -> tuple[int, int]:
    """Round a point to its pixel."""
    return round(float(point[0])), round(float(point[1]))


if __name__ == "__main__":
    main()
