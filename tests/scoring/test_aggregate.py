import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitau.evaluation.bootstrap import resample_weights
from vitau.evaluation.decision import Calibration, DecisionRule, log_odds, sigmoid
from vitau.schema import AU, AUS, Side, Visit
from vitau.scoring.aggregate import RegionScore, SideProbability, SubjectScore, aggregate, aggregate_visits
from vitau.scoring.scores import CropScores, score_rows, score_table


def _table(palsy, regions=None, threshold=0.5, time_s=None, clip="c"):
    palsy_N = np.array(palsy, dtype=np.float32)
    palsied_N = palsy_N >= threshold
    region_NA = np.full((len(palsy), 8), np.nan, np.float32)
    if regions is not None:
        region_NA[palsied_N] = np.array(regions, np.float32)
    scores = CropScores(palsy_N=palsy_N, palsied_N=palsied_N, analysed_N=palsied_N, region_NA=region_NA)
    count = len(palsy)
    times = range(count) if time_s is None else time_s
    return score_table(score_rows(scores, name=clip, frame_index=range(count), time_s=times, box=[[0] * 4] * count))


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


def _sided(table, right, name="right_side"):
    """Return the table with the probabilities of a side."""
    column = table.schema.get_field_index(name)
    return table.set_column(column, table.schema.field(column), pa.array(right, pa.float32()))


def test_the_summary_has_every_value_rounded_to_four_digits():
    region = RegionScore(
        score=0.123456, interval=(-0.00016, 0.98765), affected=True, share_affected=2 / 3, right=0.123456, left=0.98765
    )
    score = SubjectScore(
        palsy_score=0.987654,
        interval=(0.111149, 0.222251),
        threshold=0.123456789,
        palsied=True,
        uncertain=False,
        num_frames=7,
        num_analysed=3,
        regions={AU.AU4: region},
        right_side=0.333333,
    )
    assert score.summary() == {
        "palsy_score": 0.9877,
        "interval": [0.1111, 0.2223],
        "threshold": 0.123456789,
        "palsied": True,
        "uncertain": False,
        "num_frames": 7,
        "num_analysed": 3,
        "regions": {
            "AU4": {
                "score": 0.1235,
                "interval": [-0.0002, 0.9877],
                "affected": True,
                "share_affected": 0.6667,
                "right": 0.1235,
                "left": 0.9877,
            },
        },
        "side": "left",
        "right_side": 0.3333,
    }
    unsided = aggregate(_table([0.7], regions=[[0.1] * 8]), 0.5).summary()
    assert (unsided["side"], unsided["right_side"]) == (None, None)
    assert unsided["regions"]["AU1"] == {
        "score": 0.1,
        "interval": None,
        "affected": True,
        "share_affected": 1.0,
        "right": None,
        "left": None,
    }


def test_intervals_are_the_quantiles_of_1000_resampled_means():
    palsy = np.array([0.9, 0.6, 0.75, 0.5, 0.8], np.float32)
    regions = np.linspace(-0.9, 0.9, 40).reshape(5, 8).astype(np.float32)
    table = _table(palsy, regions=regions)
    for seed in (0, 3):
        weights = resample_weights(5, 1000, seed) / 5
        answer = aggregate(table, 0.5, seed=seed)
        assert answer.interval == pytest.approx(tuple(np.quantile(weights @ palsy.astype(float), [0.025, 0.975])))
        for number, au in enumerate(AUS):
            ends = np.quantile(weights @ regions[:, number].astype(float), [0.025, 0.975])
            assert answer.regions[au].interval == pytest.approx(tuple(ends))
            assert answer.regions[au].score == pytest.approx(regions[:, number].mean())
    assert aggregate(table, 0.5) == aggregate(table, 0.5, seed=0) != aggregate(table, 0.5, seed=3)


def test_two_frames_have_an_interval():
    answer = aggregate(_table([0.6, 0.9], regions=[[0.1] * 8, [0.2] * 8]), 0.5)
    assert answer.interval == pytest.approx((0.6, 0.9))
    assert answer.regions[AU.AU1].interval == pytest.approx((0.1, 0.2))


def test_the_limits_of_the_answers_count_as_documented():
    """A score at the threshold is a palsy, a region at 0 is not affected, and the interval excludes its lower end."""
    assert aggregate(_table([0.5], regions=[[0.0] * 8]), 0.5).palsied
    region = aggregate(_table([0.5], regions=[[0.0] * 8]), 0.5).regions[AU.AU1]
    assert (region.affected, region.share_affected) == (False, 0.0)
    ends = _table([0.25, 0.75], threshold=2)
    assert aggregate(ends, 0.25).interval == (0.25, 0.75)
    assert [aggregate(ends, threshold).uncertain for threshold in (0.25, 0.5, 0.75, 0.76)] == [False, True, True, False]


