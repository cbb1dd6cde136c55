"""Scoring of photos and clips into a folder: tables, overlays, a report, and the skipped files with their reasons."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitau.data.parquet import leave_pandas_out
from vitau.errors import ClipError
from vitau.evaluation.explanations.results import Explanations
from vitau.evaluation.metrics import PalsyMetrics, RegionMetrics
from vitau.media.clips import PHOTO_SUFFIXES, DecodeCounts
from vitau.media.inputs import RecordingOptions, list_files
from vitau.media.tracking.split import Split
from vitau.processes import parallel_map, single_threaded
from vitau.registry.bundle import EXPLANATIONS, read_version
from vitau.schema import AU, Skipped, safe_cell
from vitau.scoring.aggregate import RegionScore, SubjectScore, aggregate
from vitau.scoring.explanations.contributions import contributions
from vitau.scoring.overlays import draw_overlays, evenly_spaced
from vitau.scoring.predict import Predictor
from vitau.scoring.reading import REASON_WORDS, ReadingCounts
from vitau.scoring.report import KeyFrame, Report, ReportedModel, ReportedSubject, write_report
from vitau.scoring.scores import ScoredFace, score_table, write_scores

NUM_KEY_FRAMES: Final = 4
"""Frames of a person that get overlays."""
FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet takes for a formula."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredPerson:
    """The score of one face of a photo, or of the tracked person of a clip.

    ``item`` is the number of the input, from 1; everything that is written names it. ``input`` is its path, for the terminal.
    ``contributions`` are those of movement, see :func:`vitau.scoring.explanations.contributions.contributions`.
    """

    item: int
    input: str
    face_index: int
    score: SubjectScore
    notes: tuple[str, ...]
    contributions: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """Scored people, skipped items with their reasons, the path of each item by number, and the number of other files."""

    people: tuple[ScoredPerson, ...]
    skipped: tuple[Skipped, ...]
    paths: Mapping[str, Path]
    num_ignored: int


def score_inputs(  # noqa: PLR0913 - an argument for each option of the command
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Path,
    *,
    model_name: str,
    metrics: PalsyMetrics | RegionMetrics | None = None,
    analyse_all: bool = False,
    options: RecordingOptions | None = None,
    num_processes: int = 1,
    num_readers: int = 1,
    watch: Callable[[Iterable[Path], int], Iterable[Path]] = lambda paths, _: paths,
) -> BatchResult:
    """Score files and folders of files; skip a file that cannot be scored, and record the reason.

    Writes ``scores.parquet``, ``scores.csv``, ``people.json``, ``skipped.csv``, ``overlays/`` and ``report.html`` into ``out``.
    They name items by number, because the names of files often contain those of people. Only ``items.csv``, which is for the
    owner, has the path of each item.

    Args:
        predictor: the model.
        inputs: photos, clips, folders.
        out: output folder; created if missing, earlier files are replaced.
        model_name: name of the model in the report, unless its folder was pulled and names it.
        metrics: metrics of the model on its test people, for the report.
        analyse_all: analyze the regions of healthy faces too.
        options: of all inputs: whether they are mirrored, and the time range of clips.
        num_processes: that score, each one input at a time; their number changes no result.
        num_readers: processes that share the reading of a long clip, for each of them.
        watch: wraps the paths and their number to show progress.

    Raises:
        ClipError: there is no file to score.
    """
    paths, num_ignored = list_files(inputs)
    if not paths:
        raise ClipError(
            f"{', '.join(map(str, inputs))} contains neither photos nor clips; give photos, clips or folders of them"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_items(paths, out / "items.csv")
    sent = _ItemWork(
        folder=predictor.folder.resolve(),
        device=str(predictor.device),
        out=out,
        analyse_all=analyse_all,
        options=options,
        split=Split(num_processes=num_readers),
    )
    here: Callable[[tuple[int, Path]], _ScoredItem] = partial(sent.score, predictor, alone=len(paths) == 1)
    scored = parallel_map(sent, enumerate(paths, 1), min(num_processes, len(paths)), here=here)
    items = [item for _, item in zip(watch(paths, len(paths)), scored, strict=True)]
    table = pa.concat_tables([score_table([]), *(item.table for item in items if item.table is not None)]).combine_chunks()
    people = [person for item in items for person in item.people]
    skipped = [item.skipped for item in items if item.skipped is not None]
    _write_tables(out, table, people, skipped)
    pulled = read_version(predictor.folder)
    model = ReportedModel(
        name=pulled.get("name", model_name),
        version=pulled.get("version"),
        run=pulled.get("run_id"),
        digest=predictor.digest,
        card=_card(predictor),
        metrics=metrics,
        explanations=_explanations(predictor),
    )
    report = Report(
        title="ViTAU: faces scored",
        synthetic=predictor.synthetic,
        warnings=predictor.warnings,
        models=[model],
        subjects=[subject for item in items for subject in item.reported],
        skipped=skipped,
    )
    write_report(report, out / "report.html")
    by_item = {str(number): path for number, path in enumerate(paths, 1)}
    return BatchResult(people=tuple(people), skipped=tuple(skipped), paths=by_item, num_ignored=num_ignored)


def write_items(paths: Sequence[Path], path: Path) -> None:
    """Write the path of each item as CSV, readable by the owner only.

    A path that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("item", "path"))
        cells = (f"'{item}" if str(item).startswith(FORMULA_SIGNS) else str(item) for item in paths)
        writer.writerows(enumerate(cells, 1))


