"""The benchmark is the same for everybody, continues after a kill, and its metrics are those of scikit-learn."""

import csv
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vitau.errors import VitauError
from vitau.judging import benchmark, difficulties
from vitau.judging.benchmark import Contestant, Judged, cases
from vitau.judging.difficulties import DIFFICULTIES, EASY, HARD, Case, hardened
from vitau.judging.judges import Outcome, Verdict
from vitau.judging.page import STATEMENT, write_leaderboard
from vitau.judging.standings import standings
from vitau.media.clips import sample_frames
from vitau.media.synthetic.people import draw_person
from vitau.media.synthetic.values import Style
from vitau.schema import AUS
from vitau.training.pretraining.draw_worker import population


@dataclass(frozen=True)
class Brightness:
    """A judge that takes the brightness of the first frame for a palsy, and writes down what it has seen."""

    seen: list[str] = field(default_factory=list, compare=False)
    name: str = "brightness"
    threshold: float = 0.5
    about: str = "a judge for tests"
    digest: str = "1"

    def judge(self, path):
        self.seen.append(path.name)
        score = float(next(iter(sample_frames(path))).image.mean()) / 255
        return [Verdict(face=1, outcome=Outcome.ALARM if score >= 0.5 else Outcome.NO_ALARM, score=score, side="left")]


@dataclass(frozen=True, kw_only=True)
class Bright(Contestant):
    """A contestant that loads the judge above."""

    judge: Brightness = field(default_factory=Brightness)

    def load(self):
        return self.judge


def test_half_of_the_people_of_each_difficulty_are_palsied_and_nobody_is_of_a_cohort():
    people = [(case.person(), case.difficulty) for case in cases(24) if case.style is Style.PAINTED]
    for difficulty in DIFFICULTIES:
        own = [person for person, of in people if of is difficulty]
        assert [len(own), sum(person.palsied for person in own)] == [8, 4]
        low, high = difficulty.severity
        assert all(low <= person.severity <= high for person in own if person.palsied)
    seeds = {person.seed for person, _ in people}
    assert min(seeds) > 2**64
    assert seeds == {population("benchmark")} != {population("pretraining")}


def test_a_difficulty_changes_neither_the_person_nor_the_side():
    person = draw_person(7, 3, palsied=True)
    easy, hard = hardened(person, EASY), hardened(person, HARD)
    assert (hard.affected, hard.side, hard.look) == (easy.affected, easy.side, easy.look)
    assert ((hard.weak > 0) == (person.weak > 0)).all()
    assert hard.weak.sum() < easy.weak.sum()
    assert (hard.effort < easy.effort).all()
    assert not hardened(draw_person(7, 3, palsied=False), HARD).weak.any()


def test_odd_and_missing_people_are_refused():
    with pytest.raises(ValueError, match="7 people are no benchmark; give an even number from 2"):
        cases(7)


def test_a_killed_run_continues_and_a_larger_one_extends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(difficulties, "FRAMES_PER_TASK", 1)
    monkeypatch.setattr(difficulties, "TASKS", difficulties.TASKS[:1])
    contestant = Bright(name="bright")
    first = benchmark.run(tmp_path, [contestant], 2, num_processes=1)
    verdicts = sorted((tmp_path / "verdicts").rglob("*.json"))
    assert len(verdicts) == len(contestant.judge.seen) == 6
    verdicts[3].unlink()
    assert benchmark.num_missing(tmp_path, [contestant], 2) == 1
    calls = []
    again = benchmark.run(tmp_path, [contestant], 2, num_processes=1, progress=lambda done, of: calls.append((done, of)))
    assert len(contestant.judge.seen) == 7
    assert calls == [(5, 6), (6, 6)]
    assert again == first
    assert not list((tmp_path / "clips").iterdir())
    other = Bright(name="other", judge=Brightness(digest="2"))
    benchmark.run(tmp_path, [contestant, other], 2, num_processes=1)
    assert [len(one.judge.seen) for one in (contestant, other)] == [7, 6]  # the first has judged everybody
    assert len({one.score for one in first["bright"] if one.case.index == 0}) == 3  # one picture per style
    (tmp_path / "people.json").write_text("{}")
    with pytest.raises(VitauError, match="holds verdicts on other drawings than this version draws; give another --out"):
        benchmark.run(tmp_path, [contestant], 2, num_processes=1)


