"""Key frames, stale answers and the readers' queues, on real frames and without a service."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from flows.annotation.consensus import merge_subjects, resolve_consensus
from flows.annotation.key_frames import (
    build_reader_tasks,
    compare_material,
    find_stale_answers,
    frame_rate,
    materials,
    playable_clips,
)
from flows.annotation.push_tasks import build_adjudication_tasks
from flows.annotation.suggestions import load_champion_scores
from flows.annotation.task_queue import assign_people, set_absent
from flows.execution.clip_worker import ingest_clip
from flows.freeze import collect_rows, labeled_people
from flows.measuring.page_block import measure_blocks
from flows.reports.labeling import labeling_progress
from flows.rescore import waiting_frames
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.label_studio.push import PushedTask
from labeling.sampling.active_learning import Order
from tests.answers import whole_answer
from tests.databases import empty_catalog
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.catalog.tables import clips
from vitau.data.layout import frame_name
from vitau.errors import LabelingError
from vitau.measures.stored import measures_version
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject
from vitau.schema import AU, AUS, Cohort, LedgerRow, RegionLabels, Side, Snapshot, Split, Subject

KEY = b"the key of these tests"


@pytest.fixture(scope="module")
def store(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def workspace(store: Path, cohort: Path, tmp_path: Path) -> Iterator[Workspace]:
    """Four drawn people with their frames, all of them patients."""
    settings = Settings(
        store=store.as_uri(),
        catalog=SecretStr(f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}"),
        pseudonym_key=SecretStr(KEY.decode()),
        label_studio_url="http://127.0.0.1:9",
        label_studio_token=SecretStr("none"),
        mlflow_url="http://127.0.0.1:9",
        readers=("a", "b"),
        order=Order.INFORMATIVE,
    )
    opened = Workspace(settings)
    clips, _ = read_manifest(cohort / "manifest.csv")
    for clip in clips:
        new = ingest_clip(clip, opened.store, KEY, FrameRecipe())
        person = to_subject(clip, KEY)
        opened.catalog.add_subject(type(person)(pseudonym=person.pseudonym, cohort=Cohort.PALSY, source="s", synthetic=True))
        opened.catalog.add_clip(new.clip)
        opened.catalog.add_frame_table(new.frames)
    yield opened
    opened.catalog.engine.dispose()


def with_settings(workspace: Workspace, **changed: object) -> Workspace:
    other = Workspace(workspace.settings.model_copy(update=changed))
    vars(other)["catalog"] = workspace.catalog
    return other


def answer(reader: str, subject: str, frames: list[str], *regions: AU, number: int = 1) -> list[LedgerRow]:
    return whole_answer(subject, reader, *regions, number=number, frames_shown=tuple(frames), version="2026-11-25T10:00:00Z")


def split(workspace: Workspace, splits: dict[str, Split], num_test: int = 5) -> None:
    """Record splits, and people of both cohorts without frames in the test split."""
    tested = {f"{cohort}{number}": Split.TEST for number in range(num_test) for cohort in ("palsy", "control")}
    for name in tested:
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort(name[:-1]), source="s", synthetic=True))
    everyone = splits | tested
    workspace.catalog.add_splits(everyone, strata=dict.fromkeys(everyone, "palsy"))


def people(workspace: Workspace) -> list[str]:
    return [subject.pseudonym for subject in workspace.catalog.subjects()]


@pytest.fixture(scope="module")
def unlike(cohort: Path) -> tuple[str, str]:
    """Two people: what the second shows differs by 0.18 from the first. Answers are stale above 0.12."""
    first, second, *_ = read_manifest(cohort / "manifest.csv")[0]
    return to_subject(first, KEY).pseudonym, to_subject(second, KEY).pseudonym


def frames_of(workspace: Workspace, *subjects: str) -> dict[str, list[str]]:
    return {subject: task["data"]["frames"] for subject, task in build_reader_tasks(workspace, subjects).items()}


def test_the_first_clip_can_be_watched_frame_by_frame_unless_label_studio_refuses_its_format(workspace):
    (one, *_) = people(workspace)
    (clip, *_) = playable_clips(workspace)[one]
    assert frame_rate(workspace.store, replace(clip, suffix=".mov")) is None
    data = build_reader_tasks(workspace, [one])[one]["data"]
    assert data["player"] == [{"url": clip.url, "fps": "60"}], "the clip has 6 frames per second"
    assert data["pictures"][0]["html"].endswith(" s</span></div>")


def test_after_a_merge_a_reader_of_one_of_them_is_asked_again_and_a_reader_with_the_same_answer_to_both_is_not(
    workspace, unlike
):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers(
        [
            *answer("a", one, shown[one], AU.AU12),
            *answer("a", other, shown[other], AU.AU12),
            *answer("b", one, shown[one], AU.AU12),
        ]
    )
    assert compare_material.fn(workspace) == 0, "no frame is new before the merge"
    merge_subjects(workspace, one, other, why="the same face")
    assert compare_material.fn(workspace) == 1
    assert compare_material.fn(workspace) == 0, "no comparison is made twice"
    (found,) = find_stale_answers(workspace, workspace.catalog.ledger())
    assert (found.reader, found.subject) == ("b", one)
    assert found.difference > workspace.settings.ask_again_above
    done = labeling_progress(workspace)
    assert (done.labeled, done.stale, [reader.again for reader in done.readers]) == (1, 1, [0, 1, 0])
    calm = with_settings(workspace, ask_again_above=found.difference)
    assert find_stale_answers(calm, workspace.catalog.ledger()) == [], "the threshold is a setting, and comparisons stay"


def test_after_a_merge_of_two_with_different_answers_their_reader_is_asked_again(workspace, unlike):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers([*answer("a", other, shown[other], AU.AU9), *answer("a", one, shown[one], AU.AU12)])
    merge_subjects(workspace, one, other, why="the same face")
    compare_material.fn(workspace)
    assert [answer.reader for answer in find_stale_answers(workspace, workspace.catalog.ledger())] == ["a"]
    both = frames_of(workspace, one)[one]
    workspace.catalog.append_answers(answer("a", one, both, AU.AU1, number=2))
    compare_material.fn(workspace)
    assert find_stale_answers(workspace, workspace.catalog.ledger()) == []


def tasks(*subjects: str, answered: bool = False) -> list[PushedTask]:
    return [
        PushedTask(id=number, subject=subject, material=None, answered=answered)
        for number, subject in enumerate(subjects, start=1)
    ]


def new_of(workspace: Workspace, asked: dict[str, list[PushedTask]]) -> dict[str, list[str]]:
    return {reader: assignment.new for reader, assignment in assign_people(workspace, asked, {}, set()).items()}


def test_a_queue_is_filled_to_its_length_and_first_with_people_another_reader_has_begun(workspace):
    everyone = people(workspace)
    short = with_settings(workspace, queue=2)
    first = new_of(short, {"a": [], "b": []})
    assert first["a"] == first["b"]
    assert len(first["a"]) == 2
    begun = everyone[3]
    later = new_of(short, {"a": tasks(begun, answered=True), "b": []})
    assert later["b"][0] == begun
    assert [len(later["a"]), len(later["b"])] == [2, 2]
    assert begun not in later["a"]
    full = new_of(short, {"a": tasks(*everyone[:2]), "b": tasks(*everyone[:2], answered=True)})
    assert (full["a"], sorted(full["b"])) == ([], sorted(everyone[2:]))


def seen_twice(workspace: Workspace, one: str, other: str) -> str:
    """State that the clips of another person show this one, at a later visit; return the name of that visit's case."""
    with workspace.catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        connection.execute(sa.update(clips).where(clips.c.subject == other).values(subject=one, visit="week-12"))
    return f"{one}/week-12"


