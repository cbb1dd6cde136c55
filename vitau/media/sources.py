"""Sources of recordings: CK+ and YFP trees, photos and URLs; their clips under digests and their people under pseudonyms."""

import csv
import hashlib
import hmac
import io
import os
import re
import tarfile
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vitau.errors import ClipError, SourceError, StoreError
from vitau.media.clips import MAX_IMAGE_BYTES, MAX_IMAGES, PHOTO_SUFFIXES, SEQUENCE_SUFFIX, VIDEO_SUFFIXES, natural_key
from vitau.media.containers import storable_suffix
from vitau.media.download import URL_HOSTS, download
from vitau.media.manifests import MANIFEST_COLUMNS, SourceClip, is_file, is_inside, is_photo
from vitau.schema import Clip, Cohort, Skipped, Subject

SUBJECTLESS_CSV: Final = "ckextended.csv"

_MEDIA: Final = {*PHOTO_SUFFIXES, *VIDEO_SUFFIXES, SEQUENCE_SUFFIX}
_OUTSIDE: Final = "they lead out of the folder"
_CKPLUS_IMAGE: Final = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.png", re.IGNORECASE)


def read_ckplus(root: Path, fps: float | None = None) -> tuple[list[SourceClip], list[Skipped]]:
    """List the sequences of a CK+ tree, ``cohn-kanade-images/S005/001/S005_001_00000001.png``; all are controls.

    Sequences are identified by the names of their images, not by folders. Of several copies the most complete one is taken,
    then the one closest to the root. Without ``fps`` every image is a frame; CK+ was recorded at 30 frames per second.

    Raises:
        SourceError: no such folder, no CK+ image in it, or only the CSV without subjects.
    """
    if not root.is_dir() and root.name != SUBJECTLESS_CSV:
        raise SourceError("the source is not a folder; give the one that holds cohn-kanade-images")
    copies, skipped = _ckplus_copies(root)
    if not copies and SUBJECTLESS_CSV in (root.name, *(file.name for file in root.glob("*.csv"))):
        raise SourceError(
            f"{SUBJECTLESS_CSV} does not say who is in its 48×48 pictures, so one person would be in training and in test; "
            "give the CK+ images by subject (cohn-kanade-images/S005/001/…)"
        )
    if not copies:
        raise SourceError(
            "the folder holds no image of CK+; give the folder with cohn-kanade-images/S005/001/S005_001_00000001.png"
        )
    clips, duplicates = [], []
    for number, ((subject, _), folders) in enumerate(sorted(copies.items()), start=1):
        best, *others = sorted(folders, key=lambda folder: (-len(folders[folder]), len(folder.parts), folder))
        paths = tuple(sorted(folders[best]))
        clips.append(
            SourceClip(
                row=f"sequence {number}", subject_id=subject, cohort=Cohort.CONTROL, source="ckplus", paths=paths, fps=fps
            )
        )
        duplicates += [Skipped(item=f"sequence {number}", reason="another copy of it, in another folder") for _ in others]
    return clips, [*duplicates, *skipped]


