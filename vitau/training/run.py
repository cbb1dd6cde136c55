"""A whole training from a recipe: data in, model folder, metrics and history out; an interrupted one goes on."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from vitau.data.dataset import Crops, load_crops
from vitau.data.snapshot import describe, load
from vitau.errors import TrainingError
from vitau.models.checkpoint import load_model, model_digest, save_model
from vitau.models.inputs import to_input
from vitau.models.regions import RegionConfig, RegionModel, build_regions
from vitau.models.vit import PalsyViT, build_vit
from vitau.schema import Protocol, Split
from vitau.store import Store
from vitau.training.checkpoint import Checkpoint, Epoch, History
from vitau.training.config import Recipe, TrainConfig
from vitau.training.drawn import drawn_crops
from vitau.training.fit import Watcher, fit
from vitau.training.progress import Talk
from vitau.training.sides import WithSides
from vitau.training.tasks import CropBatches, choose_threshold, fit_side_scales, measure, objective, predict, validation

MODEL: Final = "model"
METRICS: Final = "metrics.json"
HISTORY: Final = "history.json"
CHECKPOINTS: Final = "checkpoint"
CACHE: Final = "cache"

Model = PalsyViT | RegionModel


def train(  # noqa: PLR0913 - an argument for each option of the command
    recipe: Recipe,
    store: Store,
    snapshot: str,
    out: Path,
    *,
    pretrained: Path | None = None,
    weights: Sequence[str] = (),
    cache: Path | None = None,
    checkpoints_to_store: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Train on a snapshot; a folder that is complete is left alone.

    Args:
        recipe: what to train and how.
        store: holds the snapshot and its frame tables.
        snapshot: digest.
        out: gets ``model/``, ``metrics.json`` and ``history.json``; ``checkpoint/`` while it runs.
        pretrained: a model folder, or the ``out`` of :func:`pretrain`, to start from.
        weights: where to find weights of the user's own instead, see :func:`vitau.models.weights.bring_weights`.
        cache: folder for decoded crops; by default inside ``out``, and deleted at the end since it shows people.
        checkpoints_to_store: keep the state of the training in the store as well, so that another machine can go on.
        talk: tells the progress.

    Returns:
        What ``metrics.json`` says: ``test`` and ``val`` by subject, the threshold, what it was made from.

    Raises:
        TrainingError: if a split lacks people, ``out`` is of another training, or the loss is not finite.
        SnapshotError: if the snapshot is not what was frozen.
        CheckpointError: if the pretrained model is not of the recipe's shape.
    """
    if (out / METRICS).exists():
        return _complete(out, recipe=recipe.name, snapshot=snapshot)
    talk = talk or Talk()
    frozen = describe(load(store, snapshot), snapshot, "")
    with talk.task("decode crops") as step:
        crops = load_crops(store, snapshot, cache or out / CACHE, step)
    if recipe.kind == "regions":
        crops = crops.where(crops.palsied_N)
    crops = shrunk(crops, recipe.model_input_size)
    _check_splits(recipe, crops)
    model, started_from = _start(recipe, pretrained)
    if weights:
        started_from |= _brought(model, weights, store, started_from)
    origin = started_from.get("pretrained_digest") or started_from.get("weights")
    checkpoint = _checkpoint(recipe, recipe.train, out, f"{snapshot} {origin}", store if checkpoints_to_store else None)
    history = _fit(recipe, recipe.train, model, crops, checkpoint, talk)
    device = next(model.parameters()).device
    val, test = crops.of(Split.VAL), crops.of(Split.TEST)
    val_scores = predict(recipe.kind, model, val, recipe.model_input_size, device, sided=recipe.sided)
    test_scores = predict(recipe.kind, model, test, recipe.model_input_size, device, sided=recipe.sided)
    threshold = choose_threshold(recipe.kind, val, val_scores)
    scales = fit_side_scales(val, val_scores) if recipe.sided else None
    card = {
        "recipe": recipe.name,
        "protocol": str(Protocol.SUBJECTS),
        "snapshot": snapshot,
        "ledger_offset": frozen.ledger_offset,
        "synthetic": frozen.synthetic or bool(started_from.get("pretrained_on_synthetic")),
        "threshold": threshold,
        "side_scales": scales,
        "seed": recipe.train.seed,
        **started_from,
    }
    result = {
        "kind": recipe.kind,
        **card,
        "test": measure(recipe.kind, test, test_scores, threshold=threshold, scales=scales),
        "val": measure(recipe.kind, val, val_scores, threshold=threshold, scales=scales),
        "pretraining_seconds": _seconds(pretrained),
        "n_train_subjects": len(set(crops.of(Split.TRAIN).subject_N.tolist())),
        "best_epoch": (history.best or 0) + 1,
        "seconds": round(history.seconds, 1),
    }
    _finish(out, recipe, model, history, result, card)
    checkpoint.clear()
    return result


