"""The sandbox: values and errors come back, and whatever kills a call concerns this call only."""

import importlib
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from vitau.errors import ClipError, DecoderDiedError, StoreError
from vitau.media.sandbox import DIED, Limits, run_isolated, stop_servers


class Prepared:
    """A call that notes which process prepared it."""

    process: ClassVar[int] = 0

    def prepare(self) -> None:
        Prepared.process = Prepared.process or os.getpid()

    def __call__(self) -> list[int]:
        return [Prepared.process, os.getppid()]


def raise_error(error: Exception) -> None:
    raise error


def allocate(num_bytes: int) -> int:
    return len(bytearray(num_bytes))


def write(path: Path, num_bytes: int) -> None:
    path.write_bytes(bytes(num_bytes))


def environment() -> dict[str, str]:
    return dict(os.environ)


def kill_server() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def fill_up() -> None:
    for _ in iter(int, 1):
        pass


def test_a_call_returns_its_value_from_another_process() -> None:
    assert run_isolated(partial(str.upper, "abc")) == "ABC"
    assert run_isolated(os.getpid) != os.getpid()
    assert run_isolated(os.getpid) != run_isolated(os.getpid)


def test_an_error_of_a_call_is_raised_here() -> None:
    with pytest.raises(StoreError, match=r"^no space left$"):
        run_isolated(partial(raise_error, StoreError("no space left")))
    with pytest.raises(ClipError, match=r"^the recording makes the decoder fail \(ZeroDivisionError\); save it again with"):
        run_isolated(partial(raise_error, ZeroDivisionError("secret")))


@pytest.mark.parametrize(
    ("call", "limits", "reason"),
    [
        (os.abort, None, "killed by SIGABRT"),
        (partial(os._exit, 3), None, "it ended without an answer"),
        (partial(signal.raise_signal, signal.SIGKILL), None, "killed by SIGKILL"),
        (partial(allocate, 3 << 30), None, "it needs more than 2.0 GiB of memory"),
        (partial(raise_error, MemoryError()), None, "it needs more than 2.0 GiB of memory"),
        (partial(time.sleep, 60), Limits(wall_s=0.3), "it was not done after 0.3 s"),
        (fill_up, Limits(cpu_s=0.5), "it was not done after 0.5 s"),
        (kill_server, None, "its server was killed"),
    ],
)
def test_the_death_of_a_call_is_an_error_that_begins_with_the_same_words(
    call: object, limits: Limits | None, reason: str
) -> None:
    began = time.monotonic()
    with pytest.raises(DecoderDiedError) as died:
        run_isolated(call, limits)  # type: ignore[arg-type]
    assert str(died.value).startswith(f"{DIED}: {reason}; ")
    assert time.monotonic() - began < 20
    assert run_isolated(partial(str.upper, "abc")) == "ABC", "the next call is not concerned"


def test_a_call_cannot_fill_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="OSError"):
        run_isolated(partial(write, tmp_path / "large", 20_000), Limits(file_bytes=10_000))
    assert (tmp_path / "large").stat().st_size == 10_000


def test_a_call_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITAU_PSEUDONYM_KEY", "a secret of the tests")
    assert "a secret of the tests" not in str(run_isolated(environment))


def test_every_call_is_a_fork_of_one_server_which_costs_milliseconds() -> None:
    parents, processes = ({run_isolated(own) for _ in range(5)} for own in (os.getppid, os.getpid))
    assert (len(parents), len(processes)) == (1, 5)
    assert os.getpid() not in parents


def test_the_modules_of_a_call_are_imported_once_and_not_by_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported.py").write_text("import os\nPROCESS = os.getpid()\ndef importer():\n    return PROCESS\n")
    monkeypatch.syspath_prepend(tmp_path)
    stop_servers()  # an idle one has the old path
    importer = importlib.import_module("imported").importer
    first, second = run_isolated(importer), run_isolated(importer)
    assert first == second != os.getpid(), "the server that forks for every call imported it"
    assert run_isolated(os.getpid) != first
    stop_servers()


def test_a_call_is_prepared_once_in_the_server_and_not_in_every_process() -> None:
    for _ in range(2):
        process, server = run_isolated(Prepared())
        assert process == server != os.getpid()
