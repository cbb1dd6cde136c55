import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitau.schema import AU, AUS
from vitau.scoring.aggregate import aggregate
from vitau.scoring.scores import CropScores, score_rows, score_table


def _table(palsy, regions=None, threshold=0.5):
    palsy_N = np.array(palsy, dtype=np.float32)
    palsied_N = palsy_N >= threshold
    region_NA = np.full((len(palsy), 8), np.nan, np.float32)
    if regions is not None:
        region_NA[palsied_N] = np.array(regions, np.float32)
    scores = CropScores(palsy_N=palsy_N, palsied_N=palsied_N, analysed_N=palsied_N, region_NA=region_NA)
    count = len(palsy)
    return score_table(score_rows(scores, name="c", frame_index=range(count), time_s=range(count), box=[[0] * 4] * count))


def test_a_person_is_the_mean_of_the_frames_and_a_region_the_mean_of_the_analyzed_ones():
    answer = aggregate(_table([0.9, 0.8, 0.4], regions=[[0.1] * 7 + [-0.1], [0.3] * 7 + [0.05]]), 0.5)
    assert (answer.palsied, answer.num_frames, answer.num_analysed) == (True, 3, 2)
    assert answer.palsy_score == pytest.approx(0.7)
    assert answer.regions[AU.AU1].score == pytest.approx(0.2)
    assert (answer.regions[AU.AU26].affected, answer.regions[AU.AU26].share_affected) == (False, 0.5)
    assert list(answer.regions) == list(AUS)


def test_a_person_without_a_recognized_palsy_has_no_regions_although_a_frame_was_analyzed():
    table = _table([0.9, 0.1, 0.1], regions=[[0.1] * 8])
    assert (aggregate(table, 0.5).palsied, aggregate(table, 0.5).regions) == (False, {})
    assert aggregate(table, 0.5, analyse_all=True).regions[AU.AU4].score == pytest.approx(0.1)


def test_one_frame_has_no_interval_and_is_not_uncertain():
    answer = aggregate(_table([0.7], regions=[[0.1] * 8]), 0.5)
    assert (answer.interval, answer.uncertain, answer.regions[AU.AU1].interval) == (None, False, None)
    assert answer.summary()["interval"] is None


def test_frames_on_both_sides_of_the_threshold_make_the_score_uncertain():
    assert aggregate(_table([0.1, 0.9, 0.2, 0.8, 0.9], regions=[[0.1] * 8] * 3), 0.5).uncertain
    assert not aggregate(_table([0.9] * 20, regions=[[0.1] * 8] * 20), 0.5).uncertain


def test_an_empty_table_has_no_score():
    assert aggregate(_table([]), 0.5) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60))
def test_the_interval_lies_within_the_scores_and_is_reproducible(palsy):
    table = _table(palsy, threshold=2)
    answer = aggregate(table, 0.5)
    low, high = answer.interval
    assert min(palsy) - 1e-6 <= low <= high <= max(palsy) + 1e-6
    assert aggregate(table, 0.5) == answer


def test_the_interval_is_that_of_the_mean():
    palsy = np.random.default_rng(0).uniform(0, 1, 200)
    low, high = aggregate(_table(palsy, threshold=2), 2.0).interval
    half = 1.96 * palsy.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((palsy.mean() - half, palsy.mean() + half), abs=0.01)
