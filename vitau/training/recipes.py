"""Recipes: whole trainings by name, with their cost and their score."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from vitau.errors import TrainingError
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.training.config import CameraChanges, Recipe, TrainConfig
from vitau.training.pretraining.draw_worker import DrawnPeople

_TINY_PEOPLE: Final = DrawnPeople(num_people=9000, frames_per_person=1, size=64)
_SMALL_PEOPLE: Final = DrawnPeople(num_people=30000, frames_per_person=1, size=128)


def tiny_palsy() -> Recipe:
    """Recognize a palsy with a small ViT on 64 px: 3 blocks of width 96 behind a convolutional stem, 16 tokens.

    Cost, on 2 cores with both tiny recipes side by side: drawing 9 000 people 43 s (shared), pretraining 206 s, training 13 s.
    Score, AUROC by subject, synthetic people, protocol subjects: 0.972 [0.958, 0.983] on 720 drawn people by one image each;
    after training on 110 people, the demo's 30 unseen people: 0.978 [0.917, 1] twice, 0.991, 0.996 and 1.000 thrice in seven
    runs, whose simulated readers and splits differ. The auxiliary loss of the sides matters most: with an earlier, smaller
    stem and 6 000 people 0.84 without it, 0.957 with it.
    """
    return Recipe(
        name="tiny-palsy",
        kind="palsy",
        model=ViTConfig(input_size=64, patch_size=16, width=96, depth=3, heads=4, stem="deep", stem_width=16, dropout=0.0),
        train=TrainConfig(epochs=3, batch_size=32, lr=3e-5, grad_clip=1.0, schedule="cosine"),
        pretrain=_pretraining(epochs=10, batch_size=64, lr=1e-3, loss="cross_entropy"),
        drawn=_TINY_PEOPLE,
    )


def tiny_regions() -> Recipe:
    """Find the affected regions with all parts of the region model, small: 64 px in, a generator and heatmaps of 16 px.

    Cost, on 2 cores with both tiny recipes side by side: drawing 9 000 people 43 s (shared), pretraining 187 s, training 17 s.
    Score, mean AUROC of the 8 regions by subject within palsied synthetic people, protocol subjects: 0.849 [0.829, 0.868] on
    360 drawn people by one image each; the demo's 15 unseen people: 0.815 [0.717, 0.908], 0.856, 0.858, 0.872, 0.894,
    0.911 and 0.928 in seven runs, whose simulated readers and splits differ. The brow's two ends and the mouth are the hardest.
    """
    generator = GeneratorConfig(size=16, style_dim=32, mapping_layers=2, channel_multiplier=0.015625, max_channels=16)
    encoder = EncoderConfig(
        input_size=64, units=(1, 1, 1, 1), widths=(8, 16, 32, 64), style_dim=32, num_styles=generator.num_styles
    )
    return Recipe(
        name="tiny-regions",
        kind="regions",
        model=RegionConfig(encoder=encoder, generator=generator, heatmap_size=16, sigma=2.5, dropout=0.0),
        train=TrainConfig(epochs=4, batch_size=32, lr=1e-4, grad_clip=1.0, schedule="cosine", loss="mse"),
        pretrain=_pretraining(epochs=8, batch_size=32, lr=2e-3, loss="mse"),
        drawn=_TINY_PEOPLE,
    )


def tiny_sided() -> Recipe:
    """Find the affected regions and their sides: `tiny-regions` with heatmaps whose two peaks carry signs of their own.

    A palsy is almost always on one side. OpenGraphAU predicts on which side an action unit is active. The tools that we know do
    not predict which side is palsied.

    The sides of the heatmaps are learned in the first two epochs. So it is pretrained for one epoch more than `tiny-regions`,
    at three times its rate, and trained for two less.

    Cost, on 2 cores: drawing 9 000 people 48 s, pretraining 137 s. Score on 450 palsied drawn people of another population, 4
    images each, after pretraining alone (protocol subjects, synthetic): the affected side of the face is the right one for
    98.9 %; mean AUROC of the 8 regions by subject 0.901; accuracy 0.797 at 0, because of two sides the larger counts, and 0.817
    at thresholds that were chosen on 10 people (mean of 100 choices). At rates of 2e-3, 4e-3 and 8e-3 that accuracy is 0.781,
    0.801 and 0.819.
    """
    paired = tiny_regions()
    assert paired.pretrain is not None
    pretrain = replace(paired.pretrain, epochs=9, lr=6e-3)
    return _sided(replace(paired, train=replace(paired.train, epochs=2), pretrain=pretrain))


def _pretraining(*, epochs: int, batch_size: int, lr: float, loss: str) -> TrainConfig:
    return TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=0.02,
        grad_clip=1.0,
        warmup=0.1,
        schedule="cosine",
        loss=loss,
        side_weight=1.0,
    )


def paper_palsy() -> Recipe:
    """Recognize a palsy with the paper's ViT: ViT-B/16 on 256 px, METHOD §3's settings, batch 4, no augmentation.

    Cost and score are not measured yet: it needs a GPU, YFP and CK+, and pretrained weights of the user's own.
    """
    return Recipe(
        name="paper-palsy",
        kind="palsy",
        model=ViTConfig(name="vit_base_patch16_224", input_size=256),
        train=TrainConfig(batch_size=4, save_every=500, augmentation=None),
    )


def paper_regions() -> Recipe:
    """Find the affected regions with the paper's model: IR-SE-50, StyleGAN2 at 1024 px, all features, MSE, batch 4.

    Like the paper, it uses no augmentation. Cost and score are not measured yet: it needs a GPU, YFP, and the non-commercial
    weights of pSp and StyleGAN2.
    """
    train = TrainConfig(batch_size=4, save_every=500, loss="mse", keep_statistics=True, augmentation=None)
    return Recipe(name="paper-regions", kind="regions", model=RegionConfig(), train=train)


def paper_sided() -> Recipe:
    """Find the affected regions and their sides with the paper's model, whose two peaks carry signs of their own.

    Cost and score are not measured yet: it needs a GPU, YFP, and the non-commercial weights of pSp and StyleGAN2.
    """
    return _sided(paper_regions())


def paper_fgnet() -> Recipe:
    """Find the affected regions from FG-Net's own checkpoint: styles through the mapping network, 32 outputs, the first 8 used.

    Its checkpoint contains encoder, generator and interpreter; the average latent is pSp's. Bring both files, pSp's first.
    Cost and score are not measured yet: it needs a GPU, YFP, and these non-commercial weights.
    """
    paper = paper_regions()
    return replace(paper, name="paper-fgnet", model=RegionConfig(latent_route="mapping", num_outputs=32))


def base_palsy() -> Recipe:
    """Recognize a palsy with a ViT-S/16 on 256 px: a quarter of `paper-palsy`'s weights, METHOD §3's settings, FG-Net's batch.

    Cost and score are not measured yet: it needs a GPU, data and pretrained weights of the user's own.
    """
    return Recipe(
        name="base-palsy",
        kind="palsy",
        model=ViTConfig(name="vit_small_patch16_224", input_size=256),
        train=TrainConfig(batch_size=16, save_every=500),
    )


def base_regions() -> Recipe:
    """Find the affected regions with a StyleGAN2 of 256 px: 14 styles and 7 feature maps, else the paper's model; batch 16.

    Cost and score are not measured yet: it needs a GPU, data of the user's own, and weights of pSp and StyleGAN2 at 256 px.
    """
    return Recipe(
        name="base-regions",
        kind="regions",
        model=RegionConfig(encoder=EncoderConfig(num_styles=14), generator=GeneratorConfig(size=256)),
        train=TrainConfig(batch_size=16, save_every=500, loss="mse", keep_statistics=True),
    )


def base_sided() -> Recipe:
    """Find the affected regions and their sides: `base-regions` with heatmaps whose two peaks carry signs of their own.

    Cost and score are not measured yet: it needs a GPU, data of the user's own, and weights of pSp and StyleGAN2 at 256 px.
    """
    return _sided(base_regions())


def small_palsy() -> Recipe:
    """Recognize a palsy with a ViT of width 384 on 128 px behind a convolutional stem, pretrained on drawn people.

    Meant for one GPU and an hour; cost and score are not measured yet, for want of a GPU.
    """
    return Recipe(
        name="small-palsy",
        kind="palsy",
        model=ViTConfig(input_size=128, patch_size=16, width=384, depth=6, heads=6, stem="deep", dropout=0.1),
        train=TrainConfig(epochs=5, batch_size=64, lr=3e-5, grad_clip=1.0, schedule="cosine"),
        pretrain=_pretraining(epochs=10, batch_size=64, lr=5e-4, loss="cross_entropy"),
        drawn=_SMALL_PEOPLE,
    )


def small_regions() -> Recipe:
    """Find the affected regions on 128 px with a lighter encoder and a generator of 64 px, pretrained on drawn people.

    Meant for one GPU and an hour; cost and score are not measured yet, for want of a GPU.
    """
    generator = GeneratorConfig(size=64, style_dim=128, mapping_layers=4, channel_multiplier=0.25, max_channels=128)
    encoder = EncoderConfig(
        input_size=128, units=(2, 2, 2, 2), widths=(32, 64, 128, 256), style_dim=128, num_styles=generator.num_styles
    )
    return Recipe(
        name="small-regions",
        kind="regions",
        model=RegionConfig(encoder=encoder, generator=generator, heatmap_size=64, sigma=10.0),
        train=TrainConfig(epochs=5, batch_size=32, lr=1e-4, grad_clip=1.0, schedule="cosine", loss="mse"),
        pretrain=_pretraining(epochs=8, batch_size=32, lr=1e-3, loss="mse"),
        drawn=_SMALL_PEOPLE,
    )


def small_sided() -> Recipe:
    """Find the affected regions and their sides: `small-regions` with heatmaps whose two peaks carry signs of their own.

    Meant for one GPU and an hour; cost and score are not measured yet, for want of a GPU.
    """
    return _sided(small_regions())


def smoke_palsy() -> Recipe:
    """Run every step of `tiny-palsy` once, in seconds: it learns nothing, and shows that all parts work together."""
    return _smoke(tiny_palsy(), "smoke-palsy")


def smoke_regions() -> Recipe:
    """Run every step of `tiny-regions` once, in seconds: it learns nothing, and shows that all parts work together."""
    return _smoke(tiny_regions(), "smoke-regions")


def smoke_sided() -> Recipe:
    """Run every step of `tiny-sided` once, in seconds: it learns nothing, and shows that all parts work together."""
    return _sided(smoke_regions())


def _sided(paired: Recipe) -> Recipe:
    assert isinstance(paired.model, RegionConfig)
    name = f"{paired.name.removesuffix('-regions')}-sided"
    return replace(paired, name=name, model=replace(paired.model, mode="sided"))


def _with_camera(recipe: Recipe) -> Recipe:
    """Return a recipe that also changes color, sharpness and compression of the training images; its pretraining stays.

    Raises:
        TrainingError: The recipe has no augmentation, as those of the paper.
    """
    if recipe.train.augmentation is None:
        raise TrainingError(f"recipe {recipe.name} is the paper's, which has no augmentation: train another size with {CAMERA}")
    train = replace(recipe.train, augmentation=replace(recipe.train.augmentation, camera=CameraChanges()))
    return replace(recipe, name=recipe.name + CAMERA, train=train)


def _with_movement(recipe: Recipe) -> Recipe:
    """Return a recipe whose network is fused with the model of asymmetric movement; its pretraining stays.

    Raises:
        TrainingError: The recipe is the paper's.
    """
    if recipe.name.startswith(PAPER):
        raise TrainingError(f"recipe {recipe.name} is the paper's, which has no movement: train another size with {MOVEMENT}")
    return replace(recipe, name=recipe.name + MOVEMENT, movement=True)


def pretrained_recipe(name: str) -> str:
    """Return the name of the recipe whose pretraining a recipe starts from: that without movement and changes of the camera."""
    return name.replace(CAMERA, "").replace(MOVEMENT, "")


def _smoke(recipe: Recipe, name: str) -> Recipe:
    assert recipe.pretrain is not None
    assert recipe.drawn is not None
    return replace(
        recipe,
        name=name,
        train=replace(recipe.train, epochs=1),
        pretrain=replace(recipe.pretrain, epochs=1),
        drawn=replace(recipe.drawn, num_people=120),
    )


_ALL: Final = (
    *(tiny_palsy, tiny_regions, tiny_sided),
    *(small_palsy, small_regions, small_sided),
    *(base_palsy, base_regions, base_sided),
    *(paper_palsy, paper_regions, paper_sided, paper_fgnet),
    *(smoke_palsy, smoke_regions, smoke_sided),
)

RECIPES: Final[Mapping[str, Callable[[], Recipe]]] = MappingProxyType(
    {function.__name__.replace("_", "-"): function for function in _ALL}
)
"""Every recipe by its name, ``tiny-palsy``."""

CAMERA: Final = "+camera"
"""Ends the name of a recipe that also changes how training images seem to be recorded: ``tiny-palsy+camera``."""
MOVEMENT: Final = "+movement"
"""Stands before it, in the name of a recipe that fuses the network with movement: ``tiny-palsy+movement+camera``."""
PAPER: Final = "paper-"
BACKBONE: Final = "@"
"""Separates the name of a recipe from that of another backbone: ``paper-palsy@vit_base_patch14_dinov2``."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name, which may continue with ``+movement``, ``+camera`` and another backbone of timm's.

    The side of the input is rounded down to whole patches: 252 px for patches of 14.

    Raises:
        TrainingError: There is no such recipe, it has no augmentation to extend or is the paper's, or the backbone cannot
            replace the recipe's.
    """
    extended, separator, backbone = name.partition(BACKBONE)
    moving = extended.removesuffix(CAMERA)
    known = moving.removesuffix(MOVEMENT)
    if known not in RECIPES:
        raise TrainingError(f"no recipe {known}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[known]()
    if moving != known:
        recipe = _with_movement(recipe)
    if extended != moving:
        recipe = _with_camera(recipe)
    if not separator:
        return recipe
    patch = re.search(r"patch(\d+)", backbone)
    if not isinstance(recipe.model, ViTConfig) or recipe.model.name is None:
        raise TrainingError(f"recipe {known} has no backbone of timm's to replace: choose base-palsy or paper-palsy")
    if patch is None:
        raise TrainingError(f"{backbone} is no vision transformer of timm's: give a name such as vit_base_patch14_dinov2")
    input_size = recipe.model.input_size - recipe.model.input_size % int(patch[1])
    return replace(recipe, name=name, model=replace(recipe.model, name=backbone, input_size=input_size))
