"""Where pieces of work are done: in this process, in processes of this machine, or on a Ray cluster. The one door to Ray.

No Prefect here: what runs in processes of its own should start quickly.
"""

import importlib.util
import logging
import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from vitau.errors import EngineError, VitauError
from vitau.processes import one_thread, side_by_side

T = TypeVar("T")
R = TypeVar("R")

_OBJECT_STORE: Final = 256 << 20  # Ray's default is a third of the memory; what passes through it is small
_ROOM: Final = 3  # times the work itself: a worker copies a model out of the object store
_KNOCK_S: Final = 10.0
_WAY_OUT: Final = "set VITAU_RAY_ADDRESS to the HOST:PORT that `ray start --head` printed, or use `--engine local`"
_RAY_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 by default: beside anything else on the machine it would hardly move
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # 3 lines on stderr at every start, about itself
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as it will be; without it a warning
}


class Engine(StrEnum):
    """How the work of a flow is spread."""

    LOCAL = "local"
    RAY = "ray"


class Executor:
    """Where work is done, until the ``with`` ends: Ray is joined, or started on this machine, when it is first needed.

    Args:
        engine: which one.
        address: of the Ray cluster, ``HOST:PORT``; None starts one on this machine and stops it afterwards.
        num_workers: on Ray; as many as the cluster has processors if None.
    """

    def __init__(self, engine: Engine, *, address: str | None = None, num_workers: int | None = None) -> None:
        self._engine, self._address, self._num_workers = engine, address, num_workers
        self._left = ExitStack()
        self._joined = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._left.close()

    def run(self, items: Iterable[T], work: Callable[[T], R], *, num_processes: int = 1, gpu: bool = False) -> Iterator[R]:
        """Do the work on every item; results in the order of the items.

        Args:
            items: locally asked for one by one, on Ray taken all at once.
            work: goes to every worker once, and there keeps what it has opened.
            num_processes: locally.
            gpu: give every worker on Ray a GPU where the cluster has some.

        Raises:
            EngineError: Ray is not installed, or the cluster cannot be reached.
            VitauError: what the work raises.
        """
        if self._engine is Engine.LOCAL:
            yield from side_by_side(work, items, num_processes)
            return
        packed = [pickle.dumps(item) for item in items]
        if not packed:
            return
        if not self._joined:
            self._left.enter_context(_ray_cluster(self._address, self._num_workers, len(pickle.dumps(work))))
            self._joined = True
        yield from _through_ray_data(packed, work, self._num_workers, gpu=gpu)


@contextmanager
def _ray_cluster(address: str | None, num_workers: int | None, room: int) -> Iterator[None]:
    if importlib.util.find_spec("ray") is None:
        raise EngineError("Ray is not installed: run `pip install 'vitau[ray]'`, or leave out `--engine ray`")
    for name, value in _RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is not None:
        _knock(address)
    else:
        os.environ.setdefault(
            "RAY_AUTH_MODE", "token"
        )  # it listens on every interface: let nobody in without this user's token
    import ray

    folder = tempfile.mkdtemp(prefix="vitau-ray-")  # short: Ray's sockets lie below it
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own = {
        "num_cpus": num_workers or os.cpu_count(),
        "object_store_memory": max(_OBJECT_STORE, _ROOM * room),
        "include_dashboard": False,
        "_temp_dir": folder,
    }
    try:
        try:
            ray.init(**quiet, **({"address": "local", **own} if address is None else {"address": address}))
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            place = f"at {address}" if address else "on this machine"
            raise EngineError(f"no Ray cluster {place} ({reason}): {_WAY_OUT}") from error
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _knock(address: str) -> None:
    """Ray would wait for minutes for a cluster that is not there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"no Ray cluster at {address} ({error}): {_WAY_OUT}") from error


class _Actor:
    """What Ray Data starts once per worker."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do one piece of work; an error that is meant for people comes back as a result, not as Ray's own."""
        with one_thread():
            try:
                outcome = self.work(pickle.loads(row["item"]))
            except VitauError as error:
                outcome = error
        return {"place": row["place"], "outcome": pickle.dumps(outcome)}


def _through_ray_data(packed: list[bytes], work: Callable[[Any], R], num_workers: int | None, *, gpu: bool) -> Iterator[R]:
    import ray
    import ray.data

    resources = ray.cluster_resources()
    on_gpus = gpu and resources.get("GPU", 0) >= 1
    available = int(resources["GPU" if on_gpus else "CPU"])
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    rows = [{"place": place, "item": item} for place, item in enumerate(packed)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Actor,
        fn_constructor_args=(work,),
        compute=ray.data.ActorPoolStrategy(size=min(num_workers or available, available, len(rows))),
        num_cpus=1,
        **({"num_gpus": 1} if on_gpus else {}),
    )
    early: dict[int, Any] = {}
    place = 0
    for row in data.iter_rows():
        early[row["place"]] = pickle.loads(row["outcome"])
        while place in early:
            outcome = early.pop(place)
            if isinstance(outcome, VitauError):
                raise outcome
            yield outcome
            place += 1
