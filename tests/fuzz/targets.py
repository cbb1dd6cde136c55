"""The readers of foreign input, each as a function of bytes, with the inputs from which mutations start."""

import asyncio
import contextlib
import io
import json
import random
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import av
import cv2
import numpy as np
import torch

from labeling.consensus.csv_io import COLUMNS, read_csv
from labeling.interface.config import Answer, to_result
from labeling.label_studio.annotations import ReaderProject, parse_task
from labeling.label_studio.projects import SECRET_HEADER
from labeling.label_studio.webhook import make_app
from tests.fuzz.mutations import mutate, mutate_json, mutate_rows
from vitau.errors import VitauError
from vitau.media.clips import probe, sample_frames
from vitau.media.manifests import read_manifest
from vitau.media.sources import read_ckplus
from vitau.models.checkpoint import CARD, WEIGHTS, load_model, read_public, save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.schema import AUS, Side, Stage

SECRET: Final = "the secret of the fuzzer"
SUBJECT: Final = "3f" * 16
REPLIES: Final = frozenset({202, 400, 401, 413, 429})
_MAX_FRAMES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of foreign input.

    ``run`` reads the bytes with the help of a scratch folder. It returns, or raises a VitauError: anything else is a crash.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes, Path], None]
    mutate: Callable[[random.Random, Sequence[bytes]], bytes] = mutate
    media: bool = False

    def input(self, seed: int, number: int) -> bytes:
        """Return an input by its number; every fiftieth is a seed as it is."""
        rng = random.Random(f"{self.name} {seed} {number}")
        seeds = self.seeds()
        return rng.choice(seeds) if number % 50 == 0 else self.mutate(rng, seeds)


def run_manifest(data: bytes, folder: Path) -> None:
    path = folder / "manifest.csv"
    path.write_bytes(data)
    read_manifest(path)


@cache
def manifest_seeds() -> Sequence[bytes]:
    head = b"subject,clip,cohort,start_s,end_s,fps,source,consent,licence,mirrored\n"
    return (
        head + b"p1,p1.mp4,palsy,0,4.5,,study,consent.pdf,CC-BY,false\np2,p2/*.png,control,,,30,study,,,true\n",
        head + b"p1,https://example.org/watch?v=1,palsy,0,4.5,,web,,,\n" * 3,
        b"\xef\xbb\xbfSubject;Clip;Cohort\r\np1;p1.mp4;palsy\r\n",
    )


def run_ckplus(data: bytes, folder: Path) -> None:
    """Build the tree that the lines name, one file each, and read it."""
    root = folder / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for line in data.split(b"\n")[:20]:
        parts = [part[:80] for part in line.split(b"/") if part not in {b"", b".", b".."} and b"\0" not in part][:4]
        with contextlib.suppress(OSError):  # a file where a folder should be
            path = root.joinpath(*(part.decode("utf-8", "surrogateescape") for part in parts))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    read_ckplus(root)


@cache
def ckplus_seeds() -> Sequence[bytes]:
    names = [f"cohn-kanade-images/S005/001/S005_001_{index:08d}.png" for index in range(1, 4)]
    copies = [f"extended/copy/S005/001/S005_001_{index:08d}.png" for index in range(1, 3)]
    return ("\n".join(names).encode(), "\n".join([*names, *copies, ".DS_Store", "ckextended.csv"]).encode())


def run_label_json(data: bytes, _: Path) -> None:
    project = ReaderProject(id=1, title="ViTAU · reader-a", reader="reader-a", stage=Stage.READER)
    parse_task(project, json.loads(data), {SUBJECT})


@cache
def label_json_seeds() -> Sequence[bytes]:
    answer = Answer(
        affected={au: au is AUS[0] for au in AUS},
        side=Side.LEFT,
        unusable=frozenset({1}),
        note="a note",
        grade=3,
        marks={AUS[0]: ((0, 1.0, 2.0, 3.0, 4.0),)},
    )
    time = "2026-11-23T09:30:00.123456Z"
    annotation = {"id": 5, "updated_at": time, "created_at": time, "lead_time": 12.5, "was_cancelled": False}
    frames = [f"{'0' * 64}:{index}" for index in range(3)]
    data = {"subject": SUBJECT, "frames": frames, "suggestions": {"AU1": 0.5}, "suggested_by": "model/1"}
    task = {"id": 7, "data": data, "annotations": [annotation | {"result": to_result(answer)}]}
    renewed = task | {"data": {**data, "before": [{"until": time, "frames": frames[:1]}]}}
    return (json.dumps(task).encode(), json.dumps(renewed).encode())


@cache
def _webhook() -> Any:
    return make_app(SECRET, lambda _: None)


