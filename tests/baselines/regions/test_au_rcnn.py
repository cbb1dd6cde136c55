from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.au_rcnn import SETTINGS, AuRcnnNetwork, au_rcnn, box_features, eye_distance, region_boxes, roi_side
from vitau.schema import AU, AUS

BUDGET = Budget(epochs=1, batch_size=16, image_px=64, width=0.25, frames_per_person=2)


@pytest.fixture
def landmarks() -> torch.Tensor:
    """One face: eye centers at (88, 100) and (168, 100), all other points far from a box's corner unless set."""
    points = torch.full((1, 68, 2), 128.0)
    points[:, 36:42] = torch.tensor([88.0, 100.0])
    points[:, 42:48] = torch.tensor([168.0, 100.0])
    points[:, 48], points[:, 54] = torch.tensor([100.0, 190.0]), torch.tensor([156.0, 200.0])
    points[:, 17], points[:, 26] = torch.tensor([5.0, 70.0]), torch.tensor([250.0, 72.0])
    return points


def test_a_box_is_the_union_of_squares_around_both_peaks_of_0_35_distances_of_the_eyes(landmarks: torch.Tensor) -> None:
    assert eye_distance(landmarks).item() == 80
    boxes = dict(zip(AUS, region_boxes(landmarks)[0].tolist(), strict=True))
    # ±0.35 · 80 = ±28, and 0.5 from the center of a pixel to the corner of the crop
    assert boxes[AU.AU12] == pytest.approx([72.5, 162.5, 184.5, 228.5])
    assert boxes[AU.AU9] == pytest.approx([60.5, 72.5, 196.5, 128.5])  # 39 and 42
    # under the eyes by the distance of the inner canthi, which is 80 here
    assert boxes[AU.AU6] == pytest.approx([60.5, 152.5, 196.5, 208.5])


def test_a_box_ends_at_the_crop(landmarks: torch.Tensor) -> None:
    assert region_boxes(landmarks)[0, AUS.index(AU.AU2)].tolist() == pytest.approx([0.0, 42.5, 256.0, 100.5])


def test_features_are_read_where_the_box_lies() -> None:
    # each feature is the x of its own center in px from the crop's edge: 8, 24, …, 248
    ramp = torch.arange(16, dtype=torch.float32) * 16 + 8
    features = ramp.expand(1, 1, 16, 16)
    read = box_features(features, torch.tensor([[[32.0, 64.0, 96.0, 128.0], [64.0, 64.0, 192.0, 192.0]]]), 2)
    assert read.shape == (2, 1, 2, 2)
    # centers of the halves of 32 to 96 and of 64 to 192
    torch.testing.assert_close(read[:, 0], torch.tensor([[[48.0, 80.0]] * 2, [[96.0, 160.0]] * 2]))


def test_each_region_reads_its_own_box_and_its_own_row_of_the_last_layer() -> None:
    torch.manual_seed(0)
    network = AuRcnnNetwork("resnet18", 2, 0.25).eval()
    crops, points = torch.randn(2, 3, 64, 64), torch.rand(2, 68, 2) * 200 + 20
    with torch.no_grad():
        before = network(crops, points)
        network.last.weight[3] += 1
        after = network(crops, points)
        moved = points.clone()
        moved[:, [51, 57]] += 15  # of AU25 alone
        elsewhere = network(crops, moved)
    assert before.shape == (2, 8)
    assert (before != after).any(0).tolist() == [row == 3 for row in range(8)]
    assert (after != elsewhere).any(0).tolist() == [au is AU.AU25 for au in AUS]


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(au_rcnn("resnet18", 2), au_rcnn("resnet18", 2, replace(SETTINGS, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(au_rcnn("resnet18", 2, Settings(lr=3e-3)), replace(BUDGET, epochs=28, image_px=32, width=0.125))


def test_a_smaller_image_has_fewer_points_in_a_box() -> None:
    assert [roi_side(14, image_px) for image_px in (512, 256, 128, 64, 32)] == [14, 7, 4, 2, 2]
