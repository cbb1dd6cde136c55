"""How far the labelling is, read from a catalog; and the flags of the commands about it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.reports.labeling import labelling_progress, write_labelling
from flows.settings import Settings
from flows.workspace import Workspace
from vitau.errors import StoreError
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Skipped, Stage, Subject


@pytest.fixture
def workspace(tmp_path: Path):
    settings = Settings(
        store=str(tmp_path / "store"),
        catalog=SecretStr(f"sqlite:///{tmp_path / 'catalog.db'}"),
        pseudonym_key=SecretStr("the key of these tests"),
        label_studio_url="http://127.0.0.1:9",
        label_studio_token=SecretStr("none"),
        mlflow_url="http://127.0.0.1:9",
        readers=("a", "b"),
    )
    opened = Workspace(settings)
    yield opened
    opened.catalog.engine.dispose()


def answers(subject: str, reader: str, seconds: float) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=au is AU.AU12,
            side=Side.LEFT,
            annotation=f"{reader}{subject}",
            version="2026-11-25T10:00:00Z",
            answered_at="2026-11-25T10:00:00Z",
            lead_time_s=seconds,
        )
        for au in AUS
    ]


def test_controls_are_not_asked_about_and_no_service_is_needed(workspace, tmp_path):
    for name, cohort in {"p1": Cohort.PALSY, "p2": Cohort.PALSY, "c1": Cohort.CONTROL}.items():
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=cohort, source="synthetic", synthetic=True))
    workspace.catalog.append_answers([*answers("p1", "a", 12), *answers("p1", "b", 18), *answers("p2", "a", 14)])
    workspace.catalog.set_skipped("label-studio-3", [Skipped(item="project ViTAU a, task 1, annotation 2", reason="why")])
    workspace.catalog.set_skipped("a manifest", [Skipped(item="row 3", reason="its clip is missing")])
    done = labelling_progress(workspace)
    assert (done.subjects, done.labelled, done.waiting, done.disagreed) == (2, 1, 1, 0)
    assert [(each.reader, each.answered, each.open, each.left_s) for each in done.readers] == [
        ("a", 2, 0, 0),
        ("b", 1, 1, 18),
        ("adjudicator", 0, 0, None),
    ]
    assert [each.item for each in done.skipped] == ["project ViTAU a, task 1, annotation 2"]
    write_labelling(workspace, done, tmp_path / "progress.html")
    assert "drawn, not patients" in (tmp_path / "progress.html").read_text()
    with pytest.raises(StoreError, match=r"progress\.html cannot be written: No such file or directory; give another place"):
        write_labelling(workspace, done, tmp_path / "nowhere" / "progress.html")


def test_nobody_is_asked_about_yet(workspace):
    done = labelling_progress(workspace)
    assert (done.subjects, done.labelled, done.waiting, done.disagreed) == (0, 0, 0, 0)


def test_the_ledger_is_read_again_only_when_it_has_grown_or_two_people_are_found_to_be_one(workspace):
    for name in ("p1", "p2"):
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic", synthetic=True))
    workspace.catalog.append_answers(answers("p1", "a", 12))
    first = workspace.ledger()
    assert workspace.ledger() is first
    workspace.catalog.append_answers(answers("p2", "a", 14))
    assert workspace.ledger() == [*first, *answers("p2", "a", 14)]
    assert workspace.ledger(upto=len(first)) == first
    workspace.catalog.merge("p1", "p2", why="one face")
    assert {row.subject for row in workspace.ledger()} == {"p1"}
