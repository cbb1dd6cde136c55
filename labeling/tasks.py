"""From a person's frames to the task that a reader gets: which pictures, under which address, and nothing that identifies."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from labeling.project import region_title
from vitau.schema import AU, AUS, NUM_LANDMARKS, LedgerRow

# of the frame table's quality columns, those that say how well a reader will see, and the sign that makes more better
_BETTER = {"sharpness": 1.0, "detector_score": 1.0, "yaw_deg": -1.0, "pitch_deg": -1.0}


def choose_key_frames(
    crop_landmarks: NDArray[np.floating[Any]], quality: Mapping[str, NDArray[np.floating[Any]]], count: int = 6
) -> list[int]:
    """The frames of one person to show a reader: the most rest-like first, then each time the one most unlike those before.

    Farthest-point sampling (Gonzalez, 1985) over the landmark shapes, centred and scaled to unit size; the worst third by
    ``quality`` is left aside while enough remain. The frame nearest to the median shape is at rest: each facial task moves
    some landmarks, and none moves most of the time.

    Args:
        crop_landmarks: (N, 136) px of the crop, x0, y0, x1, y1, …; rows that are not finite are never chosen.
        quality: columns of the frame table by name, each (N,); what is missing or unknown is not considered.
        count: how many frames at most.
    """
    shapes = np.asarray(crop_landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    candidates = np.flatnonzero(np.isfinite(shapes).all(axis=(1, 2)))
    if not len(candidates):
        return []
    ranks = _quality_ranks(quality, candidates)
    candidates = candidates[ranks >= min(np.quantile(ranks, 1 / 3), np.sort(ranks)[-count:][0])]
    shapes = shapes[candidates] - shapes[candidates].mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    shapes = shapes.reshape(len(candidates), -1)
    chosen = [int(np.argmin(np.linalg.norm(shapes - np.median(shapes, axis=0), axis=1)))]
    nearest = np.linalg.norm(shapes - shapes[chosen[0]], axis=1)
    while len(chosen) < min(count, len(candidates)):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(shapes - shapes[chosen[-1]], axis=1))
    return [int(candidates[index]) for index in chosen]


def image_url(store_uri: str, key: str) -> str:
    """Where Label Studio finds an object: at its ``s3://`` address, or as a file below its document root, the store."""
    if urlsplit(store_uri).scheme == "s3":
        return f"{store_uri.rstrip('/')}/{key}"
    return f"/data/local-files/?d={quote(key)}"


def store_folder(store_uri: str) -> Path | None:
    """The folder of a ``file://`` store or of a plain path; ``None`` for any other store."""
    parts = urlsplit(store_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(store_uri)


def build_task(subject: str, images: Sequence[str], frames: Sequence[str], *, synthetic: bool = False) -> dict[str, Any]:
    """One task for one person: their pseudonym, the addresses of the pictures, and the name of the frame behind each.

    A ``synthetic`` person is called so above the pictures.
    """
    if not images or len(images) != len(frames):
        raise ValueError(
            f"subject {subject} has {len(images)} pictures and {len(frames)} frame names; give as many, at least one"
        )
    about = f"{'Drawn, synthetic person' if synthetic else 'One person'}, pictures: {len(images)}"
    return {"data": {"subject": subject, "about": about, "images": list(images), "frames": list(frames)}}


def build_adjudication_task(
    task: Mapping[str, Any], answers: Iterable[LedgerRow], disputed: Collection[AU], *, side: bool = False
) -> dict[str, Any]:
    """The reader's ``task`` again, with every reader's answers as a table on top; the disputed regions stand out.

    Args:
        task: as ``build_task`` made it.
        answers: the blind answers about this person, in the ledger's order: the last one of a reader about a region counts.
        disputed: the regions to settle.
        side: whether the side is to be settled too.
    """
    said: dict[str, dict[AU, LedgerRow]] = {}
    for row in answers:
        said.setdefault(row.reader, {})[row.au] = row
    readers = sorted(said)
    lines = [_line("Settle what is marked, the rest stands", readers, tag="th")]
    for au in AUS:
        cells = [_spoken(said[reader].get(au)) for reader in readers]
        lines.append(_line(region_title(au), cells, marked=au in disputed))
    sides = [next(iter(said[reader].values())).side or "none" for reader in readers]
    lines.append(_line("Side", sides, marked=side))
    notes = [f"<p>{escape(name)}: {escape(note)}</p>" for name in readers if (note := next(iter(said[name].values())).note)]
    data = dict(task["data"])
    return {"data": data | {"answers": f"<table>{''.join(lines)}</table>{''.join(notes)}"}}


def _quality_ranks(quality: Mapping[str, NDArray[np.floating[Any]]], candidates: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum over the quality columns of each candidate's rank, 0 the worst to 1 the best; equal values have equal ranks."""
    ranks = np.zeros(len(candidates))
    for name, sign in _BETTER.items():
        if name in quality:
            values = np.asarray(quality[name], dtype=np.float64)[candidates]
            values = sign * (np.abs(values) if sign < 0 else values)  # a turned head is as bad to either side
            levels, rank = np.unique(np.nan_to_num(values, nan=-np.inf), return_inverse=True)
            ranks += rank / max(len(levels) - 1, 1)
    return ranks


def _spoken(row: LedgerRow | None) -> str:
    if row is None:
        return "–"
    return {True: "affected", False: "not", None: "cannot tell"}[row.affected]


def _line(head: str, cells: Iterable[str], *, tag: str = "td", marked: bool = False) -> str:
    style = ' style="background:#fff0b3;color:#222;font-weight:bold"' if marked else ""
    texts = "".join(f'<{tag} style="padding:2px 10px;text-align:left">{escape(text)}</{tag}>' for text in [head, *cells])
    return f"<tr{style}>{texts}</tr>"
