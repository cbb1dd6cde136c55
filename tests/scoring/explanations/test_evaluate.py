"""A model whose evidence lies at a known place: its explanation is true of people who are affected there, and of no others."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from vitau.data.dataset import Crops
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import sided_peaks
from vitau.models.vit import PalsyViT, ViTConfig, build_vit
from vitau.schema import AU, AUS
from vitau.scoring.explanations.evaluate import boxes_mask, chosen_rows, evaluate_explanations, measure_maps, randomized

CONFIG = ViTConfig(input_size=64, patch_size=16, width=16, depth=1, heads=2)
PLACE = AUS.index(AU.AU12)
NUM_PEOPLE = 6


class Bright(PalsyViT):
    """A recognition whose only evidence of a palsy is what is bright."""

    def forward(self, crop_BCHW):
        bright_B = (crop_BCHW - 0.6).relu().sum((1, 2, 3)) / 10
        return torch.stack([torch.zeros_like(bright_B), bright_B], dim=1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return Bright(CONFIG, build_vit(CONFIG).vit).eval()


@pytest.fixture(scope="module")
def landmarks():
    rng = np.random.default_rng(3)
    drawings = [draw_crop(draw_person(5, index), "rest", 0.0, rng, 64) for index in range(NUM_PEOPLE)]
    return np.stack([(drawing.landmarks + 0.5) * 4 - 0.5 for drawing in drawings]).astype(np.float32)


@pytest.fixture(scope="module")
def people(landmarks):
    """Return a function from the affected region to people with a bright lip corner on their right side, two frames each."""
    pixels = np.full((2 * NUM_PEOPLE, 256, 256, 3), 127, np.uint8)
    twice = np.repeat(landmarks, 2, axis=0)
    for picture, (x, y) in zip(pixels, sided_peaks(torch.from_numpy(twice))[:, PLACE, 0].tolist(), strict=True):
        cv2.circle(picture, (round(x), round(y)), 9, (255, 255, 255), -1)

    def affected_at(au):
        sided = np.zeros((2 * NUM_PEOPLE, 8, 2), bool)
        sided[:, AUS.index(au), 0] = True
        return Crops(
            pixels_MSS3=pixels,
            row_N=np.arange(len(pixels)),
            landmarks_NL2=twice,
            palsied_N=np.arange(len(pixels)) >= 2,  # the first person is healthy
            affected_NA=sided.any(-1),
            known_NA=np.ones((len(pixels), 8), bool),
            sided_NA2=sided,
            subject_N=np.array([f"p{row // 2}" for row in range(len(pixels))]),
            split_N=np.full(len(pixels), "test"),
        )

    return affected_at


def test_people_who_are_affected_where_the_model_looks_find_its_explanation_true(model, people):
    found = evaluate_explanations(model, people(AU.AU12))
    assert (found.num_people, found.num_frames, found.seen_in_training) == (NUM_PEOPLE - 1, 2 * (NUM_PEOPLE - 1), False)
    own = found.by_name["mirror_occlusion"]
    assert (own.pointing.value, own.affected_side.value, own.beats_chance) == (1.0, 1.0, True)
    assert 0.02 < own.chance.value < 0.2
    assert own.gain.value == pytest.approx(1 - own.chance.value)
    assert own.chance.value < own.chance_on_face.value < 1
    assert own.face_mass.value > 0.8
    assert own.deletion.interval[0] > 0
    assert own.insertion.interval[0] > 0
    assert own.randomized.value is not None
    assert found.best() == "mirror_occlusion"
    assert set(found.by_name) == {"mirror_occlusion", "gradcam"}


def test_people_who_are_affected_elsewhere_find_it_false(model, people):
    own = evaluate_explanations(model, people(AU.AU1)).by_name["mirror_occlusion"]
    assert (own.pointing.value, own.affected_side.value, own.beats_chance) == (0.0, 0.0, False)


def test_only_a_bounded_number_of_palsied_people_with_known_regions_is_evaluated(model, people):
    crops = people(AU.AU12)
    assert chosen_rows(crops).tolist() == list(range(2, 12))
    crops.known_NA[4:6] = False
    assert chosen_rows(crops).tolist() == [2, 3, *range(6, 12)]
    crops.known_NA[:] = False
    assert evaluate_explanations(model, crops) is None
    crops.known_NA[:] = True
    many = crops.where(np.tile(np.arange(2, 12), 20))
    many = replace(many, subject_N=np.array([f"person-{row // 4:02d}" for row in range(len(many))]))
    assert len(chosen_rows(many)) == 60


def test_a_map_of_zeros_points_nowhere_and_is_counted(landmarks):
    truth = {name: np.ones((2, 8, 8), bool) for name in ("face", "affected", "affected_side")}
    truth["affected_side"][1] = False
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1, 2, 3] = 1
    values = measure_maps(maps, truth)
    assert values["pointing"].tolist() == [0, 1]
    assert values["empty"].tolist() == [1, 0]
    assert values["affected_side"][0] == 0
    assert np.isnan(values["affected_side"][1])
    assert np.isnan(values["face_mass"][0])


def test_a_randomized_model_has_other_weights_and_leaves_the_random_state_alone(model):
    state = torch.get_rng_state()
    first, second = randomized(model), randomized(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not first.training
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert not torch.equal(first.vit.blocks[0].attn.qkv.weight, model.vit.blocks[0].attn.qkv.weight)


def test_readers_boxes_are_pointed_at_or_not_and_marked_frames_come_first(model, people):
    crops = people(AU.AU12)
    crops = crops.where(np.repeat(np.arange(len(crops)), 3))
    around = crops.landmarks_NL2[13, 48] / 256 - 0.1
    there, elsewhere = (float(around[0]), float(around[1]), 0.2, 0.2), (0.0, 0.0, 0.5, 0.2)
    marks = {13: [elsewhere, there], 19: [elsewhere]}
    assert {13, 19} <= set(chosen_rows(crops, marks).tolist())
    assert not {12, 18} & set(chosen_rows(crops, marks).tolist()), "only the marked frame of each of these two people"
    own = evaluate_explanations(model, crops, marks=marks).by_name["mirror_occlusion"]
    assert own.marks.value == 0.5
    assert own.marks_chance.value == pytest.approx((0.14 + 0.1) / 2, abs=0.005)
    assert evaluate_explanations(model, crops).by_name["mirror_occlusion"].marks.value is None


def test_a_box_is_a_part_of_the_crop():
    mask = boxes_mask([(0.25, 0.5, 0.125, 0.25), (0.9, 0.9, 0.2, 0.2)])
    assert mask[128:192, 64:96].all()
    assert mask[230:, 230:].all()
    assert mask.sum() == 64 * 32 + 26 * 26
