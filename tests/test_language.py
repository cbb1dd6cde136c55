"""The language of the code and the documents: plain English with the field's standard terms."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
OPENERS: Final = frozenset(
    "Say Let Give Tell Ask Stand Hold What Who Whom Whose How Whether Where Why When".split()  # noqa: SIM905  # a list of words
)
"""No docstring begins with one of these: programs return, build, write, read, check."""
RETIRED: Final = (
    *("whom", "somebody", "as it stands", "each one's", "strangeness", "zombie", "zombies", "voices", "patience"),
    *("room", "rooms", "door", "doors", "drawer", "walls", "house"),
)
"""Words of a private vocabulary that hid the standard terms. House–Brackmann is a grade, and STATUS_ZOMBIE is psutil's."""
LONGEST_SENTENCE: Final = 30
"""Words, in the documents."""


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


CODE: Final = [name for name in tracked("*.py") if name != "tests/test_language.py"]
FOLDERS: Final = sorted({str(Path(name).parent) for name in CODE})
TEXTS: Final = tracked("*.md")
BY_READERS: Final = [name for name in TEXTS if name == "README.md" or name.startswith("docs/")]


def docstrings(name: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse((ROOT / name).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def sentences(text: str) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"^( {4}|\t|\||#|!\[).*$", "\n", text, flags=re.MULTILINE)  # code, tables, headings, pictures
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[*-]|\d+\.)\s", text):
        plain = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", paragraph))
        yield from re.split(r"(?<=[.!?:;])[\s*_)]+", plain.strip())


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_a_standard_verb_or_a_noun(folder):
    wrong = [
        f"{name}:{line}: {text.splitlines()[0]}"
        for name in CODE
        if str(Path(name).parent) == folder
        for line, text in docstrings(name)
        if re.split(r"[^\w-]", text, maxsplit=1)[0] in OPENERS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", FOLDERS)
def test_retired_words_are_gone_from_the_code(folder):
    words = re.compile(
        rf"(?<![A-Za-z])(?<!STATUS_)({'|'.join(map(re.escape, RETIRED))})(?![A-Za-z]|\W+(and )?Brackmann)", re.IGNORECASE
    )
    wrong = [
        f"{name}:{number}: {line.strip()}"
        for name in CODE
        if str(Path(name).parent) == folder
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_loop_variable_is_called_each(folder):
    wrong = [
        f"{name}:{node.target.lineno}"
        for name in CODE
        if str(Path(name).parent) == folder
        for node in ast.walk(ast.parse((ROOT / name).read_text()))
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name) and node.target.id == "each"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", BY_READERS)
def test_sentences_of_the_documents_are_short(name):
    long = [text for text in sentences((ROOT / name).read_text()) if len(text.split()) > LONGEST_SENTENCE]
    assert not long, "\n\n".join(long)
