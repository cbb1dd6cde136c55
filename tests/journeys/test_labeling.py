"""Labeling with a real Label Studio: two blind readers, one disagreement, an adjudicator."""

import urllib.request
from typing import Any

import cv2
import numpy as np
import pytest

from labeling.consensus.consensus import consensus
from labeling.interface.answer import Answer
from labeling.label_studio.annotations import ReaderProject, create_annotation
from labeling.label_studio.client import connect
from labeling.label_studio.pagination import open_tasks
from labeling.label_studio.projects import count_answers
from labeling.label_studio.pull import pull
from labeling.label_studio.push import push
from labeling.label_studio.simulated_readers import answer_open_tasks
from labeling.sampling.tasks import build_adjudication_task, build_task, image_url
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, Stage
from vitau.store import open_store

pytestmark = pytest.mark.journey

SUBJECTS = ("p1", "p2", "p3")
READERS = ("A", "B")


@pytest.fixture
def tasks(label_studio) -> dict[str, dict[str, Any]]:
    made = {}
    store = open_store(label_studio.store)  # its files are closed to others, as those of the demo in the same folder
    for subject in SUBJECTS:
        keys = [f"subjects/{subject}/keyframes/{index}.jpg" for index in range(3)]
        for index, key in enumerate(keys):
            picture = cv2.circle(np.full((256, 256, 3), 60 * index, np.uint8), (128, 128), 90, (150, 180, 220), -1)
            store.put(key, cv2.imencode(".jpg", picture)[1].tobytes())
        images = [image_url(label_studio.store.as_uri(), key) for key in keys]
        made[subject] = build_task(subject, images, [f"{subject}:{index}" for index in range(3)])
    return made


def answer_of(
    *regions: AU, side: Side | None = None, unusable: frozenset[int] = frozenset(), note: str | None = None
) -> Answer:
    return Answer(affected={au: au in regions for au in AUS}, side=side, unusable=unusable, note=note)


def answer_all(client, project: ReaderProject, answers: dict[str, Answer]) -> None:
    for task in open_tasks(client, project):
        create_annotation(client, task.id, answers[task.subject])


def test_two_readers_and_an_adjudicator_make_one_label_per_person(client, project, tasks):
    readers = [project(name) for name in READERS]
    assert [push(client, reader, list(tasks.values())) for reader in readers] == [3, 3]
    agreed = {
        "p1": answer_of(AU.AU1, AU.AU12, side=Side.LEFT, unusable=frozenset({2})),
        "p2": answer_of(),
        "p3": answer_of(AU.AU12, side=Side.RIGHT, note="hard to see"),
    }
    answer_all(client, readers[0], agreed)
    answer_all(client, readers[1], agreed | {"p3": answer_of(AU.AU9, AU.AU12, side=Side.RIGHT)})

    pulled = [pull(client, reader, SUBJECTS) for reader in readers]
    assert [pull(client, reader, SUBJECTS) for reader in readers] == pulled
    ledger = [row for result in pulled for row in result.rows]
    assert len(ledger) == 2 * 3 * 8
    assert pulled[0].unusable_frames == {"p1:2"}
    assert [result.skipped for result in pulled] == [(), ()]
    row = next(row for row in pulled[0].rows if row.subject == "p3" and row.au is AU.AU12)
    assert (row.reader, row.affected, row.side, row.note) == ("A", True, Side.RIGHT, "hard to see")
    assert row.frames_shown == ("p3:0", "p3:1", "p3:2")

    state = consensus(ledger, READERS)
    assert [(open_.subject, open_.regions) for open_ in state.disagreements] == [("p3", (AU.AU9,))]
    assert state.agreement.raw == pytest.approx(23 / 24)

    adjudication = project("C", Stage.ADJUDICATION)
    disputed = [row for row in ledger if row.subject == "p3"]
    assert push(client, adjudication, [build_adjudication_task(tasks["p3"], disputed, (AU.AU9,))]) == 1
    answer_all(client, adjudication, {"p3": answer_of(AU.AU9, AU.AU12, side=Side.RIGHT)})
    ledger += pull(client, adjudication, SUBJECTS).rows
    settled = consensus(ledger, READERS)
    assert [label.subject for label in settled.labels] == list(SUBJECTS)
    assert settled.labels[2].affected[AU.AU9]
    assert settled.adjudicated == ("p3",)

    assert push(client, readers[0], list(tasks.values())) == 0
    assert open_tasks(client, readers[0]) == []


