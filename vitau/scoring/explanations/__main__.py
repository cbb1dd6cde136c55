"""``python -m vitau.scoring.explanations``: how true a model's explanations are on labeled clips."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from vitau.asymmetry.clips import LabeledPerson, read_labels, usable_frames
from vitau.asymmetry.people import with_movement
from vitau.command_line import run
from vitau.data.dataset import Crops
from vitau.errors import ClipError, SourceError
from vitau.schema import Split
from vitau.scoring.explanations.evaluate import evaluate_explanations
from vitau.scoring.explanations.fused_evaluation import evaluate_fused
from vitau.scoring.explanations.regions import evaluate_region_maps
from vitau.scoring.predict import Predictor

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A pulled folder, or models:/NAME@ALIAS.", show_default=False)],
    labels: Annotated[Path, typer.Argument(help="A CSV: subject, clip, label, side, AU1 … AU26.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON here.", show_default=False)] = None,
) -> None:
    """Evaluate the explanations of a model on labeled clips of palsied people, at most 30 of them.

    The people must not be those of the model's training. Takes up to ten seconds per person.
    """
    predictor = Predictor(model)
    crops = read_crops([person for person in read_labels(labels) if person.palsied])
    found = evaluate_explanations(predictor.recognition, crops)
    if found is None:
        raise SourceError("no palsied person of the table has a known affected region; fill the columns AU1 to AU26")
    if predictor.recognition_fusion is not None:
        whole = evaluate_fused(predictor.recognition, predictor.recognition_fusion, with_movement(crops))
        found = replace(found, by_name={**whole, **found.by_name})
    if predictor.regions is not None:
        found = replace(found, by_name={**found.by_name, **evaluate_region_maps(predictor.regions, crops)})
    if out is not None:
        out.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    for line in found.card_lines():
        typer.echo(line)


def read_crops(people: Iterable[LabeledPerson]) -> Crops:
    """Read the usable frames of labeled people.

    Raises:
        SourceError: nobody has a usable frame.
    """
    columns: dict[str, list[Any]] = {"pixels": [], "landmarks": [], "person": []}
    kept: list[LabeledPerson] = []
    for person in people:
        try:
            frames = [frame for clip in person.clips for frame in usable_frames(clip)]
        except ClipError as error:
            typer.echo(f"Skipped {person.subject}: {error}", err=True)
            continue
        for pixels, points in frames:
            columns["pixels"].append(pixels)
            columns["landmarks"].append(points)
            columns["person"].append(len(kept))
        kept.append(person)
    if not columns["person"]:
        raise SourceError("no palsied person of the table has a frame that shows the face well enough")
    person_N = np.array(columns["person"])
    affected_NA = np.array([[label is True for label in person.affected] for person in kept])[person_N]
    side_N2 = np.array([[person.side > 0, person.side < 0] for person in kept])[person_N]
    return Crops(
        pixels_MSS3=np.stack(columns["pixels"]),
        row_N=np.arange(len(person_N)),
        landmarks_NL2=np.stack(columns["landmarks"]).astype(np.float32),
        palsied_N=np.ones(len(person_N), bool),
        affected_NA=affected_NA,
        known_NA=np.array([[label is not None for label in person.affected] for person in kept])[person_N],
        sided_NA2=affected_NA[..., None] & side_N2[:, None],
        subject_N=np.array([person.subject for person in kept])[person_N],
        split_N=np.full(len(person_N), str(Split.TEST)),
    )


if __name__ == "__main__":
    run(app)
