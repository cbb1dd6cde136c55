import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from validation.rules import frame_rows, label_rows, quarantine_reasons, snapshot_rows
from validation.run import check, require
from validation.suites import frames_suite, labels_suite, snapshot_suite
from vitau.errors import GateError
from vitau.media.identity.distances import near_clips
from vitau.schema import Cohort, FrameLimits

CONTRADICTION = "a person has affected regions without a side, or a side without them"
COHORTS = {"p": Cohort.PALSY, "c": Cohort.CONTROL}

EDGES = {
    "face_px": 30.0,
    "detector_score": 0.0,
    "sharpness": 15.0,
    "brightness": 30.0,
    "clipped": 0.5,
    "yaw_deg": 45.0,
    "pitch_deg": -40.0,
}
ABSENT_FACE = dict.fromkeys([*EDGES, "box", "landmarks", "crop_landmarks", "roll_deg"]) | {"num_faces": 0}


def _measure(edge):
    near = st.sampled_from([edge, edge - 0.01, edge + 0.01, None])
    return st.one_of(near, st.floats(-300, 300, width=32))


frames = st.one_of(
    *(
        st.fixed_dictionaries({name: _measure(edge)}) for name, edge in EDGES.items()
    ),  # one at a time: a first reason would hide it
    st.fixed_dictionaries({}, optional={name: _measure(edge) for name, edge in EDGES.items()}),
    st.just({"crop_landmarks": None}),
    st.just({"landmarks": None, "crop_landmarks": None}),
    st.just(ABSENT_FACE),
)


@settings(max_examples=5, deadline=None, phases=(Phase.generate,))  # shrinking would take minutes
@given(changes=st.lists(frames, min_size=30, max_size=120))
def test_the_suite_flags_exactly_the_rows_that_the_rule_quarantines(make_frames, changes):
    table = make_frames(changes)
    reasons = quarantine_reasons(table)
    result = check(frame_rows(table), frames_suite())  # nothing is in quarantine yet: the limits apply to every row
    assert result.flagged == {row for row, reason in enumerate(reasons) if reason is not None}
    assert check(frame_rows(table, reasons), frames_suite()).failures == ()


def test_suite_and_rule_use_the_same_limits(make_frames):
    limits = FrameLimits(sharpness_min=50.0)
    table = make_frames([{"sharpness": 49.0}, {"sharpness": 51.0}])
    assert [reason is not None for reason in quarantine_reasons(table, limits)] == [True, False]
    assert check(frame_rows(table), frames_suite(limits)).failures == (
        "sharpness is below 50 in a frame that is not in quarantine (1 of 2 rows, first: subject s1, clip c1, frame_index 0)",
    )


def test_an_incomplete_frame_table_fails_with_sentences(make_frames):
    rows = frame_rows(make_frames([{}, {}, {"frame_index": 1, "subject": None}]))
    failures = check(rows.drop(columns="roll_deg").astype({"time_s": "float32"}), frames_suite()).failures
    at_row_1 = "first: subject s1, clip c1, frame_index 1)"
    assert [failure for failure in failures if "roll_deg" not in failure] == [
        "column time_s is not float64",
        "subject is missing (1 of 3 rows, first: subject nan, clip c1, frame_index 1)",
        f"a frame of a clip is there twice (2 of 3 rows, {at_row_1}",
        "the frames of a clip are not in increasing order (1 of 3 rows, first: subject nan, clip c1, frame_index 1)",
    ]
    assert failures[0] == "column roll_deg is missing"


def test_good_labels_pass_and_docs_are_written(labels, tmp_path):
    result = check(label_rows(labels, COHORTS, agreement=0.8), labels_suite(), tmp_path / "docs")
    assert (result.gate, result.passed, result.failures, result.warnings) == ("labels", True, (), ())
    assert require(result) is result
    assert result.docs == tmp_path / "docs" / "index.html"
    assert result.docs.is_file()
    assert any("contradiction" in page.read_text() for page in tmp_path.rglob("validations/**/*.html"))


