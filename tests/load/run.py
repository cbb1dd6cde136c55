"""Measure ViTAU under load on loopback: ``python -m tests.load.run`` (`make load`).

Writers on the ledger and the store, simultaneous submissions to Label Studio, a minute of webhooks, and workers that score the
same people. The exit code is 1 if anything was lost or done twice.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.chaos.backends import postgresql, seaweedfs
from tests.load.labels import running_study, send_for_a_minute, submit_at_once
from tests.load.measure import HEAD, Figures
from tests.load.scoring import score_once
from tests.load.writers import write_ledger, write_store


def _ledger(folder: Path, size: argparse.Namespace) -> Iterator[Figures]:
    share = {"processes": size.processes, "threads": size.writers // size.processes}
    writers = f"{size.writers} writers, ledger on"
    yield write_ledger(f"{writers} SQLite", f"sqlite:///{folder / 'ledger.db'}", **share)
    with postgresql() as server:
        yield write_ledger(f"{writers} PostgreSQL", server.new_database(), **share)


def _store(folder: Path, size: argparse.Namespace) -> Iterator[Figures]:
    share = {"processes": size.processes, "threads": size.writers // size.processes}
    writers = f"{size.writers} writers, store in"
    yield write_store(f"{writers} a folder", (folder / "objects").as_uri(), **share)
    with seaweedfs(folder / "seaweedfs") as (address, keys):
        os.environ.update(keys, AWS_ENDPOINT_URL_S3=address)
        yield write_store(f"{writers} SeaweedFS", "s3://chaos", **share)


def _labels(folder: Path, size: argparse.Namespace) -> Iterator[Figures]:
    with running_study(folder / "state") as study:
        yield submit_at_once(study)
        yield send_for_a_minute(study, size.seconds)


def _scoring(folder: Path, size: argparse.Namespace) -> Iterator[Figures]:
    yield score_once(folder, f"sqlite:///{folder / 'scores.db'}", workers=size.workers, people=size.people)


LOADS: Final[dict[str, Callable[[Path, argparse.Namespace], Iterator[Figures]]]] = {
    "ledger": _ledger,
    "store": _store,
    "scoring": _scoring,
    "labels": _labels,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"of {', '.join(LOADS)}; by default all")
    parser.add_argument("--writers", type=int, default=100, help="parallel writers, a multiple of the processes")
    parser.add_argument("--processes", type=int, default=10, help="processes that share the writers")
    parser.add_argument("--workers", type=int, default=8, help="processes that score")
    parser.add_argument("--people", type=int, default=48, help="people to score")
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the webhooks, 1000 a minute")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    print(HEAD, flush=True)
    failed = False
    for name in arguments.loads or LOADS:
        with tempfile.TemporaryDirectory(prefix="vitau-load-", ignore_cleanup_errors=True) as folder:
            for figures in LOADS[name](Path(folder), arguments):
                print(figures.line(), flush=True)
                failed = failed or bool(figures.lost or figures.duplicated)
    sys.exit(failed)


if __name__ == "__main__":
    main()