def pretrain(recipe: Recipe, out: Path, *, cache: Path | None = None, talk: Talk | None = None) -> dict[str, Any]:
    """Train on drawn people who are in no cohort; a folder that is complete is left alone.

    Args:
        recipe: must say how many people to draw.
        out: gets ``model/``, ``metrics.json`` and ``history.json``.
        cache: folder of the drawn pictures, which both recipes can share; by default inside ``out`` and deleted at the end.
        talk: tells the progress.

    Raises:
        TrainingError: if the recipe has no pretraining, or the loss is not finite.
    """
    if (out / METRICS).exists():
        return _complete(out, recipe=recipe.name)
    if recipe.pretrain is None or recipe.drawn is None:
        raise TrainingError(f"recipe {recipe.name} has no pretraining on drawn people: train it with weights of your own")
    talk, started = talk or Talk(), time.monotonic()
    with talk.task("draw people") as step:
        crops = drawn_crops(recipe.drawn, cache or out / CACHE, workers=len(os.sched_getaffinity(0)), progress=step)
    drawing_seconds = time.monotonic() - started
    if recipe.kind == "regions":
        crops = crops.where(crops.palsied_N)
    model, _ = _start(recipe, None)
    checkpoint = _checkpoint(recipe, recipe.pretrain, out, "drawn")
    history = _fit(recipe, recipe.pretrain, model, crops, checkpoint, talk)
    val = crops.of(Split.VAL)
    scores = predict(recipe.kind, model, val, recipe.model_input_size, next(model.parameters()).device, sided=recipe.sided)
    threshold = choose_threshold(recipe.kind, val, scores)
    scales = fit_side_scales(val, scores) if recipe.sided else None
    card = {
        "recipe": recipe.name,
        "protocol": str(Protocol.SUBJECTS),
        "synthetic": True,
        "threshold": threshold,
        "side_scales": scales,
        "drawn": asdict(recipe.drawn),
    }
    result = {
        "kind": recipe.kind,
        **card,
        "val": measure(recipe.kind, val, scores, threshold=threshold, scales=scales),
        "best_epoch": (history.best or 0) + 1,
        "drawing_seconds": round(drawing_seconds, 1),
        "seconds": round(history.seconds, 1),
    }
    _finish(out, recipe, model, history, result, card)
    checkpoint.clear()
    return result


