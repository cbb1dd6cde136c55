"""Worker processes: a parallel map, one thread per process, and no orphaned processes or folders when a process dies."""

import ctypes
import fcntl
import os
import select
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Final, Generic, TypeVar

from vitau.errors import StoreError
from vitau.preloading import is_preloading

Item = TypeVar("Item")
Result = TypeVar("Result")

PROCESS_LABEL: Final = "vitau.process"
"""The label of a run on Prefect's server with the identity of its process; see :func:`process_identity`."""
_POLL_S: Final = 2.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_NEVER: Final = 1 << 30
_NEW_S: Final = 5.0
_MOST_AHEAD: Final = 16  # results that wait for an earlier one


def parallel_map(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    num_processes: int | None = None,
    *,
    here: Callable[[Item], Result] | None = None,
    start_method: str = "spawn",
) -> Generator[Result]:
    """Yield the result of ``work`` for each item, in order, as soon as it is ready.

    Items are taken from the iterable when a process is free, and one ahead. Workers that share the iterable with others
    therefore take no more than they need. With ``here``, results may wait for an earlier one, so that a long item, or a process
    that still starts, does not stop the others.

    Args:
        work: can be pickled. If it has a true attribute ``isolated``, it uses processes of its own for what needs a processor:
            then threads of this process call it.
        items: can be pickled.
        num_processes: processes that work, by default one per core; below two, this process does all the work.
        here: the same work by this process, which has loaded everything for it; a thread of it then takes the place of one
            process of the pool.
        start_method: ``fork`` is fast, and safe only while this process has one thread. Instead of ``spawn``, processes are
            forked by the server of :func:`vitau.preloading.start_preloading` if it was started.
    """
    num_processes = num_processes or os.cpu_count() or 1
    if num_processes < 2:
        yield from map(here or work, items)
        return
    num_unread = num_processes + (1 if here is None else _MOST_AHEAD)
    with ExitStack() as stack:
        places = _Places(work, iter(items), num_processes, here, start_method, stack)
        futures: deque[Future[Result]] = deque()
        stack.callback(lambda: [future.cancel() for future in futures])
        while True:
            while len(futures) < num_unread and (future := places.submit_next()) is not None:
                futures.append(future)
            if not futures:
                return
            if futures[0].done():
                yield futures.popleft().result()
            else:
                wait([future for future in futures if not future.done()], return_when=FIRST_COMPLETED)


class _Places(Generic[Item, Result]):
    """The places of work on items: processes of a pool, or threads that call isolated work, and a thread of this process."""

    def __init__(
        self,
        work: Callable[[Item], Result],
        items: Iterator[Item],
        num_processes: int,
        here: Callable[[Item], Result] | None,
        start_method: str,
        stack: ExitStack,
    ) -> None:
        self._items, self._held = items, deque[Item]()
        self._work, self._num_pooled = work, num_processes
        self._here: Callable[[Item], Result] | None = None
        self._own: Future[Result] | None = None
        self._pool: Executor
        self._pooled: list[Future[Result]] = []
        if getattr(work, "isolated", False):
            self._pool = stack.enter_context(ThreadPoolExecutor(num_processes))
        elif here is None:
            self._pool = stack.enter_context(_processes(num_processes, start_method))
        else:
            others = _processes(num_processes - 1)
            stack.callback(others.shutdown, wait=False)  # they end while their results are used
            self._pool = stack.enter_context(ThreadPoolExecutor(num_processes))  # whose threads wait for a process to start
            self._work, self._num_pooled = (lambda item: others.submit(work, item).result()), num_processes - 1
            self._here, self._thread = here, stack.enter_context(ThreadPoolExecutor(1))

    def submit_next(self) -> Future[Result] | None:
        """Submit the next item where a process is free, or one ahead of the pool; return ``None`` if there is no place or item.

        The pool gets one ahead, because this process cannot hand out items while a library holds the interpreter's lock. The
        last item waits for the first free process, which may be this one.
        """
        self._pooled = [future for future in self._pooled if not future.done()]
        is_free = self._here is not None and (self._own is None or self._own.done())
        num_ahead = 0 if is_free else len(self._pooled) + 1 - self._num_pooled
        num_needed = 2 if num_ahead == 1 and self._here is not None else 1
        if num_ahead <= 1:
            self._held.extend(islice(self._items, num_needed - len(self._held)))
        if num_ahead > 1 or len(self._held) < num_needed:
            return None
        if is_free and self._here is not None:
            self._own = self._thread.submit(self._here, self._held.popleft())
            return self._own
        self._pooled.append(self._pool.submit(self._work, self._held.popleft()))
        return self._pooled[-1]


