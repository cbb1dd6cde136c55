"""What the pages say is true of the code."""

import re
from pathlib import Path

import pytest
import typer.main

from flows.__main__ import app as flows_app
from flows.settings import Settings
from labeling.interface.config import GRADES
from labeling.interface.guide import LOOK_AT
from labeling.interface.hotkeys import (
    AFFECTED_KEYS,
    EVIDENCE_KEYS,
    FRAME_KEYS,
    GRADE_KEYS,
    NEXT_KEYS,
    PREVIOUS_KEYS,
    SIDE_KEYS,
    SUBMIT_KEYS,
    UNCLEAR_KEYS,
)
from vitau.cli import app as vitau_app
from vitau.media.manifests import MANIFEST_COLUMNS
from vitau.registry import bundle
from vitau.registry.tripod import ITEMS
from vitau.schema import AUS, SCORE_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "DECISIONS.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERYTHING = "\n".join(page.read_text() for page in PAGES)


def commands(app: typer.Typer) -> set[str]:
    return set(typer.main.get_group(app).commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_make_target_that_a_page_names_exists_and_every_target_is_in_help():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[ `\n]|$)", EVERYTHING)) <= targets
    assert set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) == targets
    assert targets == {"help", "setup", "demo", "test", "lint", "fmt", "bench", "wheel", "up", "down"}


def test_every_command_of_the_flows_is_on_the_operators_page_and_every_command_there_exists():
    page = (ROOT / "docs" / "operators.md").read_text()
    assert set(re.findall(r"`python -m flows ([a-z-]+)", page)) == commands(flows_app)


def test_every_vitau_command_that_a_page_names_exists_and_each_is_named():
    assert set(re.findall(r"\bvitau (synth|score|[a-z]+)(?= (?:OUT|models:|NAME|MODEL)|` )", EVERYTHING)) <= commands(vitau_app)
    for command in commands(vitau_app):
        assert f"vitau {command}" in EVERYTHING, command


def test_every_setting_is_in_the_example_environment_and_every_line_there_is_a_setting():
    example = (ROOT / "infra" / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?VITAU_([A-Z_]+)=", example, re.MULTILINE)) - {"TORCH_THREADS"}
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_annotators_page_has_the_keys_of_the_labelling_page():
    page = (ROOT / "docs" / "annotators.md").read_text()
    for au in AUS:
        row = rf"^\| {au} .*\| `{AFFECTED_KEYS[au]}` \| `{re.escape(UNCLEAR_KEYS[au])}` \| `{re.escape(EVIDENCE_KEYS[au])}` \|$"
        assert re.search(row, page, re.MULTILINE), au
    for name, key in {**SIDE_KEYS, **FRAME_KEYS, **{GRADES[grade]: key for grade, key in GRADE_KEYS.items()}}.items():
        assert f"`{key}` {name}" in page
    for key in (*SUBMIT_KEYS, *NEXT_KEYS, *PREVIOUS_KEYS):
        assert f"`{key}`" in page


def test_the_annotators_page_says_what_to_look_at_as_the_labelling_page_does():
    page = (ROOT / "docs" / "annotators.md").read_text()
    assert [au for au in AUS if not re.search(rf"^\| {au} .*\| {re.escape(LOOK_AT[au])} \|", page, re.MULTILINE)] == []


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_a_picture_of_the_docs_is_shown_on_a_page_and_is_small(picture):
    assert f"images/{picture.name}" in EVERYTHING
    assert picture.stat().st_size < 400_000


def test_the_models_page_has_every_column_of_a_score():
    page = (ROOT / "docs" / "models.md").read_text()
    for column in SCORE_COLUMNS:
        assert f"`{column}`" in page or column.partition("_")[0] in AUS, column


def test_the_models_page_has_every_file_of_a_pulled_model_and_counts_the_items_of_its_evidence():
    page = (ROOT / "docs" / "models.md").read_text()
    names = {bundle.README, bundle.EVIDENCE, bundle.METRICS, bundle.THRESHOLDS, bundle.LANDMARKS, bundle.SUMS, "version.json"}
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert f"All {len(ITEMS)} items of TRIPOD+AI" in page


def test_the_operators_page_has_every_column_of_a_manifest():
    page = (ROOT / "docs" / "operators.md").read_text()
    assert [column for column in MANIFEST_COLUMNS if f"`{column}`" not in page] == []


def test_no_page_leads_out_of_the_project():
    assert "../shared" not in EVERYTHING
    assert not re.search(r"(^|[ `(])/(work|root|home)/", EVERYTHING)
