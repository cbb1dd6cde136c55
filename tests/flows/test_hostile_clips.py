"""Three good clips beside twelve hostile ones: the good ones are recorded, and each hostile one is a row with a reason."""

import csv
import io
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from flows import ingest
from flows.execution.executor import Engine
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest


def png(width: int, height: int) -> bytes:
    """Return a picture whose header states a size that its data does not have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def write_hostile(folder: Path, good: Path) -> list[str]:
    """Write the hostile files; return the cells of their rows."""
    recording = good.read_bytes()
    (folder / "huge.png").write_bytes(png(40_000, 40_000))
    (folder / "empty.mp4").touch()
    (folder / "letter.mp4").write_text("Dear doctor, Ada Lovelace attaches her clip.")
    (folder / "cut.mp4").write_bytes(recording[: len(recording) // 2])
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{good.name}\n#EXT-X-ENDLIST\n")
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{good.name}\n#EXT-X-ENDLIST\n")
    (folder / "joined.mp4").write_text(f"ffconcat version 1.0\nfile {good.name}\n")
    (folder / "noise.mp4").write_bytes(recording[:64] + bytes(range(256)) * 200)
    with tarfile.open(folder / "links.tar", "w") as archive:
        link = tarfile.TarInfo("00000000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../00000001.png"), io.BytesIO())
    files = ["huge.png", "empty.mp4", "letter.mp4", "cut.mp4", "list.m3u8", "list.mp4", "joined.mp4", "noise.mp4", "links.tar"]
    return [*files, "x" * 5000, "missing.mp4", "http://127.0.0.1:1/two-videos"]


@pytest.fixture(autouse=True)
def _without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda *_: None)


def test_three_good_clips_are_recorded_and_twelve_hostile_ones_listed_and_a_rerun_adds_nothing(cohort, tmp_path):
    folder = tmp_path / "Ada Lovelace"
    folder.mkdir()
    recordings = sorted((cohort / "clips").iterdir())[:2]
    for number, recording in enumerate(recordings):
        shutil.copy(recording, folder / f"good-{number}.mp4")
    with (folder / "good-1.mp4").open("ab") as file:
        file.write(struct.pack(">I4s8x", 16, b"free"))  # other bytes than those of the third clip
    (folder / "third.mp4").write_bytes(recordings[1].read_bytes())
    clips = ["good-0.mp4", "good-1.mp4", "third.mp4"]
    people = {"good-0.mp4": "p0", "good-1.mp4": "p1", "third.mp4": "p1"}
    hostile = write_hostile(folder, folder / "good-0.mp4")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "clip", "cohort"])
        for number, name in enumerate([*hostile[:6], *clips, *hostile[6:]]):
            writer.writerow([people.get(name, f"h{number}"), name, "palsy"])
    settings = offline_settings(tmp_path, num_processes=1)
    workspace, summaries = Workspace(settings), []
    for _ in range(2):
        listed, skipped = read_manifest(folder / "manifest.csv")
        with disable_run_logger():
            outcomes = ingest.ingest_clips(workspace, listed, FrameRecipe(), Engine.LOCAL)
            ingest.record_skipped(workspace, folder / "manifest.csv", outcomes, skipped)
        summaries.append(ingest.summarize(outcomes, skipped))
    first, again = summaries
    assert (first.clips, first.new_clips, len(first.skipped)) == (3, 3, 12)
    assert (again.clips, again.new_clips, again.cut_clips, len(again.skipped)) == (3, 0, 0, 12)
    assert len(workspace.catalog.clips()) == 3
    assert {item.item for item in first.skipped} == {item.item for item in again.skipped}
    reasons = str(workspace.catalog.skipped())
    assert all(item.reason for item in workspace.catalog.skipped())
    assert not any(text in reasons for text in ("Ada", "good", "huge", "xxxx", "127.0.0.1", str(tmp_path)))
    assert workspace.catalog.ingest_claims() == []
    workspace.catalog.engine.dispose()
