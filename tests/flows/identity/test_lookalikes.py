"""Lookalikes: people of the catalog with near faces, their page, and gate 3."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.execution.clip_worker import ingest_clip
from flows.identity.lookalikes import MAX_CLIPS, clip_faces, compare_people, find_lookalikes
from flows.identity.page import lookalike_pairs, write_faces_page
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.data.layout import clip_faces_key
from vitau.media.frames import FrameRecipe
from vitau.media.identity.faces import NUM_FACES
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject
from vitau.schema import Split

KEY = b"the key of these tests"
NEAR = 0.33
"""These drawn people are 0.39 apart and more."""


@pytest.fixture(scope="module")
def workspace(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Four drawn people, and the first once more under another name, from a part of the recording."""
    folder = tmp_path_factory.mktemp("lookalikes")
    settings = offline_settings(folder, pseudonym_key=KEY.decode())
    opened = Workspace(settings)
    clips, _ = read_manifest(cohort / "manifest.csv")
    for clip in [*clips, replace(clips[0], subject_id="another name", start_s=0.2)]:
        new = ingest_clip(clip, opened.store, KEY, FrameRecipe())
        opened.catalog.add_subject(to_subject(clip, KEY))
        opened.catalog.add_clip(new.clip)
        opened.catalog.add_frame_table(new.frames)
    yield opened
    opened.catalog.engine.dispose()


def names(cohort: Path) -> tuple[str, str]:
    first = read_manifest(cohort / "manifest.csv")[0][0]
    return to_subject(first, KEY).pseudonym, to_subject(replace(first, subject_id="another name"), KEY).pseudonym


def test_one_person_under_two_names_is_the_nearest_pair_by_several_faces(workspace, cohort):
    (pair,) = find_lookalikes(workspace, below=NEAR)
    assert {pair.one, pair.other} == set(names(cohort))
    assert pair.several
    assert pair.distance < NEAR
    everyone = find_lookalikes(workspace, below=2.0)
    assert len(everyone) == 10, "5 people have 10 pairs"
    assert [found.distance for found in everyone] == sorted(found.distance for found in everyone)


def test_the_faces_of_a_clip_are_computed_once_and_kept_with_the_person(workspace):
    key = next(table.key for table in workspace.catalog.frame_tables(next(iter(recipes(workspace)))))
    first = clip_faces(workspace.store, key)
    assert first.embedding_KD.shape == (NUM_FACES, 128)
    assert len(first.crops) == NUM_FACES
    stored = clip_faces_key(key)
    assert stored.startswith(key.rpartition("/")[0])
    before = workspace.store.get(stored)
    assert clip_faces(workspace.store, key).crops == first.crops
    assert workspace.store.get(stored) == before


def recipes(workspace: Workspace) -> set[str]:
    return {table.recipe for clip in workspace.catalog.clips() for table in workspace.catalog.frame_tables_of(clip.sha256)}


def test_gate_3_takes_the_distance_by_several_faces(workspace, cohort, monkeypatch):
    owners = {
        table.key: clip.subject
        for clip in workspace.catalog.clips()
        for table in workspace.catalog.frame_tables_of(clip.sha256)
    }
    check = compare_people(workspace, owners, below=NEAR)
    assert check.nearest.keys() == set(owners.values())
    one, other = names(cohort)
    assert check.nearest[one] == check.nearest[other] == check.pairs[0].distance
    assert min(value for name, value in check.nearest.items() if name not in {one, other}) > NEAR
    monkeypatch.setattr("flows.identity.lookalikes.MAX_CLIPS", 1)
    single = compare_people(workspace, owners, below=NEAR)
    assert ([pair.several for pair in check.pairs], [pair.several for pair in single.pairs]) == ([True], [False])
    assert single.pairs[0].distance >= check.pairs[0].distance
    assert MAX_CLIPS > 1
    alone = {key: owner for key, owner in owners.items() if owner == one}
    assert compare_people(workspace, alone, below=NEAR).nearest == {}


def test_the_page_has_both_faces_and_the_command_that_keeps_the_person_with_a_split(workspace, cohort, tmp_path):
    one, other = names(cohort)
    workspace.catalog.add_splits({other: Split.TRAIN}, strata={other: "palsy"})
    found = find_lookalikes(workspace, below=NEAR)
    pairs = lookalike_pairs(workspace, found, floor=0.35)
    page = tmp_path / "lookalikes.html"
    write_faces_page(page, pairs, title="People who may be one person", note="…")
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 2
    assert f"python -m flows labels merge {other} {one} --why &#34;same face&#34;" in text
    assert "gate 3 refuses a snapshot with both" in text
    assert page.stat().st_mode & 0o777 == 0o600
