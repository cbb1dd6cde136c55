import subprocess
import sys


def test_an_unknown_kind_of_features_is_one_sentence_before_anybody_is_drawn(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vitau.asymmetry", "fit", "--kinds", "movement,color", "--out", tmp_path / "weights.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: there is no kind of features 'color': take some of movement, rest, texture, gradient\n"
    assert not (tmp_path / "weights.json").exists()
