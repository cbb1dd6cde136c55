import fcntl
import json
import os
import shutil

import pytest

from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.bundle import folder_digest, verify_sums
from vitau.registry.download import model_folder, pull
from vitau.scoring.predict import Predictor

FILES = {
    *("README.md", "LANDMARKS.md", "metrics.json", "thresholds.json", "version.json", "SHA256SUMS"),
    *(f"{part}/{name}" for part in ("model", "recognition") for name in ("model.json", "weights.safetensors")),
}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def champion(tracking_uri, registered):
    return tracking_uri, f"models:/{registered[0]}@champion"


@pytest.fixture(scope="module")
def two_versions(tracking_uri, make_bundle):
    """The addresses of two versions of one model."""
    for seed, threshold in enumerate((0.6, 0.7)):
        registry.register(tracking_uri, "two-versions", make_bundle(threshold, seed), metrics={"test": {}}, lineage={})
    return "models:/two-versions/1", "models:/two-versions/2"


def test_a_pulled_folder_has_weights_and_texts_and_no_code(champion, registered, tmp_path):
    pulled = pull(*champion, tmp_path / "model")
    assert names(tmp_path / "model") == FILES
    assert (pulled.num_fetched, pulled.num_files) == (8, 10)
    assert verify_sums(tmp_path / "model") == 9
    assert Predictor(tmp_path / "model").digest == Predictor(registered[1]).digest
    version = json.loads((tmp_path / "model" / "version.json").read_text())
    assert version == {
        "name": registered[0],
        "version": registered[2],
        "digest": folder_digest(registered[1]),
        "run_id": registered[3],
    }
    assert "excludes commercial use" in (tmp_path / "model" / "LANDMARKS.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "a temporary file was left"


def test_a_second_pull_downloads_nothing(champion, tmp_path, monkeypatch):
    pull(*champion, tmp_path / "model")
    monkeypatch.setattr(registry, "fetch_file", None)
    assert pull(*champion, tmp_path / "model").num_fetched == 0


def test_an_interrupted_pull_leaves_no_folder_and_is_resumed(champion, tmp_path):
    def stop_after(count):
        def watch(waiting, _):
            for position, name in enumerate(waiting):
                if position == count:
                    raise KeyboardInterrupt
                yield name

        return watch

    with pytest.raises(KeyboardInterrupt):
        pull(*champion, tmp_path / "model", watch=stop_after(5))
    assert not (tmp_path / "model").exists()
    assert pull(*champion, tmp_path / "model").num_fetched == 3
    assert names(tmp_path / "model") == FILES


def test_a_truncated_file_of_an_interrupted_pull_is_downloaded_again(champion, tmp_path):
    whole = pull(*champion, tmp_path / "model").folder
    part = whole.rename(tmp_path / ".model.partial")
    weights = part / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (part / "stray.txt").write_text("not of this model")
    assert pull(*champion, tmp_path / "model").num_fetched == 1
    assert names(tmp_path / "model") == FILES


def test_pulling_again_repairs_a_changed_file(champion, tmp_path):
    folder = pull(*champion, tmp_path / "model").folder
    (folder / "metrics.json").write_text("{}")
    assert pull(*champion, tmp_path / "model").num_fetched == 1
    assert verify_sums(folder) == 9


def test_another_version_replaces_the_first_one_completely(tracking_uri, two_versions, tmp_path):
    for number, address in enumerate(two_versions, 1):
        assert pull(tracking_uri, address, tmp_path / "model").version.version == number
    assert Predictor(tmp_path / "model").threshold == 0.7
    assert names(tmp_path / "model") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_path_that_is_no_pulled_model_is_refused_and_unchanged(champion, tmp_path, kind):
    path = tmp_path / "mine"
    if kind == "folder":
        path.mkdir()
    (path / "thesis.txt" if kind == "folder" else path).write_text("four years")
    with pytest.raises(RegistryError, match=r"mine holds something other than a pulled model: give the name of a new folder$"):
        pull(*champion, path)
    assert (path / "thesis.txt" if kind == "folder" else path).read_text() == "four years"


def test_a_concurrent_pull_into_the_same_folder_is_refused(champion, tmp_path):
    (tmp_path / ".model.partial").mkdir()
    handle = os.open(tmp_path / ".model.partial", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RegistryError, match=r"^another pull into .*/model is running: wait for it$"):
        pull(*champion, tmp_path / "model")
    os.close(handle)
    assert pull(*champion, tmp_path / "model").num_fetched == 8


def test_files_that_were_changed_in_the_registry_are_refused(tracking_uri, make_bundle, tmp_path):
    name = "tampered"
    version, _ = registry.register(tracking_uri, name, make_bundle(0.3, seed=5), metrics={"test": {}}, lineage={})
    where = registry.download(tracking_uri, f"models:/{name}/{version}", tmp_path / "whole")
    (stored,) = [
        path
        for path in (tmp_path.parents[0]).rglob("artifacts/bundle/thresholds.json")
        if tmp_path not in path.parents and path.read_bytes() == (where / "thresholds.json").read_bytes()
    ]
    (stored.parent / "model" / "weights.safetensors").write_bytes(b"0")
    with pytest.raises(ChecksumError, match=rf"of {name}/{version} arrived with other bytes than were registered: try again$"):
        pull(tracking_uri, f"models:/{name}/{version}", tmp_path / "model")
    (stored.parent / "SHA256SUMS").unlink()  # as in a version that was registered without checksums
    with pytest.raises(ChecksumError, match=rf"^{name}/{version} is not the model that was registered: its files were changed"):
        pull(tracking_uri, f"models:/{name}/{version}", tmp_path / "model")
    shutil.copy(where / "model" / "weights.safetensors", stored.parent / "model" / "weights.safetensors")
    assert verify_sums(pull(tracking_uri, f"models:/{name}/{version}", tmp_path / "model").folder) == 9


def test_an_unwritable_folder_is_an_error(champion, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RegistryError, match=r"cannot be written \(Not a directory\): the downloaded files are kept, so run it again$"
    ):
        pull(*champion, tmp_path / "file" / "model")


def test_a_predictor_accepts_a_model_uri_and_caches_the_model(champion, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    predictor = Predictor(champion[1], tracking_uri=champion[0])
    (face,) = predictor.score(photo)
    assert face.palsied
    assert predictor.folder.parent == tmp_path / "vitau" / "models"
    monkeypatch.setattr(registry, "fetch_file", None)
    assert model_folder(champion[1], champion[0]) == predictor.folder