def choose_device() -> torch.device:
    """Take the accelerator if there is one; on a processor, as many threads as ``VITAU_TORCH_THREADS`` says, else 1.

    The tiny models gain little from a second thread, and lose much where another process wants the core.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    threads = os.environ.get("VITAU_TORCH_THREADS", "1")
    if not threads.isdigit() or int(threads) < 1:
        raise TrainingError(f"VITAU_TORCH_THREADS is {threads!r}: give a whole number of threads from 1")
    torch.set_num_threads(int(threads))
    return torch.device("cpu")


def shrunk(crops: Crops, size: int) -> Crops:
    """Scale the pixels to a small input once, in memory, by the models' own rule; larger inputs are scaled batch by batch."""
    if size >= crops.pixels_MSS3.shape[1] or size > 96:
        return crops
    parts = []
    for rows in crops.batches(256):
        input_BCHW = to_input(torch.from_numpy(crops.pixels(rows)), size)
        parts.append(((input_BCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return crops.with_pixels(parts)


def _start(recipe: Recipe, pretrained: Path | None) -> tuple[Model, dict[str, Any]]:
    torch.manual_seed(recipe.train.seed)
    if pretrained is None:
        fresh = build_regions(recipe.model) if isinstance(recipe.model, RegionConfig) else build_vit(recipe.model)
        return fresh, {}
    folder = pretrained / MODEL if (pretrained / MODEL).exists() else pretrained
    model, card = load_model(folder)
    if model.config != recipe.model:
        raise TrainingError(
            f"the model in {folder} was made by recipe {card.get('recipe')} and has another shape than {recipe.name}'s: "
            f"pretrain with --recipe {recipe.name}"
        )
    said = {
        "pretrained": str(card.get("recipe")),
        "pretrained_digest": model_digest(folder),
        "pretrained_on_synthetic": bool(card.get("synthetic")),
    }
    return model, said | ({"drawn": card["drawn"]} if "drawn" in card else {})


def _brought(model: Model, weights: Sequence[str], store: Store, started_from: dict[str, Any]) -> dict[str, Any]:
    if started_from:
        raise TrainingError("a training starts from --pretrained or from --weights: give one of them")
    from vitau.models.weights import bring_weights

    return {"weights": bring_weights(model, weights, store)}


def _complete(out: Path, **expected: str) -> dict[str, Any]:
    """Read the metrics of a complete folder, which must be of the training that is asked for."""
    found: dict[str, Any] = json.loads((out / METRICS).read_text())
    for what, value in expected.items():
        if found.get(what) != value:
            raise TrainingError(f"{out} holds a training with {what} {found.get(what)}, not {value}: choose another --out")
    return found


def _seconds(pretrained: Path | None) -> float:
    """Read what a pretraining cost, drawing included; 0 where there was none or nobody wrote it down."""
    if pretrained is None or not (pretrained / METRICS).exists():
        return 0.0
    told = json.loads((pretrained / METRICS).read_text())
    return float(told["seconds"]) + float(told["drawing_seconds"])


def _checkpoint(recipe: Recipe, config: TrainConfig, out: Path, origin: str, store: Store | None = None) -> Checkpoint:
    identity = json.dumps([origin, asdict(recipe.model), asdict(config)])
    return Checkpoint(folder=out / CHECKPOINTS, identity=identity, store=store)


def _fit(recipe: Recipe, config: TrainConfig, model: Model, crops: Crops, checkpoint: Checkpoint, talk: Talk) -> History:
    device = choose_device()
    model.to(device)
    size = recipe.model_input_size

    def report(epoch: Epoch) -> None:
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in epoch.validation.items() if name != "selection")
        turn = f"epoch {epoch.number + 1}/{config.epochs}"
        talk.say(f"{turn}: loss {epoch.train_loss:.4f}, validation {numbers}, {epoch.seconds:.1f} s")

    with talk.task(f"train {recipe.name}") as step:
        return fit(
            WithSides(model).to(device) if config.side_weight else model,
            objective(
                recipe.kind,
                config,
                recipe.model.sigma if isinstance(recipe.model, RegionConfig) else None,
                sided=recipe.sided,
            ),
            CropBatches(crops.of(Split.TRAIN), config, size, device),
            validation(recipe.kind, crops.of(Split.VAL), size, device, sided=recipe.sided),
            config,
            checkpoint,
            Watcher(step=step, epoch=report),
        )


def _check_splits(recipe: Recipe, crops: Crops) -> None:
    for split in Split:
        people = crops.of(split)
        if not len(people):
            raise TrainingError(f"nobody{' palsied' * (recipe.kind == 'regions')} is in split {split}: label more people")
    if recipe.kind == "palsy" and len(set(crops.of(Split.TRAIN).palsied_N.tolist())) < 2:
        raise TrainingError("all training people are of one cohort: recognition needs palsied people and controls")


def _finish(out: Path, recipe: Recipe, model: Model, history: History, result: dict[str, Any], card: dict[str, Any]) -> None:
    """Write everything, the metrics last: where they are, the training is complete."""
    save_model(out / MODEL, model, recipe.model, **card)
    _write_json(out / HISTORY, asdict(history))
    shutil.rmtree(out / CACHE, ignore_errors=True)
    _write_json(out / METRICS, result)


def _write_json(path: Path, value: Any) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
