"""The documents: what they state is true of the code, and every command, setting, key and column is in them."""

import ast
import re
from pathlib import Path

import pytest
import typer.main
import yaml

import vitau
from flows.__main__ import app as flows_app
from flows.settings import Settings
from labeling.__main__ import app as labeling_app
from labeling.interface.answer import GRADES
from labeling.interface.guide import LOOK_AT
from labeling.interface.hotkeys import (
    AFFECTED_KEYS,
    FRAME_KEYS,
    GRADE_KEYS,
    MARK_KEYS,
    NEXT_KEYS,
    PREVIOUS_KEYS,
    SIDE_KEYS,
    SUBMIT_KEYS,
    UNAFFECTED_KEYS,
    UNCLEAR_KEYS,
)
from vitau.cli import app as vitau_app
from vitau.media.manifests import MANIFEST_COLUMNS
from vitau.registry import bundle
from vitau.registry.tripod import ITEMS
from vitau.schema import AUS, SCORE_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
EVERYTHING = "\n".join(page.read_text() for page in PAGES)


def commands(app: typer.Typer) -> set[str]:
    """Return the commands of an application, those of a group with the group's name before them: ``labels report``."""
    names = set()
    for name, command in typer.main.get_group(app).commands.items():
        names |= {f"{name} {inner}" for inner in getattr(command, "commands", [])} or {name}
    return names


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^( {4}|```).*$", "", page.read_text(), flags=re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def definitions(path: Path) -> set[str]:
    """Return the functions and classes of a module, and the methods as ``Class.method``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        if target.startswith("https://"):
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_repository_that_a_page_names_exists(page):
    folders = "flows|infra|labeling|tests|validation|vitau|docs"
    for name in re.findall(
        rf"`((?:{folders})/[\w./-]*?\.(?:py|yaml|md|Dockerfile|svg)|(?:{folders})/[\w/]*/)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_names_lead_to_the_answer_in_at_most_six_steps():
    section = (ROOT / "docs" / "contributors.md").read_text().split("\n## Four questions\n")[1].split("\n## ")[0]
    questions = re.split(r"^\*\*(.+\?)\*\*$", section, flags=re.MULTILINE)[1:]
    assert len(questions) == 2 * 4
    for question, steps in zip(questions[::2], questions[1::2], strict=True):
        path = re.findall(r"^\d\. `([\w/]+\.py)` `([\w.]+)`$", steps, re.MULTILINE)
        assert 2 <= len(path) <= 6, question
        assert len(path) == len(re.findall(r"^\d", steps, re.MULTILINE)), question
        for file, name in path:
            assert name in definitions(ROOT / file), f"{question} {file} {name}"


@pytest.mark.parametrize("page", ["researchers", "annotators", "labeling-managers", "operators", "model-users", "contributors"])
def test_every_reader_has_a_page_that_starts_within_one_screen_and_is_in_the_table_of_the_readme(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    start = text.split("\n## Start here\n")
    assert len(start) == 2
    assert len(start[0].splitlines()) <= 10, "what the page is for, before the start"
    assert len(re.split(r"\n##? ", start[1])[0].splitlines()) <= 45
    assert f"(docs/{page}.md)" in (ROOT / "README.md").read_text()


def test_the_python_of_the_pages_compiles():
    blocks = re.findall(r"```python\n(.*?)```", EVERYTHING, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        compile(block, "page", "exec")


def test_the_citation_names_the_version_and_the_license_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (vitau.__version__, "Apache-2.0")
    assert citation["references"][0]["doi"] in (ROOT / "README.md").read_text()


def test_every_make_target_that_a_page_names_exists_and_every_target_is_in_help():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:`|^    (?:\$ )?)make ([a-z]+)", EVERYTHING, re.MULTILINE)) <= targets
    assert set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) == targets
    everyday = {"help", "setup", "demo", "test", "lint", "fmt", "bench", "wheel", "up", "down"}
    assert targets == everyday | {"audit", "chaos", "fuzz", "load", "mutants", "tables"}


def test_every_command_of_the_flows_is_on_the_operators_page_and_every_command_there_exists():
    page = (ROOT / "docs" / "operators.md").read_text()
    named = set(re.findall(r"`python -m flows ([a-z][a-z-]*)", page))
    assert named == {command.partition(" ")[0] for command in commands(flows_app)}


def test_every_command_for_labels_is_on_the_labeling_managers_page_and_every_command_there_exists():
    page = (ROOT / "docs" / "labeling-managers.md").read_text()
    table = set(re.findall(r"^\| `(labels [a-z-]+)", page, re.MULTILINE))
    assert table == {command for command in commands(flows_app) if command.startswith("labels ")}


def test_every_command_of_labeling_is_on_the_page_about_label_studio_and_every_command_there_exists():
    page = (ROOT / "docs" / "label-studio.md").read_text()
    assert set(re.findall(r"`python -m labeling ([a-z-]+)", page)) == commands(labeling_app)


def test_every_command_line_of_the_flows_exists_with_its_options():
    group = typer.main.get_group(flows_app)
    for line in re.findall(r"python -m flows ([^`#\n]*)", EVERYTHING):
        words = line.split()
        if not words or words[0] in {"…", "COMMAND"} or words[0].startswith("--"):
            continue
        command = group.commands[words[0]]
        if hasattr(command, "commands"):
            if len(words) == 1 or not words[1][0].isalpha():
                continue
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line


def test_every_vitau_command_is_on_the_model_users_page_and_every_command_there_exists():
    page = (ROOT / "docs" / "model-users.md").read_text()
    assert set(re.findall(r"^\| `vitau ([a-z-]+)", page, re.MULTILINE)) == commands(vitau_app)
    group = typer.main.get_group(vitau_app)
    for name, rest in re.findall(
        r"\bvitau (pull|check|check-healthy|score|export|synth|bench|benchmark) ([^`#\n]*)", EVERYTHING
    ):
        known = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= known | {"--help"}, f"vitau {name} {rest}"


def test_every_setting_is_in_the_example_environment_and_every_line_there_is_a_setting():
    example = (ROOT / "infra" / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?VITAU_([A-Z_]+)=", example, re.MULTILINE)) - {
        "TORCH_THREADS",
        "SHAPE_PREDICTOR",
        "SERVE_TOKEN",
    }
    assert named == {name.upper() for name in Settings.model_fields}


def test_every_variable_that_a_page_names_is_in_the_example_environment():
    example = (ROOT / "infra" / ".env.example").read_text()
    named = set(re.findall(r"\bVITAU_[A-Z_]+[A-Z]", EVERYTHING)) - {"VITAU_REALLY_CLEAN"}
    assert {name for name in named if f"{name}=" not in example} == set()


def test_the_annotators_page_has_the_keys_of_the_labeling_page():
    page = (ROOT / "docs" / "annotators.md").read_text()
    for au in AUS:
        keys = (AFFECTED_KEYS[au], UNAFFECTED_KEYS[au], UNCLEAR_KEYS[au], MARK_KEYS[au])
        row = " | ".join(f"`{key}`" for key in keys)
        assert any(line.startswith(f"| {au} ") and line.endswith(f"| {row} |") for line in page.splitlines()), au
    for name, key in {**SIDE_KEYS, **FRAME_KEYS, **{GRADES[grade]: key for grade, key in GRADE_KEYS.items()}}.items():
        assert f"`{key}` {name}" in page
    for key in (*SUBMIT_KEYS, *NEXT_KEYS, *PREVIOUS_KEYS):
        assert f"`{key}`" in page


def test_the_annotators_page_and_the_labeling_page_describe_the_regions_alike():
    page = (ROOT / "docs" / "annotators.md").read_text()
    assert [au for au in AUS if not re.search(rf"^\| {au} .*\| {re.escape(LOOK_AT[au])} \|", page, re.MULTILINE)] == []


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_a_picture_of_the_docs_is_shown_on_a_page_and_is_small(picture):
    assert f"images/{picture.name}" in EVERYTHING
    assert picture.stat().st_size < 400_000


def test_the_model_users_page_has_every_column_of_a_score():
    page = (ROOT / "docs" / "model-users.md").read_text()
    for column in SCORE_COLUMNS:
        assert f"`{column}`" in page or column.partition("_")[0] in AUS, column


def test_the_model_users_page_has_every_file_of_a_pulled_model_and_counts_the_items_of_its_reporting_sheet():
    page = (ROOT / "docs" / "model-users.md").read_text()
    names = {
        bundle.README,
        bundle.REPORTING_SHEET,
        bundle.METRICS,
        bundle.THRESHOLDS,
        bundle.LANDMARKS,
        bundle.SUMS,
        "version.json",
    }
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert f"All {len(ITEMS)} items of TRIPOD+AI" in page


def test_the_operators_page_has_every_column_of_a_manifest():
    page = (ROOT / "docs" / "operators.md").read_text()
    assert [column for column in MANIFEST_COLUMNS if f"`{column}`" not in page] == []


def test_no_page_names_a_place_outside_of_the_project():
    assert "../shared" not in EVERYTHING
    assert not re.search(r"(^|[ `(])/(work|root|home)/", EVERYTHING)
