"""Benchmark of training batches from a snapshot against a folder of PNGs."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from vitau.bench.measure import Case, Result, Watch, compare, rate
from vitau.data.dataset import Crops, load_crops
from vitau.data.parquet import write_table
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.media.crops import Image, to_jpeg
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.models.inputs import to_input, to_pixels
from vitau.models.vit import ViTConfig, build_vit
from vitau.processes import keep_freed_memory
from vitau.schema import AUS, CROP_SIZE, MIRROR, Cohort
from vitau.store import Store, open_store
from vitau.training.augment import NOISE_256, Changes, draw_changes
from vitau.training.config import TrainConfig
from vitau.training.fit import adamw, train_step
from vitau.training.recipes import tiny_palsy
from vitau.training.tasks import CropBatches, objective

SEED: Final = 1
CONFIG: Final = TrainConfig(batch_size=32)
_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """The same frames twice: as a snapshot whose crops were decoded once, and as PNGs in a folder per cohort."""

    crops: Crops
    digest: str
    images: Path


def bench(rounds: int = 5, watch: Watch = lambda *_: None, *, num_people: int = 16, at_least: float = 3.0) -> Result:
    """Build the batches of one epoch at 256 px, augmented, in one process and one thread.

    Ours reads decoded crops from the memory-mapped file that every epoch after the first one reads. The baseline is a training
    script with torchvision's ``ImageFolder``: it decodes a PNG and changes one image at a time, by ``affine_grid`` and
    ``grid_sample`` of torch, which can reflect at the border as ours does; torchvision's own rotations use them too. A second
    baseline changes images by OpenCV, which is faster and rounds places to 1/32 px; it is reported. All make the same
    random changes in the same order, drawn by the same function; their noise is looked up by OpenCV, in both baselines too. The
    decoding of ours, once per snapshot, is not in the time.

    The share of a training that waits for the loader is measured with the tiny recognition model, whose steps are the shortest.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        num_people: drawn people; each has a frame per task.
        at_least: smallest ratio to the first baseline that is wanted.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as a training does
    try:
        with TemporaryDirectory() as folder:
            frames = write(Path(folder), num_people)
            waiting = share_waiting(frames.crops)
            cases = (
                _case(frames, straightforward, "torch", rounds, watch, at_least, {"share of a tiny step that waits": waiting}),
                _case(frames, with_opencv, "OpenCV", rounds, watch, None, {}),
            )
    finally:
        torch.set_num_threads(threads)
    return Result(
        name="loader",
        compared="augmented batches of a snapshot beside a folder of PNGs",
        difference="of the pixels, whose values are in [−1, 1]",
        cases=cases,
    )


def _case(
    frames: Folder,
    baseline: Callable[[Folder], list[Tensor]],
    library: str,
    rounds: int,
    watch: Watch,
    at_least: float | None,
    agreement: Mapping[str, float],
) -> Case:
    num_frames = len(frames.crops)
    case = compare(
        f"{num_frames} frames of {CONFIG.batch_size} per batch, beside {library} image by image",
        partial(ours, frames),
        partial(baseline, frames),
        _judge,
        amount=num_frames,
        unit="images/s",
        rounds=rounds,
        watch=watch,
        at_least=at_least,
        floors={
            "random numbers": rate(partial(_draw_only, frames), num_frames, 2),
            "random numbers + bilinear sampling": rate(partial(_draw_and_sample, frames), num_frames, 2),
        },
    )
    return replace(case, agreement={**case.agreement, **agreement})


def write(folder: Path, num_people: int) -> Folder:
    """Write drawn people as a snapshot and as PNGs."""
    store, rows = open_store(folder / "store"), []
    for index in range(num_people):
        rows += _write_person(store, index)
    digest = freeze(pa.Table.from_pylist(rows, snapshot_schema()), store, 0).digest
    crops = load_crops(store, digest, folder / "cache")
    for row, (palsied, pixels) in enumerate(zip(crops.palsied_N, crops.pixels(slice(None)), strict=True)):
        path = folder / "images" / str(bool(palsied)) / f"{row:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return Folder(crops=crops, digest=digest, images=folder / "images")


