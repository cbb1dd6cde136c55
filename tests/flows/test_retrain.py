"""The retrain flow before any training: the keys of trainings, and a wrong size."""

import pytest

from flows.retrain import retrain, training_key


@pytest.mark.parametrize(
    ("recipe", "key"),
    [("tiny-palsy", "99928fd44e4ea3fd"), ("tiny-regions", "b6fd79ff219d28aa"), ("paper-regions", "31a5fa72eb3daead")],
)
def test_existing_states_find_their_trainings(recipe, key):
    """The key is a digest of the recipe's repr: renaming a field of a configuration would train every model again."""
    assert training_key(recipe, "5" * 64) == key


def test_an_unknown_size_is_one_sentence_before_anything_is_trained():
    with pytest.raises(ValueError, match="there is no recipe size huge: choose one of tiny, "):
        retrain.fn("5" * 64, "huge")
