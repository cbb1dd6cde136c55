"""Cross-validation of a recipe on labeled clips, without a store: one palsied person left out at a time.

Axes: N frames, A regions, M predictions.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from vitau.asymmetry.clips import LabeledPerson, usable_frames
from vitau.asymmetry.people import with_movement
from vitau.data.dataset import Crops
from vitau.data.protocols import divide
from vitau.errors import ClipError, TrainingError
from vitau.evaluation.bootstrap import Array, format_estimate
from vitau.evaluation.crossvalidation.pooled import OutOfFold, Pooled, evaluate
from vitau.evaluation.decision import FEWEST_FRAMES
from vitau.schema import AUS, Protocol, Skipped
from vitau.training.config import Recipe
from vitau.training.crossvalidation.fold import task_frames, train_fold
from vitau.training.run import shrunk


def load_clips(labeled: Sequence[LabeledPerson]) -> tuple[Crops, list[Skipped]]:
    """Load the frames of people that ingest would use, and list those who are left out with the reason.

    Raises:
        TrainingError: nobody has enough of them.
    """
    parts: list[tuple[LabeledPerson, Array, Array]] = []
    skipped = []
    for person in labeled:
        try:
            frames = [frame for clip in person.clips for frame in usable_frames(clip)]
        except ClipError as error:
            skipped.append(Skipped(item=person.subject, reason=str(error)))
            continue
        if len(frames) < FEWEST_FRAMES:
            skipped.append(Skipped(item=person.subject, reason=f"{len(frames)} frames show the face well enough"))
            continue
        parts.append((person, np.stack([crop for crop, _ in frames]), np.stack([points for _, points in frames])))
    if not parts:
        raise TrainingError("no clip shows a face in enough frames; give clips of people who perform exercises")

    def repeated(values: Sequence[object]) -> Array:
        return np.concatenate(
            [np.repeat(np.array([value]), len(part[1]), axis=0) for value, part in zip(values, parts, strict=True)]
        )

    people = [person for person, _, _ in parts]
    affected_NA = repeated([[label is True for label in person.affected] for person in people])
    side_N2 = repeated([[person.side > 0, person.side < 0] for person in people])
    crops = Crops(
        pixels_MSS3=np.concatenate([pixels for _, pixels, _ in parts]),
        row_N=np.arange(len(affected_NA)),
        landmarks_NL2=np.concatenate([points for _, _, points in parts]).astype(np.float32),
        palsied_N=repeated([person.palsied for person in people]),
        affected_NA=affected_NA,
        known_NA=repeated([[label is not None for label in person.affected] for person in people]),
        sided_NA2=affected_NA[..., None] & side_N2[:, None],
        subject_N=repeated([person.subject for person in people]),
        split_N=np.full(len(affected_NA), ""),
    )
    return crops, skipped


def leave_one_out(
    recipe: Recipe, crops: Crops, *, pretrained: Path | None, num_seeds: int, watch: Callable[[int, int], None]
) -> list[Pooled]:
    """Train a recipe once per fold and seed of protocol ``lopo``, and return its metrics by person.

    Args:
        recipe: of recognition or of the regions.
        crops: see :func:`load_clips`.
        pretrained: results of the recipe's pretraining to start from.
        num_seeds: trainings of each fold.
        watch: called with the numbers of trained and of all folds.

    Raises:
        TrainingError: a fold lacks people, or the loss is not finite.
        ValueError: there are too few people for the protocol.
    """
    crops = shrunk(with_movement(crops) if recipe.movement else crops, recipe.model_input_size)
    found: list[tuple[int, int, pa.Table]] = []
    for seed in range(num_seeds):
        own = replace(recipe, train=replace(recipe.train, seed=seed))
        folds = list(
            divide(Protocol.LOPO, subject_N=crops.subject_N, palsied_N=crops.palsied_N, split_N=crops.split_N, seed=seed)
        )
        for number, fold in enumerate(folds):
            if task_frames(recipe, crops, fold).test_N.any():
                with tempfile.TemporaryDirectory(prefix="vitau-fold-") as folder:
                    table = train_fold(
                        own, crops, fold, Path(folder) / "fold", identity=f"{seed} {number}", pretrained=pretrained
                    )
                found.append((seed, number, table))
            watch(seed * len(folds) + number + 1, num_seeds * len(folds))
    return [evaluate(pooled, "person") for pooled in _pool(recipe, crops, found)]


def result_lines(recipe: Recipe, pooled: Sequence[Pooled]) -> Iterator[str]:
    """Yield the metrics as a table in Markdown, with 95 % intervals over people."""
    first = pooled[0]
    counts = f"{first.num_people} people, {first.num_folds} folds, seeds: {first.num_seeds}"
    yield f"recipe {recipe.name}, protocol lopo, {counts}"
    yield ""
    yield "| question | AUROC | accuracy |"
    yield "|---|---|---|"
    for one in pooled:
        cells = [format_estimate(one.metrics[name].value, one.metrics[name].interval) for name in ("auroc", "accuracy")]
        yield f"| {one.task} | {' | '.join(cells)} |"
        for au, metrics in one.by_question.items():
            values = [metrics[name].value for name in ("auroc", "accuracy")]
            yield f"| {au} | {' | '.join('-' if value is None else f'{value:.2f}' for value in values)} |"


def _pool(recipe: Recipe, crops: Crops, found: Sequence[tuple[int, int, pa.Table]]) -> Iterator[OutOfFold]:
    row_M = np.concatenate([table["row"].to_numpy() for _, _, table in found])

    def column(name: str) -> Array:
        return np.concatenate([table[name].to_numpy(zero_copy_only=False) for _, _, table in found])

    def pooled(
        task: str, questions: Sequence[str], truth_MK: Array, known_MK: Array, score_MK: Array, threshold_M: Array
    ) -> OutOfFold:
        return OutOfFold(
            protocol=Protocol.LOPO,
            task=task,
            questions=tuple(questions),
            seed_M=np.concatenate([np.full(table.num_rows, seed) for seed, _, table in found]),
            fold_M=np.concatenate([np.full(table.num_rows, fold) for _, fold, table in found]),
            subject_M=crops.subject_N[row_M],
            frame_M=row_M,
            truth_MK=truth_MK,
            known_MK=known_MK,
            score_MK=score_MK,
            threshold_M=threshold_M,
            averages_log_odds=task == "palsy",
        )

    half_M, everyone_M1 = np.full(len(row_M), 0.5), np.ones((len(row_M), 1), bool)
    if recipe.kind == "palsy":
        truth_M1 = crops.palsied_N[row_M][:, None]
        yield pooled("palsy", ["palsy"], truth_M1, everyone_M1, column("score")[:, None], column("threshold"))
        return
    score_MA = np.stack([column(f"{au}_score") for au in AUS], axis=1)
    yield pooled("regions", [str(au) for au in AUS], crops.affected_NA[row_M], crops.known_NA[row_M], score_MA, half_M)
    sided_M2 = crops.sided_NA2[row_M].any(axis=1)
    one_M = sided_M2.sum(axis=1) == 1
    if recipe.sided and one_M.any():
        sides = pooled("side", ["right"], sided_M2[:, :1], everyone_M1, column("right_score")[:, None], half_M)
        yield sides.where(one_M)
