"""The drift page shows what drifted, and loads nothing."""

import re
from dataclasses import asdict

import numpy as np
import pytest

from flows.reports.drift import render_drift_page
from vitau.evaluation.drift import People, compare
from vitau.evaluation.performance import PerformanceChange


def people(shift: float, *, source: str = "clinic") -> People:
    scores = np.random.default_rng(0).normal(shift, 1, 60)
    names = tuple(f"person-{index}" for index in range(60))
    return People(subjects=names, source=(source,) * 60, numbers={"palsy score": scores})


def facts(before: People, now: People, **changes) -> dict[str, object]:
    found = {
        "model": "vitau-regions",
        "version": 3,
        "snapshot": "5" * 64,
        "people_before": len(before.subjects),
        "people_now": len(now.subjects),
        "drifts": [asdict(drift) for drift in compare(before, now, num_permutations=100)],
        "promises": [],
        "asked_about": 0,
    }
    return found | changes


@pytest.fixture
def render():
    def run(before: People, now: People, **changes) -> str:
        return render_drift_page(facts(before, now, **changes), before, now, at="2026-11-25 10:00 UTC")

    return run


def text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))


def test_a_shifted_measure_is_marked_and_drawn_before_and_now(render):
    page = render(people(0), people(2), asked_about=4)
    assert "1 of 1 comparisons drifted." in text(page)
    assert "The readers are asked first about the 4 people who differ most." in text(page)
    assert re.findall(r'<tr class="drifted">\s*<td>([^<]+)', page) == ["palsy score"]
    assert page.count("<svg") == 2


def test_equal_people_raise_no_alarm(render):
    page = render(people(0), people(0))
    assert "Nothing drifted: 1 comparisons found no difference" in text(page)
    assert 'class="drifted"' not in page
    assert "Too few people who came since have labels." in text(page)


def test_a_model_that_does_worse_is_named(render):
    worse = PerformanceChange(
        measure="palsy, AUROC",
        promised=0.9,
        now=0.6,
        num_promised=60,
        num_now=60,
        difference=-0.3,
        low=-0.4,
        high=-0.2,
        broken=True,
    )
    page = render(people(0), people(0), promises=[asdict(worse)])
    assert "The model does worse than on its test people: palsy, AUROC." in text(page)
    assert "-0.300 [-0.400, -0.200] worse" in text(page)


def test_the_page_loads_nothing_names_no_person_and_marks_synthetic_people(render):
    page = render(people(0), people(2))
    assert re.findall(r"(?:src|href)=", page) == []
    assert "default-src 'none'" in page
    assert "person-" not in page
    assert "Synthetic." not in page
    assert "Synthetic." in render(people(0), people(2, source="synthetic"))


def test_the_page_says_who_has_no_measured_movement(render):
    assert "Movement was measured in 3 of 60 people" in text(
        render(people(0), people(0), unmeasured="Movement was measured in 3 of 60 people before and 60 of 60 now.")
    )
    assert "Movement was measured" not in text(render(people(0), people(0), unmeasured=None))
