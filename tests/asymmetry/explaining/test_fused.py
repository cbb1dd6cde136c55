import numpy as np
import pytest

from vitau.asymmetry.explaining.fused import MOST, movement_record, movement_words
from vitau.asymmetry.features import People
from vitau.asymmetry.fusion import Blend, Fusion
from vitau.asymmetry.model import fit_model
from vitau.evaluation.decision import log_odds


def test_contributions_are_what_movement_adds_to_the_calibrated_log_odds(made_up_people: People) -> None:
    fusion = Fusion(model=fit_model(made_up_people), task=Blend(network=0.5, movement=0.8))
    features = made_up_people.feature_PF[:1]
    record = movement_record(fusion, features[0], scale=2.0)
    added = 2.0 * float(log_odds(fusion(np.array([0.5]), features))[0])
    assert record["log_odds"] == pytest.approx(added, abs=2e-3)
    parts = record["bias"] + record["others"] + sum(one["log_odds"] for one in record["contributions"])
    assert parts == pytest.approx(record["log_odds"], abs=5e-3)
    words = movement_words(record)
    assert len(words) == len(record["contributions"]) == MOST
    assert words[0].endswith(f"({record['contributions'][0]['log_odds']:+.2f})")
