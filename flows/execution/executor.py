"""Executors of work: this process, a pool of processes, or a Ray cluster. No other module imports Ray.

This module does not import Prefect, so that worker processes start quickly.
"""

import importlib.util
import logging
import os
import pickle
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from vitau.errors import EngineError, VitauError
from vitau.preloading import start_preloading
from vitau.processes import parallel_map, single_threaded

T = TypeVar("T")
R = TypeVar("R")

_OBJECT_STORE_BYTES: Final = 256 << 20  # Ray's default is a third of the memory; the objects here are small
_OBJECT_STORE_FACTOR: Final = 3  # times the pickled work: a worker copies a model out of the object store
_CONNECT_TIMEOUT_S: Final = 10.0
_REMEDY: Final = "set VITAU_RAY_ADDRESS to the HOST:PORT that `ray start --head` printed, or use `--engine local`"
_RAY_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # the default of 15 starves workers on a busy machine
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # otherwise 3 lines on stderr at every start
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; without it a warning
}


SUBJECTS: Final = ("flows.execution.subject_worker", "flows.reports.movement")
"""Modules with the work of processes that score people, and of those that fill the report."""
FOLDS: Final = ("flows.crossvalidation.fold_worker",)
_EARLY_DECODERS: Final = 4
"""Decoders that start before the number of recordings is known."""
_COMMANDS: Final = "flows.cli.app"
"""The main module of a command, which Python imports in each worker."""


class Engine(StrEnum):
    """The executor of a flow's work."""

    LOCAL = "local"
    RAY = "ray"


class Executor:
    """An executor for one ``with`` block; it connects to Ray, or starts it on this machine, when it is first needed.

    Args:
        engine: local processes or Ray.
        address: of the Ray cluster, ``HOST:PORT``; ``None`` starts one on this machine and stops it afterwards.
        num_workers: on Ray; ``None`` means one per processor of the cluster.
    """

    def __init__(self, engine: Engine, *, address: str | None = None, num_workers: int | None = None) -> None:
        self._engine, self._address, self._num_workers = engine, address, num_workers
        self._cleanup = ExitStack()
        self._connected = False

    @property
    def is_local(self) -> bool:
        """True if the work runs in processes of this machine."""
        return self._engine is Engine.LOCAL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._cleanup.close()

    def run(self, items: Iterable[T], work: Callable[[T], R], *, num_processes: int = 1, gpu: bool = False) -> Iterator[R]:
        """Yield the result of the work on every item, in the order of the items.

        Args:
            items: consumed lazily by local processes, and all at once on Ray.
            work: sent to every worker once; what it opens stays open there.
            num_processes: local processes that work. This one is one of them, because it has loaded most libraries already.
            gpu: reserve a GPU for every worker on Ray if the cluster has GPUs.

        Raises:
            EngineError: Ray is not installed, or the cluster cannot be reached.
            VitauError: an error that the work raises.
        """
        if self._engine is Engine.LOCAL:
            yield from parallel_map(work, items, num_processes, here=work)
            return
        packed = [pickle.dumps(item) for item in items]
        if not packed:
            return
        if not self._connected:
            self._cleanup.enter_context(_ray_cluster(self._address, self._num_workers, len(pickle.dumps(work))))
            self._connected = True
        yield from _through_ray_data(packed, work, self._num_workers, gpu=gpu)


def start_workers(modules: Sequence[str], engine: str, num_processes: int | None) -> None:
    """Start to import modules for worker processes, unless this process does all the work, or Ray.

    Args:
        modules: with the work of the processes.
        engine: name of the executor.
        num_processes: processes that work, this one included; by default one per core.
    """
    if engine == Engine.LOCAL and (num_processes or os.cpu_count() or 1) > 1:
        start_preloading([*modules, _COMMANDS])


def start_decoders(engine: str, num_processes: int | None) -> None:
    """Start the processes that decode recordings, but one, in the background, unless one process or Ray does all the work.

    This process imports its own modules meanwhile, and then starts the last one.

    Args:
        engine: name of the executor.
        num_processes: processes that work; by default one per core.
    """
    number = (num_processes or os.cpu_count() or 1) - 1 if engine == Engine.LOCAL else 0
    for _ in range(min(number, _EARLY_DECODERS)):
        threading.Thread(target=_start_decoder, name="start-decoder", daemon=True).start()


def _start_decoder() -> None:
    from vitau.media.sandbox import run_isolated

    with suppress(VitauError):  # the first recording reports it
        run_isolated(_Loaded())


class _Loaded:
    """A call that does nothing, in a process that has loaded what the frames of a recording need."""

    def prepare(self) -> None:
        """Load what every recording needs."""
        from vitau.measures.stored import load_backend

        load_backend()

    def __call__(self) -> None:
        """Return."""


@contextmanager
def _ray_cluster(address: str | None, num_workers: int | None, work_bytes: int) -> Iterator[None]:
    if importlib.util.find_spec("ray") is None:
        raise EngineError("Ray is not installed: run `pip install 'vitau[ray]'`, or leave out `--engine ray`")
    for name, value in _RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is not None:
        _check_reachable(address)
    else:
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray listens on every interface: require this user's token
    import ray

    folder = tempfile.mkdtemp(prefix="vitau-ray-")  # short, since the paths of Ray's sockets are limited
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own = {
        "num_cpus": num_workers or os.cpu_count(),
        "object_store_memory": max(_OBJECT_STORE_BYTES, _OBJECT_STORE_FACTOR * work_bytes),
        "include_dashboard": False,
        "_temp_dir": folder,
    }
    try:
        try:
            ray.init(**quiet, **({"address": "local", **own} if address is None else {"address": address}))
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            where = f"at {address}" if address else "on this machine"
            raise EngineError(f"no Ray cluster {where} ({reason}): {_REMEDY}") from error
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Raise at once if nothing listens at the address; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"no Ray cluster at {address} ({error}): {_REMEDY}") from error


class _Actor:
    """The callable that Ray Data creates once per worker."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the pickled result of one piece of work, or the ``VitauError`` that it raised."""
        with single_threaded():
            try:
                outcome = self.work(pickle.loads(row["item"]))
            except VitauError as error:
                outcome = error
        return {"index": row["index"], "outcome": pickle.dumps(outcome)}


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
    rows = [{"index": index, "item": item} for index, item in enumerate(packed)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Actor,
        fn_constructor_args=(work,),
        compute=ray.data.ActorPoolStrategy(size=min(num_workers or available, available, len(rows))),
        num_cpus=1,
        **({"num_gpus": 1} if on_gpus else {}),
    )
    out_of_order: dict[int, Any] = {}
    next_index = 0
    for row in data.iter_rows():
        out_of_order[row["index"]] = pickle.loads(row["outcome"])
        while next_index in out_of_order:
            outcome = out_of_order.pop(next_index)
            if isinstance(outcome, VitauError):
                raise outcome
            yield outcome
            next_index += 1
