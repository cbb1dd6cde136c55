"""The gate task: check a table, keep its Data Docs in the store, and stop the flow on a failure."""

import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.workspace import Workspace
from validation.run import GateResult, check, require
from validation.suites import Suite
from vitau.data.layout import validation_key


@task(cache_policy=NO_CACHE, task_run_name="gate-{suite.name}")
def gate(workspace: Workspace, rows: pd.DataFrame, suite: Suite) -> GateResult:
    """Check a table and keep the Data Docs at ``validation/<gate>/<digest of rows and suite>/`` in the store.

    Raises:
        GateError: an expectation fails that is more than a warning.
    """
    hashes = pd.util.hash_pandas_object(rows.astype("string")).to_numpy().tobytes()
    digest = sha256(hashes + repr(suite).encode()).hexdigest()[:16]
    index = validation_key(suite.name, digest, "index.html")
    with tempfile.TemporaryDirectory(prefix="vitau-docs-") as folder:
        docs = Path(folder) / "docs"
        result = check(rows, suite, docs)
        if not workspace.store.exists(index):  # the same check is kept once; its pages are named by their time
            pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*") if path.is_file())
            for page in sorted(pages, key=lambda page: page == "index.html"):  # last: it marks the others as complete
                workspace.store.put(validation_key(suite.name, digest, page), docs / page)
    for warning in result.warnings:
        get_run_logger().warning("gate %s: %s", suite.name, warning)
    return require(replace(result, docs=workspace.store.location(index)))