def test_each_visit_is_asked_about_with_its_own_frames_and_has_its_own_label(workspace, unlike):
    one, other = unlike
    before = frames_of(workspace, one, other)
    later = seen_twice(workspace, one, other)
    tasks_now = build_reader_tasks(workspace, [one, later])
    assert {case: task["data"]["frames"] for case, task in tasks_now.items()} == {one: before[one], later: before[other]}
    assert [tasks_now[case]["data"].get("visit") for case in (one, later)] == [None, "week-12"]
    assert {task["data"]["subject"] for task in tasks_now.values()} == {one}
    assert {one, later} <= set(new_of(workspace, {"a": []})["a"])
    assert later in new_of(workspace, {"a": tasks(one, answered=True)})["a"]
    rows = [
        row
        for reader in ("a", "b")
        for row in (*answer(reader, one, before[one], AU.AU12), *answer(reader, one, before[other], number=2))
    ]
    workspace.catalog.append_answers(rows)
    assert compare_material.fn(workspace) == 0, "no visit has frames that were not shown"
    done = labeling_progress(workspace)
    assert (done.subjects, done.labeled, done.waiting) == (5, 2, 3), "the person without clips waits too"
    labels = resolve_consensus(workspace, workspace.newest_answers()[0]).labels
    assert [(label.case, label.affected[AU.AU12]) for label in labels] == [(one, True), (later, False)]
    splits = dict.fromkeys((one, other), Split.TRAIN)
    found = labeled_people(workspace, labels)
    assert found[one][1].affected[AU.AU12], "a person has the label of the earliest visit"
    frozen = collect_rows.fn(workspace, found, splits, labels)
    assert {row["clip"] for row in frozen.to_pylist()} == {frame.rpartition(":")[0] for frame in before[one]}
    same = [labels[0], replace(labels[0], visit="week-12")]
    both = collect_rows.fn(workspace, labeled_people(workspace, same), splits, same)
    assert len({row["clip"] for row in both.to_pylist()}) == 2, "a visit with the same label is trained on"


