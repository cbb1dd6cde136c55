"""Models in style and out of style in seconds: on drawn crops, without detection; the benchmark judges whole clips."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from vitau.judging.benchmark import Judged
from vitau.judging.difficulties import Case, truth_of
from vitau.judging.judges import Outcome
from vitau.judging.standings import IN_STYLE, METRICS, OUTSIDE, standings
from vitau.media.synthetic.drawing import Drawing, draw_crop
from vitau.media.synthetic.people import Person, draw_person
from vitau.media.synthetic.values import Style
from vitau.processes import single_threaded
from vitau.schema import AUS, CROP_SIZE, Side
from vitau.scoring.predict import Predictor
from vitau.training.pretraining.draw_worker import population

NUM_PEOPLE: Final = 40
POPULATION: Final = "styles"
"""Name of the population, which is in no cohort and in no training."""
SHOWN_TASKS: Final = ("rest", "brow_raise", "eye_closure", "smile")
"""As few as movement needs, so that models with movement are judged with it."""
SIZE: Final = 96


def compare_styles(predictor: Predictor, num_people: int = NUM_PEOPLE) -> dict[str, Any]:
    """Return the metrics of a model on the same drawn people in the style of trainings and in styles that none of them saw.

    Four crops per person: rest, raised brows, closed eyes and a smile, at full effort. 40 people take about 20 s of a core.

    Returns:
        ``people``, and per ``in_style`` and ``out_of_style`` the metrics with intervals over people, as JSON values.
    """
    judged = list(_judge(predictor, num_people))
    rows = {row.style: row.record() for row in standings("model", judged) if row.difficulty == "all"}
    kept = {*METRICS, *(f"{name}_interval" for name in METRICS)}
    found = {
        name: {key: value for key, value in rows[style].items() if key in kept}
        for name, style in (("in_style", IN_STYLE), ("out_of_style", OUTSIDE))
    }
    return {"people": num_people, **found}


def _judge(predictor: Predictor, num_people: int) -> Iterator[Judged]:
    with single_threaded():
        for index in range(num_people):
            person = draw_person(population(POPULATION), index)
            for style in Style:
                yield _verdict(predictor, person, Case(index=index, style=style))


def _verdict(predictor: Predictor, person: Person, case: Case) -> Judged:
    drawn = list(_frames(person, case.style))
    crops = np.stack([frame.image for frame in drawn])
    landmarks = [(frame.landmarks + 0.5) * (CROP_SIZE / SIZE) - 0.5 for frame in drawn]
    movement_F = predictor.measure(lambda: [crops], landmarks)
    scores = predictor.score_person(lambda: [crops], analyse_all=True, movement_F=movement_F)
    score, truth = predictor.rule.combine(scores.palsy_N), truth_of(person)
    analyzed = scores.analysed_N.any()
    right = None if scores.right_N is None or not analyzed else float(scores.right_N.mean())
    return Judged(
        case=case,
        outcome=Outcome.ALARM if score >= predictor.threshold else Outcome.NO_ALARM,
        score=score,
        side=None if right is None else (Side.RIGHT if right >= 0.5 else Side.LEFT).value,
        regions=dict(zip(map(str, AUS), scores.region_NA.mean(0).tolist(), strict=True)) if analyzed else {},
        palsied=person.palsied,
        true_side=truth["side"],
        affected=tuple(truth["affected"]),
    )


def _frames(person: Person, style: Style) -> Iterator[Drawing]:
    rng = np.random.default_rng([person.seed, person.index, 9])
    for task in SHOWN_TASKS:
        yield draw_crop(person, task, 1.0, rng, SIZE, style=style)
