import re
from dataclasses import replace

import numpy as np
import pytest

from vitau.evaluation.explanations.results import ExplanationMetrics, Explanations
from vitau.evaluation.metrics import (
    CascadeMetrics,
    Estimate,
    PalsyMetrics,
    RegionDecisionMetrics,
    RegionMetrics,
    RegionSideMetrics,
    SideMetrics,
    SourceMetrics,
    WithinSource,
)
from vitau.schema import AU, AUS, Protocol, Side, Skipped, Visit
from vitau.scoring.aggregate import RegionScore, SubjectScore, VisitScore
from vitau.scoring.report import KeyFrame, Report, ReportedModel, ReportedSubject, render, write_report


@pytest.fixture
def palsied():
    regions = {
        au: RegionScore(score=0.2 - 0.1 * i, interval=(0.1 - 0.1 * i, 0.3 - 0.1 * i), affected=i < 2, share_affected=0.75)
        for i, au in enumerate(AUS)
    }
    return SubjectScore(
        palsy_score=0.8, interval=(0.4, 0.9), threshold=0.5, palsied=True, uncertain=True, num_frames=7, num_analysed=6,
        regions=regions,
    )  # fmt: skip


@pytest.fixture
def healthy():
    return SubjectScore(
        palsy_score=0.1, interval=None, threshold=0.5, palsied=False, uncertain=False, num_frames=1, num_analysed=0, regions={}
    )


@pytest.fixture
def make_page():
    def make(*subjects, synthetic=False, skipped=(), metrics=None, card=None):
        card = {"recipe": "tiny"} | (card or {})
        model = ReportedModel(name="vitau-regions", version=3, digest="d" * 64, card=card, metrics=metrics)
        report = Report(title="T", synthetic=synthetic, models=[model], subjects=subjects, skipped=skipped)
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(report).split("</style>")[1])), render(report)

    return make


def test_a_palsied_person_is_shown_with_uncertainty_and_consensus(make_page, palsied):
    subject = ReportedSubject(
        name="a1", score=palsied, left_out={"blurred": 2}, affected={AU.AU1: True, AU.AU9: False}, side=Side.LEFT
    )
    text, _ = make_page(subject)
    assert "A palsy is recognized: score 0.80, 95 % interval 0.40 to 0.90, threshold 0.50." in text
    assert "The interval contains the threshold: with other seconds the decision could be the opposite." in text
    assert "7 frames used; not used: 2 blurred." in text
    assert "forehead, inner brow AU1 affected 0.200 75 % affected" in text
    assert "The readers agreed. Affected regions: AU1 (left)." in text


def test_a_label_names_the_adjudicator_and_regions_that_were_not_asked_or_cannot_be_told(make_page, palsied, healthy):
    subject = ReportedSubject(
        name="a1", score=palsied, affected={AU.AU1: True}, side=Side.LEFT, settled=True, unclear=frozenset({AU.AU9})
    )
    text, html = make_page(subject, ReportedSubject(name="b2", score=healthy, palsied=False))
    assert "Settled by the adjudicator, because the readers did not agree on everything. Affected regions: AU1 (left)." in text
    assert "The readers agreed" not in text
    readers = re.findall(r'data-label="Readers">([^<]*)', html)
    assert readers == [
        "AU1 (left)",
        "not asked",
        *("affected", "not asked", "not asked", "not asked"),
        "cannot be told",
        *["not asked"] * 3,
    ], readers
    assert "no answer" not in text


