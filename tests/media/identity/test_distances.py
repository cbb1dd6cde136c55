"""Identity: distances between clips by several faces, and pairs whose faces contradict the names."""

import numpy as np
import pytest

from vitau.media.faces import SAME_PERSON
from vitau.media.identity.distances import (
    DIFFERENT_PEOPLE,
    NearClips,
    Proposal,
    clip_distance,
    contradictions,
    near_clips,
    refine,
)

RNG = np.random.default_rng(8)


def faces_at(place: float, *, num: int = 5, spread: float = 0.02) -> np.ndarray:
    """Return faces of a person whose first coordinate is the place."""
    faces_KD = RNG.normal(0, spread / np.sqrt(128), (num, 128)).astype(np.float32)
    faces_KD[:, 0] += place
    return faces_KD


def test_the_nearest_other_person_is_another_one():
    points = RNG.normal(size=(12, 128))
    subjects = [f"s{i // 3}" for i in range(12)]
    direct = {
        name: min(
            np.linalg.norm(a - b) for a, s in zip(points, subjects, strict=True) for b, t in zip(points, subjects, strict=True)
            if s == name != t
        )
        for name in sorted(set(subjects))
    }  # fmt: skip
    assert near_clips(points, subjects, 0)[1] == pytest.approx(direct)
    assert near_clips(points[:3], subjects[:3], 0) == ([], {})


def test_pairs_below_the_limit_are_listed_once_and_nearest_first_and_a_persons_own_clips_never():
    places = [0.0, 0.3, 0.1, 5.0, 0.0]
    embedding_CD = np.concatenate([faces_at(place, num=1, spread=0) for place in places])
    pairs, beyond = near_clips(embedding_CD, ["a", "b", "c", "d", "a"], 0.25)
    assert [(pair.one, pair.other) for pair in pairs] == [(0, 2), (2, 4), (1, 2)]
    assert [pair.distance for pair in pairs] == pytest.approx([0.1, 0.1, 0.2], abs=1e-3)
    assert beyond == pytest.approx({"a": 0.3, "b": 0.3, "c": 4.9, "d": 4.7}, abs=1e-3)


def test_one_bad_picture_neither_joins_strangers_nor_parts_one_person():
    one, other = faces_at(0), faces_at(0.9)
    other[0] = one[0]  # a blurred picture looks like anyone
    assert clip_distance(one, other) > DIFFERENT_PEOPLE
    same = faces_at(0)
    same[0] = faces_at(0.9)[0]
    assert clip_distance(one, same) < 0.1


def test_near_pairs_are_compared_by_several_faces_up_to_a_number_of_clips():
    clips = {0: faces_at(0), 1: faces_at(0.5), 2: faces_at(0.1), 3: faces_at(0.2)}
    read = []

    def faces(clip: int) -> np.ndarray:
        read.append(clip)
        return clips[clip]

    pairs = [NearClips(one=one, other=other, distance=0.4) for one, other in ((0, 1), (0, 2), (2, 3))]
    found = refine(pairs, faces, max_clips=3)
    assert sorted(read) == [0, 1, 2]
    assert {(pair.one, pair.other): pair.several for pair in found} == {(0, 1): True, (0, 2): True, (2, 3): False}
    assert [round(pair.distance, 1) for pair in found] == [0.1, 0.4, 0.4], "the smaller distance counts, and 0.5 is larger"


def test_faces_contradict_names_that_join_strangers_or_part_one_person():
    names = ["anna", "anna", "bert", "carl", "dora"]
    middle = (SAME_PERSON + DIFFERENT_PEOPLE) / 2
    faces = [faces_at(0), faces_at(5), faces_at(0.2), faces_at(0.2 + middle), np.zeros((0, 128), np.float32)]
    found = contradictions(names, faces)
    assert [(pair.one, pair.other, pair.proposal) for pair in found] == [
        (0, 1, Proposal.SPLIT),
        (0, 2, Proposal.MERGE),
        (2, 3, Proposal.LOOK),
    ]
    assert contradictions(["a", "b"], [faces_at(0), faces_at(2)]) == []
