"""Object keys and frame names: build them and parse them.

Every object that ViTAU keeps has its key from here. A key that ends with ``/`` is a prefix: pass it to ``Store.keys`` and
``Store.erase``. The first part after the root is a pseudonym or a digest, so that one prefix erases a person or a version.
This module imports the standard library only, so that every layer may use it.
"""

import re
from typing import Final

SUBJECTS: Final = "subjects/"
SCORES: Final = "scores/"

_SHORT_DIGEST: Final = 16  # characters of a clip's or a model's digest in the name of a picture or of a page


def subject_prefix(subject: str) -> str:
    """Return ``subjects/<subject>/``, the prefix of a person's recordings, frames and pictures."""
    return f"{SUBJECTS}{subject}/"


def clip_prefix(subject: str, sha256: str) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/``, the prefix of everything that is kept of a clip."""
    return f"{subject_prefix(subject)}clips/{sha256}/"


def raw_key(subject: str, sha256: str, suffix: str) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/raw<suffix>``, the key of a clip's bytes; the suffix begins with a dot."""
    return f"{clip_prefix(subject, sha256)}raw{suffix}"


def parse_raw_key(key: str) -> tuple[str, str, str] | None:
    """Return the subject, the sha256 and the suffix of the key of a clip's bytes, ``None`` for any other key."""
    found = re.fullmatch(rf"{SUBJECTS}([^/]+)/clips/([^/]+)/raw(\.[^/]+)", key)
    return None if found is None else (found[1], found[2], found[3])


def raw_key_beside(frames_key: str, suffix: str) -> str:
    """Return the key of the clip's bytes beside its frame table.

    The subject in the key is the one of the ingest, also after a merge of subjects.
    """
    folder, _, _ = frames_key.rpartition("/")
    return f"{folder}/raw{suffix}"


def range_key(subject: str, sha256: str, suffix: str) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/range<suffix>``, the key of a clip that was cut from a longer recording.

    Ranges that were ingested before they were cut have the whole recording under :func:`raw_key`.
    """
    return f"{clip_prefix(subject, sha256)}range{suffix}"


def range_prefix_beside(frames_key: str) -> str:
    """Return the prefix of the key of a clip's range beside its frame table."""
    folder, _, _ = frames_key.rpartition("/")
    return f"{folder}/range"


def is_recording_key(key: str) -> bool:
    """Return whether a key is that of a clip's bytes or range, not of anything made from them."""
    return re.fullmatch(rf"{SUBJECTS}[^/]+/clips/[^/]+/(raw|range)[^/]*", key) is not None


def frames_key(subject: str, sha256: str, recipe: str, revision: int = 0) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/frames-<recipe>.parquet``, the key of a frame table.

    After a correction of how the clip is read, the name ends with ``-r<revision>``.
    """
    return f"{clip_prefix(subject, sha256)}frames-{recipe}{_revision(revision)}.parquet"


def clip_faces_key(frames_key: str) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/faces-<recipe>.parquet``, the key of the compared faces of a frame table.

    Args:
        frames_key: key of the frame table; a correction has faces of its own.
    """
    folder, _, name = frames_key.rpartition("/")
    return f"{folder}/faces-{name.removeprefix('frames-')}"


def measures_key(frames_key: str, version: str) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/measures-<version>-<recipe>.parquet``, the key of a clip's measures.

    Args:
        frames_key: key of the frame table whose frames are measured; a correction has measures of its own.
        version: digest of what computes the measures.
    """
    folder, _, name = frames_key.rpartition("/")
    return f"{folder}/measures-{version}-{name.removeprefix('frames-')}"


def parse_measures_key(key: str) -> str:
    """Return the clip of the key of a clip's measures.

    Raises:
        ValueError: it is the key of something else.
    """
    found = re.fullmatch(rf"{SUBJECTS}[^/]+/clips/([^/]+)/measures-[^/]+\.parquet", key)
    if found is None:
        raise ValueError(f"{key} is not the key of a clip's measures")
    return found[1]


def parse_frames_key(key: str) -> tuple[str, int]:
    """Return the clip and the revision of the key of a frame table.

    Raises:
        ValueError: it is the key of something else.
    """
    found = re.fullmatch(rf"{SUBJECTS}[^/]+/clips/([^/]+)/frames-[^-/]+?(?:-r(\d+))?\.parquet", key)
    if found is None:
        raise ValueError(f"{key} is not the key of a frame table")
    return found[1], int(found[2] or 0)


def quarantine_key(subject: str, sha256: str, version: str, revision: int = 0) -> str:
    """Return ``subjects/<subject>/clips/<sha256>/quarantine-<version>.parquet``, the key of the rows that gate 1 refuses.

    Args:
        subject: the pseudonym under which the clip was ingested.
        sha256: of the clip.
        version: ``<digest of the recipe>-<digest of the limits>``.
        revision: of the frame table.
    """
    return f"{clip_prefix(subject, sha256)}quarantine-{version}{_revision(revision)}.parquet"


def key_frame_prefix(subject: str, sha256: str) -> str:
    """Return the prefix of the keys of a clip's pictures for the readers."""
    return f"{subject_prefix(subject)}keyframes/{sha256[:_SHORT_DIGEST]}-"


def key_frame_key(subject: str, sha256: str, frame_index: int) -> str:
    """Return ``subjects/<subject>/keyframes/<16 digits of sha256>-<frame index>.jpg``, the key of a picture for the readers."""
    return f"{key_frame_prefix(subject, sha256)}{frame_index}.jpg"


