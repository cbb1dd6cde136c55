"""Checks of this machine and of the packages on it."""

import importlib.util
import io
import os
import re
import shutil
import socket
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from flows.doctor.findings import CheckFailedError, CheckWarningError, NotApplicableError
from flows.settings import Settings

_GB: Final = 1 << 30
FREE_GB: Final = 10
"""Least free space; less is a warning, and less than a tenth fails the check."""
TOO_NEW: Final = {
    "fastapi": ((0, 153), "Prefect 3.8.8 raises TypeError at the first flow"),
    "sqlalchemy": ((2, 1), "Prefect 3.8.8 silently schedules no runs"),
}
"""Package → the first incompatible version, and the symptom."""


def installed(name: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def packages() -> str:
    """Check for packages that do not work together."""
    conflicts = []
    for name, (limit, symptom) in TOO_NEW.items():
        version = installed(name)
        if version is not None and numbers(version) >= limit:
            conflicts.append(f"{name} {version} is too new ({symptom})")
    if installed("opencv-python") and installed("opencv-python-headless"):
        conflicts.append("opencv-python and opencv-python-headless are both installed as cv2")
    pinned = [re.match(r"torch==([\w.]+)", line) for line in requires("torchvision") or []] if installed("torchvision") else []
    torch = (installed("torch") or "").partition("+")[0]
    conflicts += [f"torchvision needs torch {pin[1]} and torch is {torch}" for pin in pinned if pin and pin[1] != torch]
    if conflicts:
        raise CheckFailedError(f"{'; '.join(conflicts)}: install what constraints.txt pins (`make setup`)")
    names = ("fastapi", "sqlalchemy", "prefect", "mlflow", "torch", "torchvision", "opencv-python-headless")
    return ", ".join(f"{name} {installed(name)}" for name in names if installed(name))


def numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def faces() -> str:
    """Check dlib's three models on a drawn face: detection, landmarks, identity."""
    if importlib.util.find_spec("face_recognition_models") is None:
        raise CheckFailedError(
            "dlib's models are missing: install face-recognition-models as constraints.txt pins it (`make setup`)"
        )
    from vitau.media.faces import embed
    from vitau.media.frames import find_faces
    from vitau.media.synthetic.drawing import draw_frame
    from vitau.media.synthetic.people import draw_person

    found = find_faces(draw_frame(draw_person(5, 1), "rest", 0.0).image)
    if len(found) != 1:
        raise CheckFailedError(f"dlib finds {len(found)} faces in a drawing of one: install dlib-bin again (`make setup`)")
    identity = embed(found[0].crop, found[0].crop_landmarks)
    return f"a drawn face is found, with {len(found[0].landmarks)} landmarks and an identity of {len(identity)} numbers"


def video() -> str:
    """Check that three frames survive a round trip through h264."""
    import av
    import numpy as np

    if "libx264" not in av.codecs_available:
        raise CheckFailedError("PyAV has no h264 encoder (libx264): install its wheel, not a build of your own (`make setup`)")
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=6)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for shade in (0, 128, 255):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    film.seek(0)
    with av.open(film) as container:
        frames = sum(1 for _ in container.decode(video=0))
    if frames != 3:
        raise CheckFailedError(f"of 3 frames that PyAV wrote as h264 it reads {frames}: install its wheel again (`make setup`)")
    return "h264 is written and read"


def disk(settings: Settings | None, least_gb: float = FREE_GB) -> str:
    """Check the free space for objects, caches and temporary files."""
    places = {"temporary files": Path(tempfile.gettempdir())}
    if settings is not None:
        places["VITAU_WORK"] = settings.work
        if urlsplit(settings.store).scheme in {"", "file"}:
            places["VITAU_STORE"] = Path(unquote(urlsplit(settings.store).path))
    free = {}
    for name, place in places.items():
        existing = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
        free[name] = shutil.disk_usage(existing).free / _GB
    tightest = min(free, key=lambda name: free[name])
    sentence = f"{free[tightest]:.1f} GB are free for {tightest}"
    if free[tightest] < least_gb / 10:
        raise CheckFailedError(f"{sentence}: free some space before the next flow, which would stop in the middle")
    if free[tightest] < least_gb:
        raise CheckWarningError(f"{sentence}, less than {least_gb:.0f}: free some space, or move it to a larger disk")
    return sentence


