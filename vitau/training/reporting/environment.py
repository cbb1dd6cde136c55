"""Environment of a training for the model card: software by version, hardware by kind, no name of a machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from torch import distributed

SOFTWARE: Final = ("vitau", "torch", "torchvision", "timm", "numpy")


def describe_environment(device: torch.device) -> dict[str, str]:
    """Return the software and hardware of this process, all as text."""
    on_gpu = device.type == "cuda"
    return {
        **{name: version(name) for name in SOFTWARE},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "processes": str(distributed.get_world_size() if distributed.is_initialized() else 1),
        "threads": str(torch.get_num_threads()),
        "cores": str(len(os.sched_getaffinity(0))),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
