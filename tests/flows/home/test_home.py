"""The labeling manager's page: what it says, what it serves, and that it needs no running service."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from flows.cli.app import app
from flows.home.consensus_files import COLUMNS, consensus_csv, consensus_rows
from flows.home.links import newest_drift_page, newest_report
from flows.home.page import agreement_words, gather_home, render_home
from flows.home.server import Pages, make_app, write_home
from labeling.consensus.agreement import Agreement
from labeling.consensus.consensus import consensus
from tests.answers import whole_answer
from tests.flows.workspaces import offline_workspace
from vitau.data.layout import frame_name, key_frame_key
from vitau.schema import (
    AU,
    AUS,
    CheckKind,
    Clip,
    Cohort,
    LedgerRow,
    Skipped,
    Snapshot,
    Split,
    Subject,
)

CLIP = "c" * 64


def answers(subject: str, reader: str, *regions: AU, kind: CheckKind | None = None) -> list[LedgerRow]:
    frames = (frame_name(CLIP, 3), frame_name(CLIP, 9))
    return whole_answer(subject, reader, *regions, frames_shown=frames, lead_time_s=20.0, check_kind=kind)


@pytest.fixture
def workspace(tmp_path: Path):
    """Two readers who agree about p1 and not about p2, p3 with one answer, a check, and a picture of p2."""
    with offline_workspace(tmp_path, readers=("a", "b")) as opened:
        for name in ("p1", "p2", "p3"):
            opened.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s", synthetic=True))
        opened.catalog.add_subject(Subject(pseudonym="c1", cohort=Cohort.CONTROL, source="s", synthetic=True))
        opened.catalog.add_clip(Clip(sha256=CLIP, subject="p2", source="s", suffix=".mp4", synthetic=True))
        opened.catalog.append_answers(
            [
                *answers("p1", "a", AU.AU12),
                *answers("p1", "b", AU.AU12),
                *answers("p2", "a", AU.AU1),
                *answers("p2", "b", AU.AU1, AU.AU9),
                *answers("p3", "a"),
                *answers("c1", "a", AU.AU2, kind=CheckKind.CONTROL),
            ]
        )
        picture = cv2.imencode(".jpg", np.full((256, 256, 3), 90, np.uint8))[1].tobytes()
        opened.store.put(key_frame_key("p2", CLIP, 3), picture)
        opened.catalog.set_skipped("label-studio-3", [Skipped(item="project ViTAU b, task 7", reason="why <it> is so")])
        opened.catalog.set_absent("b")
        yield opened


def test_the_page_has_readers_agreement_disagreements_with_pictures_checks_and_unreadable_answers(workspace):
    home = gather_home(workspace, {"MLflow": "http://127.0.0.1:5000/#/x"})
    page = render_home(home, files={"consensus.csv": "/consensus.csv"}, at=datetime(2026, 11, 30, tzinfo=UTC))
    assert (home.progress.labeled, home.progress.waiting, home.progress.disagreed) == (1, 1, 1)
    assert home.num_disputed == 1
    (person,) = home.disputed
    assert (person.case, person.readers, person.questions) == (
        "p2",
        ("a", "b"),
        (("AU9 nose", ("not affected", "affected")),),
    )
    assert len(person.pictures) == 1, "the other picture is not in the store"
    assert page.count('<img src="data:image/jpeg;base64,') == 1
    for text in (
        '<meta http-equiv="refresh" content="30">',
        "2026-11-30 00:00:00 UTC",
        '<a href="http://127.0.0.1:5000/#/x">MLflow</a>',
        '<a href="/consensus.csv">consensus.csv</a>',
        'b <span class="soft">(away)</span>',
        "1 of 1",
        '<td class="right" data-label="Skipped">none</td>',
        '<td data-label="b" class="yes">affected</td>',
        "why &lt;it&gt; is so",
        "Synthetic.",
    ):
        assert text in page
    assert "refresh" not in render_home(home, files={}, refresh_s=None)


@pytest.mark.parametrize(
    ("agreement", "words"),
    [
        (Agreement(raw=None, alpha=None, num_pairs=0, num_subjects=0), "No two readers have answered about the same person"),
        (Agreement(raw=1.0, alpha=None, num_pairs=8, num_subjects=10), "in 100% of the questions. All answers are the same"),
        (Agreement(raw=1.0, alpha=1.0, num_pairs=8, num_subjects=9), "So few people tell nothing about chance: 10 or more"),
        (Agreement(raw=0.95, alpha=0.9, num_pairs=8, num_subjects=19, alpha_interval=(0.82, 0.95)), "this is reliable"),
        (Agreement(raw=0.95, alpha=0.9, num_pairs=8, num_subjects=19, alpha_interval=(0.6, 0.95)), "read more people"),
        (Agreement(raw=0.9, alpha=0.7, num_pairs=8, num_subjects=19, alpha_interval=(0.6, 0.8)), "tentative conclusions only"),
        (Agreement(raw=0.7, alpha=0.4, num_pairs=8, num_subjects=19, alpha_interval=(0.2, 0.5)), "too little (α below 0.667)"),
    ],
)
def test_an_agreement_is_told_in_plain_words(agreement, words):
    assert words in agreement_words(agreement)


def test_the_consensus_has_a_row_for_everyone_and_names_what_is_waited_for(workspace):
    agreed = consensus([*answers("p1", "a", AU.AU12), *answers("p1", "b", AU.AU12)], ["a", "b"])
    rows = consensus_rows(agreed, ["p1", "p1/week-12"])
    assert rows[0] == ["p1", "1", "labeled", "left", *("1" if au is AU.AU12 else "0" for au in AUS), *[""] * 17]
    assert rows[1] == ["p1", "week-12", "waits for readers", "", *[""] * 25]
    header, *lines = csv.reader(io.StringIO(consensus_csv(rows)))
    assert header == list(COLUMNS)
    assert lines == rows
    assert consensus_csv([["=1+1", "1", "labeled", "", *[""] * 25]]).splitlines()[1].startswith("'=1+1")


def test_pages_are_served_on_this_computer_only_and_gathered_anew_at_every_request(workspace, tmp_path):
    pages = Pages(services={}, stored={"newest report": lambda: b"<p>report</p>", "drift page": lambda: None})
    client = TestClient(make_app(lambda: workspace, pages), base_url="http://127.0.0.1")
    first = client.get("/")
    assert first.status_code == 200
    assert '<a href="/newest-report">newest report</a>' in first.text
    assert "drift page" not in first.text
    assert client.get("/newest-report").text == "<p>report</p>"
    assert client.get("/drift-page").status_code == 404
    assert client.get("/nothing").status_code == 404
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert first.headers["cache-control"] == "no-store"
    assert "<b>1</b>of 3 labeled" in first.text
    workspace.catalog.append_answers(answers("p3", "b"))
    assert "<b>2</b>of 3 labeled" in client.get("/").text
    assert client.get("/consensus.csv").text.splitlines()[0] == ",".join(COLUMNS)
    with zipfile.ZipFile(io.BytesIO(client.get("/consensus.xlsx").content)) as book:
        assert "xl/worksheets/sheet2.xml" in book.namelist()


def test_the_page_can_be_written_with_the_consensus_beside_it_readable_by_the_owner_only(workspace, tmp_path):
    write_home(workspace, tmp_path / "home.html", {})
    files = sorted(path for path in tmp_path.iterdir() if path.name.startswith("home"))
    assert [path.name for path in files] == ["home-consensus.csv", "home-consensus.xlsx", "home.html"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert 'href="home-consensus.xlsx"' in files[-1].read_text()


def test_the_newest_report_and_drift_page_are_found(workspace, tmp_path):
    assert newest_report(workspace, tmp_path) is None
    assert newest_drift_page(workspace, {}) is None
    (tmp_path / "report.html").write_bytes(b"of the demo")
    assert newest_report(workspace, tmp_path) == b"of the demo"
    for number, digest in enumerate(("one", "two")):
        snapshot = Snapshot(
            digest=digest, uri=digest, ledger_offset=number, num_frames=1, subjects=dict.fromkeys(Split, 1), synthetic=True
        )
        workspace.catalog.add_snapshot(snapshot)
    for key in ("reports/one/vitau-regions-9/report.html", "reports/two/vitau-regions-2/report.html"):
        workspace.store.put(key, key.encode())
    assert newest_report(workspace, tmp_path) == b"reports/two/vitau-regions-2/report.html"
    for name, time in (("f", "2026-11-28 10:00 UTC"), ("0", "2026-11-29 09:00 UTC"), ("a", "2026-11-27 23:59 UTC")):
        workspace.store.put(f"monitoring/0123456789abcdef/{name}.html", f"<p>{time}</p>".encode())
    assert newest_drift_page(workspace, {}) == b"<p>2026-11-29 09:00 UTC</p>"


def test_the_command_writes_the_page_of_a_stopped_installation(workspace, tmp_path, monkeypatch):
    """The catalog of the fixture is that of a state folder in which nothing runs."""
    for name in ("VITAU_STORE", "VITAU_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITAU_READERS", '["a", "b"]')
    result = CliRunner().invoke(app, ["home", "--state", str(tmp_path), "--page", str(tmp_path / "home.html")])
    assert result.exit_code == 0, result.output
    assert "<b>1</b>of 3 labeled" in (tmp_path / "home.html").read_text()