def _write_person(store: Store, index: int) -> list[dict[str, Any]]:
    person, clip = draw_person(SEED, index), f"{index:064x}"
    key, rng = f"subjects/s{index}/clips/{clip}/frames-0.parquet", np.random.default_rng([SEED, index])
    drawn = [draw_crop(person, task, 1.0, rng, CROP_SIZE) for task in TASKS]
    frames = [
        {"frame_index": number, "crop": to_jpeg(crop.image), "crop_landmarks": crop.landmarks.ravel().tolist()}
        for number, crop in enumerate(drawn)
    ]
    write_table(store, key, pa.Table.from_pylist(frames))
    known: dict[str, Any] = {"subject": f"s{index}", "clip": clip, "frames_key": key, "source": "drawn", "split": "train"}
    known |= {"cohort": str(Cohort.PALSY if person.palsied else Cohort.CONTROL), "side": person.side and str(person.side)}
    labels = {str(au): au in person.affected for au in AUS}
    return [{**known, **labels, "frame_index": number} for number in range(len(drawn))]


def ours(frames: Folder) -> list[Tensor]:
    """Build the batches as a training does."""
    return [batch.crop_BCHW for batch in CropBatches(frames.crops, CONFIG, CROP_SIZE, _CPU).epoch(0)]


def straightforward(frames: Folder) -> list[Tensor]:
    """Build them image by image from PNGs, with the same order and changes, by torch."""
    return _image_by_image(frames, _change)


def with_opencv(frames: Folder) -> list[Tensor]:
    """Build them image by image from PNGs, with the same order and changes, by OpenCV."""
    return _image_by_image(frames, _change_by_opencv)


def _image_by_image(frames: Folder, change: Callable[[Image, Tensor, Changes], tuple[Tensor, Tensor]]) -> list[Tensor]:
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(frames.images, transform=partial(np.array, dtype=np.uint8))
    place = {int(Path(path).stem): position for position, (path, _) in enumerate(dataset.samples)}
    batches = []
    for index, changes in _batches(frames.crops):
        images = []
        for position, row in enumerate(index):
            landmarks_L2 = torch.from_numpy(frames.crops.landmarks_NL2[row])
            images.append(change(dataset[place[row]][0], landmarks_L2, changes.of(slice(position, position + 1)))[0])
        batches.append(torch.stack(images))
    return batches


