import pytest

from flows.demo import count_new
from flows.ingest import IngestSummary
from flows.promotion.registered_models import PALSY, REGIONS
from flows.rescore import RescoreSummary
from vitau.catalog.catalog import Training


def training(model: str) -> Training:
    return Training(
        key=f"key of {model}",
        model=model,
        recipe="tiny-palsy",
        snapshot="s",
        model_digest="d",
        model_key="k",
        version=1,
        run_id="r",
        metrics={},
    )


TRAINED = {model: training(model) for model in (PALSY, REGIONS)}
ALL_KNOWN = {own.key for own in TRAINED.values()}


@pytest.mark.parametrize(
    ("new_clips", "num_answers", "known", "new_subjects", "expected"),
    [
        (0, 0, ALL_KNOWN, 0, 0),
        (1, 0, ALL_KNOWN, 0, 1),
        (0, 8, ALL_KNOWN, 0, 8),
        (0, 0, ALL_KNOWN, 3, 3),
        pytest.param(0, 0, {TRAINED[PALSY].key}, 0, 1, id="regions were trained and refused, so nobody was scored by them"),
        (0, 0, set(), 0, 2),
    ],
)
def test_everything_was_there_already_only_if_nothing_was_added_not_even_a_refused_model(
    new_clips, num_answers, known, new_subjects, expected
):
    ingested = IngestSummary(clips=4, new_clips=new_clips, cut_clips=new_clips, frames=9, faces=9, quarantined={}, skipped=())
    scored = RescoreSummary(subjects=3, new_subjects=new_subjects, overlays=0, not_scored=0)
    assert count_new(ingested, num_answers, known, TRAINED, scored) == expected
