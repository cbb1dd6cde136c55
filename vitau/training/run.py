"""A whole training from a recipe: reads a snapshot, writes model folder, metrics and history; resumes if interrupted."""

import json
import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

from vitau.asymmetry.fusion import FUSION
from vitau.asymmetry.model import AsymmetryModel
from vitau.asymmetry.people import with_movement
from vitau.data import protocols
from vitau.data.dataset import Crops, load_crops
from vitau.data.snapshot import describe, load
from vitau.errors import TrainingError
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.decision import DEFAULT_THRESHOLD
from vitau.evaluation.training_result import TrainingResult
from vitau.models.checkpoint import Model, save_model
from vitau.models.inputs import SMALL_INPUT, to_input, to_pixels
from vitau.models.recompute import set_recompute
from vitau.models.regions import RegionConfig, RegionModel
from vitau.processes import keep_freed_memory
from vitau.progress import Reporter
from vitau.schema import AUS, FrameLimits, Protocol, Split
from vitau.store import Store
from vitau.store.atomic import write_atomic
from vitau.training.checkpoint import Checkpoint, History
from vitau.training.config import Recipe, TrainConfig, settings_of
from vitau.training.fit import fit
from vitau.training.fusion import NO_THRESHOLDS, fit_fusion, fit_movement
from vitau.training.losses import WithSides
from vitau.training.parallel import broadcast_from_main, is_main_process, main_process_first
from vitau.training.pretraining.drawn_faces import drawn_crops
from vitau.training.reporting.environment import describe_environment
from vitau.training.reporting.observers import watching
from vitau.training.reporting.shortcuts import probe_snapshot
from vitau.training.start import MODEL, start_model
from vitau.training.tasks import (
    CropBatches,
    choose_region_thresholds,
    choose_rule,
    fit_region_scale,
    fit_side_scales,
    measure,
    objective,
    predict,
    rule_fields,
    validation,
)

METRICS: Final = "metrics.json"
HISTORY: Final = "history.json"
CHECKPOINTS: Final = "checkpoint"
CACHE: Final = "cache"
MOVEMENT: Final = "movement"
"""Folder of the features of people, beside those of their crops."""