def test_by_two_of_three_each_person_has_two_readers_and_an_absent_one_is_replaced(workspace):
    everyone = people(workspace)
    design = with_settings(workspace, readers=("a", "b", "c"), readers_per_person=2)
    nobody: dict[str, list[PushedTask]] = {"a": [], "b": [], "c": []}
    shared = new_of(design, nobody)
    readers_of = {subject: {reader for reader, mine in shared.items() if subject in mine} for subject in everyone}
    assert {len(readers) for readers in readers_of.values()} == {2}
    assert new_of(design, nobody) == shared, "the same each time"
    assert max(map(len, shared.values())) - min(map(len, shared.values())) <= 1
    asked = {reader: tasks(*mine) for reader, mine in shared.items()}
    assert new_of(design, asked) == {"a": [], "b": [], "c": []}, "nobody gets a third reader"
    with pytest.raises(LabelingError) as caught:
        set_absent(workspace, "a", absent=True)
    assert str(caught.value) == (
        "2 readers read each person, and without a there are 1: name another reader in VITAU_READERS first, "
        "with VITAU_READERS_PER_PERSON=2"
    )
    assert set_absent(design, "a", absent=True)
    taken = new_of(design, asked | {"a": tasks(*shared["a"][:1], answered=True) + tasks(*shared["a"][1:])})
    assert taken["a"] == []
    assert sorted(taken["b"] + taken["c"]) == sorted(shared["a"][1:]), "an answer stays, and open tasks find others"
    assert set_absent(design, "a", absent=False)
    assert not set_absent(design, "a", absent=False)
    assert new_of(design, asked)["a"] == []


def test_an_unknown_reader_cannot_be_away(workspace):
    with pytest.raises(LabelingError, match=r"^someone is none of the readers a, b of VITAU_READERS$"):
        set_absent(workspace, "someone", absent=True)


def test_without_scores_people_are_ordered_by_movement_or_at_random_by_the_settings(workspace):
    orders = {order: new_of(with_settings(workspace, order=order), {"a": []})["a"] for order in Order}
    assert sorted(orders["informative"]) == sorted(orders["random"]) == sorted(people(workspace))
    assert orders["informative"] != orders["random"]
    assert new_of(workspace, {"a": []})["a"] == orders["informative"]


def scored(workspace: Workspace, shares: dict[str, float | None], digest: str = "d" * 64) -> None:
    for subject, share in shares.items():
        regions = {au.value: {"score": share - 0.5, "share_affected": share} for au in AUS} if share is not None else {}
        workspace.catalog.add_score(ScoredSubject(model_digest=digest, subject=subject, key="k", summary={"regions": regions}))


