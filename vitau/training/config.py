"""Configuration of a training: plain values, so that a recipe is one expression and a model card can hold it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.training.pretraining.draw_worker import DrawnPeople


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraChanges:
    """Random changes of how a training image seems to have been recorded, so that a network cannot learn the camera.

    ``gray`` and ``jpeg`` are the shares of images that lose their color and that are encoded as JPEG, ``quality`` is the range
    of its quality. ``blur`` is the largest standard deviation of a Gaussian blur, as a share of the crop's side.
    """

    gray: float = 0.5
    blur: float = 0.008
    jpeg: float = 0.5
    quality: tuple[int, int] = (40, 95)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Ranges of the random changes of training images; none of them changes a label.

    ``shift`` is a share of the crop's side; ``gain``, ``bias`` and ``noise`` in the units of the input, [−1, 1]. ``camera`` is
    not in the representation, of which the keys of trainings are digests: a recipe that sets it has a name of its own.
    """

    flip: bool = True
    rotate_deg: float = 4.0
    scale: float = 0.05
    shift: float = 0.03
    gain: float = 0.15
    bias: float = 0.1
    tint: float = 0.06
    noise: float = 0.03
    camera: CameraChanges | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The settings of one run of :func:`vitau.training.fit.fit`; the defaults are METHOD §3's.

    * ``batch_size``: frames per batch of all processes together, if ``torchrun`` starts several.
    * ``accumulate``: batches per optimizer step, with equal weights, for a large batch on a small device. Batch normalization
      still sees the small batches.
    * ``save_every``: batches between two checkpoints within an epoch; 0 for none. Each epoch ends with one.
    * ``ema``: decay of the moving average of the weights, which is then evaluated and kept; 0 for none.
    * ``precision``: "bfloat16" computes forward passes in it if the GPU supports it, and changes nothing elsewhere. Weights,
      gradients and optimizer state stay float32.
    * ``recompute``: compute activations again in the backward pass: about a third more time for a fraction of the memory.
    * ``keep_statistics``: keep the running statistics of the region encoder's batch normalization; its scales and shifts are
      trained. Those of a few frames of a few people are worse than those of a pretrained encoder.
    * ``warmup``: share of all steps in which the learning rate rises; then it stays constant or falls along half a cosine.
    * ``balance_people``: draw every person equally often, so that a long clip weighs no more than a short one. It is not in the
      representation, of which the keys of trainings are digests: a recipe that sets it has a name of its own.
    * ``side_weight``: weight of an auxiliary loss, which side of each region is affected. A palsy is a difference between
      the sides in either direction, which a small network finds late; it finds the signed difference early.
    """

    epochs: int = 15
    batch_size: int = 16
    accumulate: int = 1
    save_every: int = 0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    recompute: bool = False
    keep_statistics: bool = False
    lr: float = 5e-5
    weight_decay: float = 5e-4
    grad_clip: float = 0.1
    warmup: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    loss: str = "cross_entropy"
    side_weight: float = 0.0
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    balance_people: bool = field(default=False, repr=False)


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that identify a training; those that came later only if they are set, so that old states fit."""
    settings = asdict(config)
    if not settings["balance_people"]:
        del settings["balance_people"]
    if config.augmentation is not None and config.augmentation.camera is None:
        del settings["augmentation"]["camera"]
    return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A whole training: the model, its training on a snapshot, and its pretraining on drawn people.

    ``movement`` fuses the network with the model of asymmetric movement. It is not in the representation, of which the keys of
    trainings are digests: a recipe that sets it has a name of its own.
    """

    name: str
    kind: Literal["palsy", "regions"]
    model: ViTConfig | RegionConfig
    train: TrainConfig
    pretrain: TrainConfig | None = None
    drawn: DrawnPeople | None = None
    movement: bool = field(default=False, repr=False)

    @property
    def sided(self) -> bool:
        """True if the heatmaps distinguish the sides of the regions."""
        return isinstance(self.model, RegionConfig) and self.model.mode == "sided"

    @property
    def needs_weights(self) -> bool:
        """True if a training must start from public weights: a ViT of timm's, or an encoder whose statistics are kept."""
        public = self.train.keep_statistics if isinstance(self.model, RegionConfig) else self.model.name is not None
        return public and self.pretrain is None

    @property
    def model_input_size(self) -> int:
        """Side of the model's input images, px."""
        return self.model.encoder.input_size if isinstance(self.model, RegionConfig) else self.model.input_size


def balanced(recipe: Recipe) -> Recipe:
    """Return a recipe that draws every training person equally often, however long the clips."""
    return replace(recipe, train=replace(recipe.train, balance_people=True))
