"""Figures of a version: that they are whole SVG files, and that their counts are those of the people."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from flows.reports.figures import evaluation_figures
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.schema import AUS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def people():
    affected_SA = np.zeros((6, len(AUS)), dtype=bool)
    affected_SA[:2, 0] = True
    return HeldOut(
        subjects=tuple("abcdef"),
        palsied_S=np.array([True, True, True, False, False, False]),
        affected_SA=affected_SA,
        known_SA=np.ones((6, len(AUS)), dtype=bool),
        groups={"side": ["right", "left", "both", None, None, None]},
    )


ANSWERS = Answers(
    palsy_S=np.array([0.9, 0.8, 0.3, 0.6, 0.1, np.nan]), region_SA=None, threshold=0.5, num_parameters=1, face_flops=1
)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own figures


def test_recognition_has_roc_reliability_and_confusion(people):
    figures = evaluation_figures(people, ANSWERS)
    assert set(figures) == {"roc", "reliability", "confusion"}
    assert texts(figures["confusion"])[-5:] == ["palsy", "2", "1", "1", "1"], "the person who cannot test it is left out"
    assert all("<style>" in svg for svg in figures.values())
    assert ET.fromstring(figures["roc"]).find(f"{SVG}polyline") is not None  # noqa: S314 - our own figures


def test_regions_are_counted_one_by_one_on_palsied_people(people):
    region_SA = np.full((6, len(AUS)), -0.1)
    region_SA[0, 0] = region_SA[2, 0] = 0.2
    answers = replace(ANSWERS, region_SA=region_SA, right_S=np.array([0.9, 0.2, 0.5, np.nan, np.nan, np.nan]))
    figures = evaluation_figures(people, answers)
    assert set(figures) == {"roc", "reliability", "confusion"}
    shown = texts(figures["confusion"])
    assert shown[5:10] == ["forehead, inner brow (AU1)", "1", "1", "1", "0"]
    assert shown[-4:] == ["0", "0", "0", "3"]
    assert "2 people" in ET.fromstring(figures["reliability"]).find(f"{SVG}title").text  # noqa: S314 - our own figures


def test_figures_that_nobody_defines_are_missing(people):
    assert set(evaluation_figures(replace(people, palsied_S=np.ones(6, dtype=bool)), ANSWERS)) == {"reliability", "confusion"}
    assert evaluation_figures(people, replace(ANSWERS, palsy_S=np.full(6, np.nan))) == {}
