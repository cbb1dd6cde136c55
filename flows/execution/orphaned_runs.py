"""Observer of runs: it sets a run that gives no sign of life to CRASHED. Only the time counts in which Prefect's server was up.

The workers' machines may be anywhere, so silence is all that shows their death. While the server is away, living runs are
silent as well. The observer looks every few seconds; when a look fails or comes late, all silences begin anew.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from flows.execution.prefect_api import open_api
from vitau.processes import PROCESS_LABEL, is_alive, is_gone

SILENCE_S: Final = 90.0
"""Seconds without a heartbeat after which a run has crashed."""
BEGINNING_S: Final = 600.0
"""Seconds that a run may take to start after a worker took it."""
_ENDING_S: Final = 10.0
"""Seconds in which a worker itself reports the end of a run's process."""
_LOOK_S: Final = 4.0
_GAP_S: Final = 10.0
"""Seconds between two looks at most, else the server counts as away; a fraction of the silence, and of three heartbeats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """State of a run in one look.

    Attributes:
        mark: changes with each heartbeat and each state; it needs no clock, so that clocks may be wrong.
        limit_s: how long the mark may stay the same; ``None`` for a run that cannot be judged, or whose process lives.
    """

    mark: str
    limit_s: float | None


@dataclass(slots=True)
class Watch:
    """Memory of an unbroken sequence of looks: since when each run shows the same mark."""

    gap_s: float = _GAP_S
    _since: dict[str, tuple[Sight, float]] = field(default_factory=dict)
    _last_s: float | None = None

    def overdue(self, now_s: float, sights: Mapping[str, Sight]) -> list[str]:
        """Return the runs that showed no sign of life for longer than they may, in every look of an unbroken sequence."""
        unbroken = self._last_s is not None and now_s - self._last_s <= self.gap_s
        before, self._last_s = self._since if unbroken else {}, now_s
        self._since = {}
        for run, sight in sights.items():
            seen, since_s = before.get(run, (sight, now_s))
            self._since[run] = (sight, since_s if seen == sight else now_s)
        return [
            run
            for run, (sight, since_s) in self._since.items()
            if sight.limit_s is not None and now_s - since_s >= sight.limit_s
        ]


@contextmanager
def watching(tell: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Watch the runs of the environment's Prefect server, if there is one, in a thread until the ``with`` block ends."""
    url = environ.get("PREFECT_API_URL")
    if not url:
        yield
        return
    stopping = threading.Event()
    thread = threading.Thread(target=watch_runs, args=(url, environ, stopping, tell), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def watch_runs(
    url: str,
    environ: Mapping[str, str],
    stopping: threading.Event,
    tell: Callable[[str], None],
    *,
    silence_s: float = SILENCE_S,
    look_s: float = _LOOK_S,
    gap_s: float = _GAP_S,
) -> None:
    """Set the overdue runs of a server to CRASHED until ``stopping`` is set, looking every ``look_s`` seconds."""
    watch = Watch(gap_s)
    while not stopping.is_set():
        try:
            with open_api(url, environ, timeout_s=gap_s / 2) as client:
                while not stopping.wait(look_s):
                    sights = look(client, silence_s)
                    for run in watch.overdue(time.clock_gettime(time.CLOCK_BOOTTIME), sights):  # it counts suspension
                        if crash(client, run, sights[run], silence_s):
                            tell(f"run {run} has crashed: no sign of life")
        except (httpx.HTTPError, ValueError, KeyError, TypeError):  # away, starting, or the token expired: the gap is noticed
            stopping.wait(look_s)


def look(client: httpx.Client, silence_s: float = SILENCE_S) -> dict[str, Sight]:
    """Return what the server knows of each run that has begun, or that a worker took.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}}
    return {
        run["id"]: sight_of(run, _heartbeats(client, run["id"]), silence_s)
        for run in _post(client, "/flow_runs/filter", wanted)
    }


def sight_of(run: Mapping[str, Any], heartbeats: int, silence_s: float = SILENCE_S) -> Sight:
    """Return the sight of a run of Prefect's API with the number of its heartbeats."""
    process = str((run.get("labels") or {}).get(PROCESS_LABEL, ""))
    latest = process.split(":")[1:2] == [str(run.get("infrastructure_pid") or "")]  # not of the attempt before
    running = run["state_type"] == "RUNNING"
    limit_s: float | None = None  # started by hand: such runs send no heartbeats
    if is_alive(process):
        limit_s = None
    elif not running:
        limit_s = BEGINNING_S
    elif latest and is_gone(process):
        limit_s = min(_ENDING_S, silence_s)
    elif heartbeats:
        limit_s = silence_s
    return Sight(mark=f"{run['state_id']} {heartbeats}", limit_s=limit_s)


def crash(client: httpx.Client, run: str, seen: Sight, silence_s: float = SILENCE_S) -> bool:
    """Set a run to CRASHED unless it showed a sign of life since it was ``seen``; return whether it was set."""
    answer = client.get(f"/flow_runs/{run}")
    answer.raise_for_status()
    if sight_of(answer.json(), _heartbeats(client, run), silence_s) != seen:
        return False
    state = {"type": "CRASHED", "name": "Crashed", "message": f"No sign of life for {seen.limit_s:.0f} s"}
    _post(client, f"/flow_runs/{run}/set_state", {"state": state})
    return True


def _heartbeats(client: httpx.Client, run: str) -> int:
    """Return the number of heartbeats of a run; the newest of them could be one of a machine whose clock is ahead."""
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return int(_post(client, "/events/filter", {"filter": wanted, "limit": 1})["total"])


def _post(client: httpx.Client, path: str, body: object) -> Any:
    answer = client.post(path, json=body)
    answer.raise_for_status()
    return answer.json()
