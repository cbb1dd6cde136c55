"""The paper's data in small: a drawn YFP and CK+ go from a drafted manifest to a champion, a report and scores of new people.

Nobody is real. The models of the size `smoke` learn nothing: this shows that the parts fit, and that recordings that separate
the cohorts need a named policy.
"""

import pytest

from tests.journeys.drawn_study import draw_study
from tests.journeys.paper_study import check_outputs, check_promotion, check_refusal, freeze_study, open_workplace

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def place(services, own_label_studio, own_mlflow, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    study = draw_study(tmp_path_factory.mktemp("study"))
    return open_workplace(command, services, own_label_studio, own_mlflow, study, folder)


@pytest.fixture(scope="module")
def snapshot(place):
    return freeze_study(place)


def test_a_small_study_whose_cameras_differ_is_refused_and_scores_people_by_a_policy_with_a_warning(place, snapshot):
    check_refusal(place, snapshot, "smoke")
    check_promotion(place)
    check_outputs(place, snapshot)
