"""The labeling progress from a catalog, and its page."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.reports.labeling import labeling_progress, render_labeling_page, write_labeling_page
from labeling.progress import Progress, ReaderProgress, table
from tests.flows.workspaces import offline_workspace
from vitau.catalog.catalog import Training
from vitau.errors import StoreError
from vitau.schema import AU, AUS, Cohort, LedgerRow, PullState, Side, Skipped, Snapshot, Split, Stage, Subject


@pytest.fixture
def workspace(tmp_path: Path):
    with offline_workspace(tmp_path, readers=("a", "b")) as opened:
        yield opened


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


def test_controls_are_not_labeled_and_no_service_is_needed(workspace, tmp_path):
    for name, cohort in {"p1": Cohort.PALSY, "p2": Cohort.PALSY, "c1": Cohort.CONTROL}.items():
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=cohort, source="synthetic", synthetic=True))
    workspace.catalog.append_answers([*answers("p1", "a", 12), *answers("p1", "b", 18), *answers("p2", "a", 14)])
    workspace.catalog.set_skipped("label-studio-3", [Skipped(item="project ViTAU a, task 1, annotation 2", reason="why")])
    workspace.catalog.set_skipped("a manifest", [Skipped(item="row 3", reason="its clip is missing")])
    now = "2026-11-25T10:00:00+00:00"
    state = PullState(project="3", title="b", reader="b", stage=Stage.READER, seen_until=now, whole_at=now, number=1)
    workspace.catalog.record_pull(replace(state, num_skipped=1))
    done = labeling_progress(workspace)
    assert [reader.num_skipped for reader in done.readers] == [0, 1, 0]
    assert (done.subjects, done.labeled, done.waiting, done.disagreed) == (2, 1, 1, 0)
    assert [(reader.reader, reader.answered, reader.open, reader.left_s) for reader in done.readers] == [
        ("a", 2, 0, 0),
        ("b", 1, 1, 18),
        ("adjudicator", 0, 0, None),
    ]
    assert [skipped.item for skipped in done.skipped] == ["project ViTAU a, task 1, annotation 2"]
    write_labeling_page(workspace, done, tmp_path / "progress.html")
    page = (tmp_path / "progress.html").read_text()
    assert "drawn, not patients" in page
    assert page.count("(1 skipped or given back)") == 1
    with pytest.raises(StoreError, match=r"progress\.html cannot be written: No such file or directory; give another place"):
        write_labeling_page(workspace, done, tmp_path / "nowhere" / "progress.html")


def test_without_people_all_counts_are_zero(workspace):
    done = labeling_progress(workspace)
    assert (done.subjects, done.labeled, done.waiting, done.disagreed) == (0, 0, 0, 0)


def test_the_answers_are_read_again_only_after_new_answers_or_a_merge(workspace):
    for name in ("p1", "p2"):
        workspace.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic", synthetic=True))
    workspace.catalog.append_answers(answers("p1", "a", 12))
    first, offset = workspace.newest_answers()
    assert workspace.newest_answers()[0] is first
    workspace.catalog.append_answers(answers("p2", "a", 14))
    assert workspace.newest_answers()[0] == workspace.newest_answers_at(None) == [*first, *answers("p2", "a", 14)]
    assert workspace.newest_answers_at(offset) == first
    workspace.catalog.merge("p1", "p2", why="one face")
    assert {row.subject for row in workspace.newest_answers()[0]} == {"p1"}


DONE = Progress(
    subjects=5,
    labeled=2,
    waiting=2,
    disagreed=1,
    adjudicated=1,
    readers=(
        ReaderProgress(reader="a", answered=4, open=1, median_s=13, left_s=13),
        ReaderProgress(reader="b", answered=3, open=2, median_s=30, left_s=60),
        ReaderProgress(reader="adjudicator", answered=1, open=1),
    ),
)


class PageReader(HTMLParser):
    """Collects the texts of a page, the labels of its pictures, and the addresses that it loads or links."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.addresses: list[str] = []

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_page_shows_the_numbers_is_escaped_and_loads_nothing():
    done = replace(DONE, skipped=(Skipped(item="project <b>", reason="unknown region AU7"),))
    text = render_labeling_page(done, at="2026-11-25 10:00 UTC", synthetic=True)
    page = PageReader()
    page.feed(text)
    assert "5 people to label" in " ".join(page.texts)
    for cell in ("a", "4", "13 s", "1 min", "adjudicator"):
        assert cell in page.texts
    assert "2 labeled, 1 disagreed" in page.labels
    assert "project <b>: unknown region AU7" in page.texts
    assert page.addresses == []
    assert "default-src 'none'" in text
    assert "drawn, not patients" in text
    assert "drawn, not patients" not in render_labeling_page(DONE, at="now")


def test_the_page_counts_stale_labels_only_where_there_are_some():
    assert "1 labels are stale:" in render_labeling_page(replace(DONE, stale=1), at="now")
    assert "stale" not in render_labeling_page(DONE, at="now")


def test_the_versions_to_retrain_after_an_erasure_are_in_the_numbers_the_table_and_the_page(workspace):
    assert labeling_progress(workspace).retrain == ()
    assert "erasure" not in table(DONE) + render_labeling_page(DONE, at="now")
    workspace.catalog.add_snapshot(
        Snapshot(digest="s", uri="u", ledger_offset=0, num_frames=1, subjects={Split.TRAIN: 1}, synthetic=True)
    )
    workspace.catalog.add_training(
        Training(
            key="k", model="m", recipe="r", snapshot="s", model_digest="d", model_key="k", version=1, run_id="r", metrics={}
        )
    )
    workspace.catalog.begin_erasure({"p1"})
    workspace.catalog.note_uses({"p1"}, snapshots=["s"], trainings=["m/1"])
    done = labeling_progress(workspace)
    assert done.retrain == ("m/1",)
    assert "retrain after an erasure: m/1 learned from people who were erased" in table(done)
    page = PageReader()
    page.feed(render_labeling_page(done, at="now"))
    assert "m/1 learned from people who were erased." in page.texts