def _change(pixels: Image, landmarks_L2: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
    """Change one image and its landmarks."""
    crop_CHW = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    new_to_old_23 = _matrix(changes)
    grid = functional.affine_grid(new_to_old_23[None], [1, *crop_CHW.shape], align_corners=False)
    warped_CHW = functional.grid_sample(crop_CHW[None], grid, padding_mode="reflection", align_corners=False)[0]
    return _relight(warped_CHW, changes), _move(landmarks_L2, new_to_old_23)


def _change_by_opencv(pixels: Image, landmarks_L2: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
    """Change one image and its landmarks; OpenCV's matrix is in px from the middle of the first one."""
    new_to_old_23, size = _matrix(changes), len(pixels)
    linear_22 = new_to_old_23[:, :2].double().numpy()
    shift_2 = new_to_old_23[:, 2].double().numpy() * size / 2 + (np.eye(2) - linear_22).sum(1) * (size - 1) / 2
    matrix, flags = np.column_stack([linear_22, shift_2]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(pixels, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
    warped_CHW = torch.from_numpy(warped).permute(2, 0, 1).float() / 127.5 - 1
    return _relight(warped_CHW, changes), _move(landmarks_L2, new_to_old_23)


def _matrix(changes: Changes) -> Tensor:
    """Return the transform from places of the new image to those of the old one, both from −1 to 1, (2, 3)."""
    angle, scale, mirror = (float(value) for value in (changes.angle_B, changes.scale_B, changes.mirror_B))
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    x, y = changes.shift_B2[0].tolist()
    return torch.tensor([[cos * mirror, -sin, x], [sin * mirror, cos, y]])


def _relight(crop_CHW: Tensor, changes: Changes) -> Tensor:
    color_C11 = (changes.bias_B + changes.tint_B3[0])[:, None, None]
    noise_CHW = torch.from_numpy(cv2.LUT(changes.noise_BCHW[0].numpy(), NOISE_256.numpy())) * changes.noise_sd_B
    return torch.clamp(crop_CHW * changes.gain_B + color_C11 + noise_CHW, -1, 1)


def _move(landmarks_L2: Tensor, new_to_old_23: Tensor) -> Tensor:
    old_L2 = (landmarks_L2 + 0.5) / CROP_SIZE * 2 - 1
    new_L2 = (old_L2 - new_to_old_23[:, 2]) @ torch.linalg.inv(new_to_old_23[:, :2]).T
    moved_L2: Tensor = (new_L2 + 1) / 2 * CROP_SIZE - 0.5
    return moved_L2[list(MIRROR)] if torch.det(new_to_old_23[:, :2]) < 0 else moved_L2


def share_waiting(crops: Crops) -> float:
    """Return the share of an epoch's time that the tiny recognition model's training waits for batches, after the first one.

    Its steps take one thread, and the background thread of the loader another core.
    """
    recipe = tiny_palsy()
    assert isinstance(recipe.model, ViTConfig)
    config = replace(recipe.train, batch_size=8)  # a few frames are many batches; both times are in proportion to them
    small = crops.with_pixels([to_pixels(to_input(crops.pixels(slice(None)), 64)).byte().permute(0, 2, 3, 1).numpy()])
    batches, model = CropBatches(small, config, recipe.model.input_size, _CPU), build_vit(recipe.model).train()
    optimizer, loss_of = adamw(model, config), objective("palsy", config)
    waited_s = 0.0
    for number in range(2):  # the first epoch warms up
        remaining, waited_s = batches.epoch(number), 0.0
        before = next(remaining)
        started = time.perf_counter()
        for step in range(len(batches)):
            train_step(model, loss_of, [before], optimizer, config, num_before=step, num_total=len(batches))
            asked = time.perf_counter()
            before = next(remaining, before)
            waited_s += time.perf_counter() - asked
        total_s = time.perf_counter() - started
    return waited_s / total_s


def _draw_only(frames: Folder) -> None:
    """Draw the changes of an epoch."""
    for _ in _batches(frames.crops):
        pass


def _draw_and_sample(frames: Folder) -> None:
    """Draw the changes of an epoch, and sample as many images bilinearly: one image, at places that are known."""
    crop_BCHW = to_input(frames.crops.pixels(slice(0, 1)), CROP_SIZE)
    grid = functional.affine_grid(torch.eye(2, 3)[None], list(crop_BCHW.shape), align_corners=False)
    for index, _ in _batches(frames.crops):
        for _ in index:
            functional.grid_sample(crop_BCHW, grid, padding_mode="border", align_corners=False)


def _batches(crops: Crops) -> Iterator[tuple[npt.NDArray[np.int64], Changes]]:
    """Yield the rows and the changes of each batch as :class:`CropBatches` draws them."""
    assert CONFIG.augmentation is not None
    rng = np.random.default_rng([CONFIG.seed, 0])
    order = rng.permutation(len(crops))
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 63)))
    for index in np.array_split(order, -(-len(crops) // CONFIG.batch_size)):
        yield index, draw_changes(len(index), CROP_SIZE, CONFIG.augmentation, generator)


def _judge(mine: list[Tensor], theirs: list[Tensor]) -> Mapping[str, float]:
    return {"max_difference": max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))}
