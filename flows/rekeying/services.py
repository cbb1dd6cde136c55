"""Old names outside the catalog and the store: tasks of Label Studio, runs of Prefect, local files."""

import shutil
from typing import Final

from flows.erasure import files
from flows.erasure.services import clean_prefect
from flows.rekeying.change import Change
from flows.rekeying.objects import renamed_table
from labeling.label_studio.projects import rename_subjects
from vitau.errors import StackError
from vitau.store.atomic import write_atomic

FLOW: Final = "rekey"
_WORK_FILES: Final = (*files.CACHES, "tmp")
"""Folders of the work folder that are made anew when they are needed."""


def rename_tasks(change: Change) -> int:
    """Replace the names in the tasks of all ViTAU projects; return the number of tasks."""
    return rename_subjects(change.workspace.label_studio, change.renaming.value)


def other_runs() -> list[str]:
    """Return the flow runs on Prefect's server that are running, but for changes of the key; none if no server takes part.

    Raises:
        StackError: Prefect does not answer, or refuses.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError, PrefectException

    try:
        get_run_context()
    except MissingContextError:
        return []
    running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    try:
        with get_client(sync_client=True) as client:
            own = {flow.id for flow in client.read_flows() if flow.name == FLOW}
            return [run.name for run in client.read_flow_runs(flow_run_filter=running) if run.flow_id not in own]
    except (httpx.HTTPError, PrefectException) as error:
        raise StackError(f"Prefect cannot be asked for running flows ({type(error).__name__}): is it running?") from error


def clean_runs(change: Change) -> int:
    """Delete the runs and logs of Prefect that have an old name; return how many."""
    return clean_prefect(change.old_names)


def rename_in_files(change: Change) -> int:
    """Replace the names in local pages, blank them in logs, and delete caches; return the number of files."""
    settings = change.workspace.settings
    changed = 0
    for name in _WORK_FILES:
        changed += len(list((settings.work / name).glob("*")))
        shutil.rmtree(settings.work / name, ignore_errors=True)
    folder = files.state_folder(settings) or settings.work
    for log in (folder / "seaweedfs").glob("*.INFO*"):
        changed += files.blank(log, change.old_names)
    for path in files.files_below(folder, skip=files.SERVICES):
        if path.suffix == ".log":
            changed += files.blank(path, change.old_names)
        elif path.suffix in files.PAGES:
            data = path.read_bytes()
            table = path.suffix == ".parquet"
            renamed = renamed_table(change.renaming, data) if table else change.renaming.data(data)
            if renamed not in {None, data}:
                write_atomic(path, renamed or b"")
                changed += 1
    return changed
