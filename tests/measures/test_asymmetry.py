import numpy as np
import pytest

from vitau.measures.asymmetry import MOVED, movement_asymmetry, movement_ratios


def moving(right: float, left: float, num_frames: int = 40) -> dict[str, np.ndarray]:
    """Return series in which the sides move by these ranges in every measure."""
    wave = np.sin(np.linspace(0, 6 * np.pi, num_frames)) / 2
    sides = {"right": right, "left": left}
    return {f"{measure}_{side}": 0.3 + amount * wave for measure in MOVED for side, amount in sides.items()}


def test_the_score_is_larger_the_less_one_side_moves_whichever_it_is() -> None:
    weak, weaker = movement_asymmetry(moving(0.15, 0.2)), movement_asymmetry(moving(0.05, 0.2))
    other = movement_asymmetry(moving(0.2, 0.05))
    assert weak is not None
    assert weaker is not None
    assert other is not None
    assert 0 < weak < weaker
    assert np.isclose(other, weaker)
    ratios = movement_ratios(moving(0.05, 0.2), measures=MOVED)
    assert all(ratio > 0 for ratio in ratios.values()), "positive where the right side is the weaker one"


def test_the_ratio_of_two_tiny_movements_does_not_count() -> None:
    tiny, large = movement_asymmetry(moving(0.002, 0.008)), movement_asymmetry(moving(0.05, 0.2))
    assert tiny is not None
    assert large is not None
    assert tiny < 0.1 * large


def test_frames_that_are_not_measurable_are_left_out_and_too_few_give_nothing() -> None:
    columns = moving(0.05, 0.2)
    broken = {name: np.concatenate([series, np.full(7, np.nan)]) for name, series in columns.items()}
    whole, gappy = movement_asymmetry(columns), movement_asymmetry(broken)
    assert whole == gappy
    assert movement_asymmetry({name: series[:3] for name, series in columns.items()}) is None
    assert movement_asymmetry({}) is None


def test_noise_of_single_frames_counts_little_when_times_are_known() -> None:
    rng = np.random.default_rng(1)
    columns = {name: series + rng.normal(0, 0.03, 400) for name, series in moving(0.2, 0.2, 400).items()}
    spiky = {
        name: series + (0.1 * (rng.random(400) < 0.08) if name.endswith("left") else 0) for name, series in columns.items()
    }
    raw, smoothed = movement_asymmetry(spiky), movement_asymmetry(spiky, np.arange(400) / 30)
    assert raw is not None
    assert smoothed is not None
    assert smoothed < raw


@pytest.mark.parametrize("rate", [6.0, 30.0])
def test_smoothing_keeps_slow_movements(rate: float) -> None:
    columns = moving(0.05, 0.2, 300)
    raw, smoothed = movement_asymmetry(columns), movement_asymmetry(columns, np.arange(300) / rate)
    assert raw is not None
    assert smoothed is not None
    assert np.isclose(raw, smoothed, rtol=0.05)


def test_a_side_that_only_trembles_is_weaker_than_one_that_moves() -> None:
    """The 5–95 % range of noise is not movement: it does not go together with that of the other side."""
    rng = np.random.default_rng(2)
    columns = moving(0.0, 0.12, 200)
    noisy = {name: series + rng.normal(0, 0.03, 200) for name, series in columns.items()}
    judged = movement_asymmetry(noisy)
    assert judged is not None
    assert judged > 0.6


def test_a_face_that_does_not_move_has_no_asymmetry() -> None:
    still = movement_asymmetry(moving(0.0, 0.0))
    assert still is not None
    assert still == 0


def test_photos_and_clips_are_never_averaged_with_each_other() -> None:
    columns = moving(0.05, 0.2)
    raw = movement_asymmetry(columns)
    assert raw is not None
    for times in (np.zeros(40), np.tile([0.0, 1.0], 20)):
        judged = movement_asymmetry(columns, times)
        assert judged is not None
        assert np.isclose(judged, raw)
