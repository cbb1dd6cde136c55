import json
import subprocess
import sys

import pytest

from vitau.registry import registry
from vitau.schema import SCORE_COLUMNS

PULL = """
import json, logging, sys
import mlflow, pandas as pd
folder, photo, clip, landscape = sys.argv[1:]
model = mlflow.pyfunc.load_model(folder)
data = open(photo, "rb").read()
images = model.predict(pd.DataFrame({"image": [data, open(landscape, "rb").read(), b"no image"]}))
paths = model.predict(pd.DataFrame({"path": [photo, clip, "missing.jpg"]}), params={"analyse_all": True})
options = {"mirrored": [False, True], "start_s": [0.5, 0.5], "end_s": [1.5, None]}
parts = model.predict(pd.DataFrame({"path": [clip, clip], **options}))
import vitau
frames = {"images": images, "paths": paths, "parts": parts}
rows = {name: frame.astype(object).where(frame.notna(), None).to_dict("records") for name, frame in frames.items()}
print(json.dumps({"vitau": vitau.__file__, "columns": list(images.columns), **rows}, default=list))
"""


@pytest.fixture(scope="module")
def pulled(tracking_uri, registered, photo, clip, landscape, tmp_path_factory):
    """Load the pulled model in a process outside this repository; return its folder, predictions and log."""
    folder = tmp_path_factory.mktemp("pulled")
    registry.download(tracking_uri, f"models:/{registered[0]}@champion", folder)
    done = subprocess.run(
        [sys.executable, "-c", PULL, folder, photo, clip, landscape], cwd=folder, capture_output=True, text=True, check=True
    )
    return folder, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_the_model_contains_its_own_code(pulled):
    folder, answer, _ = pulled
    assert answer["vitau"] == str(folder / "code" / "vitau" / "__init__.py")


def test_bytes_of_a_photo_become_one_row_per_face(pulled):
    _, answer, _ = pulled
    assert answer["columns"] == list(SCORE_COLUMNS)
    (face,) = answer["images"]
    assert (face["input"], face["face_index"], face["palsied"], face["analysed"]) == ("0", 0, True, True)
    assert len(face["box"]) == 4
    assert face["warning"] == "Confounded sources: beware."


def test_paths_may_be_photos_and_clips(pulled, photo, clip):
    _, answer, _ = pulled
    inputs = [row["input"] for row in answer["paths"]]
    assert inputs[0] == str(photo)
    assert inputs.count(str(clip)) == len(inputs) - 1 > 5
    assert answer["paths"][0]["AU1"] == pytest.approx(answer["images"][0]["AU1"], abs=1e-6)


def test_inputs_without_a_row_are_named_in_the_log(pulled):
    log = pulled[2]
    assert "input 1 has no scores: the photo shows no face" in log
    assert "input 2 has no scores: the photo is not an image that can be read" in log
    assert "input 2 has no scores: the recording is missing; check its path" in log


def test_columns_say_the_range_of_a_clip_and_whether_it_is_mirrored(pulled):
    rows = pulled[1]["parts"]
    times = [row["time_s"] for row in rows]
    second = times.index(min(times), 1)
    assert all(0.5 <= time < 1.5 for time in times[:second])
    assert max(times[second:]) > 1.5
    assert rows[0]["palsy_score"] != rows[second]["palsy_score"], "the same frame, unmirrored"
