from dataclasses import replace

import pytest

from flows.crossvalidation.results import Results
from flows.crossvalidation.tables import flattery
from vitau.evaluation.crossvalidation.pooled import LEVELS, Difference
from vitau.schema import Protocol


def differences(interval, other=Protocol.LOPO):
    """Return those of the regions under `frames` and another protocol, all with the same interval."""
    return [
        Difference(
            task="regions",
            level=level,
            protocol=Protocol.FRAMES,
            other=other,
            metric=metric,
            num_people=3,
            value=None if interval is None else sum(interval) / 2,
            interval=interval,
        )
        for level in LEVELS
        for metric in ("auroc", "accuracy", "balanced_accuracy")
    ]


@pytest.mark.parametrize(
    ("interval", "opinion"),
    [
        ((0.1, 0.5), "`frames` flatters"),
        ((-0.1, 0.5), "it is not shown that `frames` flatters"),
        ((-0.5, -0.1), "it is not shown that `frames` flatters"),
        (None, "that `frames` flatters cannot be shown"),
    ],
)
def test_frames_is_said_to_flatter_only_if_the_whole_interval_is_above_zero(interval, opinion):
    (sentence,) = flattery(Results(pooled=(), differences=differences(interval), reliability={}))
    assert sentence.startswith(f"The regions, 3 people: {opinion}. `frames` minus `lopo`: AUROC ")


def test_frames_is_compared_with_each_protocol_that_keeps_people_apart_and_they_with_no_other():
    apart = replace(differences((0.8, 0.9))[0], protocol=Protocol.SUBJECTS)
    all_three = [*differences((0.1, 0.2), Protocol.SUBJECTS), *differences((0.1, 0.2)), apart]
    found = list(flattery(Results(pooled=(), differences=all_three, reliability={})))
    assert ["`frames` minus `subjects`" in found[0], "`frames` minus `lopo`" in found[1]] == [True, True]
    assert [sentence.count("+0.150 [+0.100, +0.200]") for sentence in found] == [4, 4]
