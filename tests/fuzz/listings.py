"""Readers of manifests and CK+ trees."""

import contextlib
import math
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tests.fuzz.storable import check_storable
from vitau.media.manifests import SourceClip, is_inside, read_manifest
from vitau.media.sources import clip_digest, read_ckplus, to_subject
from vitau.schema import Skipped
from vitau.schema.visits import MAX_VISIT


def run_manifest(data: bytes, folder: Path) -> Iterable[str]:
    """Read a manifest beside a few files, and check each clip that it lists."""
    recordings = folder / "recordings"
    if not recordings.exists():
        for name in ("p1.mp4", "p2/1.png", "p2/2.png", "p3/Mustermann.mp4", "note.txt", "sub/deep/9.jpg"):
            (recordings / name).parent.mkdir(parents=True, exist_ok=True)
            (recordings / name).write_bytes(name.encode())
        (folder / "outside.mp4").touch()
        (recordings / "link.mp4").symlink_to(folder / "outside.mp4")
        (recordings / "loop.mp4").symlink_to("loop.mp4")
    (recordings / "manifest.csv").write_bytes(data)
    clips, skipped = read_manifest(recordings / "manifest.csv")
    for clip in clips:
        _check_clip(clip, recordings)
    return _sentences(skipped)


def _check_clip(clip: SourceClip, folder: Path) -> None:
    check_storable([clip.subject_id, clip.source, clip.url, clip.consent, clip.licence, clip.start_s, clip.end_s, clip.fps])
    check_storable([clip.visit, clip.recorded_at])
    assert clip.visit is None or len(clip.visit) <= MAX_VISIT, "the name of a visit is too long"
    assert (clip.url is None) == bool(clip.paths), "neither a URL nor files, or both"
    assert clip.subject_id.strip(), "a person without a name"
    assert (clip.start_s or 0.0) < (math.inf if clip.end_s is None else clip.end_s), "an empty range"
    assert clip.fps is None or clip.fps > 0, "a rate of 0"
    assert all(path.is_file() and is_inside(path, (folder,)) for path in clip.paths), "a file outside of the folder"
    to_subject(clip, b"a key of the fuzzer")
    for path in clip.paths[:1]:
        clip_digest(path, clip.start_s, clip.end_s)


def _sentences(skipped: Iterable[Skipped]) -> list[str]:
    return [f"{row.item}: {row.reason}" for row in skipped]


@cache
def manifest_seeds() -> Sequence[bytes]:
    """Return tables of files, URLs and folders, and one as a spreadsheet of another country writes it."""
    head = b"subject,clip,cohort,start_s,end_s,fps,source,consent,licence,mirrored\n"
    return (
        head
        + b"Mustermann,p1.mp4,palsy,0,4.5,,study,consent.pdf,CC-BY,false\nB. Mustermann,p2/*.png,control,,,30,study,,,true\n"
        + b"Mustermann,p3/Mustermann.mp4,palsy,,,,study,withdrawn,,1\nC,sub/deep,control,,,6,study,,,no\n",
        head + b"Mustermann,https://example.org/watch?v=1,palsy,0,4.5,,web,,,\n" * 3,
        head + b"".join(b"Mustermann %d,https://user:pw@[::1]:80/%d.mp4,palsy,%d,,,web,,,\n" % (n, n, n) for n in range(5)),
        head.replace(b"\n", b",visit,recorded_at\n")
        + b"M,p1.mp4,palsy,,,,study,,,,week-12,2026-11-29\nM,p2/*.png,palsy,,,30,study,,,,1,2026-11-29T10:30:00+01:00\n",
        b"\xef\xbb\xbfSubject;Clip;Cohort\r\nMustermann;p1.mp4;palsy\r\n",
        "cohort,clip,subject\r\ncontrol,link.mp4,Mustermänn\r\ncontrol,loop.mp4,X\r\npalsy,../outside.mp4,Mustermann\r\n".encode(),
    )


def run_ckplus(data: bytes, folder: Path) -> Iterable[str]:
    """Build the tree that the lines name, one file, folder or link each, and read it."""
    root = folder / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for line in data.split(b"\n")[:12]:
        name, arrow, goal = line.partition(b"->")
        parts = [part[:80] for part in name.split(b"/") if part not in {b"", b".", b".."} and b"\0" not in part][:6]
        with contextlib.suppress(OSError, ValueError):  # a file where a folder should be
            path = root.joinpath(*(part.decode("utf-8", "surrogateescape") for part in parts))
            path.parent.mkdir(parents=True, exist_ok=True)
            if arrow:
                path.symlink_to(goal.decode("utf-8", "surrogateescape"))
            else:
                path.touch()
    clips, skipped = read_ckplus(root)
    for clip in clips:
        _check_clip(clip, root)
    assert len({clip.row for clip in clips}) == len(clips), "two sequences of one name"
    return _sentences(skipped)


@cache
def ckplus_seeds() -> Sequence[bytes]:
    """Return trees with copies, links, other files and the table without subjects."""
    names = [f"cohn-kanade-images/S005/001/S005_001_{index:08d}.png" for index in range(1, 4)]
    copies = [f"extended/Mustermann/S005/001/S005_001_{index:08d}.png" for index in range(1, 3)]
    more = [f"cohn-kanade-images/S01{n}/00{n}/s01{n}_00{n}_{index:08d}.PNG" for n in range(3) for index in range(3)]
    links = [
        "a/S006_001_00000001.png->/etc/passwd",
        "b/S007_001_00000001.png->../" + names[0],
        "c/S008_001_00000001.png->c",
        "d->.",
    ]
    return tuple(
        "\n".join(lines).encode()
        for lines in (names, [*names, *copies, ".DS_Store", "ckextended.csv"], more, [*names, *links], ["ckextended.csv"])
    )
