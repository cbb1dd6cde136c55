"""What there is of people, whether it looks new, and whom readers are asked about next: real frames, no service."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from flows.annotation.consensus import merge_subjects
from flows.annotation.key_frames import compare_material, materials, reader_tasks, stale
from flows.annotation.suggestions import scored_champion
from flows.annotation.task_queue import whom_to_ask
from flows.execution.clip_worker import ingest_clip
from flows.reports.labeling import labeling_progress
from flows.rescore import waiting_frames
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.label_studio.push import PushedTask
from labeling.sampling.active_learning import Order
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.data.layout import frame_name
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject
from vitau.schema import AU, AUS, Cohort, LedgerRow, RegionLabels, Side, Snapshot, Split, Stage

KEY = b"the key of these tests"


@pytest.fixture(scope="module")
def store(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def workspace(store: Path, cohort: Path, tmp_path: Path) -> Iterator[Workspace]:
    """Four drawn people with their frames; all of them are taken for patients."""
    settings = Settings(
        store=store.as_uri(),
        catalog=SecretStr(f"sqlite:///{tmp_path / 'catalog.db'}"),
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
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=au in regions,
            side=Side.LEFT if regions else None,
            annotation=f"{reader}{subject}{number}",
            version="2026-11-25T10:00:00Z",
            answered_at="2026-11-25T10:00:00Z",
            frames_shown=tuple(frames),
        )
        for au in AUS
    ]


def people(workspace: Workspace) -> list[str]:
    return [subject.pseudonym for subject in workspace.catalog.subjects()]


@pytest.fixture(scope="module")
def unlike(cohort: Path) -> tuple[str, str]:
    """Two people who look different: by 0.19, where 0.12 is asked about again."""
    first, second, *_ = read_manifest(cohort / "manifest.csv")[0]
    return to_subject(second, KEY).pseudonym, to_subject(first, KEY).pseudonym


def frames_of(workspace: Workspace, *subjects: str) -> dict[str, list[str]]:
    return {who: task["data"]["frames"] for who, task in reader_tasks(workspace, subjects).items()}


def test_a_merge_asks_those_again_who_were_not_shown_the_other_and_not_those_who_said_the_same_of_both(workspace, unlike):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers(
        [
            *answer("a", one, shown[one], AU.AU12),
            *answer("a", other, shown[other], AU.AU12),
            *answer("b", one, shown[one], AU.AU12),
        ]
    )
    assert compare_material.fn(workspace) == 0, "nothing is new before"
    merge_subjects(workspace, one, other, why="the same face")
    assert compare_material.fn(workspace) == 1
    assert compare_material.fn(workspace) == 0, "nothing is compared twice"
    (found,) = stale(workspace, workspace.catalog.ledger())
    assert (found.reader, found.subject) == ("b", one)
    assert found.difference > workspace.settings.ask_again_above
    done = labeling_progress(workspace)
    assert (done.labeled, done.stale, [each.again for each in done.readers]) == (1, 1, [0, 1, 0])
    calm = with_settings(workspace, ask_again_above=found.difference)
    assert stale(calm, workspace.catalog.ledger()) == [], "the threshold is a setting, and nothing is measured again"


def test_a_merge_of_two_who_were_answered_differently_is_asked_about_again(workspace, unlike):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers([*answer("a", one, shown[one], AU.AU12), *answer("a", other, shown[other], AU.AU9)])
    merge_subjects(workspace, one, other, why="the same face")
    compare_material.fn(workspace)
    assert [each.reader for each in stale(workspace, workspace.catalog.ledger())] == ["a"]
    both = frames_of(workspace, one)[one]
    workspace.catalog.append_answers(answer("a", one, both, AU.AU1, number=2))
    compare_material.fn(workspace)
    assert stale(workspace, workspace.catalog.ledger()) == []


def tasks(*subjects: str, answered: bool = False) -> list[PushedTask]:
    return [PushedTask(id=place, subject=who, material=None, answered=answered) for place, who in enumerate(subjects, start=1)]


def new_of(workspace: Workspace, asked: dict[str, list[PushedTask]]) -> dict[str, list[str]]:
    return {reader: wish.new for reader, wish in whom_to_ask(workspace, asked, {}, set()).items()}


def test_a_queue_is_filled_up_and_no_further_and_first_with_whom_another_reader_has_begun(workspace):
    everybody = people(workspace)
    short = with_settings(workspace, queue=2)
    first = new_of(short, {"a": [], "b": []})
    assert first["a"] == first["b"]
    assert len(first["a"]) == 2
    begun = everybody[3]
    later = new_of(short, {"a": tasks(begun, answered=True), "b": []})
    assert later["b"][0] == begun
    assert [len(later["a"]), len(later["b"])] == [2, 2]
    assert begun not in later["a"]
    full = new_of(short, {"a": tasks(*everybody[:2]), "b": tasks(*everybody[:2], answered=True)})
    assert (full["a"], sorted(full["b"])) == ([], sorted(everybody[2:]))


def test_without_scores_people_come_by_how_they_move_and_by_chance_where_that_is_asked_for(workspace):
    orders = {order: new_of(with_settings(workspace, order=order), {"a": []})["a"] for order in Order}
    assert sorted(orders["informative"]) == sorted(orders["random"]) == sorted(people(workspace))
    assert orders["informative"] != orders["random"]
    assert new_of(workspace, {"a": []})["a"] == orders["informative"]


def scored(workspace: Workspace, shares: dict[str, float | None], digest: str = "d" * 64) -> None:
    for who, share in shares.items():
        regions = {au.value: {"score": share - 0.5, "share_affected": share} for au in AUS} if share is not None else {}
        workspace.catalog.add_score(ScoredSubject(model_digest=digest, subject=who, key="k", summary={"regions": regions}))


def test_whom_the_champion_knows_least_comes_first_and_whom_it_has_not_scored_last(workspace):
    sure, doubtful, healthy, unscored = people(workspace)
    scored(workspace, {sure: 0.02, doubtful: 0.4, healthy: None})
    order = new_of(workspace, {"a": []})["a"]
    assert order[0] in {doubtful, healthy}, "what was not looked at is not known"
    assert order[-1] == unscored
    assert order.index(sure) == 2


def test_suggestions_are_the_champions_scores_under_its_name_and_nothing_where_it_has_none(workspace):
    one, healthy, unscored, _ = people(workspace)
    assert scored_champion(workspace) is None
    scored(workspace, {one: 0.9}, digest="old")
    snapshot = Snapshot(digest="s", uri="u", ledger_offset=1, num_frames=1, subjects={Split.TRAIN: 1}, synthetic=True)
    workspace.catalog.add_snapshot(snapshot)
    scored(workspace, {one: 0.8, healthy: None}, digest="new")
    champion = scored_champion(workspace)
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
    champion = scored_champion(workspace)
    assert champion.name == "vitau-regions/3"
    made = reader_tasks(workspace, [one, healthy, unscored], champion)
    assert made[one]["data"]["suggestions"] == {au.value: pytest.approx(0.3) for au in AUS}
    assert made[one]["data"]["suggested_by"] == "vitau-regions/3"
    assert [made[who]["data"]["suggestions"] for who in (healthy, unscored)] == [None, None]
    assert made[healthy]["data"]["suggested_by"] is None
    assert np.array_equal(champion.probabilities(healthy), [0.5] * 8)
    blind = reader_tasks(workspace, [one])[one]["data"]
    assert (blind["suggestions"], blind["suggested"]) == (None, "")


def test_people_without_a_usable_frame_are_not_asked_about(workspace):
    there = materials(workspace)
    assert sorted(there) == people(workspace)
    bare = workspace.catalog.subjects()[0]
    workspace.catalog.add_subject(type(bare)(pseudonym="nobody seen", cohort=Cohort.PALSY, source="s"))
    assert materials(workspace) == there


def test_a_frame_that_a_reader_marked_unusable_is_not_shown_again(workspace):
    subject, *_ = people(workspace)
    before = frames_of(workspace, subject)[subject]
    workspace.catalog.add_unusable_frames(before[:3])
    after = frames_of(workspace, subject)[subject]
    assert not set(before[:3]) & set(after)
    assert after


def test_a_person_of_whom_every_frame_is_marked_unusable_is_neither_shown_nor_scored(workspace):
    subject, *others = people(workspace)
    workspace.catalog.append_answers(answer("a", subject, frames_of(workspace, subject)[subject], AU.AU12))
    (table,) = materials(workspace)[subject].tables
    workspace.catalog.add_unusable_frames(frame_name(table.clip, index) for index in range(table.num_frames))
    assert sorted(materials(workspace)) == others
    assert reader_tasks(workspace, [subject]) == {}
    assert compare_material.fn(workspace) == 0
    assert stale(workspace, workspace.catalog.ledger()) == []
    assert sorted(new_of(workspace, {"b": []})["b"]) == others
    assert sorted(set(waiting_frames.fn(workspace)["subject"].to_pylist())) == others


def test_frames_marked_unusable_in_the_answer_to_a_new_task_do_not_make_it_stale_again(workspace, unlike):
    one, other = unlike
    shown = frames_of(workspace, one, other)
    workspace.catalog.append_answers(answer("b", one, shown[one], AU.AU12))
    merge_subjects(workspace, one, other, why="the same face")
    compare_material.fn(workspace)
    assert len(stale(workspace, workspace.catalog.ledger())) == 1
    both = frames_of(workspace, one)[one]
    workspace.catalog.append_answers(answer("b", one, both, AU.AU9, number=2))
    workspace.catalog.add_unusable_frames(both[::2])
    compare_material.fn(workspace)
    assert stale(workspace, workspace.catalog.ledger()) == []
    assert compare_material.fn(workspace) == 0


def test_who_has_no_label_yet_is_scored_on_request_on_every_usable_frame(workspace):
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
        [RegionLabels(subject=who, affected={AU.AU1: False}) for who in (labeled, *others)], ledger_offset=1
    )
    assert waiting_frames.fn(workspace).num_rows == 0
