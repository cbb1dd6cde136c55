"""Tasks for the readers: choose a person's key frames, and build the task without identifying data."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from labeling.interface.answer import GRADES
from labeling.interface.config import region_title
from labeling.interface.measure_block import MeasureBlock, measure_html
from labeling.sampling.landmark_shapes import unit_shapes, upright
from vitau.schema import AU, AUS, NUM_LANDMARKS, LedgerRow, split_case

PAGE_DATA: Final[Mapping[str, Any]] = {"returned": "", "asked": None}
"""Data of a task that the page needs, and that tasks of earlier versions lack.

``returned`` is the reason, HTML, why an answer came back to its reader. ``asked`` are the regions that an adjudicator has to
settle.
"""

# quality columns of the frame table that matter to a reader; with this sign, larger is better
_BETTER = {"sharpness": 1.0, "detector_score": 1.0, "yaw_deg": -1.0, "pitch_deg": -1.0}


def choose_key_frames(
    crop_landmarks: NDArray[np.floating[Any]], quality: Mapping[str, NDArray[np.floating[Any]]], count: int = 8
) -> list[int]:
    """Choose the frames of one person to show: rest, the strongest frame of each facial task, then the most different frames.

    Rest is the frame nearest to the median shape. A facial task (``_task_measures``, in their order) is shown at its strongest
    frame, if that is an outlier among the person's frames. The other frames come from farthest-point sampling (Gonzalez, 1985)
    over the landmark shapes, centered and scaled to unit size. The worst third by ``quality`` is used only if too few frames
    remain.

    Args:
        crop_landmarks: (N, 136) px of the crop, x0, y0, x1, y1, …; rows that are not finite are never chosen.
        quality: columns of the frame table by name, each (N,); missing columns are ignored.
        count: largest number of frames.
    """
    shapes = np.asarray(crop_landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    candidates = np.flatnonzero(np.isfinite(shapes).all(axis=(1, 2)))
    if not len(candidates):
        return []
    ranks = _quality_ranks(quality, candidates)
    candidates = candidates[ranks >= min(np.quantile(ranks, 1 / 3), np.sort(ranks)[-count:][0])]
    measures = _task_measures(shapes[candidates])
    unit = unit_shapes(shapes[candidates])
    chosen = [int(np.argmin(np.linalg.norm(unit - np.median(unit, axis=0), axis=1)))]
    for measure in measures.values():
        chosen += [index for index in _outliers(measure) if index not in chosen][:1]
    chosen = chosen[: min(count, len(candidates))]
    nearest = np.linalg.norm(unit[:, None] - unit[None, chosen], axis=2).min(axis=1)
    while len(chosen) < min(count, len(candidates)):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(unit - unit[chosen[-1]], axis=1))
    return [int(candidates[index]) for index in chosen]


def _task_measures(shapes: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Measure each facial task, (N,) by task, from (N, 68, 2) landmarks, in interocular distances.

    Both sides are averaged, so that the movement of the healthy side suffices.
    """
    points = upright(shapes)
    x, y = points[..., 0], points[..., 1]

    def height(*landmarks: int) -> NDArray[np.float64]:
        return -y[:, list(landmarks)].mean(axis=1)

    width = x[:, 54] - x[:, 48]
    return {
        "brow raise": height(*range(17, 27)),
        "eye closure": height(40, 41, 46, 47) - height(37, 38, 43, 44),
        "snarl": height(31, 35) + height(49, 50, 52, 53) - height(20, 21, 22, 23),  # wings and lip up, brows down
        "smile": width,
        "pucker": -width,
        "jaw opening": height(61, 62, 63) - height(65, 66, 67),
    }


def _outliers(measure: NDArray[np.float64]) -> list[int]:
    """Return the frames whose ``measure`` is far above the person's median, the strongest first.

    The limit is 2.5 standard deviations, at least 0.03, three times the error of the landmarks. The standard deviation is
    estimated as 1.4826 times the median absolute deviation, on which the facial tasks have little effect.
    """
    above = measure - np.median(measure)
    limit = max(2.5 * 1.4826 * float(np.median(np.abs(above))), 0.03)
    return [int(index) for index in np.argsort(-above, kind="stable") if above[index] > limit]


def returned(reason: str) -> str:
    """Return HTML that shows a reader why an answer came back."""
    return f'<div class="vitau-returned"><b>Your last answer came back:</b> {escape(reason)}. Please answer again.</div>'


def image_url(store_uri: str, key: str) -> str:
    """Return the URL of an object for Label Studio: its ``s3://`` URI, or a file below its document root, the store."""
    if urlsplit(store_uri).scheme == "s3":
        return f"{store_uri.rstrip('/')}/{key}"
    return f"/data/local-files/?d={quote(key)}"


