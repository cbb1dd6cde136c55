"""The flattening that is stored beside the weights of the refinement."""

import functools
import json
from pathlib import Path
from typing import Final

from vitau.measures.landmarks.backend import Flattening, Kept

STATED: Final = Path(__file__).with_name("flattening.json")
"""Written by ``python -m vitau.measures.landmarks.training flattening``; ``weights`` is the sha256 of its network's."""


def stated_flattening(backend: str) -> Flattening | None:
    """Return the stored flattening of a backend, or ``None`` if there is none."""
    return _read(STATED).get(backend)


@functools.cache
def _read(path: Path) -> dict[str, Flattening]:
    if not path.exists():
        return {}
    table = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Flattening(
            kept={measure: Kept(**kept) for measure, kept in row["kept"].items()},
            num_people=row["num_people"],
            seed=row["seed"],
        )
        for name, row in table.items()
    }
