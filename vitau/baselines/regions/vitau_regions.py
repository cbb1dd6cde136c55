"""ViTAU's region model, paired and sided, in the training loop of the comparison methods.

Gao, Cai, Zhao, Duan, *ViTAU: Facial paralysis recognition and analysis based on vision transformer and facial action units*,
Chinese Journal of Engineering 47(2), 2025. Network, true heatmaps and loss are those of :mod:`vitau.models.regions` and of a
recipe. Ours: the sides; and, so that all rows of a table train alike, batches, epochs and the choice of the epoch are those of
the table's budget, without augmentation, warm-up or a moving average of the weights. Fresh weights train at the rate of the
recipe's pretraining.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from vitau.baselines.fitting import FittedFrames, FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.models.regions import RegionConfig, RegionModel
from vitau.store import Store
from vitau.training.config import Recipe
from vitau.training.start import start_model
from vitau.training.tasks import Batch, objective


@dataclass(frozen=True, kw_only=True, slots=True)
class VitauRegions:
    """Train the region model of a recipe.

    Attributes:
        recipe: one of the regions; its own input size counts, not the budget's.
        pretrained: a model folder, or the results of a pretraining, to start from; fresh weights by default.
        weights: sources of the user's own weights instead; recipes of the sizes ``base`` and ``paper`` need them.
        store: of weights that are objects.
        variant: name and title of an ablation, whose recipe differs from that of the row ``vitau``.
    """

    recipe: Recipe
    pretrained: Path | None = None
    weights: tuple[str, ...] = ()
    store: Store | None = None
    task: Task = "regions"
    variant: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.recipe.kind != "regions":
            raise ValueError(f"recipe {self.recipe.name} recognizes a palsy: give one of the regions")

    @property
    def name(self) -> str:
        """``vitau``, ``vitau-sided`` or the name of the ablation."""
        if self.variant is not None:
            return self.variant[0]
        return "vitau-sided" if self.recipe.sided else "vitau"

    @property
    def title(self) -> str:
        """Name in tables."""
        if self.variant is not None:
            return self.variant[1]
        return "ViTAU, sided" if self.recipe.sided else "ViTAU"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> FittedFrames:
        """Train on palsied people with labels; see :class:`vitau.baselines.method.Method`.

        Raises:
            TrainingError: the recipe needs weights, or nobody has a label.
            CheckpointError: the weights are missing, damaged or of another shape.
        """
        recipe = replace(self.recipe, train=replace(self.recipe.train, seed=seed))
        assert isinstance(recipe.model, RegionConfig)
        is_fresh = self.pretrained is None and not self.weights
        config = recipe.pretrain if is_fresh and recipe.pretrain is not None else recipe.train
        method = FrameMethod(
            name=self.name,
            title=self.title,
            task=self.task,
            image_px=recipe.model_input_size,
            build=lambda _budget, _image_px: self._start(recipe),
            objective=objective("regions", recipe.train, recipe.model.sigma, sided=recipe.sided),
            read=_read,
            settings=Settings(
                lr=config.lr,
                weight_decay=config.weight_decay,
                schedule=config.schedule,
                grad_clip=config.grad_clip,
                own_lr=True,
            ),
        )
        return method.fit(train, valid, replace(budget, image_px=None), seed=seed)

    def _start(self, recipe: Recipe) -> RegionModel:
        model, _ = start_model(recipe, self.pretrained, self.weights, self.store)
        assert isinstance(model, RegionModel)
        model.encoder.keep_statistics = recipe.train.keep_statistics
        return model


def _read(network: nn.Module, batch: Batch) -> Tensor:
    """Return the scores moved from [−1, 1] to [0, 1]; of two sides, the larger."""
    assert isinstance(network, RegionModel)
    return (network.scores(network(batch.crop_BCHW)) + 1) / 2
