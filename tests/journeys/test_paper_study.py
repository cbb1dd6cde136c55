"""The paper's data in small: a drawn YFP and CK+ go from a drafted manifest to a champion, a report and scores of new people.

Nobody is real. With the size `smoke` this shows that the parts fit; with the size `tiny`, which takes half an hour and is left
out of `make test`, the models learn, and the policy judges them.
"""

import csv
import json

import pytest

from flows.promotion.registered_models import PALSY, REGIONS
from tests.journeys.drawn_study import NUM_CLIPS, NUM_CONTROLS, NUM_PATIENTS, NUM_UNKNOWN, draw_study
from vitau.registry import registry

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return draw_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def flows(services, own_label_studio, own_mlflow, command, tmp_path_factory):
    """A function that runs a command of the flows on a store, a catalog and a registry of this module."""
    folder = tmp_path_factory.mktemp("paper")
    environment = services.environment | {
        "VITAU_STORE": (own_label_studio.state / "store").as_uri(),  # which it may serve
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_WORK": str(folder / "work"),
        "VITAU_LABEL_STUDIO_URL": own_label_studio.url,
        "VITAU_MLFLOW_URL": own_mlflow,
        "VITAU_IDENTITY_FLOOR": "0.15",  # drawn faces look alike
        "VITAU_IDENTITY_WARNING": "0.15",
    }

    def run(*arguments, **settings):
        done = command("flows", *arguments, env=environment | settings, timeout_s=3000)
        assert done.code == 0, done.err
        return done

    run.environment = environment
    return run


@pytest.fixture(scope="module")
def snapshot(flows, study):
    """The digest of a snapshot of all patients and controls."""
    manifest = study.yfp / "manifest.csv"
    flows("draft-yfp", study.yfp, manifest)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), len({row["subject"] for row in rows})) == (NUM_CLIPS, NUM_PATIENTS)
    assert json.loads(flows("ingest", manifest).out)["clips"] == NUM_CLIPS
    assert json.loads(flows("ingest", study.ckplus, "--layout", "ckplus").out)["clips"] == NUM_CONTROLS
    flows("labels", "import", study.labels, "--source", "yfp")
    flows("annotate")
    return json.loads(flows("freeze").out)["snapshot"]


def check_story(flows, study, snapshot, out, size, **settings):
    """Train, and check champions, report and the scores of new people."""
    flows("retrain", snapshot, "--size", size, "--protocol", "lopo", **settings)
    url = flows.environment["VITAU_MLFLOW_URL"]
    assert [registry.champion(url, model) for model in (PALSY, REGIONS)] == [1, 1]
    (decision,) = [entry for entry in json.loads(flows("history", "--json").out) if entry["model"] == PALSY][-1:]
    assert f"leave one person out, n = {NUM_PATIENTS}" in json.dumps(decision)
    flows("rescore", snapshot, **settings)
    scored = json.loads(flows("score-new", study.unknown, "--out", out, **settings).out)
    assert (scored["people"], scored["skipped"]) == (NUM_UNKNOWN, 0)
    return (out / "report.html").read_text()


def test_a_small_study_goes_from_a_drafted_manifest_to_scores_of_new_people(flows, study, snapshot, tmp_path):
    check_story(flows, study, snapshot, tmp_path / "scores", "smoke")
