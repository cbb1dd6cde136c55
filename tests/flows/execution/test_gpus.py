"""A GPU belongs to one training at a time. There is none here: the number of GPUs and the driver's program are stand-ins."""

import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.execution import gpus
from flows.execution.gpus import Gpu, lease_gpus, num_processes_of, visible_gpus
from flows.execution.leases import LeaseHolder
from flows.settings import ROOT
from tests.databases import empty_catalog
from vitau.catalog.catalog import open_catalog
from vitau.errors import LeaseLostError, TrainingError

UUIDS = ("GPU-1a11", "GPU-1b22", "GPU-2c33")

TRAINING = """
import json, os, sys, time
began = time.monotonic()
print("training", file=sys.stderr, flush=True)
while not os.path.exists(sys.argv[1]) and time.monotonic() < began + 60:
    time.sleep(0.02)
print(json.dumps([began, time.monotonic(), os.environ.get("CUDA_VISIBLE_DEVICES")]))
"""

FLOW = """
    import sys
    from flows.execution import gpus, training_process
    from flows.execution.training_process import lease_training, run_training
    from vitau.catalog.catalog import open_catalog

    url, name, number, end, training = sys.argv[1:]
    gpus.num_gpus = lambda: int(number)
    training_process.command = lambda *_: [sys.executable, "-c", training, end]
    listener = lambda *line: print(line[1], file=sys.stderr, flush=True)
    with lease_training(open_catalog(url), name, 60, listener) as lease:
        run_training(name, [], listener, num_processes=1, lease=lease)
"""


