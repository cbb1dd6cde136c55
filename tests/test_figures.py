"""Numbers of README and docs stand in files that a command wrote, or in the code whose constants they are.

A number that was measured or set is a decimal, a percentage, a share (`14 of 15`), a time or a size with its unit, or an
integer that fills a cell of a table. Arguments of commands (`--people 60`) are none. A number stands in a source if a value
there rounds to it. A page that a command writes as a whole says so in its second paragraph, and is its own source.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import vitau
from tests.figure_sources import DEMO, OF_ONE_RECORD, SOURCES, Source

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "figures"
UNITS: Final[Mapping[str, tuple[float, ...]]] = {
    "%": (1, 0.01),
    "×": (1,),
    "ms": (0.001,),
    "s": (1,),
    "minutes": (60,),
    "hours": (3600,),
    "kB": (1e3,),
    "MB": (1e6, 2**20),
    "GB": (1e9,),
    "GiB": (2**30,),
}
"""Units of the pages → what one of them may be in outputs, which count seconds and bytes. Constants may have any unit."""
DIGITS: Final = r"(?<![\w./,−-])[−-]?\d{1,3}(?:[  ,]\d{3})+(?:\.\d+)?|(?<![\w./−-])[−-]?\d+(?:\.\d+)?(?:e-?\d+)?"
NUMBER: Final = re.compile(
    rf"(?P<value>{DIGITS})(?![\w/]|[.,]\d)(?: ?(?P<unit>{'|'.join(sorted(UNITS, key=len, reverse=True))})(?!\w))?"
    r"(?P<of>(?= of \d))?(?P<cell>(?= \|))?"
)
NO_CLAIM: Final = re.compile(
    r"--[\w-]+[ =][\w.,-]+|\b\w+=[\w.,/:-]+|\]\([^)]*\)|https?://\S+|(?:arXiv|doi) \S+|\b\d+ × \d+\b"
    r"|9[59] %\s[\w\s]*interval|[^|\n]*\[\d+\](?!\()|\benter `[^`]+`(?: or `[^`]+`)?"
)
"""Arguments, settings, addresses, sizes of pictures, kinds of intervals, what a cell quotes from a numbered source, and what
a reader enters.
"""
GENERATED: Final = re.compile(r"# .+\n\n`[^`]+` wrote this page\. Do not edit it\.\n")


class Number(NamedTuple):
    """A number as a page has it, its value, half of its last digit, and the factors of its unit."""

    text: str
    value: float
    tolerance: float
    factors: tuple[float, ...]

    def is_among(self, values: list[float], *, any_unit: bool = False) -> bool:
        """Return whether one of the values rounds to the number."""
        factors = {*self.factors, 1} if any_unit else self.factors
        return any(abs(self.value - value / factor) <= self.tolerance for factor in factors for value in values)


def numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a text that were measured or set."""
    text = NO_CLAIM.sub(" ", text)
    for found in NUMBER.finditer(text):
        digits, unit = re.sub(r"[  ,]", "", found["value"]).replace("−", "-"), found["unit"]
        fills_cell = found["cell"] is not None and text[: found.start()].endswith("| ")
        is_total = re.search(r"(?<![\w.])\d+ of $", text[: found.start()]) is not None
        if {".", "e"} & set(digits) or unit or fills_cell or is_total or found["of"] is not None:
            mantissa, _, exponent = digits.partition("e")
            places = len(mantissa.partition(".")[2]) - int(exponent or 0)
            yield Number(
                found.group().strip(), float(digits), 0.5001 * 10**-places if places else 0.5, UNITS.get(unit or "", (1,))
            )


