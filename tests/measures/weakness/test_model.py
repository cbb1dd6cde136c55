import json
from importlib.resources import files

import numpy as np
import pytest

from vitau.measures.fitting.drawn import label_signs, series_signs
from vitau.measures.geometry import SIDES
from vitau.measures.weakness.model import fit_model, model_from_json, weakness_model
from vitau.measures.weakness.signs import SIGNS, measure_signs
from vitau.schema import AU, Side

SEED = 3118
"""A seed on which nothing was fitted."""


def mirrored(columns):
    """Return the measures of the mirror image: the sides change their places."""
    other = {f"_{side}": f"_{name}" for side, name in zip(SIDES, reversed(SIDES), strict=True)}
    return {
        next((name.removesuffix(end) + new for end, new in other.items() if name.endswith(end)), name): values
        for name, values in columns.items()
    }


def test_a_mirror_image_has_the_same_answers_and_the_other_side(drawn_series):
    _, series = drawn_series(SEED, 1, palsied=True)
    signs, turned = measure_signs(series.columns, series.time_s), measure_signs(mirrored(series.columns), series.time_s)
    assert signs is not None
    assert turned is not None
    assert np.allclose(turned, -signs)
    one, other = weakness_model().judge(signs), weakness_model().judge(turned)
    assert {one.side, other.side} == {Side.RIGHT, Side.LEFT}
    assert one.side_probability == pytest.approx(other.side_probability)
    assert (one.forehead, one.lower_face) == pytest.approx((other.forehead, other.lower_face))


def test_too_few_frames_show_no_sign(drawn_series):
    _, series = drawn_series(SEED, 1)
    few = {name: values[:3] for name, values in series.columns.items()}
    assert measure_signs(few, series.time_s[:3]) is None
    assert measure_signs(series.columns) is not None


def test_weak_regions_of_drawn_people_are_found(drawn_series):
    """Exact landmarks: what is lost is the likeness of a slight palsy and a habit."""
    right = []
    for index in range(60):
        person, series = drawn_series(SEED, index, palsied=True)
        found = weakness_model().judge(series_signs(series))
        forehead = bool({AU.AU1, AU.AU2, AU.AU4} & person.affected)
        right.append((found.side is person.side, (found.forehead >= 0.5) == forehead))
    assert np.mean(right, axis=0) == pytest.approx((1, 1), abs=0.05)


def test_the_model_learns_from_people_and_survives_its_file(drawn_series):
    drawn = [drawn_series(SEED, index) for index in range(40)]
    people = label_signs([person for person, _ in drawn], np.array([series_signs(series) for _, series in drawn]))
    assert people.sign_PS.shape == (40, len(SIGNS))
    model = fit_model(people)
    read = model_from_json(json.loads(json.dumps(model.to_json())))
    judged = [read.judge(signs) for signs in people.sign_PS[people.side_P != 0]]
    truth = people.side_P[people.side_P != 0]
    assert np.mean([(found.side is Side.RIGHT) == (side > 0) for found, side in zip(judged, truth, strict=True)]) >= 0.95


def test_weights_for_other_signs_are_refused():
    record = json.loads(files("vitau.measures.weakness").joinpath("weights.json").read_text())
    assert (record["seed"], record["people"]) == (100, 400)
    with pytest.raises(ValueError, match="for other signs"):
        model_from_json({**record, "signs": record["signs"][1:]})
