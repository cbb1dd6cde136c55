import json
from dataclasses import replace

import numpy as np
import pytest

from vitau.evaluation.explanations.results import OF_REGIONS, ExplanationMetrics, Explanations
from vitau.evaluation.metrics import UNDEFINED

FIELDS = (
    *("pointing", "chance", "chance_on_face", "affected_side", "face_mass", "face_area"),
    *("deletion", "insertion", "randomized", "empty"),
)


def explanation(pointing, chance=0.2, num_people=20):
    """Build the metrics of people; the first of them point, and chance is equal for all."""
    values = {name: np.full(num_people, 0.5) for name in FIELDS}
    values["pointing"] = (np.arange(num_people) < round(pointing * num_people)).astype(float)
    values["chance"] = np.full(num_people, chance)
    return ExplanationMetrics.of_people(values)


def explanations(mirror=0.8, gradcam=0.2, **changes):
    by_name = {"mirror_occlusion": explanation(mirror), "gradcam": explanation(gradcam)}
    return Explanations(**{"num_people": 20, "num_frames": 40, "seen_in_training": False, "by_name": by_name} | changes)


@pytest.mark.parametrize(("pointing", "beats"), [(0.8, True), (0.5, True), (0.25, False), (0.2, False), (0.0, False)])
def test_an_explanation_beats_chance_if_its_whole_interval_does(pointing, beats):
    own = explanation(pointing)
    assert own.beats_chance is beats
    assert own.gain.value == pytest.approx(pointing - 0.2)
    assert own.gain.interval[0] <= own.gain.value <= own.gain.interval[1]


def test_people_without_a_value_are_left_out_of_that_field_only():
    values = {name: np.full(4, 0.5) for name in FIELDS}
    values["affected_side"] = np.array([1.0, np.nan, 0.0, np.nan])
    values["randomized"] = np.full(4, np.nan)
    own = ExplanationMetrics.of_people(values)
    assert own.affected_side.value == 0.5
    assert (own.randomized.value, own.randomized.interval) == (None, None)
    assert own.pointing.value == 0.5


def test_they_survive_their_stored_form_and_earlier_models_have_none():
    found = explanations()
    assert Explanations.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Explanations.from_json(None) is None
    assert Explanations.from_json({}) is None


def test_the_best_explanation_of_a_part_gains_most():
    assert explanations(0.8, 0.7).best() == "mirror_occlusion"
    assert explanations(0.2, 0.8).best() == "gradcam"
    assert explanations().best(OF_REGIONS) is None
    whole = explanations(by_name={"fused": explanation(0.3), "mirror_occlusion": explanation(0.8)})
    assert whole.best() == "fused", "it explains the whole score, and readers see it first"
    assert [whole.explains(name).split()[1] for name in whole.by_name] == ["whole", "network"]
    assert explanations().explains("mirror_occlusion") == "the whole score"
    assert "  - mirror occlusion, of the network alone, not what movement adds, better" in "\n".join(whole.card_lines())
    by_name = {"mirror_occlusion": explanation(0.8), "heatmaps": explanation(0.4), "region_gradcam": explanation(0.5)}
    assert explanations(by_name=by_name).best(OF_REGIONS) == "region_gradcam"


def test_the_card_has_each_explanation_with_its_interval_and_chance():
    text = "\n".join(explanations().card_lines())
    assert text.startswith("- explanations, on 20 palsied people who were not in training, 40 frames:\n")
    assert "  - mirror occlusion, better than chance: points at an affected region in 0.80 [0.6" in text
    assert "  - Grad-CAM, **not better than chance**: points at an affected region in 0.20 [0.0" in text
    assert "a random point of the picture does in 0.20 [0.20, 0.20]" in text
    assert text.count("deletion 0.50 [0.50, 0.50]") == 2
    of_a_region = explanations(by_name={"heatmaps": replace(explanation(0.5), deletion=UNDEFINED)})
    assert "heatmaps of regions, better than chance: points at its affected region in 0.50" in "\n".join(
        of_a_region.card_lines()
    )
    assert "deletion" not in "\n".join(of_a_region.card_lines())
    assert "20 palsied people of training, 40 frames" in explanations(seen_in_training=True).people
