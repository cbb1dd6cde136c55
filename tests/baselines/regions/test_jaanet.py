import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.drml import Cells
from vitau.baselines.regions.jaanet import (
    INNER_49,
    AttentionRefinement,
    HierarchicalRegionLayer,
    JaaNet,
    JaaNetwork,
    attention_maps,
    joint_loss,
    landmark_error,
)
from vitau.training.tasks import Batch

BUDGET = Budget(epochs=1, batch_size=16, image_px=64, width=0.25, frames_per_person=2)
QUICK = JaaNet(settings=Settings(lr=1e-2))


def test_attention_falls_by_0_56_over_0_14_of_52_per_point_from_the_nearer_peak() -> None:
    # at a side of 64, px 127.5 is the middle of the crop, 31.5 in the map, 35.5 with the border of 4: between two points
    scale = 256 / 44
    first, second = (10.0, 20.0), (16.0, 20.0)  # points of the map of 44
    peaks = torch.tensor([first, second])[None, None]
    maps = attention_maps((peaks + 0.5) * scale - 0.5, 44)
    assert maps.shape == (1, 1, 52, 52)
    per_point = 0.56 / (0.14 * 52)
    values = {
        (14, 24): 1.0,  # the first peak
        (16, 24): 1 - 2 * per_point,
        (17, 24): 1 - 3 * per_point,  # halfway
        (18, 24): 1 - 2 * per_point,
        (20, 24): 1.0,  # the second peak
        (12, 27): 1 - 5 * per_point,  # city blocks: 2 across, 3 down
        (20, 36): 1 - 12 * per_point,
        (20, 37): 0.0,  # 13 points away
        (50, 50): 0.0,
    }
    for (x, y), expected in values.items():
        assert maps[0, 0, y, x].item() == pytest.approx(expected, abs=1e-5), (x, y)


def test_refinement_consumes_the_border_and_keeps_the_regions_apart() -> None:
    torch.manual_seed(0)
    refine = AttentionRefinement(3)
    maps = torch.rand(2, 8, 20, 20)
    changed = maps.clone()
    changed[:, 5] = 0
    with torch.no_grad():
        one, other = refine(maps), refine(changed)
    assert one.shape == (2, 8, 12, 12)
    assert (one >= 0).all()
    assert (one <= 1).all()
    assert [row for row in range(8) if not torch.equal(one[:, row], other[:, row])] == [5]


def test_the_three_scales_give_a_half_and_two_quarters_and_are_added_to_the_first() -> None:
    layer = HierarchicalRegionLayer(1, 4).eval()

    def set_to(convolution: nn.Module, value: float) -> None:
        weight = convolution.get_parameter("0.weight")
        nn.init.zeros_(weight)
        with torch.no_grad():
            weight[:, :, 1, 1] = value

    set_to(layer.first, 1.0)  # each of 4 channels is x
    for cells, grid, value in zip(layer.scales, (8, 4, 2), (0.5, 2.0, 3.0), strict=True):
        assert isinstance(cells, Cells)
        assert cells.grid == grid
        set_to(cells.layers, value)
    with torch.no_grad():
        result = layer(torch.ones(1, 1, 8, 8))
    # grid 8: 4 channels of 1, times 0.5 → 2; grid 4: 2 channels of 2, times 2 → 8; grid 2: 1 channel of 8, times 3 → 24
    torch.testing.assert_close(result[0, :, 3, 5], torch.tensor([3.0, 3.0, 9.0, 25.0]), rtol=1e-4, atol=1e-4)


def test_the_landmarks_are_the_49_without_jaw_and_inner_corners_of_the_lips() -> None:
    assert len(INNER_49) == 49
    assert set(range(68)) - set(INNER_49) == {*range(17), 60, 64}


def test_the_error_of_landmarks_is_summed_and_divided_by_the_squared_distance_of_the_eyes() -> None:
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 42:48, 0] = 60.0  # the eye centers are 60 px apart
    found = landmarks[:, list(INNER_49)].clone()
    found[0, 0] += torch.tensor([30.0, 0.0])
    found[0, 7] += torch.tensor([0.0, 60.0])
    assert landmark_error(found, landmarks).item() == pytest.approx(0.25 + 1.0)


def test_the_loss_adds_softmax_dice_and_half_the_error_of_the_landmarks() -> None:
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 42:48, 0] = 60.0
    affected = torch.tensor([[True, False]])
    batch = Batch(
        crop_BCHW=torch.zeros(1, 3, 1, 1),
        landmarks_BL2=landmarks,
        palsied_B=torch.ones(1),
        affected_BA=affected,
        known_BA=torch.ones(1, 2, dtype=torch.bool),
        sided_BA2=torch.zeros(1, 2, 2),
        person_B=torch.zeros(1, dtype=torch.long),
    )
    found = landmarks[:, list(INNER_49)].clone()
    found[0, 0, 0] += 60
    loss = joint_loss(torch.zeros(1, 2, 2), found, batch, torch.tensor([1.5, 0.5]))
    # probabilities of a half: log 2 for each; Dice 1 − 2 / 2.25 and 1 − 1 / 1.25; an error of one squared distance of the eyes
    dice = (1.5 * (1 - 2 / 2.25) + 0.5 * (1 - 1 / 1.25)) / 2
    assert loss.item() == pytest.approx(math.log(2) + dice + 0.5)


def test_attention_follows_the_given_landmarks_and_the_found_ones_do_not() -> None:
    torch.manual_seed(0)
    network = JaaNetwork(64, 0.25).eval()
    crops, landmarks = torch.randn(1, 3, 64, 64), torch.full((1, 68, 2), 100.0)
    with torch.no_grad():
        logits, found = network(crops, landmarks)
        moved_logits, moved_found = network(crops, landmarks + 40)
    assert not torch.equal(logits, moved_logits)
    assert torch.equal(found, moved_found)


def test_the_authors_input_has_maps_of_44_and_another_must_fit() -> None:
    network = JaaNetwork(width=0.125).eval()
    with torch.no_grad():
        logits, landmarks = network(torch.zeros(1, 3, 176, 176), torch.full((1, 68, 2), 100.0))
    assert logits.shape == (1, 8, 2)
    assert landmarks.shape == (1, 49, 2)
    with pytest.raises(ValueError, match="cells do not fit an input of 72 px: take a multiple of 16 from 64"):
        JaaNetwork(72)


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(JaaNet(), JaaNet(settings=replace(JaaNet().settings, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(QUICK, replace(BUDGET, epochs=34, width=0.125))
