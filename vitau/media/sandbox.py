"""A sandbox for recordings of unknown origin: every call runs in a forked process with limits.

A server per parallel call is started once, with a small environment and without secrets. It loads the models and then forks
for every call, which takes milliseconds. Calls arrive as pickles from this program; answers are JSON, because a recording may
have taken over the process that writes them.
"""

import atexit
import ctypes
import gc
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final

from vitau import errors
from vitau.errors import ClipError, DecoderDiedError, EngineError, VitauError

DIED: Final = "the decoder died"
"""The first words of every message about a process that was killed, crashed, hung, or ran out of memory."""

_ENVIRONMENT: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ")
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from vitau.media.sandbox import serve; serve(int(sys.argv[1]))"
)
_GRACE_S: Final = 30.0  # how long the server may take beyond the wall-clock limit of a call
_NO_MEMORY: Final = -4  # of cv2.Error.StsNoMem
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of one call.

    Attributes:
        memory_bytes: address space beyond what the server has already.
        cpu_s: processor time.
        wall_s: time on the clock.
        file_bytes: size of a written file.
    """

    memory_bytes: int = 2 << 30
    cpu_s: float = 3600.0
    wall_s: float = 3600.0
    file_bytes: int = 8 << 30


def run_isolated(call: Callable[[], Any], limits: Limits | None = None) -> Any:
    """Run a call in a process of its own; return its value, which must be JSON.

    Args:
        call: can be pickled, such as a ``functools.partial`` of a function in a module. If it has a method ``prepare``, the
            server calls that before it forks, so that models are loaded once and not in every call.
        limits: by default those of :class:`Limits`.

    Raises:
        DecoderDiedError: the process was killed, crashed, hung, or ran out of memory; the message begins with :data:`DIED`.
        ClipError: the call raised an exception that is no ``VitauError``.
        VitauError: the one that the call raised.
        EngineError: the server cannot be started.
    """
    limits = limits or Limits()
    server = _take()
    try:
        reply = server.ask(pickle.dumps(call), limits)
    except BaseException:
        server.stop()
        raise
    _return(server)
    return _value(reply, limits)


class _Server:
    """The process that forks for each call; it serves one call at a time and ends with this process."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])  # noqa: PTH100 - "" is the working directory
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, str(theirs.fileno()), path],
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _ONE_THREAD,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            problem = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            problem = "it was killed"
        if problem:
            self.stop()
            raise EngineError(f"the process that decodes recordings cannot start ({problem}); check the installation")

    def ask(self, call: bytes, limits: Limits) -> dict[str, Any]:
        """Return the reply to a call."""
        try:
            self._connection.send_bytes(json.dumps(asdict(limits)).encode())
            self._connection.send_bytes(call)
            if not self._connection.poll(limits.wall_s + _GRACE_S):
                raise DecoderDiedError(_too_long(limits.wall_s))
            reply: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError, ValueError) as error:
            raise DecoderDiedError(f"{DIED}: its server was killed; run it again") from error
        return reply

    def stop(self) -> None:
        """Kill the server; its current call dies with it."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


_idle: Final[list[_Server]] = []
_lock: Final = threading.Lock()


def _take() -> _Server:
    with _lock:
        if _idle:
            return _idle.pop()
    return _Server()


def _return(server: _Server) -> None:
    with _lock:
        _idle.append(server)


@atexit.register
def stop_servers() -> None:
    """Stop the servers that serve no call."""
    with _lock:
        while _idle:
            _idle.pop().stop()


def _forget_servers() -> None:
    _idle.clear()


os.register_at_fork(after_in_child=_forget_servers)  # two processes must not share a connection


def _value(reply: dict[str, Any], limits: Limits) -> Any:
    match reply:
        case {"value": value}:
            return value
        case {"error": str(name), "message": str(message)}:
            kind = getattr(errors, name, ClipError)
            raise (kind if isinstance(kind, type) and issubclass(kind, VitauError) else ClipError)(message)
        case {"failed": str(name)}:
            raise ClipError(f"the recording makes the decoder fail ({name}); save it again with another program")
        case {"died": "memory"}:
            memory = f"{limits.memory_bytes / (1 << 30):.1f} GiB"
            raise DecoderDiedError(f"{DIED}: it needs more than {memory} of memory; save the recording smaller")
        case {"died": "time"}:
            raise DecoderDiedError(_too_long(limits.wall_s))
        case {"signal": int(number)}:
            if number == signal.SIGXCPU:
                raise DecoderDiedError(_too_long(limits.cpu_s))
            name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
            raise DecoderDiedError(f"{DIED}: killed by {name}; save the recording again with another program")
    raise DecoderDiedError(f"{DIED}: it ended without an answer; save the recording again with another program")


def _too_long(seconds: float) -> str:
    return f"{DIED}: it was not done after {seconds:g} s; give a shorter range, or save the recording again"


def serve(descriptor: int) -> None:
    """Answer the calls that arrive at a file descriptor until it is closed."""
    connection = Connection(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the end of the connection ends this process
    try:
        import cv2

        from vitau.media import frames, ranges  # noqa: F401 - loaded before the fork, not in each call
        from vitau.media.faces import load_models

        cv2.setNumThreads(1)
        load_models()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process must hear of it
        connection.send_bytes(json.dumps(f"{type(error).__name__}: {error}").encode())
        return
    connection.send_bytes(json.dumps("").encode())
    num_modules = 0
    while True:
        try:
            limits = Limits(**json.loads(connection.recv_bytes()))
            call = connection.recv_bytes()
        except EOFError:
            return
        with suppress(Exception):  # the child reports it
            loaded = pickle.loads(call)  # imports the modules of the call here, once, and not in every child
            getattr(loaded, "prepare", bool)()
        if len(sys.modules) > num_modules:
            num_modules = len(sys.modules)
            gc.collect()
            gc.freeze()  # otherwise a collection in a child would copy every page
        reply = _forked(call, limits, connection)
        if reply is None:
            return
        connection.send_bytes(json.dumps(reply).encode())


def _forked(call: bytes, limits: Limits, connection: Connection) -> dict[str, Any] | None:
    """Return the reply of a new process to a call; ``None`` if the other end of the connection was closed meanwhile."""
    reader, writer = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        connection.close()
        reader.close()
        _answer(call, limits, writer)
    writer.close()
    with reader:
        ready = wait([reader, connection], limits.wall_s)
        data = b""
        if reader in ready:
            try:
                data = reader.recv_bytes(1 << 20)
            except (EOFError, OSError):
                data = b""
        os.kill(child, signal.SIGKILL)  # it is done, or has to be; until wait() its number cannot be another process
        _, status = os.waitpid(child, 0)
    if connection in ready:
        return None
    if not ready:
        return {"died": "time"}
    if data:
        try:
            reply = json.loads(data)
        except ValueError:
            reply = {}
        return reply if isinstance(reply, dict) else {}
    return {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {}


def _answer(call: bytes, limits: Limits, writer: Connection) -> None:
    """Run the call in this process, write the reply, and exit."""
    sys.dont_write_bytecode = True  # under a limit of the file size Python would leave half a .pyc behind
    try:
        _limit(limits)
        reply: dict[str, Any] = {"value": pickle.loads(call)()}
        data = json.dumps(reply).encode()
    except VitauError as error:
        data = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
    except MemoryError:
        data = b'{"died": "memory"}'
    except BaseException as error:  # noqa: BLE001 - whatever a decoder raises concerns its own clip only
        no_memory = getattr(error, "code", None) == _NO_MEMORY
        data = b'{"died": "memory"}' if no_memory else json.dumps({"failed": type(error).__name__}).encode()
    writer.send_bytes(data)
    os._exit(0)


def _limit(limits: Limits) -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, int(limits.cpu_s) + 1)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        pages = int(statistics.read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_bytes)
        # the kernel ends this process first if the machine itself runs out of memory
        Path("/proc/self/oom_score_adj").write_text("1000")


def _lower(kind: int, value: int) -> None:
    """Lower a limit; one that is already lower stays."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or value < soft:
        resource.setrlimit(kind, (value, hard))