def judged(num_people=40, num_unjudged=0):
    """Return verdicts whose scores see half of the palsies, in every style worse than in the one before."""
    rng, made = np.random.default_rng(3), []
    for number, style in enumerate(Style):
        for index in range(num_people):
            palsied = index % 2 == 1
            known = index >= num_unjudged
            score = float(rng.normal(1.5 * palsied - 0.4 * number, 1)) if known else None
            alarm = Outcome.ALARM if known and score > 0.5 else Outcome.NO_ALARM
            made.append(
                Judged(
                    case=Case(index=index, style=style),
                    outcome=alarm if known else Outcome.NO_FACE,
                    score=score,
                    side=("left" if index % 8 else "right") if known else None,
                    regions={au.value: float(rng.normal((index % 4 == 1) * (au is AUS[0]))) for au in AUS} if known else {},
                    palsied=palsied,
                    true_side="left" if palsied else None,
                    affected=(AUS[0].value,) if index % 4 == 1 else (),
                )
            )
    return made


def test_metrics_are_those_of_scikit_learn_and_unjudged_people_are_no_alarms():
    made = judged(num_unjudged=4)
    rows = {(row.style, row.difficulty): row for row in standings("it", made)}
    for style in ("in style", "filmed", "sketched"):
        own = [one for one in made if one.case.style == {"in style": "painted"}.get(style, style)]
        known = [one for one in own if one.score is not None]
        row = rows[style, "all"]
        assert (row.num_people, row.num_judged) == (40, 36)
        assert row.auroc.value == pytest.approx(roc_auc_score([one.palsied for one in known], [one.score for one in known]))
        palsied = [one for one in own if one.palsied]
        assert row.sensitivity.value == pytest.approx(np.mean([one.outcome is Outcome.ALARM for one in palsied]))
        others = [one for one in own if not one.palsied]
        assert row.specificity.value == pytest.approx(np.mean([one.outcome is not Outcome.ALARM for one in others]))
        within = [one for one in palsied if one.regions]
        region = roc_auc_score([bool(one.affected) for one in within], [one.regions[AUS[0]] for one in within])
        assert row.regions.value == pytest.approx(region)
        low, high = row.auroc.interval
        assert low < row.auroc.value < high
    outside = [one for one in made if one.case.style is not Style.PAINTED and one.score is not None]
    both = roc_auc_score([one.palsied for one in outside], [one.score for one in outside])
    assert rows["out of style", "all"].auroc.value == pytest.approx(both)
    assert rows["out of style", "all"].num_people == 40  # a person in two styles is one
    assert sum(rows["in style", one.name].num_people for one in DIFFICULTIES) == 40


def test_the_page_begins_with_what_it_cannot_say_and_the_best_out_of_style_leads(tmp_path):
    weak = [Judged(**{**{name: getattr(one, name) for name in Judged.__slots__}, "score": 0.0}) for one in judged()]
    rows = [*standings("blind", weak), *standings("seeing", judged())]
    about = [("blind", "sees nothing", 0.5), ("seeing", "sees half", 0.5)]
    page = write_leaderboard(tmp_path, about, rows).read_text()
    assert "nothing about patients" in STATEMENT
    assert page.index(STATEMENT) < page.index("Leaderboard") < page.index("<td>seeing</td>") < page.index("<td>blind</td>")
    document = json.loads((tmp_path / "benchmark.json").read_text())
    assert document["statement"] == STATEMENT
    assert [one["name"] for one in document["contestants"]] == ["seeing", "blind"]
    with (tmp_path / "benchmark.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == len(document["standings"]) == 2 * 4 * 4
    assert float(table[0]["auroc"]) == document["standings"][0]["auroc"] == 0.5
