import json

from typer.testing import CliRunner

from vitau.measures.fitting.__main__ import app
from vitau.measures.weakness.model import model_from_json


def test_the_command_fits_weights_to_people_that_it_draws(tmp_path):
    out = tmp_path / "weights.json"
    result = CliRunner().invoke(app, ["--people", "6", "--seed", "55", "--out", str(out)])
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert (record["people"], record["seed"]) == (6, 55)
    assert model_from_json(record).side.bias == 0
