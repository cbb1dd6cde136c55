from dataclasses import replace

import numpy as np

from vitau.baselines.recognition.recordings import recordings, to_frames, windows


def _crops(eight_people, subjects, sources=None):
    crops = eight_people.where(np.arange(len(eight_people)) < len(subjects))
    return replace(crops, subject_N=np.array(list(subjects)), source_N=None if sources is None else np.array(list(sources)))


def _lists(arrays):
    return [array.tolist() for array in arrays]


def test_a_recording_is_all_frames_of_a_person_from_a_source_in_their_order(eight_people):
    assert _lists(recordings(_crops(eight_people, "babab"))) == [[0, 2, 4], [1, 3]]
    assert _lists(recordings(_crops(eight_people, "aaaa", "yxyx"))) == [[0, 2], [1, 3]]


def test_a_recording_is_a_clip_where_crops_name_clips(eight_people):
    crops = replace(_crops(eight_people, "aaaab", "yyyyy"), clip_N=np.array(list("xyxyx")))
    assert _lists(recordings(crops)) == [[0, 2], [1, 3], [4]]


def test_windows_cover_every_frame_and_short_recordings_repeat_frames_evenly(eight_people):
    rows, owners = windows(_crops(eight_people, "aaaaabbc"), 3)
    assert rows.tolist() == [[0, 1, 2], [2, 3, 4], [5, 5, 6], [7, 7, 7]]
    assert owners.tolist() == [0, 0, 1, 2]


def test_windows_do_not_overlap_where_the_length_divides(eight_people):
    rows, _ = windows(_crops(eight_people, "aaaaaa"), 3)
    assert rows.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_all_frames_of_a_recording_get_the_mean_of_its_windows(eight_people):
    crops = _crops(eight_people, "abaab")
    scores = to_frames(crops, np.array([0.2, 0.4, 0.9]), np.array([0, 0, 1]))
    assert np.allclose(scores, [0.3, 0.9, 0.3, 0.3, 0.9])
    assert scores.dtype == np.float32
