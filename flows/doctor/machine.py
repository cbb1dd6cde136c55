"""Checks of this machine and of what is installed on it."""

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

from flows.doctor.findings import AilmentError, NotApplicableError, SymptomError
from flows.settings import Settings

_GB: Final = 1 << 30
FREE_GB: Final = 10
"""Less free space than this is a warning; a tenth of it stops a training."""
TOO_NEW: Final = {
    "fastapi": ((0, 153), "Prefect 3.8.8 raises TypeError at the first flow"),
    "sqlalchemy": ((2, 1), "Prefect 3.8.8 schedules no runs and says nothing"),
}
"""Package → the first version that breaks us, and how it shows."""


def installed(name: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def packages() -> str:
    """Compare what is installed with what does not work together."""
    wrong = []
    for name, (limit, shows) in TOO_NEW.items():
        here = installed(name)
        if here is not None and numbers(here) >= limit:
            wrong.append(f"{name} {here} is too new ({shows})")
    if installed("opencv-python") and installed("opencv-python-headless"):
        wrong.append("opencv-python lies beside opencv-python-headless, and both are cv2")
    pinned = [re.match(r"torch==([\w.]+)", line) for line in requires("torchvision") or []] if installed("torchvision") else []
    torch = (installed("torch") or "").partition("+")[0]
    wrong += [f"torchvision wants torch {pin[1]} and torch is {torch}" for pin in pinned if pin and pin[1] != torch]
    if wrong:
        raise AilmentError(f"{'; '.join(wrong)}: install what constraints.txt pins (`make setup`)")
    names = ("fastapi", "sqlalchemy", "prefect", "mlflow", "torch", "torchvision", "opencv-python-headless")
    return ", ".join(f"{name} {installed(name)}" for name in names if installed(name))


def numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def faces() -> str:
    """Find a drawn face with dlib, its landmarks, and its identity: all three models are there and work."""
    if importlib.util.find_spec("face_recognition_models") is None:
        raise AilmentError(
            "dlib's models are missing: install face-recognition-models as constraints.txt pins it (`make setup`)"
        )
    from vitau.media.faces import embed
    from vitau.media.frames import find_faces
    from vitau.media.synthetic.drawing import draw_frame
    from vitau.media.synthetic.people import draw_person

    found = find_faces(draw_frame(draw_person(5, 1), "rest", 0.0).image)
    if len(found) != 1:
        raise AilmentError(f"dlib finds {len(found)} faces in a drawing of one: install dlib-bin again (`make setup`)")
    identity = embed(found[0].crop, found[0].crop_landmarks)
    return f"a drawn face is found, with {len(found[0].landmarks)} landmarks and an identity of {len(identity)} numbers"


def video() -> str:
    """Write three frames as h264 and read them back."""
    import av
    import numpy as np

    if "libx264" not in av.codecs_available:
        raise AilmentError("PyAV has no h264 encoder (libx264): install its wheel, not a build of your own (`make setup`)")
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
        raise AilmentError(f"of 3 frames that PyAV wrote as h264 it reads {frames}: install its wheel again (`make setup`)")
    return "h264 is written and read"


def disk(settings: Settings | None, least_gb: float = FREE_GB) -> str:
    """Look at the free space where objects, caches and temporary files go."""
    places = {"temporary files": Path(tempfile.gettempdir())}
    if settings is not None:
        places["VITAU_WORK"] = settings.work
        if urlsplit(settings.store).scheme in {"", "file"}:
            places["VITAU_STORE"] = Path(unquote(urlsplit(settings.store).path))
    free = {}
    for name, place in places.items():
        there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
        free[name] = shutil.disk_usage(there).free / _GB
    tightest = min(free, key=lambda name: free[name])
    sentence = f"{free[tightest]:.1f} GB are free for {tightest}"
    if free[tightest] < least_gb / 10:
        raise AilmentError(f"{sentence}: make room before the next flow, which would stop in the middle")
    if free[tightest] < least_gb:
        raise SymptomError(f"{sentence}, less than {least_gb:.0f}: make room, or move it to a larger disk")
    return sentence


def gpu() -> str:
    """Multiply two matrices in bfloat16 on the GPU."""
    import torch

    seen = Path("/dev/nvidia0").exists() or bool(shutil.which("nvidia-smi"))
    if not torch.cuda.is_available():
        if seen:
            raise AilmentError(
                f"there is a GPU, and torch {torch.__version__} cannot use it: install a driver that fits torch's CUDA "
                f"({torch.version.cuda or 'none: this torch is for processors only'}), or check CUDA_VISIBLE_DEVICES"
            )
        raise NotApplicableError("no GPU on this machine: trainings run on the processor")
    name = torch.cuda.get_device_name()
    if not torch.cuda.is_bf16_supported():
        raise SymptomError(f"{name} has no bfloat16: trainings are slower there; use a GPU of 2020 or later")
    ones = torch.ones(256, 256, device="cuda", dtype=torch.bfloat16)
    total = float((ones @ ones).float().sum().cpu())
    if total != 256**3:
        raise AilmentError(f"{name} computes {total} where {256**3} is right: take it out of use")
    return f"{name} computes in bfloat16"


def threads(settings: Settings | None) -> str:
    """Compare what runs at once with the cores there are."""
    cores = len(os.sched_getaffinity(0))
    processes = (settings.num_processes if settings else None) or cores
    trainings = settings.num_trainings if settings else 1
    each = int(os.environ.get("VITAU_TORCH_THREADS") or os.environ.get("OMP_NUM_THREADS") or max(1, cores // trainings))
    if processes > cores:
        raise SymptomError(
            f"VITAU_NUM_PROCESSES is {processes} on {cores} cores: more than the cores slow each other down; lower it"
        )
    if trainings * each > cores:
        raise SymptomError(
            f"{trainings} trainings with {each} threads each on {cores} cores: set VITAU_TORCH_THREADS to "
            f"{max(1, cores // trainings)}, or VITAU_NUM_TRAININGS to 1"
        )
    return f"{cores} cores: {processes} processes cut faces, {trainings} trainings of {each} threads"


def receiver(settings: Settings) -> str:
    """Knock where Label Studio sends its hints."""
    if settings.webhook_url is None:
        raise NotApplicableError("VITAU_WEBHOOK_URL is not set: answers are pulled, not hinted at")
    if settings.webhook_secret is None:
        raise AilmentError("VITAU_WEBHOOK_URL is set and VITAU_WEBHOOK_SECRET is not: set a secret of 16 characters or more")
    return (
        f"the receiver answers at {knock(settings.webhook_url, 'start `python -m flows receive`, or unset VITAU_WEBHOOK_URL')}"
    )


def ray(settings: Settings) -> str:
    """Knock at the Ray cluster."""
    if settings.ray_address is None:
        raise NotApplicableError("VITAU_RAY_ADDRESS is not set: `--engine ray` starts Ray on this machine")
    if installed("ray") is None:
        raise AilmentError("VITAU_RAY_ADDRESS is set and Ray is not installed: run `pip install 'vitau[ray]'`")
    place = knock(f"tcp://{settings.ray_address}", "start it with `ray start --head`, or correct VITAU_RAY_ADDRESS")
    return f"a Ray cluster answers at {place}"


def knock(url: str, way_out: str) -> str:
    """Open a connection to an address and close it again; returns ``HOST:PORT``."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise AilmentError(f"nobody listens at {host}:{port} ({error.strerror or error}): {way_out}") from error
    return f"{host}:{port}"
