"""Check that the tests notice wrong lines: mutmut changes the code line by line, and a test must fail for each change.

``make mutants`` prints one table and exits 1 if fewer than 90 % of the mutants are killed. ``tests/mutants.json`` lists mutants
that need no test, by name pattern, each with the reason. ``[tool.mutmut]`` in pyproject.toml names the modules and the tests.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
ACCEPTED: Final = ROOT / "tests" / "mutants.json"
REQUIRED_SHARE: Final = 0.9
KILLED: Final = frozenset({1, 3, 37})
"""Exit codes of mutmut: a test failed, or stopped pytest, or the types are wrong."""
TIMED_OUT: Final = frozenset({24, -24, 36, 152, 255})
"""Exit codes of a mutant that made the tests hang, which counts as killed."""
WITHOUT_TEST: Final = frozenset({5, 33})
NOT_RUN: Final = frozenset({None, 2, 34})


@dataclass(frozen=True, kw_only=True)
class Result:
    """The mutants of one module, by what became of them."""

    module: str
    killed: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()
    without_test: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The number of mutants, with the accepted ones."""
        return len(self.killed) + len(self.survived) + len(self.without_test) + len(self.accepted)

    @property
    def share(self) -> float:
        """The killed share of the mutants that are not accepted; 1 if there are none."""
        counted = self.number - len(self.accepted)
        return len(self.killed) / counted if counted else 1.0


def sort_mutants(module: str, exit_codes: Mapping[str, int | None], accepted: Mapping[str, str]) -> Result:
    """Sort the mutants of a module by the exit codes of their tests; a mutant that was not run is left out."""
    killed, survived, without_test, excused = [], [], [], []
    for name, code in exit_codes.items():
        if code in NOT_RUN:
            continue
        if code in KILLED | TIMED_OUT:
            killed.append(name)
        elif any(fnmatchcase(name, pattern) for pattern in accepted):
            excused.append(name)
        elif code in WITHOUT_TEST:
            without_test.append(name)
        else:
            survived.append(name)
    return Result(
        module=module,
        killed=tuple(killed),
        survived=tuple(survived),
        without_test=tuple(without_test),
        accepted=tuple(excused),
    )


def read_results(folder: Path, accepted: Mapping[str, str]) -> list[Result]:
    """Read what mutmut left in its folder, one result for each module in which a mutant was run."""
    results = [
        sort_mutants(
            path.relative_to(folder).as_posix().removesuffix(".meta"),
            json.loads(path.read_text())["exit_code_by_key"],
            accepted,
        )
        for path in sorted(folder.rglob("*.meta"))
    ]
    return [result for result in results if result.number]


def total(results: Sequence[Result]) -> Result:
    """Return the mutants of all modules as one result."""
    return Result(
        module="all",
        killed=tuple(name for result in results for name in result.killed),
        survived=tuple(name for result in results for name in result.survived),
        without_test=tuple(name for result in results for name in result.without_test),
        accepted=tuple(name for result in results for name in result.accepted),
    )


def run(root: Path, patterns: Sequence[str], *, workers: int) -> None:
    """Run mutmut in a repository; without patterns on all mutants. Raises CalledProcessError."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), *patterns]
    subprocess.run(command, cwd=root, check=True)


def report(results: Sequence[Result]) -> str:
    """Return the table, and below it the mutants that no test noticed."""
    lines = [f"{'module':36}{'mutants':>8}{'killed':>8}{'survived':>10}{'no test':>9}{'accepted':>10}{'share':>8}"]
    lines += [
        f"{result.module:36}{result.number:>8}{len(result.killed):>8}{len(result.survived):>10}"
        f"{len(result.without_test):>9}{len(result.accepted):>10}{result.share:>8.1%}"
        for result in (*results, total(results))
    ]
    lines += [f"  survived: {name}" for result in results for name in result.survived]
    lines += [f"  no test: {name}" for result in results for name in result.without_test]
    return "\n".join(lines)


def main() -> None:
    """Run mutmut, print the table, and exit 1 if too many mutants survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", help="names of mutants, such as 'vitau.store*'; all if none is given")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--report", action="store_true", help="print the table of the last run, and run nothing")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments.root, arguments.patterns, workers=arguments.workers)
    accepted: dict[str, str] = json.loads(ACCEPTED.read_text())
    results = read_results(arguments.root / "mutants", accepted)
    print(report(results))
    if not results:
        sys.exit("mutmut ran no mutant: check [tool.mutmut] in pyproject.toml and the patterns")
    share = total(results).share
    if share < REQUIRED_SHARE:
        sys.exit(f"{share:.1%} of the mutants are killed, and {REQUIRED_SHARE:.0%} are required: add tests for the survivors")


if __name__ == "__main__":
    main()