def test_a_correction_is_a_new_version_of_the_same_annotation(client, project, tasks):
    reader = project("A")
    push(client, reader, [tasks["p1"]])
    answer_all(client, reader, {"p1": answer_of()})
    (first, *_) = pull(client, reader, SUBJECTS).rows
    client.annotations.update(int(first.annotation), result=[chosen("regions", "AU1"), chosen("side", "both")])
    (second, *_) = pull(client, reader, SUBJECTS).rows
    assert second.annotation == first.annotation
    assert second.version > first.version
    assert (first.affected, second.affected, second.side) == (False, True, Side.BOTH)


def chosen(name: str, *choices: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "face", "type": "choices", "value": {"choices": list(choices)}}


def test_unreadable_answers_are_listed_and_the_others_are_pulled(client, project, tasks):
    reader = project("A")
    push(client, reader, list(tasks.values()))
    first, second, third = open_tasks(client, reader)
    client.annotations.create(first.id, result=[chosen("regions", "AU7"), chosen("side", "left")])
    client.annotations.create(second.id, result=[], was_cancelled=True)
    create_annotation(client, third.id, answer_of())
    pulled = pull(client, reader, ["p1", "p2"])
    assert pulled.rows == ()
    assert [skip.reason for skip in pulled.skipped] == [
        "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26",
        "unknown subject; it was erased, or ViTAU did not create the task",
    ]
    assert len(pull(client, reader, SUBJECTS).rows) == 8


def test_a_project_is_created_once(client, project, label_studio):
    first = project("A")
    assert project("A") == first
    assert len(client.import_storage.local.list(project=first.id)) == 1
    assert {"project": first.title, "subjects": 0, "answered": 0} in count_answers(client)


def test_a_labeling_page_changed_by_hand_is_noticed(client, project):
    first = project("A")
    client.projects.update(first.id, label_config='<View><Image name="face" valueList="$images"/></View>')
    with pytest.raises(LabelingError, match=r"the labeling page of project “.*” was changed in Label Studio; restore it"):
        project("A")


def test_a_reader_can_open_the_pictures(client, project, tasks, label_studio):
    project("A")
    address = label_studio.url + tasks["p1"]["data"]["images"][0]
    request = urllib.request.Request(address, headers={"Authorization": f"Token {label_studio.token}"})  # noqa: S310 — ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 — our own address
        assert answer.headers["Content-Type"] == "image/jpeg"


def test_simulated_readers_answer_everything_once(client, project, tasks):
    reader = project("A")
    push(client, reader, list(tasks.values()))
    truths = {name: RegionLabels(subject=name, affected=dict.fromkeys(AUS, True), side=Side.LEFT) for name in SUBJECTS}
    calls: list[None] = []
    assert answer_open_tasks(client, reader, truths, seed=1, accuracy=1.0, on_answer=lambda: calls.append(None)) == 3
    assert answer_open_tasks(client, reader, truths, seed=1, accuracy=1.0) == 0
    assert len(calls) == 3
    rows: tuple[LedgerRow, ...] = pull(client, reader, SUBJECTS).rows
    assert {(row.affected, row.side, row.note) for row in rows} == {(True, Side.LEFT, "simulated reader")}


def test_a_wrong_token_is_one_sentence(label_studio):
    with pytest.raises(LabelingError) as caught:
        connect(label_studio.url, "wrong")
    assert (
        str(caught.value)
        == f"{label_studio.url}: Label Studio refuses the token; take the one from its page Account & Settings"
    )
