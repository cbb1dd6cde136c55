"""A region model whose maps are drawn by hand: they are true of people who are affected there, and of no others."""

import numpy as np
import pytest
import torch

from vitau.data.dataset import Crops
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.heatmaps import sided_heatmaps
from vitau.models.regions import RegionConfig, RegionModel
from vitau.schema import AUS
from vitau.scoring.explanations.regions import evaluate_region_maps

GENERATOR = GeneratorConfig(size=16, style_dim=8, mapping_layers=1, channel_multiplier=0.015625, max_channels=8)
ENCODER = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 8), style_dim=8, num_styles=GENERATOR.num_styles)
CONFIG = RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=16, sigma=2.0, mode="sided")
NUM_PEOPLE = 6


class Drawn(RegionModel):
    """A region model that answers every picture with the same heatmaps."""

    def forward(self, crop_BCHW):
        return self.answer_AHW.expand(len(crop_BCHW), -1, -1, -1)


@pytest.fixture(scope="module")
def landmarks():
    drawing = draw_crop(draw_person(5, 1), "rest", 0.0, np.random.default_rng(3), 64)
    return ((drawing.landmarks + 0.5) * 4 - 0.5).astype(np.float32)


def people(landmarks, sided_A2):
    return Crops(
        pixels_MSS3=np.full((NUM_PEOPLE, 64, 64, 3), 127, np.uint8),
        row_N=np.arange(NUM_PEOPLE),
        landmarks_NL2=np.repeat(landmarks[None], NUM_PEOPLE, axis=0),
        palsied_N=np.ones(NUM_PEOPLE, bool),
        affected_NA=np.repeat(sided_A2.any(-1)[None], NUM_PEOPLE, axis=0),
        known_NA=np.ones((NUM_PEOPLE, 8), bool),
        sided_NA2=np.repeat(sided_A2[None], NUM_PEOPLE, axis=0),
        subject_N=np.array([f"p{person}" for person in range(NUM_PEOPLE)]),
        split_N=np.full(NUM_PEOPLE, "test"),
    )


def test_heatmaps_of_affected_regions_point_at_their_own_region_and_side(landmarks):
    truth = np.zeros((8, 2), bool)
    truth[[0, 3, 5], 0] = True  # inner brow, cheek and lip corner of the person's right side
    model = Drawn(CONFIG).eval()
    model.answer_AHW = sided_heatmaps(torch.from_numpy(landmarks[None]), torch.from_numpy(truth[None]), 64)[0]
    own = evaluate_region_maps(model, people(landmarks, truth))["heatmaps"]
    assert (own.pointing.value, own.affected_side.value, own.beats_chance) == (1.0, 1.0, True)
    assert 0.03 < own.chance.value < 0.1
    assert own.deletion.value is None
    model.answer_AHW = model.answer_AHW.flip(-1)
    other_side = evaluate_region_maps(model, people(landmarks, truth))["heatmaps"]
    assert other_side.affected_side.value < other_side.pointing.value, "a pair of peaks may be hit on its other side"
    model.answer_AHW = model.answer_AHW.flip(0)
    assert evaluate_region_maps(model, people(landmarks, truth))["heatmaps"].pointing.value == 0


def test_nobody_with_a_known_region_gives_no_result(landmarks):
    assert evaluate_region_maps(Drawn(CONFIG).eval(), people(landmarks, np.zeros((len(AUS), 2), bool))) == {}
