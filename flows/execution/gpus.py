"""GPUs: a training has those that it uses for itself, by a lease on each. On the CPU there is nothing to lease."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.execution.leases import LeaseHolder, reap_orphaned_leases
from vitau.catalog.leases import Leases
from vitau.errors import LeaseLostError, TrainingError

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_POLL_S: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU: its value in CUDA_VISIBLE_DEVICES, and the name of the lease on it, which is the same in every container."""

    device: str
    work: str


def num_gpus() -> int:
    """Return the number of GPUs that a training would see."""
    import torch

    return torch.cuda.device_count()


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that a training would see; none on a CPU.

    An index means another GPU in each container, so a GPU is known by its UUID. Where the driver does not name it, the boot of
    this machine and the index stand for it.
    """
    number = num_gpus()
    given = [device.strip() for device in environ.get(VISIBLE, "").split(",") if device.strip()]
    devices = (given or [str(index) for index in range(number)])[:number]
    known = _uuids(environ) if devices else {}
    return [_gpu(device, known) for device in devices]


def _gpu(device: str, known: Mapping[str, str]) -> Gpu:
    abbreviated = [uuid for uuid in known.values() if uuid.startswith(device)]  # CUDA accepts the beginning of a UUID
    uuid = known.get(device) or (abbreviated[0] if len(abbreviated) == 1 else None)
    if uuid is None and device.isdigit():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Gpu(device=device, work=f"gpus/{boot}/{device}")
    return Gpu(device=uuid or device, work=f"gpus/{uuid or device}")


def _uuids(environ: Mapping[str, str]) -> dict[str, str]:
    """Return index → UUID, by the driver's program; nothing where it is missing."""
    lister = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if lister is None:
        return {}
    listed = subprocess.run(
        [lister, "--query-gpu=index,uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    rows = [line.split(", ") for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def num_processes_of(gpus: list[Gpu], wanted: int | None) -> int:
    """Return the number of processes of a training: as wanted, else one per GPU, else one.

    Raises:
        TrainingError: more processes than GPUs are wanted.
    """
    if wanted and gpus and wanted > len(gpus):
        raise TrainingError(
            f"a training of {wanted} processes needs as many GPUs, and {len(gpus)} can be seen: "
            f"set VITAU_TRAINING_PROCESSES to {len(gpus)}, or check {VISIBLE}"
        )
    return wanted or len(gpus) or 1


@contextmanager
def lease_gpus(
    leases: Leases, holder: LeaseHolder, gpus: list[Gpu], number: int, on_wait: Callable[[], None]
) -> Iterator[list[str]]:
    """Wait until ``number`` of the GPUs are free, and lease them for the ``with`` block.

    Args:
        leases: the leases of all workers.
        holder: the training's, which renews these leases too.
        gpus: those that can be seen; without any, nothing is leased.
        number: of GPUs, at most as many as there are.
        on_wait: called once if other trainings use them.

    Yields:
        Their values in CUDA_VISIBLE_DEVICES.

    Raises:
        LeaseLostError: another training took a GPU meanwhile; then this one was killed.
    """
    if not gpus:
        yield []
        return
    devices, told = {gpu.work: gpu.device for gpu in gpus}, False
    reap_orphaned_leases(leases)
    while not (taken := holder.acquire_some(devices, number)):
        if not told:
            on_wait()
            told = True
        holder.progress()  # whoever waits is not stuck
        time.sleep(_POLL_S)
        reap_orphaned_leases(leases)
    try:
        yield [devices[work] for work in taken]
        if not all(map(holder.is_held, taken)):
            raise LeaseLostError(
                "another training has taken a GPU over, because this one was silent or suspended: "
                "run it again, and it resumes from its last checkpoint"
            )
    finally:
        holder.release(taken)
