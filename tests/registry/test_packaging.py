"""The code that travels with a registered model imports nothing that stays behind."""

import ast
from pathlib import Path

import pytest

import vitau
from vitau.registry.packaging import SHIPPED

PACKAGE = Path(vitau.__file__).parent


def imported(path: Path) -> set[str]:
    """Return the files of the package that a file imports when it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vitau":
            parts = node.module.split(".")[1:]
            for names in (parts, *([*parts, alias.name] for alias in node.names)):
                files = ("/".join(names) + ".py", "/".join([*names, "__init__.py"]))
                found |= {file for file in files if (PACKAGE / file).is_file()}
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_imports_only_shipped_files(name):
    assert imported(PACKAGE / name) <= set(SHIPPED)
