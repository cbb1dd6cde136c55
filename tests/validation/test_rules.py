import pyarrow as pa
import pytest

from validation.rules import (
    frame_rows,
    label_rows,
    quarantine_reasons,
    snapshot_rows,
)
from vitau.schema import Cohort, FrameLimits, QuarantineReason

NO_FACE = {"num_faces": 0, "box": None, "landmarks": None, "crop_landmarks": None, "sharpness": None, "brightness": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        (NO_FACE, QuarantineReason.NO_FACE),
        ({"landmarks": None, "crop_landmarks": None}, QuarantineReason.NO_FACE),
        ({"crop_landmarks": None}, QuarantineReason.NOT_ALIGNED),
        ({"face_px": 29.9}, QuarantineReason.SMALL),
        ({"face_px": None}, QuarantineReason.SMALL),
        ({"detector_score": -0.1}, QuarantineReason.LOW_CONFIDENCE),
        ({"sharpness": 14.0}, QuarantineReason.BLURRED),
        ({"brightness": 29.0}, QuarantineReason.DARK),
        ({"brightness": 226.0}, QuarantineReason.BRIGHT),
        ({"brightness": 60.0, "clipped": 0.6}, QuarantineReason.DARK),
        ({"brightness": 200.0, "clipped": 0.6}, QuarantineReason.BRIGHT),
        ({"clipped": None}, QuarantineReason.DARK),
        ({"yaw_deg": -46.0}, QuarantineReason.TURNED),
        ({"pitch_deg": 41.0}, QuarantineReason.TURNED),
        ({"yaw_deg": 45.0, "sharpness": 15.0, "brightness": 225.0}, None),
        ({"sharpness": 3.0, "face_px": 10.0, "yaw_deg": 80.0}, QuarantineReason.SMALL),
    ],
)
def test_a_frame_is_quarantined_for_the_first_reason_that_applies(make_frames, change, reason):
    assert quarantine_reasons(make_frames([{}, change])) == [None, reason]


def test_arrow_and_pandas_tables_have_the_same_reasons(make_frames):
    table = make_frames([{}, NO_FACE, {"sharpness": 1.0}])
    assert (
        quarantine_reasons(table.to_pandas())
        == quarantine_reasons(table)
        == [None, QuarantineReason.NO_FACE, QuarantineReason.BLURRED]
    )


def test_an_empty_table_has_no_reasons(make_frames):
    assert quarantine_reasons(make_frames([])) == []


def test_a_table_without_a_measure_is_refused(make_frames):
    with pytest.raises(ValueError, match=r"^a frame table without sharpness: write it with the columns of FRAME_COLUMNS$"):
        quarantine_reasons(make_frames([{}]).drop_columns(["sharpness"]))


def test_different_limits_have_different_digests():
    assert FrameLimits().digest == FrameLimits().digest != FrameLimits(sharpness_min=16.0).digest


def test_the_index_step_restarts_with_each_clip(make_frames):
    table = pa.concat_tables([make_frames([{}, {}]), make_frames([{"clip": "c2"}, {"clip": "c2", "frame_index": 4}])])
    assert frame_rows(table)["index_step"].fillna(-1).tolist() == [-1, 1, -1, 4]


def test_contradictions_and_surprises_are_named(labels):
    good = label_rows(labels, {"p": Cohort.PALSY, "c": Cohort.CONTROL})
    assert good[["contradiction", "surprise"]].isna().all(axis=None)
    swapped = labels.assign(side=[None] * 8 + ["right"] * 8)
    rows = label_rows(swapped, {"c": Cohort.PALSY}).drop_duplicates("subject").set_index("subject")
    assert rows["contradiction"].to_dict() == {"p": "affected regions but no side", "c": "a side but no affected region"}
    assert rows["known"].to_dict() == {"p": False, "c": True}
    assert rows["surprise"].fillna("none").to_dict() == {"p": "none", "c": "a patient without an affected region"}


def test_a_person_in_two_splits_or_with_two_answers_is_counted(snapshot):
    snapshot.loc[0, "split"] = "test"
    snapshot.loc[3, "AU4"] = True
    rows = snapshot_rows(snapshot).set_index("subject")
    assert rows["num_splits"].to_dict() == {f"s{i:02d}": 2 if i == 0 else 1 for i in range(12)}
    assert rows["num_answers"].to_dict() == {f"s{i:02d}": 2 if i == 1 else 1 for i in range(12)}
