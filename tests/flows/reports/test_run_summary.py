"""The summary of a run on Prefect's page: what it shows, and what it never shows."""

from dataclasses import dataclass, field

from flows.reports.run_summary import summary_page
from vitau.catalog.catalog import Training
from vitau.schema import Skipped, Split

TRAINING = Training(
    key="k",
    model="vitau-palsy",
    recipe="tiny-palsy",
    snapshot="5" * 64,
    model_digest="d" * 64,
    model_key="models/d",
    version=3,
    run_id="r1",
    metrics={"protocol": "subjects", "test": {"auroc": 0.91234, "n_subjects": 30, "by_source": {"Anna": {"auroc": 1}}}},
)


@dataclass(frozen=True, kw_only=True)
class Counted:
    clips: int = 12
    subjects: dict = field(default_factory=lambda: {Split.TRAIN: 8})
    skipped: tuple = (Skipped(item="anna.mp4", reason="empty"), Skipped(item="b", reason="c"), Skipped(item="d", reason="e"))
    digest: str = "a1b2"
    report: str = "/home/anna/report.html"


def test_counts_digests_and_versions_are_shown_and_no_name_or_path():
    page = summary_page("ingest manifest", Counted())
    assert page.startswith("## ingest manifest\n\n| | |\n")
    for row in ("| clips | 12 |", "| subjects · train | 8 |", "| skipped | 3 listed |", "| digest | `a1b2` |"):
        assert row in page
    assert "anna" not in page.lower()


def test_a_training_has_its_version_and_the_headline_metrics():
    page = summary_page("retrain 55555555 tiny", {"vitau-palsy": TRAINING})
    assert "| vitau-palsy | vitau-palsy version 3, recipe tiny-palsy |" in page
    assert f"| vitau-palsy · digest | `{'d' * 64}` |" in page
    assert "| vitau-palsy · test.auroc | 0.9123 |" in page
    assert "Anna" not in page
