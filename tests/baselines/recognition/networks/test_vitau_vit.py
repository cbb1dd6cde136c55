from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.vitau_vit import config_of, vitau
from vitau.models.vit import ViTConfig
from vitau.training.recipes import paper_palsy


def test_at_width_1_it_is_the_papers_recipe():
    recipe = paper_palsy()
    assert config_of(Budget(epochs=1), 256) == recipe.model
    settings = vitau().settings
    assert (settings.lr, settings.weight_decay, settings.grad_clip) == (
        recipe.train.lr,
        recipe.train.weight_decay,
        recipe.train.grad_clip,
    )


def test_a_narrow_budget_has_fewer_heads_and_blocks():
    narrow = config_of(Budget(epochs=1, width=0.25), 64)
    assert narrow == ViTConfig(input_size=64, width=192, heads=3, depth=3, stem="deep")


def test_it_learns_eight_people(check_learning, few_frames):
    fitted = check_learning(replace(vitau(), settings=Settings(lr=1e-3)), epochs=13, image_px=50, width=0.125, **few_frames)
    assert fitted.image_px == 48  # whole patches
