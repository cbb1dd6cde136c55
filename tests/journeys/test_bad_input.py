"""Bad input through the real commands: one sentence each and exit code 1, and the rest of the batch is done."""

import csv
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vitau.data.layout import raw_key
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_clip

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bad(people, tmp_path_factory) -> Path:
    """Write a folder of everything that people pass by mistake, beside two good clips."""
    folder = tmp_path_factory.mktemp("bad")
    first, second, _ = sorted((people / "clips").iterdir())
    shutil.copy(first, folder / "good.mp4")
    shutil.copy(second, folder / "also-good.mp4")
    (folder / "empty.mp4").touch()
    (folder / "letter.mp4").write_text("Dear doctor,\n\nplease find my clip attached.\n")
    (folder / "cut.mp4").write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    scenery = np.dstack([np.tile(np.linspace(40, 220, 480, dtype=np.uint8)[:, None], (1, 640))] * 3)
    cv2.imwrite(str(folder / "hills.jpg"), scenery)
    with av.open(str(folder / "hills.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=6)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for shift in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(scenery, shift, axis=0), format="rgb24")))
        container.mux(stream.encode())
    return folder


def manifest(folder: Path, name: str, rows: list[dict[str, str]]) -> Path:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def row(subject: str, clip: str, cohort: str = "control") -> dict[str, str]:
    return {"subject": subject, "clip": clip, "cohort": cohort, "source": "synthetic"}


def test_every_bad_clip_of_a_manifest_is_one_sentence_and_the_others_are_ingested(bad, apart, command, tmp_path):
    source = manifest(
        bad,
        "mixed.csv",
        [
            row("good", "good.mp4", "palsy"),
            row("gone", "missing.mp4"),
            row("hollow", "empty.mp4"),
            row("letter", "letter.mp4"),
            row("cut", "cut.mp4"),
            row("faceless", "hills.mp4"),
            row("good", "good.mp4", "palsy"),
            row("far", "http://127.0.0.1:1/x.mp4"),
            row("also-good", "also-good.mp4"),
        ],
    )
    done = command("flows", "ingest", source, "--state", tmp_path / "none", env=apart)
    not_listed = "it leads to a host that VITAU_URL_HOSTS does not list"
    assert done.err.splitlines() == [
        "Skipped row 3: its clip is missing: there is no such file, folder of images or pattern; check the path",
        "Skipped row 8: the same clip as row 2; remove one of them",
        "Skipped row 4: the recording is empty (0 bytes); copy it again",
        "Skipped row 5: the recording is not a video; give a video, a photo or a tar of images",
        "Skipped row 6: the recording is truncated: its index (moov atom) is missing; copy or download it again",
        f"Skipped row 9: its URL cannot be downloaded, {not_listed}; check it in a browser",
        "6 of 9 items were skipped; `python -m flows skipped` lists them again.",
    ]
    assert done.code == 1
    found = json.loads(done.out)
    assert (found["clips"], found["new_clips"], found["skipped"]) == (3, 3, 6)
    assert found["quarantined"]["no_face"] == 6


def test_a_manifest_without_subjects_is_refused_whole(bad, apart, command, tmp_path):
    source = manifest(bad, "subjectless.csv", [{"clip": "good.mp4", "cohort": "palsy"}])
    done = command("flows", "ingest", source, "--state", tmp_path / "none", env=apart)
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: the manifest has no column `subject`; it needs subject, clip and cohort\n"


def test_inputs_without_a_face_or_a_picture_are_not_scored_and_the_others_are(bad, demos, services, command, tmp_path):
    names = ("missing.mp4", "empty.mp4", "letter.mp4", "cut.mp4", "hills.mp4", "hills.jpg", "good.mp4")
    out = tmp_path / "out"
    done = command(
        *("vitau.cli", "score", "models:/vitau-regions@champion", *(bad / name for name in names), "--out", out, "--json"),
        env={"MLFLOW_TRACKING_URI": services.environment["VITAU_MLFLOW_URL"]}
        | {name: value for name, value in services.environment.items() if name.startswith("MLFLOW_TRACKING_")},
    )
    found = json.loads(done.out)
    assert done.err.splitlines() == [
        f"Skipped item 1, {bad}/missing.mp4: the recording is missing; check its path",
        f"Skipped item 2, {bad}/empty.mp4: the recording is empty (0 bytes); copy it again",
        f"Skipped item 3, {bad}/letter.mp4: the recording is not a video; give a video, a photo or a tar of images",
        (
            f"Skipped item 4, {bad}/cut.mp4: "
            "the recording is truncated: its index (moov atom) is missing; copy or download it again"
        ),
        f"Skipped item 5, {bad}/hills.mp4: the recording shows no face in any of its 6 sampled frames; give a clip of a face",
        f"Skipped item 6, {bad}/hills.jpg: the photo shows no face; give a photo of a face that looks at the camera",
        f"Model: vitau-regions version {found['version']}, run {found['run_id']}, digest {found['model']}",
        f"The report is {out}/report.html",
    ]
    assert done.code == 1
    for name in (found["model"], found["run_id"]):
        origin = json.loads(command("flows", "lineage", name, "--json", "--state", services.state).out)
        assert origin["name"] == f"vitau-regions/{found['version']}"
        assert (origin["facts"]["digest"], origin["facts"]["run"]) == (found["model"], found["run_id"])
    assert f"<code>{found['model']}</code>" in (services.state / "report.html").read_text()
    assert found["synthetic"] is True
    assert [person["input"] for person in found["people"]] == [f"{bad}/good.mp4"]
    assert len(found["skipped"]) == 6


def test_a_wrong_label_studio_token_is_one_sentence(apart, command, tmp_path):
    wrong = apart | {"VITAU_LABEL_STUDIO_TOKEN": "wrong"}
    done = command("flows", "annotate", "--state", tmp_path / "none", env=wrong)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"Error: {apart['VITAU_LABEL_STUDIO_URL']}: Label Studio refuses the token; "
        "take the one from its page Account & Settings\n"
    )


def test_a_taken_port_is_one_sentence_and_nothing_is_started(services, command, tmp_path):
    port = services.environment["PREFECT_API_URL"].split(":")[2].split("/")[0]
    done = command("flows", "up", "--state", tmp_path / "state", "--prefect-port", port)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"Error: port {port} for prefect is taken: stop what uses it, or leave the port out and a free one is chosen\n"
    )
    assert not (tmp_path / "state" / "services.json").exists()


