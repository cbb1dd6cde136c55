"""Benchmark of training batches from a snapshot against a folder of PNGs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from vitau.bench.measure import Result, Watch, compare, rate
from vitau.data.dataset import Crops, load_crops
from vitau.data.parquet import write_table
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.media.crops import Image, to_jpeg
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.models.inputs import to_input
from vitau.schema import AUS, CROP_SIZE, Cohort
from vitau.store import Store, open_store
from vitau.training.augment import augment, draw_changes
from vitau.training.config import TrainConfig
from vitau.training.tasks import CropBatches

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

    Ours reads decoded crops from the memory-mapped file that every epoch after the first one reads, and changes a batch at a
    time. The baseline is torchvision's ``ImageFolder``: it decodes a PNG and changes one image at a time. Both make the same
    random changes in the same order. The decoding of ours, once per snapshot, is not in the time.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        num_people: drawn people; each has a frame per task.
        at_least: smallest ratio that is wanted.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with TemporaryDirectory() as folder:
            frames = write(Path(folder), num_people)
            num_frames = len(frames.crops)
            case = compare(
                f"{num_frames} frames of {num_people} drawn people, batches of {CONFIG.batch_size}",
                partial(ours, frames),
                partial(straightforward, frames),
                _judge,
                amount=num_frames,
                unit="images/s",
                rounds=rounds,
                watch=watch,
                at_least=at_least,
                floors={"augmentation": rate(partial(_augment_only, frames), num_frames, 2)},
            )
    finally:
        torch.set_num_threads(threads)
    return Result(
        name="loader",
        compared="augmented batches of a snapshot beside a folder of PNGs",
        difference="of the pixels, whose values are in [−1, 1]",
        cases=(case,),
    )


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
    """Build them image by image from PNGs, with the same order and changes."""
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(frames.images, transform=partial(np.array, dtype=np.uint8))
    place = {int(Path(path).stem): position for position, (path, _) in enumerate(dataset.samples)}
    batches = []
    for index, changes in _batches(frames.crops):
        images = []
        for position, row in enumerate(index):
            pixels: Image = dataset[place[row]][0]
            landmarks_1L2 = torch.from_numpy(frames.crops.landmarks_NL2[[row]])
            images.append(
                augment(to_input(pixels[None], CROP_SIZE), landmarks_1L2, changes.of(slice(position, position + 1)))[0]
            )
        batches.append(torch.cat(images))
    return batches


def _augment_only(frames: Folder) -> None:
    """Draw and apply the changes of an epoch to images that are in memory."""
    crop_BCHW = to_input(frames.crops.pixels(np.arange(min(CONFIG.batch_size, len(frames.crops)))), CROP_SIZE)
    for index, changes in _batches(frames.crops):
        augment(crop_BCHW[: len(index)], torch.from_numpy(frames.crops.landmarks_NL2[index]), changes)


def _batches(crops: Crops) -> Any:
    """Yield the rows and the changes of each batch as :class:`CropBatches` draws them."""
    assert CONFIG.augmentation is not None
    rng = np.random.default_rng([CONFIG.seed, 0])
    order = rng.permutation(len(crops))
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 63)))
    for index in np.array_split(order, -(-len(crops) // CONFIG.batch_size)):
        yield index, draw_changes(len(index), CROP_SIZE, CONFIG.augmentation, generator)


def _judge(mine: list[Tensor], theirs: list[Tensor]) -> Mapping[str, float]:
    return {"max_difference": max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))}
