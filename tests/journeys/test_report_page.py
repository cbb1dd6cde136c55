"""The report in a real browser: the first screen, the width of a phone, and what is printed. Its people are made up."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vitau.evaluation.metrics import Estimate, RegionMetrics
from vitau.schema import AUS, Protocol, Side
from vitau.scoring.aggregate import RegionScore, SubjectScore
from vitau.scoring.overlays import to_jpeg
from vitau.scoring.performance import measure_performance
from vitau.scoring.report import KeyFrame, Report, ReportedModel, ReportedSubject, write_report

pytestmark = [pytest.mark.journey]

PEOPLE = 32  # as many as the demo holds out, half of them palsied


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    rng = np.random.default_rng(3)
    picture = to_jpeg(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
    palsied_S = np.arange(PEOPLE) % 2 == 0
    score_S = np.clip(rng.normal(0.15 + 0.7 * palsied_S, 0.2), 0.01, 0.99)
    subjects = [made_up(f"{row:016x}", score_S[row], palsied=palsied_S[row], picture=picture) for row in range(PEOPLE)]
    performance = measure_performance(palsied_S, score_S >= 0.5, score_S, (np.arange(PEOPLE), score_S), 0.5)
    metrics = RegionMetrics(protocol=Protocol.SUBJECTS, num_subjects=PEOPLE, auroc=Estimate(value=0.8), by_au={})
    page = Report(
        title="Facial palsy: people held out from training",
        synthetic=True,
        models=[ReportedModel(name="vitau-regions", version=1, digest="d" * 64, card={}, metrics=metrics)],
        subjects=subjects,
        performance=performance,
    )
    return write_report(page, tmp_path_factory.mktemp("report") / "report.html")


def made_up(name, score, *, palsied, picture):
    found = score >= 0.5
    region = RegionScore(score=0.2, interval=(0.1, 0.3), affected=True, share_affected=0.75, right=0.2, left=0.7)
    pictures = ("face", "mirror", "recognition", "regions", *AUS) if found else ("face", "mirror", "recognition")
    frames = [
        KeyFrame(label=f"at {second}.0 s", palsy_score=score, overlays=dict.fromkeys(pictures, picture)) for second in range(4)
    ]
    whole = SubjectScore(
        palsy_score=score,
        interval=(max(0, score - 0.1), min(1, score + 0.1)),
        threshold=0.5,
        palsied=bool(found),
        uncertain=bool(abs(score - 0.5) < 0.1),
        num_frames=14,
        num_analysed=14,
        regions=dict.fromkeys(AUS, region) if found else {},
        right_side=0.2,
    )
    answers = dict.fromkeys(AUS, True) if palsied else None
    side = Side.LEFT if palsied else None
    return ReportedSubject(
        name=name, score=whole if found else replace(whole, right_side=None), key_frames=frames, affected=answers, side=side,
        palsied=bool(palsied),
    )  # fmt: skip


def test_the_first_screen_answers_how_good_and_who_needs_a_look(report, chromium):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(report.as_uri())
        assert page.evaluate("document.getElementById('short').getBoundingClientRect().bottom") < 900
        text = page.inner_text("#short")
        assert re.search(r"AUROC\s+[01]\.\d{3} \([01]\.\d{3}–[01]\.\d{3}\)\s+balanced accuracy\s+[01]\.\d{3} \(", text)
        linked = page.locator("#short a").last
        number = linked.get_attribute("href")
        linked.click()
        assert 0 <= page.evaluate(f"document.querySelector('{number}').getBoundingClientRect().top") < 900
        healthy = page.locator("details.card").first
        assert not healthy.locator("img").first.is_visible()
        page.locator(".everyone summary").click()
        page.locator(".everyone a").first.click()
        assert healthy.locator("img").first.is_visible(), "the link opens the card"


def test_people_are_cards_at_the_width_of_a_phone(report, chromium):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        wide = "[...document.querySelectorAll('.stack')].filter(table => table.scrollWidth > table.parentElement.clientWidth)"
        assert page.evaluate(f"{wide}.length") == 0
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.people td:nth-child(2)'), '::before').content")
            == '"Decision"'
        )


def test_a_report_of_32_people_prints_on_fewer_than_25_pages(report, chromium, tmp_path):
    with chromium() as browser:
        page = browser.new_page()
        page.goto(report.as_uri())
        printed = page.pdf(format="A4")
    assert 5 < len(re.findall(rb"/Type\s*/Page\b[^s]", printed)) < 25