def _processes(number: int, start_method: str = "spawn") -> ProcessPoolExecutor:
    if start_method == "spawn" and is_preloading():
        forking = get_context("forkserver")
        return ProcessPoolExecutor(number, mp_context=forking, initializer=init_forked_worker, initargs=(dict(os.environ),))
    return ProcessPoolExecutor(number, mp_context=get_context(start_method), initializer=init_worker)


def read_ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item]:
    """Yield items in order, while a thread takes up to ``depth`` more from the iterable.

    One thread alone takes them, so that random numbers keep their order. An error is raised in place of its item. The thread
    ends with the items, or when this iterator is closed.
    """
    remaining, end = iter(items), object()
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        taken = deque(thread.submit(next, remaining, end) for _ in range(depth))
        while (item := taken.popleft().result()) is not end:
            taken.append(thread.submit(next, remaining, end))
            yield item  # type: ignore[misc] # it is not the end


def init_worker() -> None:
    """Initialize a process of a pool; pass it as the pool's ``initializer``.

    OpenCV gets one thread, because a pool has one process per core. A watchdog thread ends the process when its parent dies:
    it would otherwise wait for work forever.
    """
    import cv2

    cv2.setNumThreads(1)
    parent = parent_process()  # not getppid: the parent may be dead already, and this process adopted by another one
    threading.Thread(target=_exit_without, args=(parent.pid if parent else os.getppid(),), daemon=True).start()


def init_forked_worker(environ: Mapping[str, str]) -> None:
    """Initialize a process of a pool that a server forked: it gets the variables of the process that uses it.

    Its parent in the system is the server, so that a watchdog thread waits for the end of the process that uses it instead.
    """
    import cv2

    cv2.setNumThreads(1)
    os.environ.clear()
    os.environ.update(environ)
    threading.Thread(target=_exit_after, daemon=True).start()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit OpenCV and torch, if it is loaded, to one thread inside the block.

    The last bits of a network's sums depend on the number of threads. Results that must be equal on every machine and in every
    worker are computed by one.
    """
    import cv2

    torch = sys.modules.get("torch")
    before = cv2.getNumThreads(), torch and torch.get_num_threads()
    cv2.setNumThreads(1)
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        if torch is not None:
            torch.set_num_threads(before[1])


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Create a folder that only this user can read, and remove it at the end of the block.

    Folders of killed processes are removed when the next one is created. A lock on the folder shows that its process is alive,
    in other containers and after a restart of the machine too.

    Raises:
        StoreError: the folder cannot be created.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"no temporary folder can be created ({os.strerror(error.errno or 0)}); check VITAU_WORK") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders whose process ended without removing them."""
    for folder in parent.iterdir():
        with suppress(OSError):  # another process removes it, or holds its lock
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(lock).st_mtime > _NEW_S:  # its process locks it just after creating it
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def keep_freed_memory() -> None:
    """Keep freed memory in this process for reuse, up to its peak.

    By default glibc returns large blocks to the kernel, which clears every page when they are allocated again. The page faults
    slow down the training of small models. Other C libraries are left unchanged.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_THRESHOLD, _NEVER)


def exit_with_parent() -> None:
    """Exit this process when its stdin is closed, which happens when the process that holds the other end dies.

    The processes of a `torchrun` share its stdin: they exit together, and `torchrun` then ends too.
    """
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def exit_with_reader() -> None:
    """Exit this process when its stdout is closed at the other end, if stdout is a pipe."""
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        threading.Thread(target=_exit_when_output_closes, daemon=True).start()


@cache
def machine_identity() -> str:
    """Return a name of the scope of process numbers: this boot of this machine, and the container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]


def process_identity(pid: int | None = None) -> str | None:
    """Return ``<machine>:<pid>:<start>``, which names a living process, this one by default; ``None`` if it is gone.

    The start is in clock ticks since the boot, so that setting the clock changes nothing.
    """
    pid = os.getpid() if pid is None else pid
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{machine_identity()}:{pid}:{fields[19]}"  # ended, and not reaped


def is_alive(identity: str) -> bool:
    """Return whether an identity is of a process of this machine and this boot that still runs."""
    pid = "".join(identity.split(":")[1:2])
    return pid.isdigit() and process_identity(int(pid)) == identity


def is_gone(identity: str) -> bool:
    """Return whether an identity is of a process of this machine and this boot that ended; ``False`` for any other text."""
    machine, _, rest = identity.partition(":")
    pid, _, _ = rest.partition(":")
    return machine == machine_identity() and pid.isdigit() and process_identity(int(pid)) != identity


def _exit_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


def _exit_after() -> None:
    if (user := parent_process()) is not None:
        user.join()
    os._exit(1)


def _exit_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _exit_when_output_closes() -> None:
    poll = select.poll()
    poll.register(1, 0)  # no events but errors: the other end was closed
    while not poll.poll():
        pass
    os._exit(1)