def test_the_page_begins_with_how_good_and_who_needs_a_look(make_page, palsied, healthy):
    certain = replace(palsied, uncertain=False, regions={})
    agreeing = {au: region.affected for au, region in palsied.regions.items()}
    unlike = replace(palsied, uncertain=False)
    people = [
        ReportedSubject(name="h1", score=healthy, palsied=False),
        ReportedSubject(name="p1", score=certain, palsied=True),
        ReportedSubject(name="u1", score=palsied, palsied=True, affected=agreeing),
        ReportedSubject(name="r1", score=unlike, palsied=True, affected={au: not answer for au, answer in agreeing.items()}),
        ReportedSubject(name="f1", score=certain, palsied=False),
    ]
    metrics = PalsyMetrics(
        protocol=Protocol.SUBJECTS,
        num_subjects=9,
        auroc=Estimate(value=0.995, interval=(0.9, 1.0)),
        balanced_accuracy=Estimate(value=0.9, interval=(0.8, 0.95)),
    )
    text, html = make_page(*people, metrics=metrics)
    short = text[: text.index("To look at")]
    assert (
        "vitau-regions, on 9 people, who were not in training: AUROC 0.995 (0.900–1.000) "
        "balanced accuracy 0.900 (0.800–0.950)" in short
    )
    assert "f1 recognized, although not palsied u1 the decision is uncertain r1 8 regions unlike the readers: AU1, AU2" in short
    assert re.findall(r'<a href="#p\d">(\w+)</a>', html[html.index('id="people"') :]) == ["f1", "u1", "r1", "p1", "h1"]
    assert html.count('<details class="card folded">') == 1, "the card of the healthy person is closed"
    assert html.index("Look here:") > html.index('id="people"')
    nobody = make_page(people[1], people[0])[0]
    assert "Nobody: every decision is certain, and none differs from what is known about the person." in nobody


def test_the_side_is_shown_with_its_probability_for_a_sided_model(make_page, palsied):
    regions = {au: replace(region, right=0.06, left=0.91) for au, region in palsied.regions.items()}
    text, html = make_page(ReportedSubject(name="a1", score=replace(palsied, right_side=0.13, regions=regions)))
    assert "AU2 left, 87 %" in text
    assert "The affected side is the person’s left , with a probability of 87 %." in text
    assert "forehead, inner brow AU1 affected 0.200 75 % 6 % 91 %" in text
    assert html.count("<b>91\N{NO-BREAK SPACE}%</b>") == 2, "only the named side of an affected region is emphasized"
    unsided = make_page(ReportedSubject(name="a1", score=palsied))[0]
    assert "The side of the face is not predicted by this model." in unsided
    assert "Right side" not in unsided


def test_the_sides_that_were_named_correctly_are_counted(make_page):
    sides = SideMetrics(num_subjects=15, accuracy=Estimate(value=14 / 15, interval=(0.8, 1.0)), ece=Estimate(value=0.04))
    metrics = RegionMetrics(protocol=Protocol.SUBJECTS, num_subjects=16, by_au={}, sides=sides)
    sentence = "named correctly for 14 of 15 people with one affected side: 0.933 (0.800–1.000) , calibration error 0.040 ."
    assert sentence in make_page(metrics=metrics)[0]
    each = RegionSideMetrics(
        num_subjects=15, num_sides=240, num_one_sided=60, named=Estimate(value=0.9), ece=Estimate(value=0.05)
    )
    more = "that side was the more probable one for 0.900 ; calibration error of all sides 0.050 ."
    assert more in make_page(metrics=replace(metrics, region_sides=each))[0]
    assert "named correctly" not in make_page(metrics=replace(metrics, sides=SideMetrics(num_subjects=0)))[0]


def test_visits_are_shown_in_their_order_with_scores_and_regions_and_the_decision_stays_one(make_page, palsied):
    visits = [
        VisitScore(visit=Visit(name="baseline", recorded_at="2026-01-01T09:30", clips=("a",)), score=palsied),
        VisitScore(
            visit=Visit(name="week-12", recorded_at=None, clips=("b",)),
            score=replace(palsied, palsy_score=0.3, interval=None, palsied=False, num_frames=4),
        ),
        VisitScore(visit=Visit(name=None, recorded_at=None, clips=("c",)), score=None),
    ]
    text, html = make_page(ReportedSubject(name="a1", score=palsied, visits=visits))
    card = text[text.index("Visits") :]
    assert "baseline 2026-01-01 09:30 0.80 (0.40–0.90) 7 week-12 not stated 0.30 4" in card
    assert (
        "not stated not stated no frame of it was scored 0 Regions by visit Region, score baseline week-12 not stated" in card
    )
    assert "forehead, inner brow AU1 0.200 0.200 –" in card
    assert "The decision is about the person and rests on the frames of all visits." in card
    assert html.count('<span class="tag yes">palsy</span>') == 2, "in the list of people and on the card"
    assert '<span class="tag no">no palsy</span>' not in html
    assert '<circle class="yes" cx="60.0"' in html, "the bar of a visit has the color of the person's decision"


def test_a_person_with_one_visit_looks_as_one_without(make_page, healthy):
    visits = [VisitScore(visit=Visit(name="baseline", recorded_at="2026-01-01", clips=("a",)), score=healthy)]
    one = make_page(ReportedSubject(name="a1", score=healthy, visits=visits))
    assert one == make_page(ReportedSubject(name="a1", score=healthy))
    assert "Visits" not in one[0]


