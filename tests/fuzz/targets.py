"""The readers of foreign input, each as a function of bytes, with the inputs from which mutations start.

What a reader accepts must also suit what comes next: a database that stores no NUL character, the order of answers by time,
an export that is read again. Each reader's function checks that.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.fuzz.answers import (
    NAME,
    csv_seeds,
    label_json_seeds,
    mutate_webhook,
    run_csv,
    run_label_json,
    run_webhook,
    webhook_seeds,
)
from tests.fuzz.checkpoints import checkpoint_seeds, mutate_checkpoint, run_checkpoint
from tests.fuzz.containers import mutate_structure
from tests.fuzz.engine import Target
from tests.fuzz.listings import ckplus_seeds, manifest_seeds, run_ckplus, run_manifest
from tests.fuzz.media import image_seeds, playlist_seeds, run_image, run_video, video_seeds
from tests.fuzz.mutations import mutate, mutate_json, mutate_rows


def mutate_text(*tokens: bytes) -> Callable[..., bytes]:
    """Return the mutation of bytes with the words of a format."""
    return partial(mutate, tokens=tokens)


def mutate_table(*tokens: bytes) -> Callable[..., bytes]:
    """Return the mutation of a table with the words of a format."""
    return partial(mutate_rows, tokens=tokens)


_MANIFEST_WORDS: Final = (
    *(b"../", b"/etc/passwd", b"https://", b"http://[::1", b"*", b"?", b"**", b"[a", b"~", b"palsy", b"control", b"withdrawn"),
    *(
        b"p1.mp4",
        b"p2",
        b"p2/?.png",
        b"link.mp4",
        b"loop.mp4",
        b"loop.mp4/x",
        b"sub/../p1.mp4",
        b"true",
        b"-",
        b"",
        b"synthetic",
    ),
)
_CSV_WORDS: Final = (
    *(b"AU1", b"AU26", b"yes", b"no", b"?", b"left", b"right", b"=cmd", b"'=cmd", b"-1", b"reader-a", b"adjudicator", b""),
    *(b"2026-11-23T09:30:00Z", b"2026-11-23", b"2026-W48", b"[]", b'["a"]', b'[["a",1,2,3,4]]', b"[1e999]", NAME.encode()),
)
TARGETS: Final = {
    target.name: target
    for target in (
        Target(name="manifest", seeds=manifest_seeds, run=run_manifest, mutate=mutate_table(*_MANIFEST_WORDS)),
        Target(
            name="ckplus",
            seeds=ckplus_seeds,
            run=run_ckplus,
            mutate=mutate_text(
                b"S005", b"_001_", b".png", b"/", b"\n", b"->", b"->..", b"S999_999_99999999.png", b"ckextended.csv"
            ),
        ),
        Target(name="label-json", seeds=label_json_seeds, run=run_label_json, mutate=mutate_json),
        Target(name="webhook", seeds=webhook_seeds, run=run_webhook, mutate=mutate_webhook),
        Target(name="checkpoint", seeds=checkpoint_seeds, run=run_checkpoint, mutate=mutate_checkpoint),
        Target(
            name="playlist",
            seeds=playlist_seeds,
            run=run_video,
            mutate=mutate_text(
                b"#EXTINF:1,\n", b"file:", b"concat:", b"crypto:", b"neighbor.mp4", b"ftyp", b"\x1aE\xdf\xa3", b"RIFF"
            ),
        ),
        Target(name="csv", seeds=csv_seeds, run=run_csv, mutate=mutate_table(*_CSV_WORDS)),
        Target(name="image", seeds=image_seeds, run=run_image, mutate=mutate_structure, media=True),
        Target(name="video", seeds=video_seeds, run=run_video, mutate=mutate_structure, media=True),
    )
}