def gpu() -> str:
    """Check a product of two matrices in bfloat16 on the GPU."""
    import torch

    present = Path("/dev/nvidia0").exists() or bool(shutil.which("nvidia-smi"))
    if not torch.cuda.is_available():
        if present:
            raise CheckFailedError(
                f"there is a GPU, and torch {torch.__version__} cannot use it: install a driver for torch's CUDA "
                f"({torch.version.cuda or 'none: this torch is CPU-only'}), or check CUDA_VISIBLE_DEVICES"
            )
        raise NotApplicableError("no GPU on this machine: training runs on the CPU")
    name = torch.cuda.get_device_name()
    if not torch.cuda.is_bf16_supported():
        raise CheckWarningError(f"{name} has no bfloat16: training is slower; use a GPU of 2020 or later")
    ones = torch.ones(256, 256, device="cuda", dtype=torch.bfloat16)
    total = float((ones @ ones).float().sum().cpu())
    if total != 256**3:
        raise CheckFailedError(f"{name} computes {total} instead of {256**3}: do not use it")
    return f"{name} computes in bfloat16"


def threads(settings: Settings | None) -> str:
    """Compare the number of parallel processes and threads with the number of cores."""
    cores = len(os.sched_getaffinity(0))
    processes = (settings.num_processes if settings else None) or cores
    trainings = settings.num_trainings if settings else 1
    per_training = int(os.environ.get("VITAU_TORCH_THREADS") or os.environ.get("OMP_NUM_THREADS") or max(1, cores // trainings))
    if processes > cores:
        raise CheckWarningError(
            f"VITAU_NUM_PROCESSES is {processes} on {cores} cores: more processes than cores slow each other down; lower it"
        )
    if trainings * per_training > cores:
        raise CheckWarningError(
            f"{trainings} trainings with {per_training} threads each on {cores} cores: set VITAU_TORCH_THREADS to "
            f"{max(1, cores // trainings)}, or VITAU_NUM_TRAININGS to 1"
        )
    return f"{cores} cores: {processes} processes crop faces, {trainings} trainings of {per_training} threads"


def receiver(settings: Settings) -> str:
    """Check that something listens at the address of the webhooks."""
    if settings.webhook_url is None:
        raise NotApplicableError("VITAU_WEBHOOK_URL is not set: answers are pulled without webhooks")
    if settings.webhook_secret is None:
        raise CheckFailedError(
            "VITAU_WEBHOOK_URL is set and VITAU_WEBHOOK_SECRET is not: set a secret of 16 characters or more"
        )
    address = check_port(settings.webhook_url, "start `python -m flows receive`, or unset VITAU_WEBHOOK_URL")
    return f"the webhook server answers at {address}"


def ray(settings: Settings) -> str:
    """Check that something listens at the address of the Ray cluster."""
    if settings.ray_address is None:
        raise NotApplicableError("VITAU_RAY_ADDRESS is not set: `--engine ray` starts Ray on this machine")
    if installed("ray") is None:
        raise CheckFailedError("VITAU_RAY_ADDRESS is set and Ray is not installed: run `pip install 'vitau[ray]'`")
    address = check_port(f"tcp://{settings.ray_address}", "start it with `ray start --head`, or correct VITAU_RAY_ADDRESS")
    return f"a Ray cluster answers at {address}"


def check_port(url: str, remedy: str) -> str:
    """Open and close a connection to an address; return ``HOST:PORT``.

    Raises:
        CheckFailedError: nothing listens there.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise CheckFailedError(f"nothing listens at {host}:{port} ({error.strerror or error}): {remedy}") from error
    return f"{host}:{port}"
