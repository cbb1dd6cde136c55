import json
from importlib.resources import files

import numpy as np

from vitau.measures.exercises.__main__ import fit_model
from vitau.measures.exercises.naming import naming_model


def test_the_same_seed_gives_the_same_weights():
    one, two = fit_model(6, 4), fit_model(6, 4)
    assert one.to_json() == two.to_json()
    assert fit_model(6, 5).to_json() != one.to_json()


def test_the_stored_model_states_its_seed_and_people():
    record = json.loads(files("vitau.measures.exercises").joinpath("weights.json").read_text())
    assert (record["seed"], record["people"] >= 100) == (11, True)
    assert np.isfinite(naming_model().weights).all()
