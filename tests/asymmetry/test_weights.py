import json

from vitau.asymmetry.__main__ import SEED
from vitau.asymmetry.drawn import draw_people
from vitau.asymmetry.features import FEATURES
from vitau.asymmetry.weights import WEIGHTS, load_weights


def test_the_weights_of_the_package_judge_people_that_they_never_saw() -> None:
    people = draw_people(6, SEED + 1)
    answers = load_weights().answer(people.feature_PF)
    palsied = people.palsied_P
    assert answers.palsy_P[palsied].min() > answers.palsy_P[~palsied].max()
    assert ((answers.right_P[palsied] > 0.5) == (people.side_P[palsied] > 0)).all()


def test_the_weights_of_the_package_were_made_for_its_features_by_the_command() -> None:
    record = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    assert record["features"] == [feature.name for feature in FEATURES]
    assert (record["people"], record["seed"]) == (400, SEED)
