"""The keys of trainings: existing databases find theirs by them."""

import pytest

from flows.retrain import training_key


@pytest.mark.parametrize(
    ("recipe", "key"),
    [("tiny-palsy", "99928fd44e4ea3fd"), ("tiny-regions", "b6fd79ff219d28aa"), ("paper-regions", "31a5fa72eb3daead")],
)
def test_existing_states_find_their_trainings(recipe, key):
    """The key is a digest of the recipe's repr: renaming a field of a configuration would train every model again."""
    assert training_key(recipe, "5" * 64) == key
