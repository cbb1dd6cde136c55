"""The stated flattening: that of the documents is the stored one, and the stored one is of the committed weights."""

import inspect
import json
from hashlib import sha256
from pathlib import Path

from safetensors import safe_open

from vitau.measures.landmarks.backend import FLATTENED
from vitau.measures.landmarks.flattening import UNUSED_SEED
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.measures.landmarks.stated import STATED, stated_flattening
from vitau.measures.landmarks.training.__main__ import flattening, refinement

ROOT = Path(__file__).parents[3]


def test_the_documents_state_the_stored_flattening() -> None:
    rows = [line for line in (ROOT / "docs" / "measures.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    for name in ("dlib", "refined"):
        stated = stated_flattening(name)
        assert stated is not None
        kept = [stated.kept[measure] for measure in FLATTENED]
        assert f"| `{name}` | " + " | ".join(f"{own.slope:.2f} ({own.correlation:.2f})" for own in kept) + " |" in rows


def test_the_stored_flattening_was_measured_with_the_defaults_of_its_command() -> None:
    for name in ("dlib", "refined"):
        stated = stated_flattening(name)
        assert stated is not None
        assert (stated.num_people, stated.seed) == (default(flattening, "people"), UNUSED_SEED)


def test_the_stored_flattening_is_that_of_the_committed_weights() -> None:
    table = json.loads(STATED.read_text(encoding="utf-8"))
    assert table["refined"]["weights"] == sha256(WEIGHTS.read_bytes()).hexdigest(), "measure it anew: docs/measures.md"


def test_the_committed_weights_were_trained_with_the_defaults_of_their_command() -> None:
    with safe_open(WEIGHTS, framework="pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card == {
        "patches": default(refinement, "num_patches"),
        "epochs": default(refinement, "epochs"),
        "seed": default(refinement, "seed"),
        "widths": [int(width) for width in default(refinement, "widths").split(",")],
    }


def default(command: object, option: str) -> object:
    """Return the default of an option."""
    return inspect.signature(command).parameters[option].default