@dataclass(frozen=True, kw_only=True)
class FullDisk:
    """A folder limited to 1 MB: the limit for a command, the sentence about an object, and a function that frees space."""

    folder: Path
    limit: Callable[[], None] | None
    sentence: str
    free_space: Callable[[], object]


@pytest.fixture
def full_disk(tmp_path):
    """A small file system of its own where we may mount one; elsewhere no file of the command may grow over 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "vitau-test", folder]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        grow = partial(subprocess.run, ["mount", "-o", "remount,size=64m", folder], check=True)
        sentence = "no space left to write {}: free some space and run it again"
        yield FullDisk(folder=folder, limit=None, sentence=sentence, free_space=grow)
        subprocess.run(["umount", folder], check=True)
    else:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        yield FullDisk(folder=folder, limit=limit, sentence="cannot write {}: File too large", free_space=lambda: None)


@pytest.fixture
def heavy(people, tmp_path) -> Path:
    """Return the manifest of the three people with clips padded to 2 MB each; players skip the padding."""
    folder = tmp_path / "heavy"
    shutil.copytree(people, folder)
    for clip in (folder / "clips").iterdir():
        size = 2_000_000 - clip.stat().st_size
        with clip.open("ab") as file:
            file.write(size.to_bytes(4, "big") + b"free" + bytes(size - 8))
    return folder / "manifest.csv"


def test_a_full_disk_is_a_sentence_for_each_clip_and_with_free_space_the_same_command_continues(
    full_disk, heavy, apart, command, tmp_path
):
    environment = apart | {"VITAU_STORE": full_disk.folder.as_uri()}
    key = apart["VITAU_PSEUDONYM_KEY"].encode()
    sources, _ = read_manifest(heavy)
    clips = [to_clip(source, source.paths[0], key) for source in sources]
    objects = [f"{full_disk.folder.as_uri()}/{raw_key(clip.subject, clip.sha256, '.mp4')}" for clip in clips]
    objects = [name.replace(clip.subject, "…").replace(clip.sha256, "…") for name, clip in zip(objects, clips, strict=True)]
    arguments = ("flows", "ingest", heavy, "--state", tmp_path / "none")
    done = command(*arguments, env=environment, before=full_disk.limit)
    assert done.err.splitlines() == [
        f"Skipped {source.row}: {full_disk.sentence.format(name)}" for source, name in zip(sources, objects, strict=True)
    ] + ["3 of 3 items were skipped; `python -m flows skipped` lists them again."]
    assert (done.code, json.loads(done.out)["clips"]) == (1, 0)
    assert not [path for path in full_disk.folder.rglob("*") if path.is_file()]
    full_disk.free_space()
    done = command(*arguments, env=environment)
    assert (done.code, done.err) == (0, "")
    assert (json.loads(done.out)["clips"], json.loads(done.out)["skipped"]) == (3, 0)