def test_the_side_is_the_mean_of_the_frames_that_have_one_and_belongs_to_analyzed_regions():
    table = _sided(_table([0.9, 0.8, 0.1], regions=[[0.1] * 8] * 2), [0.25, 0.75, None])
    assert aggregate(table, 0.5).right_side == pytest.approx(0.5)
    assert aggregate(table, 0.95).right_side is None
    assert aggregate(table, 0.95, analyse_all=True).right_side == pytest.approx(0.5)
    one = aggregate(_sided(_table([0.9], regions=[[0.1] * 8]), [0.25]), np.float32(0.5))
    assert (one.right_side, type(one.right_side), type(one.threshold), type(one.palsy_score)) == (0.25, float, float, float)
    assert aggregate(_table([0.9], regions=[[0.1] * 8]), 0.5).right_side is None


def test_a_person_and_each_region_name_the_more_probable_side_with_its_probability():
    table = _sided(_table([0.9, 0.8, 0.1], regions=[[0.1] * 8] * 2), [0.25, 0.5, None])
    table = _sided(_sided(table, [0.1, 0.3, None], "AU4_right"), [0.7, 0.9, None], "AU4_left")
    answer = aggregate(table, 0.5)
    assert (answer.side.side, answer.side.probability) == (Side.LEFT, pytest.approx(0.625))
    brow = answer.regions[AU.AU4]
    assert (brow.right, brow.left) == (pytest.approx(0.2), pytest.approx(0.8))
    assert (brow.side.side, brow.side.probability) == (Side.LEFT, pytest.approx(0.8))
    assert (answer.regions[AU.AU1].right, answer.regions[AU.AU1].side) == (None, None)
    assert replace(answer, right_side=0.5).side.side is Side.RIGHT
    assert replace(brow, right=0.9).side == SideProbability(side=Side.RIGHT, probability=0.9)


def test_an_analysis_without_analyzed_frames_has_no_regions():
    answer = aggregate(_table([0.2, 0.3]), 0.1, analyse_all=True)
    assert (answer.regions, answer.num_analysed, answer.num_frames, answer.palsied) == ({}, 0, 2, True)


def test_frames_of_one_second_are_resampled_together():
    palsy = np.repeat([0.2, 0.6, 0.7, 0.9], 6)
    times = np.arange(24) / 6
    low, high = aggregate(_table(palsy, threshold=2, time_s=times), 2.0).interval
    weights = resample_weights(4, 1000, 0) / 4
    assert (low, high) == pytest.approx(tuple(np.quantile(weights @ [0.2, 0.6, 0.7, 0.9], [0.025, 0.975])))
    apart = aggregate(_table(palsy, threshold=2), 2.0).interval
    assert high - low > 1.5 * (apart[1] - apart[0]), "frames that resemble each other are no independent evidence"


def test_seconds_with_more_frames_weigh_more():
    table = _table([0.1, 0.9, 0.9, 0.9], threshold=2, time_s=[0.5, 1.0, 1.3, 1.999999])
    weight_RG = resample_weights(2, 1000, 0)
    means = (weight_RG @ [0.1, 2.7]) / (weight_RG @ [1, 3])
    two_seconds = aggregate(table.slice(0, 3), 2.0).interval
    assert two_seconds == pytest.approx((0.1, 0.9), abs=1e-6)
    assert aggregate(_table([0.1, 0.9, 0.9, 0.9], threshold=2, time_s=[0.5, 1.0, 1.3, 1.9]), 2.0).interval == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=1e-6
    )


def test_the_same_second_of_two_recordings_is_two_seconds():
    first = _table([0.2, 0.3], threshold=2, time_s=[0.0, 0.5])
    names = pa.array(["d", "d"], pa.string())
    second = first.set_column(first.column_names.index("input"), first.schema.field("input"), names)
    assert aggregate(first, 2.0).interval is None
    assert aggregate(pa.concat_tables([first, second]), 2.0).interval is not None