def test_regions_of_a_healthy_person_are_not_analyzed_rather_than_unaffected(make_page, healthy):
    text, _ = make_page(ReportedSubject(name="a1", score=healthy))
    assert "No palsy is recognized: score 0.10, without an interval because there is only one frame, threshold 0.50." in text
    assert "Regions were not analyzed, because no palsy was recognized. This does not mean that none is affected." in text


def test_the_page_is_marked_synthetic_only_if_it_is(make_page, healthy):
    assert "Synthetic. The models on this page" in make_page(synthetic=True)[0]
    assert "Synthetic." not in make_page(ReportedSubject(name="a1", score=healthy))[0]


def test_a_file_that_was_not_scored_is_listed_with_its_reason(make_page):
    text, _ = make_page(
        ReportedSubject(name="b2", score=None, left_out={"no_face": 14}), skipped=[Skipped(item="x.mp4", reason="it is empty")]
    )
    assert "x.mp4 it is empty" in text
    assert "0 frames used; not used: 14 without a face." in text


def test_the_page_loads_nothing_and_names_are_escaped(make_page, palsied):
    frame = KeyFrame(
        label="at 0.5 s", palsy_score=0.8, overlays={"face": b"\xff\xd8", "recognition": b"\xff\xd8", "AU1": b"\xff\xd8"}
    )
    _, html = make_page(ReportedSubject(name="<script>x</script>", score=palsied, key_frames=[frame]))
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", html) == []
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'; img-src data:;" in html
    assert "<script" not in html
    assert html.count("data:image/jpeg;base64,/9g=") == 3


def test_metrics_of_a_model_are_shown_with_protocol_people_and_interval(make_page):
    region = RegionDecisionMetrics(num_subjects=9, num_affected=4, accuracy=Estimate(value=0.5))
    metrics = RegionMetrics(
        protocol=Protocol.SUBJECTS,
        num_subjects=9,
        auroc=Estimate(value=0.85, interval=(0.7, 0.95)),
        by_au=dict.fromkeys(AUS, region),
    )
    text, _ = make_page(metrics=metrics)
    assert "Measured on 9 people who were not in training (protocol subjects )" in text
    assert "AUROC, mean of regions 0.850 (0.700–0.950)" in text
    assert "jaw AU26 4 of 9 not defined 0.50" in text


def test_the_shortcut_probe_stands_beside_the_metrics_and_its_warning_on_top(healthy):
    probe = {"auroc": 0.97, "auroc_interval": [0.9, 1.0], "n_people": 51, "n_palsied": 21, "by_column": {}}
    own = SourceMetrics(num_subjects=9, num_palsied=4, auroc=Estimate(value=0.6))
    within = WithinSource(num_sources=3, by_source={"yfp": own}, auroc=Estimate(value=0.6, interval=(0.4, 0.8)))
    metrics = PalsyMetrics(protocol=Protocol.SUBJECTS, num_subjects=9, auroc=Estimate(value=0.99), within_source=within)
    model = ReportedModel(name="vitau-palsy", digest="d" * 64, card={"shortcut_probe": probe}, metrics=metrics)
    subjects = [ReportedSubject(name="a1", score=healthy, notes=["Confounded."])]
    report = Report(title="T", synthetic=False, models=[model], subjects=subjects, warnings=["Confounded."])
    page = render(report).split("</style>")[1]
    assert page.index("Confounded.") < page.index('<h2 id="people">')
    assert page.count("Confounded.") == 1
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "from how people were recorded: AUROC 0.970 (0.900–1.000) , 51 people, out-of-fold" in text
    sources = "come from 3 sources. AUROC within sources with both cohorts: 0.600 (0.400–0.800) ; yfp 0.600 (4 palsied of 9)"
    assert sources in text
    alone = replace(metrics, within_source=WithinSource(num_sources=2, by_source={}))
    assert "No source has both cohorts" in render(replace(report, models=[replace(model, metrics=alone)]))


def test_related_pages_are_linked(healthy):
    report = Report(title="T", synthetic=True, models=[], subjects=[ReportedSubject(name="a", score=healthy)])
    assert "More pages" not in render(report)
    assert 'More pages: <a href="labeling.html">labeling</a>.' in render(replace(report, related={"labeling": "labeling.html"}))