def train(  # noqa: PLR0913 - an argument for each option of the command
    recipe: Recipe,
    store: Store,
    snapshot: str,
    out: Path,
    *,
    everybody: bool = False,
    pretrained: Path | None = None,
    weights: Sequence[str] = (),
    cache: Path | None = None,
    checkpoints_to_store: bool = False,
    fencing_token: int | None = None,
    mlflow_url: str | None = None,
    num_threads: int | None = None,
    reporter: Reporter | None = None,
) -> TrainingResult:
    """Train on a snapshot and return the result; a complete folder is only read.

    With several processes (:mod:`vitau.training.parallel`), all call this and get the same result; the main process writes.

    Args:
        recipe: the model and its training.
        store: holds the snapshot and its frame tables.
        snapshot: digest.
        out: gets ``model/``, ``metrics.json`` and ``history.json``; ``checkpoint/`` while it runs.
        everybody: train or validate on everybody in the snapshot, and test nobody: the refit after people were left
            out one at a time.
        pretrained: a model folder, or the ``out`` of :func:`pretrain`, to start from.
        weights: sources of the user's own weights instead, see :func:`vitau.models.weights.bring_weights`.
        cache: folder for decoded crops; by default inside ``out``, and deleted at the end since it shows people.
        checkpoints_to_store: write checkpoints to the store as well, so that another machine can resume.
        fencing_token: of the caller's lease on this training; a process with an older one stops before it writes.
        mlflow_url: of the server that gets curves, system metrics and, of regions, heatmaps of drawn faces; none by default.
        num_threads: see :func:`choose_device`.
        reporter: writes messages and progress; on stderr by default.

    Returns:
        The content of ``metrics.json``.

    Raises:
        TrainingError: if a split lacks people, ``out`` is of another training, or the loss is not finite.
        SnapshotError: if the snapshot is not what was frozen.
        CheckpointError: if the pretrained model is not of the recipe's shape.
        RegistryError: if the MLflow server cannot be reached at the start.
        LeaseLostError: if another worker has taken the training over.
    """
    protocol = Protocol.LOPO if everybody else Protocol.SUBJECTS
    if (out / METRICS).exists():
        return read_result(out, recipe=recipe.name, snapshot=snapshot, protocol=protocol)
    reporter = reporter or Reporter(quiet=not is_main_process())
    rows = load(store, snapshot)
    frozen = describe(rows, snapshot, "")
    model, started_from = start_model(recipe, pretrained, weights, store)
    with main_process_first(), reporter.task("decode crops") as step:
        crops = load_crops(store, snapshot, cache or out / CACHE, step)
        if recipe.movement:
            crops = with_movement(crops, (cache or out / CACHE) / MOVEMENT)
    probe = broadcast_from_main(lambda: probe_snapshot(store, rows, cache or out / CACHE))
    if everybody:
        fold = protocols.everybody(crops.subject_N, crops.palsied_N, recipe.train.seed)
        crops = replace(crops, split_N=fold.splits())
    movement = fit_movement(crops.of(Split.TRAIN)) if recipe.movement else None
    if recipe.kind == "regions":
        crops = crops.where(crops.palsied_N)
    crops = shrunk(crops, recipe.model_input_size)
    _check_splits(recipe, crops, {Split.TRAIN, Split.VAL} if everybody else set(Split))
    origin = f"{started_from.get('pretrained_digest') or started_from.get('weights')}{' everybody' if everybody else ''}"
    checkpoint = _checkpoint(recipe, recipe.train, out, f"{snapshot} {origin}", store if checkpoints_to_store else None)
    checkpoint = replace(checkpoint, token=fencing_token)
    history, run_id = fit_model(
        recipe, recipe.train, model, crops, checkpoint, reporter, mlflow_url, choose_device(num_threads)
    )
    lineage = {
        "protocol": protocol,
        "snapshot": snapshot,
        "ledger_offset": frozen.ledger_offset,
        "synthetic": frozen.synthetic or bool(started_from.get("pretrained_on_synthetic")),
        "seed": recipe.train.seed,
        **started_from,
    }
    costs = {"pretraining_seconds": _seconds(pretrained), "run_id": run_id}
    result = broadcast_from_main(lambda: _conclude(out, recipe, model, crops, history, lineage, costs, probe, movement))
    checkpoint.clear()
    return result


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    cache: Path | None = None,
    mlflow_url: str | None = None,
    num_threads: int | None = None,
    reporter: Reporter | None = None,
) -> TrainingResult:
    """Train on drawn people who are in no cohort; a complete folder is only read. See :func:`train`.

    Args:
        recipe: one with a pretraining.
        out: gets ``model/``, ``metrics.json`` and ``history.json``.
        cache: folder of the drawn images, which recipes can share; by default inside ``out``, and deleted at the end.
        mlflow_url: of the server that gets curves, system metrics and images; none by default.
        num_threads: see :func:`choose_device`.
        reporter: writes messages and progress; on stderr by default.

    Raises:
        TrainingError: if the recipe has no pretraining, or the loss is not finite.
        RegistryError: if the MLflow server cannot be reached at the start.
    """
    if (out / METRICS).exists():
        return read_result(out, recipe=recipe.name)
    if recipe.pretrain is None or recipe.drawn is None:
        raise TrainingError(f"recipe {recipe.name} has no pretraining on drawn people: train it with weights of your own")
    reporter, started = reporter or Reporter(quiet=not is_main_process()), time.monotonic()
    with main_process_first(), reporter.task("draw people") as step:
        crops = drawn_crops(recipe.drawn, cache or out / CACHE, workers=len(os.sched_getaffinity(0)), progress=step)
    costs = {"drawing_seconds": round(time.monotonic() - started, 1)}
    if recipe.kind == "regions":
        crops = crops.where(crops.palsied_N)
    model, _ = start_model(recipe)
    checkpoint = _checkpoint(recipe, recipe.pretrain, out, "drawn")
    history, run_id = fit_model(
        recipe, recipe.pretrain, model, crops, checkpoint, reporter, mlflow_url, choose_device(num_threads)
    )
    lineage = {"protocol": Protocol.SUBJECTS, "synthetic": True, "drawn": asdict(recipe.drawn)}
    result = broadcast_from_main(lambda: _conclude(out, recipe, model, crops, history, lineage, {**costs, "run_id": run_id}))
    checkpoint.clear()
    return result


