"""Drafted manifests whose clips are compared by their faces."""

import shutil
from pathlib import Path

from flows.identity.drafts import check_draft, write_draft_check
from vitau.media.manifests import read_manifest
from vitau.media.sources import draft_yfp_manifest


def test_a_drafted_clip_of_the_same_face_under_another_name_is_listed_with_both_faces(cohort: Path, tmp_path: Path):
    first, second, *_ = (clip.paths[0] for clip in read_manifest(cohort / "manifest.csv")[0])
    folder = tmp_path / "yfp"
    folder.mkdir()
    shutil.copy(first, folder / "anna_1.mp4")
    shutil.copy(first, folder / "berta_1.mp4")
    shutil.copy(second, folder / "carla_1.mp4")
    (folder / "dora_1.mp4").write_bytes(b"not a video")
    manifest = tmp_path / "draft.csv"
    assert draft_yfp_manifest(folder, manifest) == 4
    before = manifest.read_text()
    check = check_draft(manifest, folder)
    write_draft_check(check, tmp_path / "draft.faces.csv", tmp_path / "draft.faces.html")
    clear = [pair for pair in check.contradictions if pair.distance < 0.01]
    assert [(check.clips[pair.one].subject_id, check.clips[pair.other].subject_id) for pair in clear] == [("anna", "berta")]
    assert [item.item for item in check.skipped] == ["row 5"]
    table, page = (tmp_path / f"draft.faces.{suffix}" for suffix in ("csv", "html"))
    assert "2,3,anna,berta,0.000,one person,give both rows one subject" in table.read_text()
    assert page.read_text().count("data:image/jpeg") == 2 * len(check.contradictions)
    assert {path.stat().st_mode & 0o777 for path in (table, page)} == {0o600}
    assert manifest.read_text() == before, "a proposal changes nothing"
