import json
from dataclasses import replace

import numpy as np
import pytest

from vitau.asymmetry.features import People
from vitau.asymmetry.judge import judge, leave_one_out
from vitau.asymmetry.model import fit_model
from vitau.asymmetry.table import judgement_record, table_lines


def test_who_is_left_out_is_judged_by_the_others(made_up_people: People) -> None:
    judgement = leave_one_out(made_up_people, num_seeds=2)
    assert judgement.palsy.metrics["auroc"].value > 0.95
    assert judgement.palsy.num_people == 40
    assert judgement.palsy.num_seeds == 2
    assert judgement.side is not None
    assert judgement.side.metrics["accuracy"].value == 1
    assert judgement.regions is not None
    assert judgement.regions.num_people == 20


def test_features_that_tell_nothing_about_a_palsy_are_at_chance(made_up_people: People) -> None:
    noise = np.random.default_rng(5).normal(0, 1, made_up_people.feature_PF.shape)
    people = replace(made_up_people, feature_PF=noise)
    seen = judge(fit_model(people, strength=0.01), people).palsy.metrics["auroc"].value
    unseen = leave_one_out(people, num_seeds=1).palsy.metrics["auroc"].value
    assert seen > 0.95, "its own people are learned by heart"
    assert 0.2 < unseen < 0.7


def test_the_table_has_a_row_per_judgement_and_no_number_where_nothing_is_known(made_up_people: People) -> None:
    unknown = replace(made_up_people, side_P=np.zeros(40, np.int64), known_PA=np.zeros_like(made_up_people.known_PA))
    judgement = judge(fit_model(made_up_people), unknown)
    assert set(judgement_record(judgement)) == {"recognition"}
    lines = list(table_lines({"weights": judgement}))
    assert lines[0] == "40 people, 20 palsied"
    assert lines[-1].startswith("| weights | ")
    assert lines[-1].endswith("| - | - |" + " - |" * 8)


def test_the_record_of_a_judgement_has_the_numbers_of_its_table(made_up_people: People) -> None:
    judgement = judge(fit_model(made_up_people), made_up_people)
    record = json.loads(json.dumps(judgement_record(judgement)))
    assert (record["recognition"]["people"], record["regions"]["people"]) == (40, 20)
    shown = "{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
    row = list(table_lines({"weights": judgement}))[-1].removesuffix(" |").split(" | ")
    assert row[1:5] == [
        shown.format(**record[question][metric])
        for question, metric in (
            ("recognition", "auroc"),
            ("recognition", "accuracy"),
            ("side", "accuracy"),
            ("regions", "auroc"),
        )
    ]
    assert row[5:] == [f"{auroc:.2f}" for auroc in record["by_region"].values()]


def test_nobody_to_judge_is_refused(made_up_people: People) -> None:
    with pytest.raises(ValueError, match="nobody is left to judge"):
        judge(fit_model(made_up_people), made_up_people.where(np.zeros(40, bool)))