def choose_device(num_threads: int | None = None) -> torch.device:
    """Return the GPU of this process if there is one, else the processor, and set the number of torch's threads there.

    Args:
        num_threads: of torch on a processor; by default the environment's ``VITAU_TORCH_THREADS``, else 1. The tiny models gain
            little from a second thread, and lose much if another process needs its core.

    Raises:
        TrainingError: if ``VITAU_TORCH_THREADS`` is not a whole number from 1.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if num_threads is None:
        threads = os.environ.get("VITAU_TORCH_THREADS", "1")
        if not threads.isdigit() or int(threads) < 1:
            raise TrainingError(f"VITAU_TORCH_THREADS is {threads!r}: give a whole number of threads from 1")
        num_threads = int(threads)
    torch.set_num_threads(num_threads)
    keep_freed_memory()
    return torch.device("cpu")


def shrunk(crops: Crops, size: int) -> Crops:
    """Scale the pixels to a small input once, in memory, as the models would; larger inputs are scaled batch by batch."""
    if size >= crops.pixels_MSS3.shape[1] or size > SMALL_INPUT:
        return crops
    parts = []
    for rows in crops.batches(256):
        input_BCHW = to_input(torch.from_numpy(crops.pixels(rows)), size)
        parts.append(to_pixels(input_BCHW).byte().permute(0, 2, 3, 1).numpy())
    return crops.with_pixels(parts)


def read_result(out: Path, **expected: str) -> TrainingResult:
    """Read the result of a complete folder, which must be of the requested training."""
    found = TrainingResult.from_json(json.loads((out / METRICS).read_text()))
    for name, value in expected.items():
        if getattr(found, name) != value:
            raise TrainingError(f"{out} holds a training with {name} {getattr(found, name)}, not {value}: choose another --out")
    return found


def _seconds(pretrained: Path | None) -> float:
    """Return the seconds of a pretraining, drawing included; 0 without a pretraining or without its metrics."""
    if pretrained is None or not (pretrained / METRICS).exists():
        return 0.0
    result = TrainingResult.from_json(json.loads((pretrained / METRICS).read_text()))
    return result.seconds + (result.drawing_seconds or 0.0)


def _checkpoint(recipe: Recipe, config: TrainConfig, out: Path, origin: str, store: Store | None = None) -> Checkpoint:
    identity = json.dumps([origin, asdict(recipe.model), settings_of(config)])
    return Checkpoint(folder=out / CHECKPOINTS, identity=identity, store=store)


def fit_model(
    recipe: Recipe,
    config: TrainConfig,
    model: Model,
    crops: Crops,
    checkpoint: Checkpoint,
    reporter: Reporter,
    mlflow_url: str | None,
    device: torch.device,
) -> tuple[History, str | None]:
    """Train a model; return its history and the id of its MLflow run, if there is one."""
    model.to(device)
    set_recompute(model, config.recompute)
    if isinstance(model, RegionModel):
        model.encoder.keep_statistics = config.keep_statistics
    size, sigma = recipe.model_input_size, recipe.model.sigma if isinstance(recipe.model, RegionConfig) else None
    with watching(recipe, config, model, checkpoint.identity, reporter, mlflow_url) as (observer, run_id):
        history = fit(
            WithSides(model).to(device) if config.side_weight else model,
            objective(recipe.kind, config, sigma, sided=recipe.sided),
            CropBatches(crops.of(Split.TRAIN), config, size, device),
            validation(recipe.kind, crops.of(Split.VAL), size, device, sided=recipe.sided),
            config,
            checkpoint,
            observer,
        )
    return history, run_id


def _conclude(  # noqa: PLR0913, PLR0917 - what a training learned, and what is known about it
    out: Path,
    recipe: Recipe,
    model: Model,
    crops: Crops,
    history: History,
    lineage: dict[str, Any],
    costs: dict[str, Any],
    probe: ShortcutProbe | None = None,
    movement: AsymmetryModel | None = None,
) -> TrainingResult:
    """Write all results: fuse with movement, choose thresholds on validation people, and evaluate both held-out splits."""
    device = next(model.parameters()).device
    val, test = crops.of(Split.VAL), crops.of(Split.TEST)
    val_scores = predict(recipe.kind, model, val, recipe.model_input_size, device, sided=recipe.sided)
    card = {"recipe": recipe.name, **lineage, "threshold": None, "side_scales": None}
    fusion = None if movement is None else fit_fusion(recipe.kind, movement, val, val_scores)
    if fusion is not None:
        val_scores = fusion(val_scores, val.movement_NF)
    decide: dict[str, Any] = {}
    if recipe.kind == "palsy":
        decide["rule"] = choose_rule(val, val_scores, threshold=None if fusion is None else DEFAULT_THRESHOLD)
        card |= rule_fields(decide["rule"], val) | {"frame_limits": asdict(FrameLimits())}
    else:
        thresholds = NO_THRESHOLDS if fusion is not None else choose_region_thresholds(val, val_scores)
        card["region_thresholds"] = None if fusion is not None else dict(zip(map(str, AUS), thresholds, strict=True))
        decide["region_thresholds"] = thresholds
        decide["region_scale"] = fit_region_scale(val, val_scores, thresholds)
        card["side_scales"] = decide["scales"] = fit_side_scales(val, val_scores, thresholds) if recipe.sided else None
    test_metrics = None
    if len(test):
        test_scores = predict(recipe.kind, model, test, recipe.model_input_size, device, sided=recipe.sided)
        test_scores = test_scores if fusion is None else fusion(test_scores, test.movement_NF)
        test_metrics = measure(recipe.kind, test, test_scores, **decide)
    result = TrainingResult(
        kind=recipe.kind,
        **card,
        val=measure(recipe.kind, val, val_scores, **decide),
        **costs,
        num_train_subjects=len(set(crops.of(Split.TRAIN).subject_N.tolist())),
        best_epoch=(history.best or 0) + 1,
        seconds=round(history.seconds, 1),
        environment=describe_environment(device),
        test=test_metrics,
        shortcut_probe=probe,
    )
    if probe is not None:
        card |= {"shortcut_probe": probe.to_json(), "warnings": [probe.warning] if probe.warning else []}
    if fusion is not None:
        card |= {FUSION: fusion.to_json()}
    save_model(out / MODEL, model, recipe.model, **card)
    _write_json(out / HISTORY, asdict(history))
    shutil.rmtree(out / CACHE, ignore_errors=True)
    _write_json(out / METRICS, result.to_json())  # last: where it is, the training is complete
    return result


def _check_splits(recipe: Recipe, crops: Crops, needed: Collection[Split]) -> None:
    for split in Split:
        if split in needed and not len(crops.of(split)):
            raise TrainingError(f"split {split} has no {'palsied ' * (recipe.kind == 'regions')}people: label more people")
    if recipe.kind == "palsy" and len(set(crops.of(Split.TRAIN).palsied_N.tolist())) < 2:
        raise TrainingError("all training people are of one cohort: recognition needs palsied people and controls")


def _write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
