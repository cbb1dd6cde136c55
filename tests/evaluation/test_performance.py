"""Changes of performance are reported if they are shown."""

import numpy as np

from vitau.evaluation.performance import compare_performance


def answered(num_people: int, seed: int, skill: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (np.arange(num_people) % 2 == 0)[:, None]
    score = np.clip(0.5 + skill * (2 * truth - 1.0) + rng.normal(0, 0.2, (num_people, 1)), 0, 1)
    return truth, np.ones_like(truth), score


def test_worse_performance_is_reported_only_if_shown():
    tested = answered(60, 1, 0.35)
    kept = compare_performance(tested, answered(60, 2, 0.35), name="recognition", threshold=0.5)
    assert [(change.measure, change.broken) for change in kept] == [
        ("recognition, AUROC", False),
        ("recognition, balanced accuracy", False),
    ]
    broken = compare_performance(tested, answered(60, 3, 0.02), name="recognition", threshold=0.5)
    assert [change.broken for change in broken] == [True, True]
    assert all(change.low < change.difference < change.high < 0 for change in broken)
    assert compare_performance(tested, answered(8, 3, 0.02), name="recognition", threshold=0.5) == []


def test_equal_performance_is_rarely_reported_as_worse():
    broken = sum(
        any(
            change.broken
            for change in compare_performance(answered(40, seed, 0.2), answered(40, 500 + seed, 0.2), name="r", threshold=0.5)
        )
        for seed in range(20)
    )
    assert broken <= 2


def test_a_region_with_too_few_labels_is_left_out():
    rng = np.random.default_rng(0)
    truth = rng.random((50, 8)) < 0.5
    score = 0.3 * (2 * truth - 1.0) + rng.normal(0, 0.2, (50, 8))
    known = np.ones_like(truth)
    rare = known.copy()
    rare[8:, 2] = False
    both = compare_performance((truth, known, score), (truth, rare, score), name="regions", threshold=0.0)
    others = [column for column in range(8) if column != 2]
    same = tuple(values[:, others] for values in (truth, known, score))
    assert both[0].promised == compare_performance(same, same, name="regions", threshold=0.0)[0].promised