def test_a_calibrated_model_averages_log_odds():
    palsy = np.array([0.5, 0.9, 0.95, 0.2], np.float32)
    rule = DecisionRule(threshold=0.5, calibration=Calibration(), abstention=(0.4, 0.6))
    answer = aggregate(_table(palsy, threshold=2), rule)
    assert answer.palsy_score == pytest.approx(float(sigmoid(log_odds(palsy).mean())))
    ends = sigmoid(np.quantile(resample_weights(4, 1000, 0) / 4 @ log_odds(palsy), [0.025, 0.975]))
    assert answer.interval == pytest.approx(tuple(ends))
    assert (answer.abstention, answer.summary()["abstention"]) == ((0.4, 0.6), [0.4, 0.6])


def test_a_photo_in_the_abstention_band_is_uncertain():
    rule = DecisionRule(threshold=0.5, calibration=Calibration(), abstention=(0.4, 0.6))
    answers = [aggregate(_table([score]), rule) for score in (0.3, 0.45, 0.55, 0.7)]
    assert [(answer.interval, answer.uncertain) for answer in answers] == [
        (None, False),
        (None, True),
        (None, True),
        (None, False),
    ]


def _visits(*clips):
    return [Visit(name=f"v{number}", recorded_at=None, clips=own) for number, own in enumerate(clips, start=1)]


def test_a_visit_is_scored_from_the_frames_of_its_clips_alone():
    tables = [_table([0.9, 0.7], clip="a"), _table([0.1], clip="b"), _table([0.3, 0.5], clip="c")]
    first, second, third = aggregate_visits(pa.concat_tables(tables), _visits(("c",), ("b", "a"), ("d",)), 0.5, analysed=False)
    assert (first.visit.name, first.score.palsy_score, first.score.num_frames) == ("v1", pytest.approx(0.4), 2)
    assert first.score == aggregate(tables[2], 0.5)
    assert second.score.palsy_score == pytest.approx((0.9 + 0.7 + 0.1) / 3)
    assert third.score is None


def test_a_visit_has_regions_if_the_person_has_whatever_the_score_of_the_visit_is():
    frames = pa.concat_tables(
        [_table([0.9], regions=[[0.3] * 8], clip="a"), _table([0.4], regions=[[-0.1] * 8], threshold=0.0, clip="b")]
    )
    for analysed in (True, False):
        high, low = aggregate_visits(frames, _visits(("a",), ("b",)), 0.5, analysed=analysed)
        assert (high.score.palsied, low.score.palsied) == (True, False)
        regions = [{au: region.score for au, region in visit.score.regions.items()} for visit in (high, low)]
        expected = [dict.fromkeys(AUS, pytest.approx(score)) for score in (0.3, -0.1)]
        assert regions == (expected if analysed else [{}, {}])


def test_the_summary_of_a_visit_has_no_decision():
    frames = _sided(_table([0.9, 0.8], regions=[[0.1] * 8] * 2), [0.25, 0.5])
    scored, missing = aggregate_visits(frames, _visits(("c",), ("d",)), 0.5, analysed=True)
    found = scored.summary()
    assert found.keys() == missing.summary().keys() == {
        "visit", "recorded_at", "clips", "palsy_score", "interval", "num_frames", "num_analysed", "right_side", "regions"
    }  # fmt: skip
    assert (found["palsy_score"], found["interval"], found["clips"]) == (0.85, [0.8, 0.9], ["c"])
    assert found["regions"]["AU1"].keys() == {"score", "interval", "share_affected", "right", "left"}
    assert (missing.summary()["palsy_score"], missing.summary()["num_frames"], missing.summary()["regions"]) == (None, 0, {})


def test_the_rows_of_a_long_recording_take_little_memory():
    scores = CropScores.without_regions(np.ones(1, np.float32), np.ones(1, dtype=bool))
    (row,) = score_rows(scores, name="1", frame_index=[0], time_s=[0.0], box=[[0, 0, 9, 9]])
    tracemalloc.start()
    table = score_table(row | {"frame_index": number} for number in range(4000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table["frame_index"].to_pylist() == list(range(4000))
    assert peak < 3e6  # all rows as dictionaries are 7 MB


def test_seconds_are_resampled_whole_in_the_order_of_their_first_frames():
    palsy = np.random.default_rng(1).uniform(size=24).astype(np.float32)
    second_N, number_N = np.arange(24) % 12, np.tile([*range(0, 12, 2), *range(1, 12, 2)], 2)
    parts = [_table(palsy[[at]], time_s=[second // 2 + at / 100], clip="ab"[second % 2]) for at, second in enumerate(number_N)]
    weights = resample_weights(12, 1000, 0)
    means = weights @ np.bincount(second_N, palsy.astype(float)) / (weights @ np.bincount(second_N))
    assert aggregate(pa.concat_tables(parts), 0.5).interval == tuple(np.quantile(means, [0.025, 0.975]).tolist())
