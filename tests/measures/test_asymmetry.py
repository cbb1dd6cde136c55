import numpy as np

from vitau.measures.asymmetry import MOVED, movement_asymmetry
from vitau.schema import Side


def moving(right: float, left: float, num_frames: int = 40) -> dict[str, np.ndarray]:
    """Return series in which the sides move by these ranges in every measure."""
    wave = np.sin(np.linspace(0, 6 * np.pi, num_frames)) / 2
    sides = {"right": right, "left": left}
    return {f"{measure}_{side}": 0.3 + amount * wave for measure in MOVED for side, amount in sides.items()}


def test_the_side_that_moves_less_is_named_and_surer_the_less_it_moves() -> None:
    weak, weaker = movement_asymmetry(moving(0.15, 0.2)), movement_asymmetry(moving(0.05, 0.2))
    other = movement_asymmetry(moving(0.2, 0.05))
    assert weak is not None
    assert weaker is not None
    assert other is not None
    assert weak.side is weaker.side is Side.RIGHT
    assert other.side is Side.LEFT
    assert 0.5 < weak.side_probability < weaker.side_probability <= 1
    assert 0 < weak.score < weaker.score
    assert np.isclose(other.score, weaker.score)


def test_the_ratio_of_two_tiny_movements_does_not_count() -> None:
    tiny, large = movement_asymmetry(moving(0.002, 0.008)), movement_asymmetry(moving(0.05, 0.2))
    assert tiny is not None
    assert large is not None
    assert tiny.score < 0.1 * large.score


def test_frames_that_are_not_measurable_are_left_out_and_too_few_give_nothing() -> None:
    columns = moving(0.05, 0.2)
    broken = {name: np.concatenate([series, np.full(7, np.nan)]) for name, series in columns.items()}
    whole, gappy = movement_asymmetry(columns), movement_asymmetry(broken)
    assert whole == gappy
    assert movement_asymmetry({name: series[:3] for name, series in columns.items()}) is None
    assert movement_asymmetry({}) is None