def run_webhook(data: bytes, _: Path) -> None:
    """Post the bytes to the server's application and check its reply."""
    sent: list[Any] = []
    chunks = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Any:
        return chunks.pop(0) if chunks else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(SECRET_HEADER.lower().encode(), SECRET.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/webhook", "raw_path": b"/webhook", "headers": headers}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}
    asyncio.run(_webhook()({**scope, "client": ("127.0.0.1", 1), "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
    assert sent[0]["status"] in REPLIES, f"the reply is {sent[0]['status']}"


@cache
def webhook_seeds() -> Sequence[bytes]:
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 7}, "annotation": {"id": 1, "result": [{"value": {}}]}}
    return (json.dumps(event).encode(), b"[]", b"[" * 4000)


@cache
def _small_model() -> tuple[bytes, bytes]:
    config = ViTConfig(input_size=32, patch_size=16, width=16, depth=1, heads=2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_model(folder, build_vit(config), config)
        return (folder / WEIGHTS).read_bytes(), (folder / CARD).read_bytes()


def run_checkpoint(data: bytes, folder: Path) -> None:
    """Read the bytes as weights of a model, as its card, or as a file of ``torch.save``, by their first byte."""
    kind, data = data[:1], data[1:]
    if kind == b"P":
        (folder / "public.pt").write_bytes(data)
        read_public(folder / "public.pt")
        return
    weights, card = _small_model()
    (folder / WEIGHTS).write_bytes(data if kind == b"W" else weights)
    (folder / CARD).write_bytes(data if kind == b"C" else card)
    load_model(folder)


@cache
def checkpoint_seeds() -> Sequence[bytes]:
    weights, card = _small_model()
    public = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(2)}, "latent_avg": torch.zeros(4)}, public)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    small = struct.pack("<Q", len(header)) + header + b"\0" * 4
    (size,) = struct.unpack("<Q", weights[:8])
    return (b"W" + small, b"W" + weights[: 8 + size], b"C" + card, b"P" + public.getvalue())


def run_video(data: bytes, folder: Path, suffix: str = ".mp4") -> None:
    """Sample a few frames of a recording."""
    path = folder / f"clip{suffix}"
    path.write_bytes(data)
    probe(path)
    for frame, _ in zip(sample_frames(path, 5.0), range(_MAX_FRAMES), strict=False):
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3


@cache
def playlist_seeds() -> Sequence[bytes]:
    return (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1280000\nhttp://127.0.0.1:1/a.m3u8\n",
        b"ffconcat version 1.0\nfile clip.mp4\nduration 2\n",
        b'<MPD><Period><AdaptationSet mimeType="video/mp4"><BaseURL>a.mp4</BaseURL></AdaptationSet></Period></MPD>',
        b"[playlist]\nFile1=/etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    )


def run_csv(data: bytes, _: Path) -> None:
    read_csv(data.decode("utf-8", "replace"), source="study", find_subject={"p1": SUBJECT}.get)


@cache
def csv_seeds() -> Sequence[bytes]:
    row = {**dict.fromkeys(COLUMNS, ""), "subject": "p1", "au": "AU1", "reader": "reader-a", "affected": "yes", "side": "left"}
    row |= {"answered_at": "2026-11-23T09:30:00Z", "note": '"a, note"', "grade": "2", "lead_time_s": "3.5"}
    line = ",".join(row[column] for column in COLUMNS)
    return (
        f"{','.join(COLUMNS)}\r\n{line}\r\n{line.replace('AU1', 'AU2')}\r\n".encode(),
        b"subject,reader,au,affected,side\np1,r,AU1,no,\n",
    )


def _picture(size: int = 48) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.stack([(x * 5) % 256, (y * 5) % 256, (x + y) % 256], axis=-1).astype(np.uint8)


@cache
def image_seeds() -> Sequence[bytes]:
    return tuple(cv2.imencode(suffix, _picture())[1].tobytes() for suffix in (".png", ".jpg"))


def run_image(data: bytes, folder: Path) -> None:
    """Read the bytes as a photo and as the only image of a sequence."""
    suffix = ".png" if len(data) % 2 else ".jpg"
    run_video(data, folder, suffix)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(f"1{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    run_video(archive.getvalue(), folder, ".tar")


@cache
def video_seeds() -> Sequence[bytes]:
    return tuple(
        _write_video(container, codec) for container, codec in (("mp4", "h264"), ("matroska", "h264"), ("avi", "mpeg4"))
    )


def _write_video(container: str, codec: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=10)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for index in range(12):
            picture = np.roll(_picture(), index, axis=0)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


Mutation: TypeAlias = Callable[[random.Random, Sequence[bytes]], bytes]


def mutate_text(*tokens: bytes) -> Mutation:
    """Return the mutation of bytes with the words of a format."""
    return partial(mutate, tokens=tokens)


def mutate_table(*tokens: bytes) -> Mutation:
    """Return the mutation of a table with the words of a format."""
    return partial(mutate_rows, tokens=tokens)


def is_expected(error: BaseException) -> bool:
    """Return whether an error is a sentence for the user."""
    return isinstance(error, VitauError)


TARGETS: Final = {
    target.name: target
    for target in (
        Target(
            name="manifest",
            seeds=manifest_seeds,
            run=run_manifest,
            mutate=mutate_table(b"../", b"/etc/passwd", b"https://", b"*", b"?", b"**", b"~", b",,", b"palsy", b"control"),
        ),
        Target(name="ckplus", seeds=ckplus_seeds, run=run_ckplus, mutate=mutate_text(b"S005", b"_001_", b".png", b"/")),
        Target(name="label-json", seeds=label_json_seeds, run=run_label_json, mutate=mutate_json),
        Target(name="webhook", seeds=webhook_seeds, run=run_webhook, mutate=mutate_text(b"{", b"}", b'"id":', b"null")),
        Target(name="checkpoint", seeds=checkpoint_seeds, run=run_checkpoint, mutate=mutate_text(b'"shape"', b'"F64"', b"PK")),
        Target(name="playlist", seeds=playlist_seeds, run=run_video, mutate=mutate_text(b"#EXTINF", b"file:", b"concat:")),
        Target(name="csv", seeds=csv_seeds, run=run_csv, mutate=mutate_table(b",", b'""', b"AU1", b"=cmd", b"\r\n")),
        Target(name="image", seeds=image_seeds, run=run_image, media=True),
        Target(name="video", seeds=video_seeds, run=run_video, media=True),
    )
}