@pytest.mark.parametrize(
    ("spoil", "failure", "first"),
    [
        (lambda t: pd.concat([t, t.tail(1)]), "a person has two answers for one region (2 of 17 rows", "c, au AU26"),
        (lambda t: t.assign(au=t["au"].replace("AU9", "AU7")), "an action unit is none of the 8 (2 of 16 rows", "p, au AU7"),
        (lambda t: t.replace("c", "x"), "a person with labels is not in the catalog (8 of 16 rows", "x, au AU1"),
        (lambda t: t.assign(side=None), f"{CONTRADICTION} (8 of 16 rows", "p, au AU1"),
        (lambda t: t.assign(side="left"), f"{CONTRADICTION} (8 of 16 rows", "c, au AU1"),
        (
            lambda t: t.assign(side=["left", "right"] * 4 + [None] * 8),
            "a person has two different sides (8 of 16 rows",
            "p, au AU1",
        ),
    ],
)
def test_labels_that_contradict_each_other_fail(labels, spoil, failure, first):
    result = check(label_rows(spoil(labels), COHORTS, agreement=0.8), labels_suite())
    assert result.failures == (f"{failure}, first: subject {first})",)


def test_readers_who_disagree_fail_the_gate_with_one_sentence(labels):
    result = check(label_rows(labels, COHORTS, agreement=0.4), labels_suite(0.6))
    with pytest.raises(GateError) as error:
        require(result)
    assert str(error.value) == (
        "gate labels is not passed: the readers agree less than 0.6 (16 of 16 rows, first: subject p, au AU1)."
    )


def test_a_control_with_affected_regions_is_a_warning(labels):
    result = check(label_rows(labels, {"p": Cohort.CONTROL, "c": Cohort.CONTROL}, agreement=0.8), labels_suite())
    assert (result.passed, result.warnings) == (
        True,
        ("a person's regions do not fit the cohort (8 of 16 rows, first: subject p, au AU1)",),
    )


def test_a_clean_snapshot_passes(snapshot):
    result = check(snapshot_rows(snapshot, {"s00": 0.7}), snapshot_suite())
    assert (result.passed, result.failures, result.warnings) == (True, (), ())


@pytest.mark.parametrize(
    ("spoil", "failure"),
    [
        (lambda t: t.assign(split=["test", *t["split"][1:]]), "a person is in two splits"),
        (lambda t: t.assign(cohort=["control", *t["cohort"][1:]]), "a person is in two cohorts"),
        (lambda t: t.assign(AU6=[None, *t["AU6"][1:]]), "frames of one person carry different labels"),
    ],
)
def test_a_person_with_two_splits_cohorts_or_labels_fails(snapshot, spoil, failure):
    failures = check(snapshot_rows(spoil(snapshot)), snapshot_suite()).failures
    assert failures == (f"{failure} (1 of 12 rows, first: subject s00)",)


def test_a_split_without_controls_fails(snapshot):
    only_patients = snapshot[~((snapshot["split"] == "val") & (snapshot["cohort"] == "control"))]
    assert check(snapshot_rows(only_patients), snapshot_suite()).failures == ("a split has no person of one cohort",)


def test_one_face_under_two_names_fails(snapshot, rng):
    embeddings = rng.normal(size=(12, 128))
    embeddings[7] = embeddings[2] + 0.001
    _, nearest = near_clips(embeddings, [f"s{i:02d}" for i in range(12)], below=0)
    assert check(snapshot_rows(snapshot, nearest), snapshot_suite()).failures == (
        "two subjects have faces nearer than 0.3 and may be one person (2 of 12 rows, first: subject s02)",
    )


def test_faces_between_the_floor_and_the_warning_pass_with_a_warning_that_names_the_command(snapshot):
    nearest = {f"s{i:02d}": 0.45 if i in {2, 7} else 0.9 for i in range(12)}
    result = check(snapshot_rows(snapshot, nearest), snapshot_suite())
    assert (result.passed, len(result.warnings)) == (True, 1)
    assert result.warnings[0].startswith("two subjects have faces nearer than 0.6; `labels lookalikes --page` shows them (2 of")
    assert check(snapshot_rows(snapshot, nearest), snapshot_suite(identity_warning=0.4)).warnings == ()


def test_patients_from_one_source_and_controls_from_another_are_a_warning(snapshot):
    confounded = snapshot.assign(source=snapshot["cohort"].map({"palsy": "yfp", "control": "ckplus"}))
    result = check(snapshot_rows(confounded), snapshot_suite())
    assert (result.passed, len(result.warnings)) == (True, 1)
    assert result.warnings[0].startswith("a source has only patients or only controls")