def test_people_with_the_least_certain_scores_come_first_and_people_without_a_score_last(workspace):
    sure, doubtful, healthy, unscored = people(workspace)
    scored(workspace, {sure: 0.02, doubtful: 0.4, healthy: None})
    order = new_of(workspace, {"a": []})["a"]
    assert order[0] in {doubtful, healthy}, "unscored regions are uncertain"
    assert order[-1] == unscored
    assert order.index(sure) == 2


def test_suggestions_are_the_scores_of_the_champion_with_its_name_and_absent_without_a_score(workspace):
    one, healthy, unscored, _ = people(workspace)
    split(workspace, {one: Split.TRAIN, healthy: Split.VAL, unscored: Split.TRAIN})
    assert load_champion_scores(workspace) is None
    scored(workspace, {one: 0.9}, digest="old")
    snapshot = Snapshot(digest="s", uri="u", ledger_offset=1, num_frames=1, subjects={Split.TRAIN: 1}, synthetic=True)
    workspace.catalog.add_snapshot(snapshot)
    scored(workspace, {one: 0.8, healthy: None}, digest="new")
    champion = load_champion_scores(workspace)
    assert champion.name == "model new"
    workspace.catalog.add_training(
        Training(
            key="t",
            model="vitau-regions",
            recipe="r",
            snapshot="s",
            model_digest="new",
            model_key="k",
            version=3,
            run_id="i",
            metrics={},
        )
    )
    champion = load_champion_scores(workspace)
    assert champion.name == "vitau-regions/3"
    made = build_reader_tasks(workspace, [one, healthy, unscored], champion)
    assert made[one]["data"]["suggestions"] == {au.value: pytest.approx(0.3) for au in AUS}
    assert made[one]["data"]["suggested_by"] == "vitau-regions/3"
    assert [made[subject]["data"]["suggestions"] for subject in (healthy, unscored)] == [None, None]
    assert made[healthy]["data"]["suggested_by"] is None
    assert np.array_equal(champion.probabilities(healthy), [0.5] * 8)
    blind = build_reader_tasks(workspace, [one])[one]["data"]
    assert (blind["suggestions"], blind["suggested"]) == (None, "")


def test_measures_of_real_clips_are_shown_only_where_they_are_given_whoever_judges_models(workspace):
    trained, _, tested, _ = people(workspace)
    split(workspace, {trained: Split.TRAIN, tested: Split.TEST})
    blocks = measure_blocks(workspace, people(workspace))
    made = build_reader_tasks(workspace, [trained, tested], None, blocks)
    for subject in (trained, tested):
        assert made[subject]["data"]["measures_version"] == measures_version()
        assert "Asymmetry of movement" in made[subject]["data"]["suggested"]
        assert made[subject]["data"]["suggestions"] is None
    blind = build_reader_tasks(workspace, [trained])[trained]["data"]
    assert (blind["suggested"], blind.get("measures_version")) == ("", None)
    cases = {trained: ((AU.AU12,), False)}
    (case,) = build_adjudication_tasks(workspace, cases, [], {})
    assert case["data"]["measures_version"] == measures_version()
    (case,) = build_adjudication_tasks(with_settings(workspace, show_measures="nobody"), cases, [], {})
    assert (case["data"]["suggested"], case["data"]["measures_version"]) == ("", None)


def test_no_suggestion_is_shown_about_test_people_and_people_without_a_split(workspace):
    trained, validated, tested, new = people(workspace)
    scored(workspace, {trained: 0.8, validated: 0.7, tested: 0.9, new: 0.6}, digest="new")
    split(workspace, {trained: Split.TRAIN, validated: Split.VAL, tested: Split.TEST})
    made = build_reader_tasks(workspace, [trained, validated, tested, new], load_champion_scores(workspace))
    shown = {subject for subject, task in made.items() if task["data"]["suggestions"] is not None}
    assert shown == {trained, validated}
    assert {made[subject]["data"]["suggested"] for subject in (tested, new)} == {""}
    assert load_champion_scores(workspace).probabilities(tested) is not None, "the order of the queue is no suggestion"