def person_record(person: ScoredPerson, *, named: bool = True) -> dict[str, Any]:
    """Return the score of a person as JSON values; unless ``named``, the input is the number of the item, as in the tables."""
    return {
        **({"item": person.item, "input": person.input} if named else {"input": str(person.item)}),
        "face_index": person.face_index,
        **person.score.summary(),
        **({} if person.contributions is None else {"movement": person.contributions}),
        "notes": list(person.notes),
    }


def _card(predictor: Predictor) -> dict[str, Any]:
    """Return the model's card with the decision rule of the recognition that runs first."""
    rule = {name: predictor.recognition_card.get(name) for name in ("threshold", "calibration", "abstention")}
    return {**predictor.card, **{name: value for name, value in rule.items() if value is not None}}


def _explanations(predictor: Predictor) -> Explanations | None:
    """Read how true the explanations of recognition are; None for a folder without it."""
    path = predictor.folder / EXPLANATIONS
    return Explanations.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _ScoredItem:
    """The result of one input: scores of faces, people, and their entries in the report; or why it is skipped."""

    table: pa.Table | None = None
    people: Sequence[ScoredPerson] = ()
    reported: Sequence[ReportedSubject] = ()
    skipped: Skipped | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _ItemWork:
    """The work on one numbered input, to be sent to a process, which loads the model once."""

    folder: Path
    device: str
    out: Path
    analyse_all: bool
    options: RecordingOptions | None
    split: Split

    def __call__(self, numbered: tuple[int, Path]) -> _ScoredItem:
        return self.score(_loaded(self.folder, self.device), numbered)

    def score(self, predictor: Predictor, numbered: tuple[int, Path], *, alone: bool = False) -> _ScoredItem:
        """Score an input; one of several is scored by one thread, so that the number of processes changes no result."""
        with nullcontext() if alone else single_threaded():
            return self._score(predictor, *numbered)

    def _score(self, predictor: Predictor, number: int, path: Path) -> _ScoredItem:
        counts, reading, item, sampler = DecodeCounts(), ReadingCounts(), str(number), _FaceSampler()
        try:
            faces = predictor.score_path(
                path,
                item,
                analyse_all=self.analyse_all,
                counts=counts,
                options=self.options,
                reading=reading,
                split=self.split,
            )
            table = score_table(map(sampler.add, faces))
        except ClipError as error:
            return _ScoredItem(skipped=Skipped(item=item, reason=str(error)))
        people: list[ScoredPerson] = []
        reported: list[ReportedSubject] = []
        for face_index, own_faces in sampler.faces.items():
            own = table.filter(pc.equal(table["face_index"], face_index)) if len(sampler.faces) > 1 else table
            score = aggregate(own, predictor.rule, analyse_all=self.analyse_all)
            if score is None:  # every person has a row
                continue
            notes = (*predictor.warnings, *_notes(item, counts), *_left_out_notes(item, reading))
            added = contributions(predictor, own_faces[0].movement_F)
            people.append(
                ScoredPerson(item=number, input=str(path), face_index=face_index, score=score, notes=notes, contributions=added)
            )
            is_photo = path.suffix.lower() in PHOTO_SUFFIXES
            reported.append(
                ReportedSubject(
                    name=f"item {item}" if len(sampler.faces) == 1 else f"item {item}, face {face_index + 1}",
                    score=score,
                    key_frames=_draw(predictor, own_faces, self.out / "overlays" / f"{number:03d}", is_photo=is_photo),
                    left_out={str(reason): count for reason, count in reading.left_out.items()},
                    notes=_notes(item, counts),
                    contributions=added,
                )
            )
        return _ScoredItem(table=table, people=people, reported=reported)


