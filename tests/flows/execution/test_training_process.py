import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from flows.execution.training_process import command, failure_reason, lease_training, run_training, show_trainings
from vitau.catalog.catalog import open_catalog
from vitau.errors import LeaseLostError, TrainingError

NOWHERE = ["--recipe", "tiny-palsy", "--store", "/nowhere", "--snapshot", "none", "--out", "/nowhere/out"]


def test_what_a_failing_training_said_last_is_the_failure_reason():
    lines = []
    with pytest.raises(TrainingError) as caught:
        run_training("x", NOWHERE[:-2], lambda *line: lines.append(line))
    assert str(caught.value).startswith("x ended with exit code ")
    assert lines[-1][0] == "x"


def test_the_reason_is_the_error_of_the_training_and_not_what_torchrun_adds():
    assert (
        failure_reason(["epoch 1/4", "Error: the loss is not finite", "E1125 failed (exitcode: 1)", "====="])
        == "the loss is not finite"
    )
    assert failure_reason(["Killed", ""]) == "Killed"
    assert failure_reason([]) == "its log is empty"


def test_a_training_of_two_processes_fails_with_the_error_of_one(tmp_path):
    (tmp_path / "store").mkdir()
    missing = [
        "--recipe",
        "smoke-palsy",
        "--store",
        str(tmp_path / "store"),
        "--snapshot",
        "none",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(TrainingError, match=r"x ended with exit code 1: no object at .*none.*: it was never written"):
        run_training("x", missing, lambda *_: None, num_processes=2)


def test_one_process_needs_no_torchrun_and_several_do():
    assert command(["--recipe", "r"], 1)[1:] == ["-m", "vitau.training", "--exit-with-parent", "--recipe", "r"]
    assert command([], 2)[1:4] == ["-m", "torch.distributed.run", "--standalone"]


def test_a_training_and_its_torchrun_end_when_the_flow_is_killed(tmp_path):
    """The flow is killed while the training draws people, which takes minutes."""
    code = (
        "from flows.execution.training_process import run_training\n"
        f"run_training('x', ['pretrain', '--recipe', 'tiny-palsy', '--out', {str(tmp_path / 'out')!r}],"
        " lambda *line: print(line, flush=True), num_processes=2)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as flow:
        assert flow.stdout is not None
        for line in flow.stdout:
            if "draw people" in line:
                break
        family = psutil.Process(flow.pid).children(recursive=True)
        assert len([process for process in family if "vitau.training" in process.cmdline()]) >= 3, "torchrun and two processes"
        flow.kill()
    deadline = time.monotonic() + 60
    while (left := [process for process in family if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_off_a_terminal_every_line_is_written_with_the_name_of_its_training(capsys):
    with show_trainings() as listener:
        listener("training tiny-palsy", "epoch 1/4: loss 0.5")
    assert capsys.readouterr().err == "training tiny-palsy: epoch 1/4: loss 0.5\n"


def test_a_training_whose_lease_is_lost_is_killed_and_the_flow_stops(tmp_path):
    """A second worker takes over while the first draws people, which takes minutes."""
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    arguments = ["pretrain", "--recipe", "tiny-palsy", "--out", str(tmp_path / "out")]

    def take_over() -> None:
        while not running:
            time.sleep(0.05)
        (owner,) = catalog.leases().values()
        catalog.release_leases(["trainings/1"], owner)
        assert catalog.acquire_lease("trainings/1", "another worker", 600)

    thread = threading.Thread(target=take_over)
    with lease_training(catalog, "trainings/1", 1, lambda *_: None) as lease:
        running = lease.processes
        thread.start()
        with pytest.raises(LeaseLostError):
            run_training("x", arguments, lambda *_: None, lease=lease)
    thread.join()
    assert [process.returncode for process in running] == [-signal.SIGKILL]
    catalog.engine.dispose()
