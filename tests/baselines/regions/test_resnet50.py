from collections.abc import Callable
from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.resnet50 import SETTINGS, resnet50

BUDGET = Budget(epochs=1, batch_size=16, image_px=64, width=0.25, frames_per_person=2)


def test_the_default_is_timms_resnet_50() -> None:
    assert resnet50().build(Budget(epochs=1), 224).num_features == 2048


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(resnet50("resnet18"), resnet50("resnet18", replace(SETTINGS, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(resnet50("resnet18", Settings(lr=2e-3)), replace(BUDGET, epochs=28, image_px=48, width=0.125))
