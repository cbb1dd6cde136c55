"""Measured numbers of the documentation stand in files that a command wrote, in ``docs/figures`` or a generated page.

A number is a decimal of prose, code or a table. It stands in a JSON file if one of its values rounds to it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SECTIONS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("docs/model-users.md", "What the pictures mean"): ("explanations-drawn.json", "explanations-renders.json"),
}
"""Page and heading → the files of ``docs/figures`` with its numbers."""
WITHOUT_FILES: Final = frozenset(
    {
        *("README.md", "docs/contributors.md", "docs/label-studio.md", "docs/labeling-managers.md", "docs/measures.md"),
        *("docs/model-users.md", "docs/operators.md", "docs/researchers.md", "docs/studies.md", "docs/training.md"),
    }
)
"""Pages with other decimals, measured ones and settings. The outputs of their commands were not kept: nothing checks them."""
NUMBER: Final = re.compile(r"(?<![\w./−-])[−-]?\d+\.\d+(?![\w/]|\.\d)")


def numbers(text: str) -> list[str]:
    """Return the decimals of a text in their own digits, with a hyphen for a minus."""
    return [found.replace("−", "-") for found in NUMBER.findall(text)]


def section(page: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return (ROOT / page).read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def values(document: Any) -> Iterator[float]:
    """Yield all numbers of a JSON document."""
    if isinstance(document, bool | str) or document is None:
        return
    if isinstance(document, int | float):
        yield float(document)
        return
    for part in document.values() if isinstance(document, dict) else document:
        yield from values(part)


def missing(text: str, documents: list[Any]) -> list[str]:
    """Return the numbers of a text to which no value of the documents rounds."""
    known = [value for document in documents for value in values(document)]
    return [
        number
        for number in numbers(text)
        if not any(abs(value - float(number)) <= 0.5001 * 10 ** -len(number.split(".")[1]) for value in known)
    ]


@pytest.mark.parametrize(("page", "heading"), SECTIONS)
def test_numbers_of_a_section_stand_in_files_that_a_command_wrote(page, heading):
    documents = [json.loads((ROOT / "docs" / "figures" / name).read_text()) for name in SECTIONS[page, heading]]
    assert len(numbers(section(page, heading))) > 10
    assert missing(section(page, heading), documents) == []


def test_pages_without_files_are_named():
    generated = {"docs/benchmark.md"}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {page.relative_to(ROOT).as_posix() for page in pages if numbers(page.read_text(encoding="utf-8"))}
    assert found - generated - WITHOUT_FILES == set(), "keep the outputs of the commands in docs/figures"


def test_a_number_that_no_file_has_is_found():
    documents = [{"own": {"pointing": 0.9231, "n": 13}, "interval": [0.769, 1.0]}, [None, True, "0.5"]]
    assert missing("in 0.92 [0.77, 1.00] and −0.5, version 1.2.3, 0.93", documents) == ["-0.5", "0.93"]