def test_the_page_is_written_atomically(tmp_path, healthy):
    report = Report(title="T", synthetic=True, models=[], subjects=[ReportedSubject(name="a", score=healthy)])
    assert write_report(report, tmp_path / "report.html").read_text().endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_photo_in_the_abstention_band_says_why_it_is_uncertain(make_page, healthy):
    score = replace(healthy, palsy_score=0.42, uncertain=True, abstention=(0.4, 0.55))
    band = {"low": 0.4, "high": 0.55, "error": 0.1, "palsied_people": 10, "other_people": 12}
    text, _ = make_page(ReportedSubject(name="a1", score=score), card={"abstention": band})
    assert "uncertain" in text
    assert "The score lies in the abstention band of 0.40 to 0.55" in text
    assert "The interval contains the threshold" not in text
    assert "abstention band 0.400 to 0.550, chosen on 10 palsied and 12 other people" in text


def test_what_both_models_find_together_is_shown_with_false_alarms(make_page):
    cascade = CascadeMetrics(
        num_subjects=30,
        num_palsied=12,
        by_au={AU.AU1: RegionDecisionMetrics(num_subjects=30, num_affected=6, specificity=Estimate(value=0.75))},
        sensitivity=Estimate(value=0.625),
        false_alarms=Estimate(value=0.11, interval=(0.05, 0.2)),
        missed=Estimate(value=0.25),
    )
    text, _ = make_page(
        metrics=RegionMetrics(num_subjects=12, by_au=cascade.by_au, cascade=cascade, protocol=Protocol.SUBJECTS)
    )
    assert "Both models together , on 12 palsied people and 18 others" in text
    assert "others who get an affected region 0.110 (0.050–0.200)" in text
    assert "palsied people whose regions are not analyzed 0.25" in text
    assert "sensitivity, mean of regions 0.62" in text
    assert "forehead, inner brow AU1 not defined 0.75" in text


def explained(mirror, gradcam):
    """Build explanations that point at an affected region in that share of the frames; chance is 0.2."""
    names = ("chance", "chance_on_face", "face_mass", "face_area", "deletion", "insertion", "randomized", "empty")

    def own(share):
        values = {"pointing": (np.arange(20) < 20 * share).astype(float), **dict.fromkeys(names, np.full(20, 0.2))}
        return ExplanationMetrics.of_people(values)

    by_name = {"mirror_occlusion": own(mirror), "gradcam": own(gradcam)}
    return Explanations(num_people=20, num_frames=40, seen_in_training=False, by_name=by_name)


@pytest.mark.parametrize(
    ("explanations", "pictures"),
    [
        (None, ["the face as it was scored", "mirror occlusion", "Grad-CAM", "heatmaps of the affected regions"]),
        (
            explained(0.9, 0.1),
            [
                *("the face as it was scored", "mirror occlusion"),
                *("heatmaps of the affected regions", "Grad-CAM (not better than chance)"),
            ],
        ),
        (
            explained(0.1, 0.9),
            [
                *("the face as it was scored", "Grad-CAM"),
                *("heatmaps of the affected regions", "mirror occlusion (not better than chance)"),
            ],
        ),
    ],
)
def test_an_explanation_that_is_not_better_than_chance_comes_last_and_says_so(explanations, pictures, palsied):
    overlays = dict.fromkeys(("face", "recognition", "mirror", "regions"), b"\xff\xd8")
    frame = KeyFrame(label="at 0.5 s", palsy_score=0.8, overlays=overlays)
    model = ReportedModel(name="vitau-palsy", digest="d" * 64, card={}, explanations=explanations)
    subject = ReportedSubject(name="a1", score=palsied, key_frames=[frame])
    page = render(Report(title="T", synthetic=False, models=[model], subjects=[subject]))
    assert re.findall(r'<img [^>]*title="([^"]+)"', page) == pictures
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))
    if explanations is None:
        assert "Whether they are true was not measured for this model." in text
        assert "Explanations , on" not in text
    else:
        assert (
            "On 20 palsied people who were not in training, 40 frames, the brightest point was at an affected region, of a"
            in text
        )
        assert "mirror occlusion 90 % (a random point of the picture 20 %" in text or "mirror occlusion 10 %" in text
        assert "Explanations , on 20 palsied people who were not in training, 40 frames." in text