def sections(page: str) -> dict[str, str]:
    """Return the sections of a page by their headings of the second level; what stands before the first has an empty one."""
    parts = re.split(r"^## (.+)\n", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def is_code(source: Source) -> bool:
    """Return whether a source is no file that a command wrote."""
    return not isinstance(source, str) or not source.startswith("docs/figures/")


@cache
def source_values(source: Source) -> list[float]:
    """Return the numbers of a source."""
    if not isinstance(source, str):
        return source()
    name, _, definition = source.partition(":")
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        return list(json_values(json.loads(text)))
    if name.endswith(".py"):
        return list(code_values(find_definition(ast.parse(text), definition)))
    return list(text_values(text))


def json_values(document: Any) -> Iterator[float]:
    """Yield all numbers of a JSON document, those of printed lines too."""
    if isinstance(document, str):
        yield from text_values(document)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield float(document)
    elif isinstance(document, dict):
        yield from json_values([value for key, value in document.items() if key not in {"command", "date"}])
    else:
        for part in document if isinstance(document, list) else ():
            yield from json_values(part)


def text_values(text: str) -> Iterator[float]:
    """Yield all numbers of a text."""
    return (float(found.replace("−", "-")) for found in re.findall(r"(?<![\w.−-])[−-]?\d+(?:\.\d+)?(?!\w)", text))


def code_values(node: ast.AST) -> Iterator[float]:
    """Yield the numbers in code, and those that are texts, such as values of environment variables."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):  # such as 8 << 30
        yield ast.literal_eval(node.left) * 2.0 ** ast.literal_eval(node.right)
    elif isinstance(node, ast.Constant) and not isinstance(node.value, bool):
        if isinstance(node.value, int | float) or (isinstance(node.value, str) and re.fullmatch(r"\d+(\.\d+)?", node.value)):
            yield float(node.value)
    else:
        for part in ast.iter_child_nodes(node):
            yield from code_values(part)


def find_definition(tree: ast.Module, name: str) -> ast.AST:
    """Return the definition with a name, ``Class.field`` for one inside a class, or the whole module for an empty one."""
    node: ast.AST = tree
    for part in filter(None, name.split(".")):
        found = [own for own in ast.iter_child_nodes(node) if part in defined(own)]
        assert len(found) == 1, f"{name} is defined {len(found)} times"
        node = found[0]
    return node


def defined(node: ast.AST) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def missing(text: str, sources: tuple[Source, ...]) -> list[str]:
    """Return the numbers of a text that stand in none of the sources."""
    return [
        number.text
        for number in numbers(text)
        if not any(number.is_among(source_values(source), any_unit=is_code(source)) for source in sources)
    ]


def file_records(path: Path) -> Iterator[list[float]]:
    """Yield the records of a file: those of a JSON document, or the lines of a text."""
    text = path.read_text(encoding="utf-8")
    yield from records(json.loads(text)) if path.suffix == ".json" else (list(text_values(line)) for line in text.splitlines())


def records(document: Any) -> Iterator[list[float]]:
    """Yield the numbers of each object and list inside a JSON document."""
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        if isinstance(part, dict | list):
            yield list(json_values(part))
            yield from records(part)


def rows(text: str) -> list[str]:
    """Return the rows of the tables of a text, without their headings."""
    lines = text.splitlines()
    return [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if line[:2] == "| " and after[:2] != "|-"]


def report_missing(page: str, sources: Mapping[str, tuple[Source, ...]]) -> None:
    """Fail with the numbers of sections that stand in none of their sources, if there are any."""
    texts = sections(page)
    wrong = {name: missing(texts[name], own) for name, own in sources.items()}
    lines = [f"{page}, {name or 'top'}: {'  '.join(found)}" for name, found in wrong.items() if found]
    assert not lines, "\n".join(["no command wrote these numbers, and no constant is so:", *lines])


def is_generated(page: str) -> bool:
    """Return whether a command wrote the page as a whole."""
    return GENERATED.match((ROOT / page).read_text(encoding="utf-8")) is not None


PAGES: Final = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
WRITTEN: Final = [page for page in PAGES if not is_generated(page)]


@pytest.mark.parametrize("page", WRITTEN)
def test_every_number_of_a_page_stands_in_the_sources_of_its_section(page):
    sources = SOURCES.get(page, {})
    own = {name: sources.get(name, ()) for name in sections(page)}
    report_missing(page, {name: found for name, found in own.items() if DEMO not in found})


@pytest.mark.parametrize(("page", "heading"), OF_ONE_RECORD)
def test_the_numbers_of_a_row_stand_together_in_one_record(page, heading):
    files = [
        source for source in SOURCES[page][heading] if isinstance(source, str) and not source.partition(":")[0].endswith(".py")
    ]
    known = [found for file in files for found in file_records(ROOT / file)]
    found = {row: list(numbers(row)) for row in rows(sections(page)[heading])}
    assert len(found) >= 2
    assert [row for row, own in found.items() if not any(all(n.is_among(one) for n in own) for one in known)] == []


@pytest.mark.parametrize("page", [page for page, own in SOURCES.items() if any(DEMO in sources for sources in own.values())])
def test_every_number_about_the_demo_stands_in_what_it_left(page):
    report_missing(page, {name: own for name, own in SOURCES[page].items() if DEMO in own})


@pytest.mark.parametrize(
    ("page", "before", "printed"),
    [
        ("README.md", "    …\n", "printed"),
        ("docs/labeling-managers.md", "    $ .venv/bin/python -m flows labels report\n", "labels"),
    ],
)
def test_an_excerpt_has_the_lines_that_were_printed_about_the_demo(page, before, printed):
    shown = (ROOT / page).read_text(encoding="utf-8").split(before)[1].split("\n    $ ")[0].split("\n    …\n")[0]
    lines = [line[4:] for line in shown.splitlines() if line.startswith("    ")]
    known = json.loads((ROOT / DEMO).read_text(encoding="utf-8"))[printed]
    assert len(lines) >= 3
    assert [line for line in lines if line not in known] == []


@pytest.mark.parametrize("page", SOURCES)
def test_a_section_with_sources_has_numbers(page):
    with_numbers = {name for name, text in sections(page).items() if list(numbers(text))}
    assert set(SOURCES[page]) - with_numbers == set()


def test_the_list_of_figures_has_the_command_of_each_file_and_a_page_uses_it():
    table = (FIGURES / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"^\| `([\w.-]+)` \| `([^`]+)` \|", table, re.MULTILINE))
    used = {
        source.removeprefix("docs/figures/")
        for page in SOURCES.values()
        for own in page.values()
        for source in own
        if isinstance(source, str) and source.startswith("docs/figures/")
    }
    assert set(commands) == used
    assert {file.name for file in FIGURES.iterdir()} - {"README.md"} <= used


def test_every_version_is_the_pinned_one():
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    pins = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("constraints.txt", "constraints-label-studio.txt"))
    assert set(re.findall(r"\bversion (\d+\.\d+\.\d+)", text)) <= set(re.findall(r"==([\d.]+)", pins))
    assert set(re.findall(r"\bvitau-([\d.]+)-py3", text)) == {vitau.__version__}


def test_a_number_that_no_source_has_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_figures.ROOT", tmp_path)
    (tmp_path / "found.json").write_text(
        '{"command": "cut 0.93", "auroc": 0.9231, "interval": [0.769, 1], "printed": ["5 of 15", null]}'
    )
    (tmp_path / "module.py").write_text(
        "LIMIT: float = 0.5\nclass Limits:\n    size_bytes: int = 8 << 30\n    wait_s = 600.0\n"
    )
    sources = ("found.json", "module.py:LIMIT", "module.py:Limits.size_bytes", "module.py:Limits.wait_s")
    assert missing(
        "| 0.92 [0.77, 1.00] | 92.3 % | 5 of 15 | 8 GiB, 10 minutes, −0.5, version 1.2.3, `--share 0.93`", sources
    ) == ["−0.5"]
    assert missing("0.93, 93 %, 6 of 15, 9 GiB, 11 minutes, | 7 |, 1.01", sources) == [
        "0.93",
        "93 %",
        "6",
        "9 GiB",
        "11 minutes",
        "7",
        "1.01",
    ]
