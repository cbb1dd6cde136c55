import json
from dataclasses import replace

import numpy as np
import pytest

from vitau.asymmetry.explaining.words import sentences
from vitau.asymmetry.features import FEATURES, People, region_features
from vitau.asymmetry.model import AsymmetryModel, equal_weights, fit_model, model_from_json
from vitau.asymmetry.table import answer_record
from vitau.asymmetry.weights import load_weights
from vitau.errors import CheckpointError, TrainingError
from vitau.evaluation.decision import log_odds
from vitau.schema import AU, AUS, Side


@pytest.fixture
def model(made_up_people: People) -> AsymmetryModel:
    return fit_model(made_up_people)


def test_it_recognizes_a_palsy_and_its_side(model: AsymmetryModel, made_up_people: People) -> None:
    answers = model.answer(made_up_people.feature_PF)
    assert ((answers.palsy_P > 0.5) == made_up_people.palsied_P).mean() > 0.9
    palsied = made_up_people.palsied_P
    assert ((answers.right_P[palsied] > 0.5) == (made_up_people.side_P[palsied] > 0)).all()


def test_a_mirrored_person_has_the_same_answers_and_the_other_side(model: AsymmetryModel, made_up_people: People) -> None:
    answers, mirrored = model.answer(made_up_people.feature_PF), model.answer(-made_up_people.feature_PF)
    assert np.allclose(answers.palsy_P, mirrored.palsy_P)
    assert np.allclose(answers.affected_PA, mirrored.affected_PA)
    assert np.allclose(answers.right_P, 1 - mirrored.right_P)


def test_contributions_add_up_to_the_log_odds(model: AsymmetryModel, made_up_people: People) -> None:
    features = made_up_people.feature_PF[0]
    answers = model.answer(features[None])
    total = sum(contribution.log_odds for contribution in model.explain(features))
    assert np.isclose(total + model.palsy.bias, log_odds(answers.palsy_P)[0])
    lip = model.explain(features, AU.AU12)
    number = AUS.index(AU.AU12)
    assert np.isclose(sum(one.log_odds for one in lip) + model.regions[number].bias, log_odds(answers.affected_PA)[0, number])
    assert {FEATURES.index(one.feature) for one in lip} <= set(region_features(AU.AU12))


def test_a_contribution_names_the_side_of_its_own_feature_and_a_palsied_eye_is_wider() -> None:
    model = equal_weights(np.ones(len(FEATURES)))
    names = [feature.name for feature in FEATURES]
    features = np.ones(len(FEATURES))
    features[names.index("rest.lid_gap")] = -1
    features[names.index("movement.lip_corner")] = -3
    found = {one.feature.name: one for one in model.explain(features)}
    assert found["movement.lip_corner"].side is Side.LEFT
    assert found["movement.lip_corner"].log_odds < 0
    assert found["rest.lid_gap"].side is Side.RIGHT
    assert found["rest.lid_gap"].log_odds > 0
    assert "left lip corner: moves less (-0." in sentences(model.explain(features), 1)[0]


def test_the_record_of_an_answer_adds_up(made_up_people: People, model: AsymmetryModel) -> None:
    record = json.loads(json.dumps(answer_record("clip.mp4", model, made_up_people.feature_PF[1])))
    answers = model.answer(made_up_people.feature_PF[[1]])
    assert record["palsy"] == pytest.approx(answers.palsy_P[0], abs=1e-4)
    total = record["bias"] + sum(one["log_odds"] for one in record["contributions"])
    assert 1 / (1 + np.exp(-total)) == pytest.approx(record["palsy"], abs=2e-3)
    assert list(record["regions"]) == [str(au) for au in AUS]
    assert record["side"] == ("right" if answers.right_P[0] >= 0.5 else "left")
    assert record["side_probability"] >= 0.5


def test_a_region_that_all_or_no_palsied_people_have_keeps_the_weights_of_the_prior(made_up_people: People) -> None:
    affected = made_up_people.affected_PA.copy()
    affected[:, 0] = made_up_people.palsied_P
    prior = load_weights()
    fitted = fit_model(replace(made_up_people, affected_PA=affected), prior)
    assert np.array_equal(fitted.regions[0].weight_F, prior.regions[0].weight_F)
    assert not np.array_equal(fitted.regions[1].weight_F, prior.regions[1].weight_F)


def test_people_of_one_cohort_are_refused(made_up_people: People) -> None:
    with pytest.raises(TrainingError, match="palsied people and controls"):
        fit_model(made_up_people.where(made_up_people.palsied_P))


def test_the_stored_form_gives_the_same_answers(model: AsymmetryModel, made_up_people: People) -> None:
    again = model_from_json(json.loads(json.dumps(model.to_json())))
    first, second = (one.answer(made_up_people.feature_PF) for one in (model, again))
    assert np.allclose(first.palsy_P, second.palsy_P, atol=1e-3)
    assert np.allclose(first.affected_PA, second.affected_PA, atol=1e-3)


def test_weights_of_other_features_are_refused(model: AsymmetryModel, tmp_path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(model.to_json() | {"features": ["movement.ear"]}))
    with pytest.raises(CheckpointError, match=r"other\.json cannot be loaded .*made for other features"):
        load_weights(tmp_path / "other.json")
