"""The lines that the demo prints at its end."""

from pathlib import Path

import pytest

from flows.cli.demo import describe

STYLE = {"auroc": 0.98, "auroc_interval": [0.9, 1.0], "regions": 0.79, "regions_interval": [0.7, 0.88]}
SIDES = {"n_subjects": 15, "accuracy": 14 / 15, "accuracy_interval": [0.8, 1.0]}


@pytest.fixture
def summary():
    regions = {
        "n_subjects": 15,
        "auroc": 0.88,
        "auroc_interval": [0.8, 0.95],
        "accuracy": 0.825,
        "accuracy_interval": [0.75, 0.9],
    }
    palsy = {"n_subjects": 30, "protocol": "subjects", "auroc": 0.98, "auroc_interval": [0.93, 1.0], "ece": 0.041}
    return {
        "clips": 160,
        "subjects": 160,
        "frames": 2240,
        "detection_rate": 1.0,
        "agreement": 0.917,
        "adjudicated": 44,
        "palsy": palsy | {"ece_interval": [0.02, 0.11]},
        "regions": regions | {"sides": SIDES},
        "styles": {
            "people": 40,
            "in_style": STYLE,
            "out_of_style": STYLE | {"auroc": 0.89, "regions": None, "regions_interval": None},
        },
        "seconds": {"total": 404.2},
    }


def test_the_demo_ends_with_side_regions_and_calibration_on_unseen_people(summary):
    lines = describe(summary, Path("demo")).splitlines()
    palsy, regions = lines[3:5]
    assert palsy.endswith(": palsy AUROC 0.980 [0.930, 1.000], calibration error 0.041 [0.020, 0.110].")
    assert regions == (
        "On the 15 palsied ones: mean region AUROC 0.880 [0.800, 0.950], accuracy 0.825 [0.750, 0.900]; "
        "affected side named correctly for 14 of 15, 0.933 [0.800, 1.000]."
    )


def test_the_demo_says_how_well_its_champion_does_in_styles_that_it_never_saw(summary):
    assert (
        "On 40 other drawn people: palsy AUROC 0.980 [0.900, 1.000] in the style of the training, 0.890 [0.900, 1.000] in "
        "styles that it never saw; mean region AUROC 0.790 [0.700, 0.880] and undefined."
    ) in describe(summary, Path("demo")).splitlines()


def test_the_demo_says_that_people_are_left_to_label_and_which_command_opens_their_page(summary):
    line = "5 drawn people are left for you to label: `python -m flows up --state demo` prints the address of their page."
    assert line in describe(summary | {"left_to_label": 5}, Path("demo")).splitlines()
    assert "left for you" not in describe(summary | {"left_to_label": 0}, Path("demo"))


def test_a_demo_of_the_papers_region_model_has_no_side(summary):
    paired = {name: value for name, value in summary["regions"].items() if name != "sides"}
    assert "no side is predicted." in describe(summary | {"regions": paired}, Path("demo"))
    few = summary["regions"] | {"sides": {"n_subjects": 0, "accuracy": None, "accuracy_interval": None}}
    assert "no side is predicted." in describe(summary | {"regions": few}, Path("demo"))