def test_no_suggestion_is_shown_while_too_few_test_people_judge_a_champion_and_everyone_does(workspace):
    trained, *_ = people(workspace)
    scored(workspace, {trained: 0.8}, digest="new")
    split(workspace, {trained: Split.TRAIN}, num_test=4)
    assert load_champion_scores(workspace).suggestions(trained) is None
    held_out = with_settings(workspace, protocol="subjects")
    assert load_champion_scores(held_out).suggestions(trained) is not None, "the settings hold people out, however few"
    split(workspace, {}, num_test=5)
    assert load_champion_scores(workspace).suggestions(trained) is not None
    assert load_champion_scores(with_settings(workspace, protocol="lopo")).suggestions(trained) is None


def test_people_without_a_usable_frame_get_no_task(workspace):
    before = materials(workspace)
    assert sorted(before) == people(workspace)
    bare = workspace.catalog.subjects()[0]
    workspace.catalog.add_subject(type(bare)(pseudonym="nobody seen", cohort=Cohort.PALSY, source="s"))
    assert materials(workspace) == before


def test_a_frame_that_a_reader_marked_unusable_is_not_shown_again(workspace):
    subject, *_ = people(workspace)
    before = frames_of(workspace, subject)[subject]
    workspace.catalog.add_unusable_frames(before[:3])
    after = frames_of(workspace, subject)[subject]
    assert not set(before[:3]) & set(after)
    assert after


def test_a_person_without_an_unmarked_frame_is_neither_shown_nor_scored(workspace):
    subject, *others = people(workspace)
    workspace.catalog.append_answers(answer("a", subject, frames_of(workspace, subject)[subject], AU.AU12))
    (table,) = materials(workspace)[subject].tables
    workspace.catalog.add_unusable_frames(frame_name(table.clip, index) for index in range(table.num_frames))
    assert sorted(materials(workspace)) == others
    assert build_reader_tasks(workspace, [subject]) == {}
    assert compare_material.fn(workspace) == 0
    assert find_stale_answers(workspace, workspace.catalog.ledger()) == []
    assert sorted(new_of(workspace, {"b": []})["b"]) == others
    assert sorted(set(waiting_frames.fn(workspace)["subject"].to_pylist())) == others


def test_frames_marked_unusable_in_the_answer_to_a_new_task_do_not_make_it_stale_again(workspace, unlike):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers(answer("b", one, shown[one], AU.AU12))
    merge_subjects(workspace, one, other, why="the same face")
    compare_material.fn(workspace)
    assert len(find_stale_answers(workspace, workspace.catalog.ledger())) == 1
    both = frames_of(workspace, one)[one]
    workspace.catalog.append_answers(answer("b", one, both, AU.AU9, number=2))
    workspace.catalog.add_unusable_frames(both[::2])
    compare_material.fn(workspace)
    assert find_stale_answers(workspace, workspace.catalog.ledger()) == []
    assert compare_material.fn(workspace) == 0


def test_people_without_labels_are_scored_on_request_on_every_usable_frame(workspace):
    labeled, *others = people(workspace)
    workspace.catalog.set_labels([RegionLabels(subject=labeled, affected={AU.AU1: True}, side=Side.LEFT)], ledger_offset=1)
    (table,) = materials(workspace)[others[0]].tables
    frames = waiting_frames.fn(workspace).to_pylist()
    assert sorted({row["subject"] for row in frames}) == others
    mine = [row["frame_index"] for row in frames if row["subject"] == others[0]]
    assert len(mine) == len(set(mine)) == table.num_frames - sum(table.quarantined.values()) > 0
    assert {row["frames_key"] for row in frames if row["subject"] == others[0]} == {table.key}
    workspace.catalog.add_unusable_frames([frame_name(table.clip, mine[0])])
    left = [row["frame_index"] for row in waiting_frames.fn(workspace).to_pylist() if row["subject"] == others[0]]
    assert left == mine[1:], "a frame that a reader marked unusable is not scored"
    workspace.catalog.set_labels(
        [RegionLabels(subject=subject, affected={AU.AU1: False}) for subject in (labeled, *others)], ledger_offset=1
    )
    assert waiting_frames.fn(workspace).num_rows == 0