@pytest.fixture
def driver(tmp_path) -> Path:
    """A folder with a program that lists three GPUs as the driver's does."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    listed = "".join(f"{index}, {uuid}\\n" for index, uuid in enumerate(UUIDS))
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --query-gpu=index,uuid ] && printf '{listed}'\n")
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def start(tmp_path, driver) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a flow with a training in a process of its own; the training ends when the given file is there."""
    url = f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}"

    def start(name: str, *, number: int, end: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(FLOW), url, name, str(number), str(end), TRAINING],
            env={"PATH": f"{driver}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def outcome(flow: "subprocess.Popen[str]") -> tuple[float, float, str | None, str]:
    """Return the beginning and the end of a training, the GPUs that it saw, and the log of its flow."""
    out, log = flow.communicate(timeout=120)
    assert flow.returncode == 0, log
    began, ended, seen = json.loads(out)
    return began, ended, seen, log


def first_line(flow: "subprocess.Popen[str]") -> str:
    """Return the first line of the log of a flow, when it is there."""
    assert flow.stderr is not None
    return flow.stderr.readline()


def test_two_trainings_of_two_processes_on_one_gpu_run_one_after_the_other(start, tmp_path):
    with start("trainings/a", number=1, end=tmp_path / "end") as one:
        assert first_line(one) == "training\n"
        with start("trainings/b", number=1, end=tmp_path / "end") as other:
            assert first_line(other) == "waiting for 1 of 1 GPUs: other trainings use them\n"
            (tmp_path / "end").touch()
            first, second = outcome(one), outcome(other)
    assert second[0] >= first[1], "they shared the GPU"
    assert first[2] == second[2] == UUIDS[0]
    assert "waiting" not in first[3]


def test_two_trainings_on_two_gpus_run_at_once_and_each_sees_one(start, tmp_path):
    flows = [start(name, number=2, end=tmp_path / "end") for name in ("trainings/a", "trainings/b")]
    assert list(map(first_line, flows)) == ["training\n"] * 2, "one waited although a GPU was free"
    (tmp_path / "end").touch()
    first, second = map(outcome, flows)
    assert {first[2], second[2]} == set(UUIDS[:2])


def test_trainings_on_the_cpu_lease_nothing_and_run_at_once(start, tmp_path):
    flows = [start(name, number=0, end=tmp_path / "end") for name in ("trainings/a", "trainings/b")]
    assert list(map(first_line, flows)) == ["training\n"] * 2, "one waited for the other"
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    held = catalog.leases()
    catalog.engine.dispose()
    (tmp_path / "end").touch()
    first, second = map(outcome, flows)
    assert set(held) == {"trainings/a", "trainings/b"}
    assert first[2] is second[2] is None


def test_the_gpu_of_a_killed_training_is_free_at_once(start, tmp_path):
    with start("trainings/a", number=1, end=tmp_path / "never") as killed:
        assert first_line(killed) == "training\n"
        with start("trainings/b", number=1, end=tmp_path) as waiting:
            assert first_line(waiting).startswith("waiting for 1 of 1 GPUs")
            killed.kill()
            killed_s = time.monotonic()
            began, *_ = outcome(waiting)
    assert began - killed_s < 40, "it waited for the lease of 60 s to expire"


def test_gpus_are_those_of_cuda_visible_devices_known_by_their_uuids(driver, monkeypatch):
    monkeypatch.setattr(gpus, "num_gpus", lambda: 2)
    path = {"PATH": f"{driver}:/usr/bin:/bin"}

    def devices(visible: str | None = None) -> list[str]:
        found = visible_gpus(path if visible is None else path | {"CUDA_VISIBLE_DEVICES": visible})
        assert all(gpu.work == f"gpus/{gpu.device}" for gpu in found)
        return [gpu.device for gpu in found]

    assert devices() == ["GPU-1a11", "GPU-1b22"]
    assert devices("2, 0") == ["GPU-2c33", "GPU-1a11"]
    assert devices("GPU-2,GPU-1b22") == ["GPU-2c33", "GPU-1b22"]
    assert devices("MIG-9f,GPU-1") == ["MIG-9f", "GPU-1"], "one that is not known or not clear is taken as it is"
    monkeypatch.setattr(gpus, "num_gpus", lambda: 0)
    assert devices("0") == []


def test_without_the_program_of_the_driver_a_gpu_is_known_by_the_boot_of_its_machine_and_its_index(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "num_gpus", lambda: 2)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert visible_gpus({"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "3,1"}) == [
        Gpu(device="3", work=f"gpus/{boot}/3"),
        Gpu(device="1", work=f"gpus/{boot}/1"),
    ]


def test_more_processes_than_gpus_are_refused_in_one_sentence():
    two = [Gpu(device=str(index), work=f"gpus/boot/{index}") for index in range(2)]
    wanted = [(two, None), (two, 1), ([], None), ([], 3)]
    assert [num_processes_of(*case) for case in wanted] == [2, 1, 1, 3]
    with pytest.raises(TrainingError) as caught:
        num_processes_of(two, 4)
    assert str(caught.value) == (
        "a training of 4 processes needs as many GPUs, and 2 can be seen: "
        "set VITAU_TRAINING_PROCESSES to 2, or check CUDA_VISIBLE_DEVICES"
    )


def test_a_training_that_wants_two_gpus_takes_none_while_one_is_in_use(new_catalog):
    catalog = new_catalog()
    with LeaseHolder(catalog, 60) as one, LeaseHolder(catalog, 60) as both:
        assert one.acquire_some(["gpus/0", "gpus/1"], 1) == ["gpus/0"]
        assert both.acquire_some(["gpus/0", "gpus/1"], 2) == []
        assert set(catalog.leases()) == {"gpus/0"}, "it would keep a GPU from others while it waits"
        one.release(["gpus/0"])
        assert both.acquire_some(["gpus/0", "gpus/1"], 2) == ["gpus/0", "gpus/1"]
        assert one.acquire_some(["gpus/0", "gpus/1"], 1) == []


def test_a_training_whose_gpu_was_taken_over_fails_and_names_the_way_out(new_catalog):
    catalog = new_catalog()
    with LeaseHolder(catalog, 60) as holder:
        leased = lease_gpus(catalog, holder, [Gpu(device="0", work="gpus/0")], 1, lambda: None)
        assert leased.__enter__() == ["0"]
        catalog.release_leases(["gpus/0"], catalog.leases()["gpus/0"])
        assert catalog.acquire_lease("gpus/0", "another training", 600)
        with pytest.raises(
            LeaseLostError, match=r"^another training has taken a GPU over, .* resumes from its last checkpoint$"
        ):
            leased.__exit__(None, None, None)
        assert catalog.leases() == {"gpus/0": "another training"}