def store_folder(store_uri: str) -> Path | None:
    """Return the folder of a ``file://`` store or of a plain path, ``None`` for any other store."""
    parts = urlsplit(store_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(store_uri)


def build_task(
    case: str,
    images: Sequence[str],
    frames: Sequence[str],
    *,
    synthetic: bool = False,
    clips: Sequence[str] = (),
    suggestions: Mapping[AU, float] | None = None,
    suggested_by: str | None = None,
    material: str | None = None,
) -> dict[str, Any]:
    """Build the task about one person at one visit.

    Args:
        case: the name of the person at the visit (:mod:`vitau.schema.visits`), which the page does not show.
        images: URLs of the pictures, from ``image_url``.
        frames: the name of each picture's frame.
        synthetic: whether the page calls the person drawn.
        clips: URLs of the person's clips, from ``image_url``; a clip that the browser cannot decode stays black.
        suggestions: a model's scores by region, to show; ``None`` for a blind reader.
        suggested_by: name and version of that model.
        material: the name of the material from which the frames were chosen.

    Raises:
        ValueError: there are no pictures, or not as many as frames.
    """
    if not images or len(images) != len(frames):
        raise ValueError(f"subject {case} has {len(images)} pictures and {len(frames)} frame names; give as many, at least one")
    subject, visit = split_case(case)
    data: dict[str, Any] = {
        "subject": subject,
        "about": f"{'Drawn, synthetic person' if synthetic else 'One person'}, pictures: {len(images)}",
        "images": list(images),
        "frames": list(frames),
        "clips": [{"html": _player(address, number)} for number, address in enumerate(clips, start=1)],
        "material": material,
        "after": 0,
        **PAGE_DATA,
        **({} if visit is None else {"visit": visit}),
    }
    return {"data": data | suggested(suggestions, suggested_by)}


def build_adjudication_task(
    task: Mapping[str, Any],
    answers: Iterable[LedgerRow],
    disputed: Collection[AU],
    *,
    side: bool = False,
    suggestions: Mapping[AU, float] | None = None,
    suggested_by: str | None = None,
) -> dict[str, Any]:
    """Build the adjudicator's task: a reader's task with a table of all readers' answers, disputed rows highlighted.

    Args:
        task: from ``build_task``.
        answers: the blind answers about this person, in the ledger's order; the last one of a reader about a region counts.
        disputed: the disputed regions.
        side: whether the side is disputed.
        suggestions: a model's scores by region, shown below the answers.
        suggested_by: name and version of that model.
    """
    by_reader: dict[str, dict[AU, LedgerRow]] = {}
    for row in answers:
        by_reader.setdefault(row.reader, {})[row.au] = row
    readers = sorted(by_reader)
    lines = [_line("Decide the marked rows", readers, tag="th")]
    for au in AUS:
        cells = [_answer_text(by_reader[reader].get(au)) for reader in readers]
        lines.append(_line(region_title(au), cells, marked=au in disputed))
    whole = [next(iter(by_reader[reader].values())) for reader in readers]
    lines.append(_line("Side", [row.side or "none" for row in whole], marked=side))
    lines.append(_line("House–Brackmann grade", [GRADES[row.grade] if row.grade else "–" for row in whole]))
    notes = [f"<p>{escape(row.reader)}: {escape(row.note)}</p>" for row in whole if row.note]
    table = {
        "answers": f"<table>{''.join(lines)}</table>{''.join(notes)}",
        "asked": [au.value for au in AUS if au in disputed],
    }
    return {"data": dict(task["data"]) | suggested(suggestions, suggested_by) | table}


def with_measures(task: Mapping[str, Any], measures: MeasureBlock | None) -> dict[str, Any]:
    """Return a task that shows a person's measures, and nothing else of that kind; ``None`` shows none.

    They share the page's element of the suggestions: the page of an existing project cannot get another one, because its tasks
    would lack what that shows.
    """
    data = without_measures(task["data"])
    if measures is not None:
        html = measure_html(measures)
        data |= {"suggested": data["suggested"] + html, "measures": html, "measures_version": measures.version}
    return {**task, "data": data}


def without_measures(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return task data without measures; a model's scores stay."""
    scores = str(data.get("suggested") or "").removesuffix(data.get("measures") or "")
    return {**data, "suggested": scores, "measures": "", "measures_version": None}


def without_suggestions(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return task data without a model's scores; measures stay."""
    return {**data, **suggested(None, None), "suggested": data.get("measures") or ""}


def suggested(suggestions: Mapping[AU, float] | None, by: str | None) -> dict[str, Any]:
    """Return a model's scores as task data: HTML for the page, and values to record with the answer."""
    if suggestions is None:
        return {"suggested": "", "suggestions": None, "suggested_by": None}
    lines = [_line("A model suggests", [by or "unnamed"], tag="th")]
    lines += [_line(region_title(au), [f"{suggestions[au]:.2f}"]) for au in AUS if au in suggestions]
    scores = {au.value: float(suggestions[au]) for au in AUS if au in suggestions}
    return {"suggested": f"<table>{''.join(lines)}</table>", "suggestions": scores, "suggested_by": by}


def _player(address: str, number: int) -> str:
    """Return HTML that plays a clip, folded at first. It has a single URL, because Label Studio resolves only one.

    A clip does not play by itself: on its sound track, a name may be spoken.
    """
    video = (
        f'<video src="{escape(address)}" controls="controls" preload="metadata" loop="loop" playsinline="playsinline"></video>'
    )
    return f"<details><summary>Clip {number}</summary>{video}</details>"


def _quality_ranks(quality: Mapping[str, NDArray[np.floating[Any]]], candidates: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sum over quality columns of each candidate's rank, 0 (worst) to 1 (best); ties have equal ranks."""
    ranks = np.zeros(len(candidates))
    for name, sign in _BETTER.items():
        if name in quality:
            values = np.asarray(quality[name], dtype=np.float64)[candidates]
            values = sign * (np.abs(values) if sign < 0 else values)  # a head turned to the left is as bad as one to the right
            levels, rank = np.unique(np.nan_to_num(values, nan=-np.inf), return_inverse=True)
            ranks += rank / max(len(levels) - 1, 1)
    return ranks


def _answer_text(row: LedgerRow | None) -> str:
    if row is None:
        return "–"
    return {True: "affected", False: "not affected", None: "cannot tell"}[row.affected]


def _line(head: str, cells: Iterable[str], *, tag: str = "td", marked: bool = False) -> str:
    style = ' style="background:#fff0b3;color:#222;font-weight:bold"' if marked else ""
    texts = "".join(f'<{tag} style="padding:2px 10px;text-align:left">{escape(text)}</{tag}>' for text in [head, *cells])
    return f"<tr{style}>{texts}</tr>"