@cache
def _loaded(folder: Path, device: str) -> Predictor:
    leave_pandas_out()
    return Predictor(folder, device=device)


class _FaceSampler:
    """Keeps a bounded number of faces of each person of one input, spread evenly over time."""

    def __init__(self) -> None:
        self.faces: dict[int, list[ScoredFace]] = {}
        self._strides: dict[int, int] = {}
        self._counts: Counter[int] = Counter()

    def add(self, face: ScoredFace) -> dict[str, Any]:
        """Keep the face or not; return its row."""
        index = face.row["face_index"]
        faces, stride = self.faces.setdefault(index, []), self._strides.setdefault(index, 1)
        if self._counts[index] % stride == 0:
            faces.append(replace(face, crop=face.crop.copy()))  # a view would keep the crops of the whole batch
        self._counts[index] += 1
        if len(faces) > 4 * NUM_KEY_FRAMES:
            del faces[1::2]
            self._strides[index] = 2 * stride
        return face.row


def _draw(predictor: Predictor, faces: Sequence[ScoredFace], folder: Path, *, is_photo: bool) -> list[KeyFrame]:
    """Draw and write overlays of some faces of a person; return them for the report."""
    chosen = [faces[position] for position in evenly_spaced(len(faces), NUM_KEY_FRAMES)]
    analysed_N = np.array([face.row["analysed"] for face in chosen], dtype=bool)
    folder.mkdir(parents=True, exist_ok=True)
    frames, crop_NHWC = [], np.stack([face.crop for face in chosen])
    landmarks_NL2 = np.stack([face.landmarks_L2 for face in chosen])
    drawn = draw_overlays(predictor, crop_NHWC, analysed_N, landmarks_NL2=landmarks_NL2, movement_F=chosen[0].movement_F)
    for face, overlays in zip(chosen, drawn, strict=True):
        row = face.row
        label = "photo" if is_photo else f"at {row['time_s']:.1f} s"
        for name, jpeg in overlays.items():
            (folder / f"face{row['face_index']}-frame{row['frame_index']:05d}-{name}.jpg").write_bytes(jpeg)
        frames.append(KeyFrame(label=label, palsy_score=row["palsy_score"], overlays=overlays))
    return frames


def _notes(item: str, counts: DecodeCounts) -> tuple[str, ...]:
    damage = [f"{counts.num_damaged} damaged frames or packets were skipped"] if counts.num_damaged else []
    ends = ["it ends long before the duration in its header"] if counts.truncated else []
    return (
        (f"item {item} is incomplete: {' and '.join(ends + damage)}. The readable frames were scored.",)
        if ends + damage
        else ()
    )


def _left_out_notes(item: str, reading: ReadingCounts) -> tuple[str, ...]:
    """Return a sentence about the faces outside the limits, if there are any."""
    if not reading.left_out:
        return ()
    reasons = ", ".join(f"{count} {REASON_WORDS[reason]}" for reason, count in reading.left_out.most_common())
    return (f"item {item}: faces left out: {reading.left_out.total()} of {reading.num_faces} ({reasons}).",)


def _write_tables(out: Path, table: pa.Table, people: Sequence[ScoredPerson], skipped: Sequence[Skipped]) -> None:
    write_scores(table, out)
    records = [person_record(person, named=False) for person in people]
    (out / "people.json").write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with (out / "skipped.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("item", "reason"))
        writer.writerows((safe_cell(skip.item), safe_cell(skip.reason)) for skip in skipped)


def summary_lines(result: BatchResult) -> Iterator[str]:
    """Yield one line of text per person: input, decision, score with interval, affected regions, and side."""
    for person in result.people:
        score = person.score
        face = f" face {person.face_index + 1}" if person.face_index else ""
        without = "one frame" if score.num_frames == 1 else "one second"
        interval = without if score.interval is None else "{:.2f} to {:.2f}".format(*score.interval)
        affected = ", ".join(_region_words(au, region) for au, region in score.regions.items() if region.affected) or "none"
        regions = affected if score.regions else "not analyzed"
        decision = ("palsy" if score.palsied else "no palsy") + (" (uncertain)" if score.uncertain else "")
        side = f"\tside: {score.side.side}, {score.side.probability:.0%}" if score.side else ""
        yield f"{person.input}{face}\t{decision}\t{score.palsy_score:.2f} ({interval})\tregions: {regions}{side}"


def _region_words(au: AU, region: RegionScore) -> str:
    return au.value if region.side is None else f"{au.value} {region.side.side}"