def large_key_frame_key(subject: str, sha256: str, frame_index: int) -> str:
    """Return ``subjects/<subject>/keyframes/<16 digits of sha256>-<frame index>-512.jpg``, the key of a large picture."""
    return f"{key_frame_prefix(subject, sha256)}{frame_index}-512.jpg"


def snapshot_key(digest: str) -> str:
    """Return ``snapshots/<digest>/manifest.parquet``, the key of the rows of a snapshot."""
    return f"snapshots/{digest}/manifest.parquet"


def snapshot_prefix(digest: str) -> str:
    """Return ``snapshots/<digest>/``, the prefix of the manifests of a snapshot."""
    return f"snapshots/{digest}/"


def redacted_snapshot_key(digest: str, rows_digest: str) -> str:
    """Return ``snapshots/<digest>/redacted-<digest of its rows>.parquet``, the key of a manifest without erased people."""
    return f"{snapshot_prefix(digest)}redacted-{rows_digest}.parquet"


def checkpoint_prefix(digest: str) -> str:
    """Return ``checkpoints/<digest>/``, the prefix of the states of an unfinished training."""
    return f"checkpoints/{digest}/"


def pretrained_prefix(name: str) -> str:
    """Return ``pretrained/<name>/``, the prefix of the results of a pretraining."""
    return f"pretrained/{name}/"


def model_key(digest: str) -> str:
    """Return ``models/<digest>``, under which a registered model is kept; the catalog records it without a final slash."""
    return f"models/{digest}"


def model_file_key(digest: str, path: str) -> str:
    """Return ``models/<digest>/<path>``, the key of one file of a registered model."""
    return f"{model_key(digest)}/{path}"


def score_prefix(model_digest: str, subject: str) -> str:
    """Return ``scores/<model digest>/<subject>/``, the prefix of what a model made of a person."""
    return f"{SCORES}{model_digest}/{subject}/"


def score_key(model_digest: str, subject: str) -> str:
    """Return ``scores/<model digest>/<subject>/frames.parquet``, the key of the scores of a person's frames."""
    return f"{score_prefix(model_digest, subject)}frames.parquet"


def overlay_key(model_digest: str, subject: str, sha256: str, frame_index: int, name: str) -> str:
    """Return ``scores/<model digest>/<subject>/<16 digits of sha256>-<frame index>-<name>.jpg``, the key of an overlay."""
    return f"{score_prefix(model_digest, subject)}{sha256[:_SHORT_DIGEST]}-{frame_index}-{name}.jpg"


def score_work_name(model_digest: str, subject: str) -> str:
    """Return ``scores/<model digest>/<subject>``, the name under which a worker claims the scoring of a person."""
    return score_prefix(model_digest, subject).removesuffix("/")


def parse_score_key(key: str) -> tuple[str, str] | None:
    """Return the model digest and the subject of a key of scores or an overlay, ``None`` for any other key."""
    found = re.fullmatch(rf"{SCORES}([^/]+)/([^/]+)/.+", key)
    return None if found is None else (found[1], found[2])


def parse_score_name(name: str) -> tuple[str, str] | None:
    """Return the model digest and the subject that a person means by a score's name, ``None`` if it names no score.

    Args:
        name: a key, its address in the store, or ``<model digest>/<subject>``; either part may be shortened at its end.
    """
    found = re.fullmatch(rf"(?:.*{SCORES})?([0-9a-f]+)/([^/]+)(?:/.*)?", name)
    return None if found is None else (found[1], found[2])


def report_prefix(snapshot: str) -> str:
    """Return ``reports/<snapshot digest>/``, the prefix of the reports about the held-out people of a snapshot."""
    return f"reports/{snapshot}/"


def report_key(snapshot: str, model: str, version: int, name: str) -> str:
    """Return ``reports/<snapshot digest>/<model>-<version>/<name>``, the key of a page about a champion's scores."""
    return f"{report_prefix(snapshot)}{model}-{version}/{name}"


def monitoring_key(model_digest: str, name: str, suffix: str) -> str:
    """Return ``monitoring/<16 digits of the model digest>/<name><suffix>``, the key of a drift page or of its facts."""
    return f"monitoring/{model_digest[:_SHORT_DIGEST]}/{name}{suffix}"


def ingested_key(sha256: str) -> str:
    """Return ``ingested/<sha256>.json``, the key of the note that the manifest with these bytes was ingested."""
    return f"ingested/{sha256}.json"


def validation_key(gate: str, digest: str, page: str) -> str:
    """Return ``validation/<gate>/<digest of rows and suite>/<page>``, the key of a page of Data Docs."""
    return f"validation/{gate}/{digest}/{page}"


def frame_name(clip: str, frame_index: int) -> str:
    """Return ``<clip sha256>:<frame index>``, the name of a frame in the ledger and in the readers' tasks."""
    return f"{frame_name_prefix(clip)}{frame_index}"


def frame_name_prefix(clip: str) -> str:
    """Return ``<clip sha256>:``, with which the names of a clip's frames begin."""
    return f"{clip}:"


def parse_frame_name(name: str) -> tuple[str, str]:
    """Return the clip and the frame index, as text, of a frame's name."""
    clip, _, frame_index = name.rpartition(":")
    return clip, frame_index


def _revision(number: int) -> str:
    return f"-r{number}" if number else ""
