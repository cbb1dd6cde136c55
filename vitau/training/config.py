"""What a training is told: numbers only, so that a recipe is one expression and a card can hold it."""

from dataclasses import dataclass, field
from typing import Literal

from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.training.pretraining.draw_worker import DrawnPeople


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How much training pictures are varied; labels hold for all of it, since a region has no side.

    ``shift`` is in shares of the crop's side; ``gain``, ``bias`` and ``noise`` in the units of the input, [−1, 1].
    """

    flip: bool = True
    rotate_deg: float = 4.0
    scale: float = 0.05
    shift: float = 0.03
    gain: float = 0.15
    bias: float = 0.1
    tint: float = 0.06
    noise: float = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The settings of one run of :func:`vitau.training.fit.fit`; the defaults are METHOD §3's.

    ``side_weight`` is that of a second question, asked in training only: which side of each region is affected. Palsy is a
    difference between the sides in either direction, which a small network finds late; the difference with its sign it finds at
    once. ``warmup`` is the share of all steps in which the learning rate rises; it then stays or falls along a half cosine.
    With ``ema`` above 0 the weights that are judged and kept are averages over the steps, of which so much stays at each.
    The state is kept after every epoch, and within one every ``save_every`` batches, if above 0. ``accumulate`` batches make
    one step of the optimizer, each counting alike: a large batch on a small device, but for batch normalisation, which still
    sees the small ones. ``precision`` "bfloat16" computes forward passes in it where a GPU has it,
    and changes nothing elsewhere; weights, gradients and moments stay float32. ``recompute`` computes activations again in the
    backward pass instead of keeping them: about a third more time, for a fraction of the memory. ``keep_statistics`` leaves the
    running statistics of the region encoder's batch normalisation as they came with its weights (its scales and shifts are
    trained): those of a few pictures of a few people are worse than what a pretrained encoder knows.

    ``batch_size`` is that of all processes together, where ``torchrun`` starts several.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A whole training: which model, how it is trained on a snapshot, and what it sees before."""

    name: str
    kind: Literal["palsy", "regions"]
    model: ViTConfig | RegionConfig
    train: TrainConfig
    pretrain: TrainConfig | None = None
    drawn: DrawnPeople | None = None

    @property
    def sided(self) -> bool:
        """Whether the heatmaps tell the sides of the regions apart."""
        return isinstance(self.model, RegionConfig) and self.model.mode == "sided"

    @property
    def model_input_size(self) -> int:
        """Side of the pictures that the model reads, px."""
        return self.model.encoder.input_size if isinstance(self.model, RegionConfig) else self.model.input_size
