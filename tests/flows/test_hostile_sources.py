"""Three good clips and twelve hostile ones in one manifest: three are entered, twelve are listed, also the second time."""

import csv
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import ingest
from flows.execution.executor import Engine
from flows.workspace import Workspace
from tests.flows.workspaces import offline_workspace
from tests.media.web import WebServer, web_server
from vitau.data.layout import SUBJECTS
from vitau.media import frames
from vitau.media.frames import FrameRecipe
from vitau.media.sandbox import DIED, stop_servers

KILLS: bytes = b"a recording that kills its decoder"


def png(width: int, height: int) -> bytes:
    """Return a PNG of about 1 MB at most, whose pixels are compressed a thousandfold."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(min(height, 2000))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[WebServer, WebServer]]:
    """Start an allowed server, and a service that nothing may reach."""
    with web_server(tmp_path / "web") as allowed, web_server(tmp_path / "inside") as inside:
        yield allowed, inside


@pytest.fixture
def manifest(tmp_path: Path, cohort: Path, web: tuple[WebServer, WebServer]) -> Path:
    """Write the manifest and its recordings."""
    allowed, inside = web
    folder = tmp_path / "study"
    folder.mkdir()
    one, two, three, four = (path.read_bytes() for path in sorted((cohort / "clips").iterdir()))
    for name, data in {
        "one.mp4": one,
        "two.mp4 (1)": two,  # its suffix made no object key
        "three.mp4": three,
        "bomb.png": png(40_000, 40_000),
        "large.png": png(20_000, 18_000),
        "list.mp4": f"#EXTM3U\n#EXTINF:9,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": b"ffconcat version 1.0\nfile 'one.mp4'\n",
        "kills.mp4": four + KILLS,
    }.items():
        (folder / name).write_bytes(data)
    (tmp_path / "secret.mp4").write_bytes(four)
    (tmp_path / "inside" / "secret.mp4").write_bytes(four)
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    allowed.redirects["/redirect.mp4"] = inside.url("secret.mp4")
    (tmp_path / "web" / "two.html").write_text('<html><video src="a.mp4"></video><video src="b.mp4"></video></html>')
    (tmp_path / "web" / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:9,\n{inside.url('secret.mp4')}\n#EXT-X-ENDLIST\n")
    hostile = (
        *("bomb.png", "large.png", "x" * 5000, allowed.url("two.html"), "kills.mp4", allowed.url("redirect.mp4")),
        *(allowed.url("list.m3u8"), "list.mp4", "concat.mp4", str(tmp_path / "secret.mp4"), "../secret.mp4", "link.mp4"),
    )
    cells = ["one.mp4", *hostile[:6], "two.mp4 (1)", *hostile[6:], "three.mp4"]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "clip", "cohort", "source"])
        writer.writerows([[f"person {number}", cell, "palsy", "synthetic"] for number, cell in enumerate(cells)])
    return folder / "manifest.csv"


@pytest.fixture
def workspace(tmp_path: Path, web: tuple[WebServer, WebServer], monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda _workspace, _rows, _suite: None)
    with offline_workspace(tmp_path, url_hosts=(web[0].place,), num_processes=2) as opened:
        yield opened


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a decoder first on the path of new processes that kills itself at one recording, as a damaged codec would."""
    patch = f"""
import os, signal
import vitau.media.frames as frames
whole = frames.write_frames
def write_frames(clip, path, *rest, **options):
    if path.read_bytes().endswith({KILLS!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(clip, path, *rest, **options)
frames.write_frames = write_frames
"""
    source = Path(frames.__file__).parents[2]
    assert (source / "vitau").is_dir()
    (tmp_path / "patched").mkdir()
    (tmp_path / "patched" / "cv2.py").write_text(
        "import sys\nsys.path.remove(__file__.rsplit('/', 1)[0])\ndel sys.modules['cv2']\nimport cv2\n" + patch
    )
    stop_servers()
    monkeypatch.syspath_prepend(str(tmp_path / "patched"))
    yield
    stop_servers()


def run(workspace: Workspace, manifest: Path) -> ingest.IngestSummary:
    clips, skipped = ingest.read_source(manifest, ingest.Layout.MANIFEST, workspace.settings.media_roots)
    return ingest.summarize(ingest.ingest_clips(workspace, clips, FrameRecipe(), Engine.LOCAL), skipped)


def test_three_good_clips_are_entered_beside_twelve_hostile_ones_and_a_rerun_is_the_same(
    workspace: Workspace, manifest: Path, web: tuple[WebServer, WebServer], killing: None
) -> None:
    first = run(workspace, manifest)
    assert (first.clips, first.new_clips, len(first.skipped)) == (3, 3, 12)
    reasons = {item.item: item.reason for item in first.skipped}
    assert reasons["row 3"].startswith("the picture has 40000×40000 pixels by its header; save it smaller")
    assert reasons["row 4"].startswith("the picture has 20000×18000 pixels by its header; save it smaller")
    assert reasons["row 5"] == "its clip has 5000 characters; write at most 1000"
    assert "its page has several videos" in reasons["row 6"]
    assert reasons["row 7"].startswith(f"{DIED}: killed by SIGKILL")
    assert "a host that VITAU_URL_HOSTS does not list" in reasons["row 8"]
    assert not any(name in " ".join(reasons.values()) for name in ("secret", "person", ".mp4", str(manifest.parent)))
    assert web[1].requested == [], "a service on loopback was reached"
    keys = sorted(workspace.store.keys(SUBJECTS))
    assert len([key for key in keys if "/raw." in key]) == 3
    again = run(workspace, manifest)
    assert (again.clips, again.new_clips, len(again.skipped)) == (3, 0, 12)
    assert sorted(workspace.store.keys(SUBJECTS)) == keys
