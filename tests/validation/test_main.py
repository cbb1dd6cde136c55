import json

import pyarrow.parquet as pq

from validation.__main__ import main


def test_a_table_with_bad_frames_passes_with_the_frames_in_quarantine(make_frames, tmp_path, capsys):
    pq.write_table(make_frames([{}, {"sharpness": 2.0}]), tmp_path / "frames.parquet")
    assert main(["frames", str(tmp_path / "frames.parquet")]) == 0
    assert capsys.readouterr().out == "2 frames, in quarantine: 1 blurred\n"


def test_a_table_out_of_order_fails_with_one_sentence(make_frames, tmp_path, capsys):
    pq.write_table(make_frames([{"frame_index": 4}, {}]), tmp_path / "frames.parquet")
    assert main(["frames", str(tmp_path / "frames.parquet"), "--json"]) == 1
    out, err = capsys.readouterr()
    failure = "the frames of a clip are not in increasing order (1 of 2 rows, first: subject s1, clip c1, frame_index 1)"
    assert json.loads(out) == {"rows": 2, "quarantined": {}, "passed": False, "failures": [failure]}
    assert err == f"Error: gate frames is not passed: {failure}.\n"


def test_a_file_that_is_no_frame_table_is_an_error(tmp_path, capsys):
    (tmp_path / "x.parquet").write_bytes(b"")
    assert main(["frames", str(tmp_path / "x.parquet")]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {tmp_path / 'x.parquet'} is not a frame table: ")
