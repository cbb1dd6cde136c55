import json
import shutil
import subprocess

import pytest

from tests.scoring.conftest import VIT
from vitau.errors import ChecksumError
from vitau.models.checkpoint import save_model
from vitau.models.vit import build_vit
from vitau.registry.bundle import SUMS, read_thresholds, verify_sums, write_sums
from vitau.scoring.predict import Predictor


@pytest.fixture
def folder(make_bundle, tmp_path):
    """A model folder with checksums, which a test may change."""
    copied = shutil.copytree(make_bundle(0.4), tmp_path / "model-folder")
    (copied / "README.md").write_text("# a model\n")
    write_sums(copied)
    return copied


def test_sha256sum_verifies_the_checksums(folder):
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == verify_sums(folder) == 5


@pytest.mark.parametrize("name", ["model/weights.safetensors", "recognition/model.json", "README.md"])
def test_a_changed_byte_is_an_error_when_the_model_is_loaded(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ChecksumError) as error:
        Predictor(folder)
    assert str(error.value).startswith(f"{name} in {folder} was changed (its sha256 is ")
    assert str(error.value).endswith("…): pull the model again")


def test_a_missing_file_is_an_error(folder):
    (folder / "README.md").unlink()
    with pytest.raises(ChecksumError, match=r" lacks README\.md, which its SHA256SUMS names: pull the model again$"):
        verify_sums(folder)


@pytest.mark.parametrize("line", ["no checksum", f"{'0' * 64}  ../elsewhere", f"{'0' * 64}  /etc/passwd", f"{'0' * 63}  a"])
def test_a_line_that_is_no_checksum_or_names_a_file_elsewhere_is_refused(folder, line):
    (folder / SUMS).write_text(line + "\n")
    with pytest.raises(ChecksumError, match="has a line that is no checksum of a file here"):
        verify_sums(folder)


def test_a_folder_without_checksums_is_not_verified(make_bundle):
    assert verify_sums(make_bundle(0.5)) == 0


def test_the_thresholds_come_from_the_cards(make_bundle, tmp_path):
    found = read_thresholds(make_bundle(0.4))
    assert found["recognition"] == {"palsied": "palsy_score >= threshold", "threshold": 0.4, "chosen_on": "val"}
    assert (found["regions"]["threshold"], "sides" in found) == (0.0, False)
    save_model(tmp_path / "model", build_vit(VIT), VIT, threshold=0.7)
    assert list(read_thresholds(tmp_path)) == ["recognition"]
    assert json.loads(json.dumps(found)) == found


def test_thresholds_of_the_regions_that_were_chosen_are_named_with_their_people(make_bundle):
    folder = make_bundle(0.4)
    card = json.loads((folder / "model" / "model.json").read_text())
    (folder / "model" / "model.json").write_text(json.dumps(card | {"region_thresholds": {"AU1": 0.1}}))
    found = read_thresholds(folder)["regions"]
    assert (found["threshold"], found["chosen_on"]) == (0.0, "val")
    assert found["subtracted_from_the_mean_of_the_map"] == {"AU1": 0.1}