def _ckplus_copies(root: Path) -> tuple[dict[tuple[str, str], dict[Path, list[Path]]], list[Skipped]]:
    """Return the images by sequence and by folder, and the counts of other files."""
    copies: dict[tuple[str, str], dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
    num_others = num_outside = 0
    for file in sorted(root.rglob("*")):
        if file.is_symlink() and not is_inside(file, (root,)):
            num_outside += 1
        elif not is_file(file):
            continue
        elif match := _CKPLUS_IMAGE.fullmatch(file.name):
            copies[match[1].upper(), match[2]][file.parent].append(file.resolve() if file.is_symlink() else file)
        else:
            num_others += 1
    skipped = [Skipped(item=f"{num_others} files", reason="not named as CK+ names its images")] if num_others else []
    return copies, [*skipped, *([Skipped(item=f"{num_outside} links", reason=_OUTSIDE)] if num_outside else [])]


def draft_yfp_manifest(folder: Path, out_csv: Path) -> int:
    """Draft a manifest of YFP clips or image sequences, to be completed by hand; return the number of rows.

    A clip's patient is its topmost folder. For a clip directly in ``folder``, it is the first part of the file name
    (``patient03_2.mp4`` → ``patient03``). Image sequences get YFP's 6 frames per second.

    Raises:
        SourceError: no clips in the folder, or the manifest exists already.
    """
    if out_csv.exists():
        raise SourceError(f"{out_csv} is there already; move it away or draft under another name")
    videos = [file for file in folder.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")]
    sequences = {file.parent for file in folder.rglob("*") if is_photo(file)} - {folder}
    found = sorted([*videos, *sequences], key=lambda clip: natural_key(str(clip.relative_to(folder))))
    if not found:
        raise SourceError(f"{folder} holds no videos and no folders of images; give the folder of the YFP clips")
    out_csv.touch(mode=0o600)  # file names may name people
    with out_csv.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS)
        writer.writeheader()
        for clip in found:
            inside = clip.relative_to(folder).parts
            patient = inside[0] if len(inside) > 1 else re.split(r"[_\-. ]", inside[0])[0]
            writer.writerow(
                {
                    "subject": patient,
                    "clip": os.path.relpath(clip, out_csv.parent),
                    "cohort": Cohort.PALSY,
                    "fps": 6 if clip in sequences else "",
                    "source": "yfp",
                }
            )
    return len(found)


def read_photos(folder: Path, cohort: Cohort | None = None) -> tuple[list[SourceClip], list[Skipped]]:
    """List the photos of a folder: a subfolder holds one person, a photo directly in the folder is a person of its own.

    Without ``cohort``, the topmost folder names it: ``palsy/7/smile.jpg``, ``control/12.jpg``. The folder ``unknown`` holds
    photos and clips of people of unknown status, as :func:`read_unknown` lists them.

    Raises:
        SourceError: no such folder, or no photo in it with a known cohort.
    """
    if cohort is not None:
        clips, skipped = _photos_of(folder, folder, cohort, 1)
    else:
        clips, skipped = _photos_of(folder, folder / Cohort.PALSY, Cohort.PALSY, 1)
        controls, others = _photos_of(folder, folder / Cohort.CONTROL, Cohort.CONTROL, len(clips) + 1)
        clips, skipped = clips + controls, skipped + others
        if (folder / Cohort.UNKNOWN).is_dir():
            unknown, others = _files_of(folder / Cohort.UNKNOWN)
            clips, skipped = clips + unknown, skipped + others
    if not clips:
        where = "the folder" if cohort is not None else "its folders palsy, control and unknown"
        raise SourceError(f"there are no photos in {where}; give a folder of JPEG or PNG files, sorted by cohort")
    return clips, skipped


def read_unknown(source: Path) -> tuple[list[SourceClip], list[Skipped]]:
    """List photos and clips of people of unknown status: one file, or those of a folder.

    A subfolder holds one person, a file directly in the folder is a person of its own. Nobody says who they are: a file is
    known by its content, a folder by its place. A recording that is in the catalog keeps its person, wherever it was moved.

    Raises:
        SourceError: there is neither a photo nor a clip.
    """
    clips, skipped = _files_of(source)
    if not clips:
        raise SourceError("the source holds neither photos nor clips; give a file, or a folder of them")
    return clips, skipped


def _files_of(source: Path) -> tuple[list[SourceClip], list[Skipped]]:
    root = source if source.is_dir() else source.parent
    found = source.rglob("*") if source.is_dir() else [source]
    visible = (file for file in found if is_file(file) and not any(part[0] == "." for part in file.relative_to(root).parts))
    files = sorted(visible, key=lambda file: natural_key(str(file.relative_to(root))))
    outside = {file for file in files if file.is_symlink() and not is_inside(file, (root,))}
    media = [file for file in files if file.suffix.lower() in _MEDIA and file not in outside]
    clips = [
        SourceClip(
            row=f"file {number}",
            subject_id=_sha256_of(file) if file.parent == root else str((root / file.relative_to(root).parts[0]).resolve()),
            cohort=Cohort.UNKNOWN,
            source="files",
            paths=(file.resolve(),),
            anonymous=True,
        )
        for number, file in enumerate(media, start=1)
    ]
    others = len(files) - len(media) - len(outside)
    skipped = [Skipped(item=f"{others} files", reason="neither photos nor clips")] if others else []
    return clips, [*skipped, *([Skipped(item=f"{len(outside)} links", reason=_OUTSIDE)] if outside else [])]


def is_ckplus(folder: Path) -> bool:
    """Return whether a folder holds an image that is named as CK+ names its images."""
    return folder.is_dir() and any(_CKPLUS_IMAGE.fullmatch(file.name) for file in folder.rglob("*.png"))


def fetch(clip: SourceClip, work_dir: Path, *, hosts: Sequence[str] = URL_HOSTS, downloads: Path | None = None) -> Path:
    """Return the local file of a clip; a tar of images is written into ``work_dir``, a download into ``downloads``.

    The bytes of a tar depend only on the images and their order. A URL is downloaded whole, once for all time ranges, so that
    its digest does not depend on how a downloader cuts. The range is applied when frames are sampled.

    Args:
        clip: as a source lists it.
        work_dir: created if missing.
        hosts: that URLs may lead to; see :func:`vitau.media.download.download`.
        downloads: a folder that clips of the same URL share; by default ``work_dir``.

    Raises:
        ClipError: a file is missing or too large, or the URL cannot be reached, is not allowed, or holds no single video.
        StoreError: the disk is full.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    if clip.url is not None:
        try:
            shared = downloads is not None and downloads.is_dir()  # not on another machine of a cluster
            return download(clip.url, downloads if downloads and shared else work_dir, hosts)
        except ClipError as error:
            raise type(error)(f"{clip.row}: {error}") from error
    if any(path.is_symlink() for path in clip.paths):  # listed paths are resolved: it was exchanged since
        raise ClipError(f"{clip.row}: its file is a symbolic link; give the file itself")
    if any(not path.is_file() for path in clip.paths):
        raise ClipError(f"{clip.row}: its file is missing; check the path")
    if len(clip.paths) == 1:
        return clip.paths[0]
    if len(clip.paths) >= MAX_IMAGES:
        raise ClipError(f"{clip.row}: it has {MAX_IMAGES} images or more; give fewer")
    if any(path.stat().st_size > MAX_IMAGE_BYTES for path in clip.paths):  # each is read as a whole
        raise ClipError(f"{clip.row}: one of its images has more than {MAX_IMAGE_BYTES >> 20} MiB; save it smaller")
    out = work_dir / f"{_sha256('|'.join(str(path) for path in clip.paths).encode())[:20]}{SEQUENCE_SUFFIX}"
    try:
        _pack(clip.paths, out)
    except OSError as error:
        raise StoreError(f"{clip.row} cannot be packed ({os.strerror(error.errno or 0)}); free space on the disk") from error
    return out


def clip_digest(path: Path, start_s: float | None = None, end_s: float | None = None) -> str:
    """Compute the SHA-256 of a clip's bytes; with a time range, of that digest and the range."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if start_s is None and end_s is None:
        return digest
    start, end = ("" if time_s is None else repr(float(time_s)) for time_s in (start_s, end_s))
    return _sha256(f"{digest}|{start}|{end}".encode())


def pseudonym(key: bytes, source: str, subject_id: str) -> str:
    """Compute a person's pseudonym: the first 20 hex digits of the HMAC-SHA256 of the source and its identifier.

    The identifier is normalized (NFKC), so that its spelling in Unicode does not count. Its case counts.

    Raises:
        ValueError: an empty key, with which identifiers could be guessed.
    """
    return pseudonyms(key, source, subject_id)[0]


def pseudonyms(key: bytes, source: str, subject_id: str) -> list[str]:
    """Return a person's pseudonym, and the one of the identifier as it is written if that differs.

    The second one is the pseudonym of people who were recorded before identifiers were normalized.

    Raises:
        ValueError: an empty key, with which identifiers could be guessed.
    """
    if not key:
        raise ValueError("the key of the pseudonyms is empty; set a secret one")
    spellings = dict.fromkeys((unicodedata.normalize("NFKC", subject_id).strip(), subject_id))
    return [hmac.new(key, f"{source}\0{name}".encode(), hashlib.sha256).hexdigest()[:20] for name in spellings]


def to_subject(clip: SourceClip, key: bytes) -> Subject:
    """Return the person of a clip under a pseudonym."""
    person = pseudonym(key, clip.source, clip.subject_id)
    return Subject(pseudonym=person, cohort=clip.cohort, source=clip.source, synthetic=clip.synthetic)


def to_clip(clip: SourceClip, path: Path, key: bytes) -> Clip:
    """Return the catalog's record of a clip with its bytes at ``path``."""
    return Clip(
        sha256=clip_digest(path, clip.start_s, clip.end_s),
        subject=pseudonym(key, clip.source, clip.subject_id),
        source=clip.source,
        suffix=storable_suffix(path),
        start_s=clip.start_s,
        end_s=clip.end_s,
        fps=clip.fps,
        mirrored=clip.mirrored,
        synthetic=clip.synthetic,
        consent=clip.consent,
        licence=clip.licence,
        visit=clip.visit,
        taken_at=clip.recorded_at,
    )


def _photos_of(root: Path, folder: Path, cohort: Cohort, first: int) -> tuple[list[SourceClip], list[Skipped]]:
    files = sorted(
        (file for file in folder.rglob("*") if is_file(file)), key=lambda file: natural_key(str(file.relative_to(folder)))
    )
    outside = {file for file in files if file.is_symlink() and not is_inside(file, (root,))}
    photos = [file for file in files if is_photo(file) and file not in outside]
    clips = [
        SourceClip(
            row=f"photo {number}",
            subject_id=f"{root.resolve().name}/{cohort}/{photo.relative_to(folder).parts[0]}",  # unique across folders
            cohort=cohort,
            source="photos",
            paths=(photo.resolve(),),
        )
        for number, photo in enumerate(photos, start=first)
    ]
    num_others = len(files) - len(photos) - len(outside)
    skipped = [Skipped(item=f"{num_others} files", reason="not photos")] if num_others else []
    return clips, [*skipped, *([Skipped(item=f"{len(outside)} links", reason=_OUTSIDE)] if outside else [])]


def _pack(paths: tuple[Path, ...], out: Path) -> None:
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, path in enumerate(paths):
            data = path.read_bytes()
            member = tarfile.TarInfo(f"{number:08d}{path.suffix.lower()}")  # file names may contain an identity
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file; of one that cannot be read, of its place: its ingest reports it."""
    try:
        return clip_digest(path)
    except OSError:
        return _sha256(str(path.resolve()).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
