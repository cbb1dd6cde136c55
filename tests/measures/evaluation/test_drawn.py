import csv
import json

import pytest
from typer.testing import CliRunner

from vitau.command_line import run
from vitau.errors import VitauError
from vitau.measures.evaluation import __main__ as command
from vitau.measures.evaluation.drawn import EXERCISE, FOREHEAD_FLAG, PERFORMED, SIDE, evaluate_cohort
from vitau.media.synthetic.people import TASKS
from vitau.schema import AUS

TRUTH = [
    ("central", "left", {"AU12", "AU25"}),
    ("complete", "right", set(AUS)),
    ("corrugator", "left", {"AU4", "AU12"}),
    ("control", "", set()),
]
"""Name, palsied side and affected regions of four people."""
RIGHT_FLAGS = {"central": "true", "complete": "false", "corrugator": "", "control": ""}


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folders(tmp_path):
    """Return a function that writes the truth and tables with these answers; by default all are right."""
    cohort, measured = tmp_path / "people", tmp_path / "measured"
    cohort.mkdir()
    measured.mkdir()

    def write_tables(*, names=None, usable=None, sides=None, flags=None, missing=()):
        (cohort / "cohort.json").write_text(json.dumps({"frames_per_task": 2, "fps": 6}))
        write(
            cohort / "truth.csv",
            [
                {
                    "subject": name,
                    "palsied": int(bool(side)),
                    "side": side,
                    "severity": 1,
                    **{au: int(au in regions) for au in AUS},
                }
                for name, side, regions in TRUTH
            ],
        )
        frames = [
            {"input": name, "time_s": f"{number / 6:.6g}", "task": TASKS[number // 2], "usable": "true"}
            for name, _, _ in TRUTH
            for number in range(14)
        ]
        for (name, number), task in (names or {}).items():
            frames[14 * [row[0] for row in TRUTH].index(name) + number]["task"] = task
        for name, number in usable or ():
            frames[14 * [row[0] for row in TRUTH].index(name) + number]["usable"] = "false"
        write(measured / "series.csv", [frame for frame in frames if frame["input"] not in missing])
        people = [
            {
                "input": name,
                "side": (sides or {}).get(name, side or "left"),
                "asymmetry": 0.1 if name == "control" else 0.3,
                "forehead_spared": (flags or RIGHT_FLAGS)[name],
            }
            for name, side, _ in TRUTH
        ]
        write(measured / "people.csv", [person for person in people if person["input"] not in missing])
        return evaluate_cohort(cohort, measured)

    return write_tables


def right(result, name):
    (count,) = (count for count in result.counts if count.name == name)
    return count.right, count.total


def test_right_answers_reach_all_limits(folders):
    result = folders()
    assert [right(result, name) for name in (EXERCISE, SIDE, FOREHEAD_FLAG)] == [(24, 24), (3, 3), (3, 3)]
    assert (result.missed, result.wrong, result.num_others, result.auroc) == ((), (), 0, 1.0)


def test_the_name_counts_in_the_last_usable_frame_of_an_exercise(folders):
    onset = folders(names={("control", 6): "rest"})
    assert right(onset, EXERCISE) == (24, 24)
    peak = folders(names={("control", 7): "rest"})
    assert right(peak, EXERCISE) == (23, 24)
    assert peak.wrong == ("control: snarl is named rest",)
    assert right(folders(names={("control", 7): ""}, usable=[("control", 7)]), EXERCISE) == (24, 24)
    assert right(folders(usable=[("control", 6), ("control", 7)]), EXERCISE) == (23, 24), "nothing of it was measured"


def test_a_tight_closure_is_wrong_and_counted_beside_the_kinder_definition(folders):
    result = folders(names={("central", 5): "eye_closure_tight", ("complete", 5): "eye_closure_tight"})
    assert right(result, EXERCISE) == (22, 24)
    assert right(result, "exercise, closures of both names alike") == (24, 24)
    assert [count.name for count in result.missed] == [EXERCISE]
    assert result.num_others == 2


def test_the_side_counts_for_palsied_people_only(folders):
    assert right(folders(sides={"control": "right"}), SIDE) == (3, 3)
    result = folders(sides={"central": "right"})
    assert right(result, SIDE) == (2, 3)
    assert result.wrong == ("central: the side is right, not left (affected: AU12, AU25)",)


def test_the_corrugator_belongs_to_the_forehead_and_the_frontalis_is_counted_beside_it(folders):
    flags = {**RIGHT_FLAGS, "corrugator": "true"}
    result = folders(flags=flags)
    assert right(result, FOREHEAD_FLAG) == (2, 3)
    assert right(result, "flag, by the frontalis alone (AU1, AU2)") == (3, 3)
    assert right(folders(flags={**RIGHT_FLAGS, "control": "true"}), "no flag for a control") == (0, 1)


def test_a_person_without_measures_is_wrong_everywhere(folders):
    result = folders(missing=("central",))
    assert right(result, EXERCISE) == (24 - len(PERFORMED), 24)
    assert (right(result, SIDE), right(result, FOREHEAD_FLAG)) == ((2, 3), (2, 3))


def test_a_missing_table_is_one_sentence(tmp_path):
    with pytest.raises(VitauError, match=r"cohort\.json is missing in .*; draw the people and measure their clips again"):
        evaluate_cohort(tmp_path, tmp_path)


def test_the_command_draws_measures_and_compares(tmp_path, monkeypatch):
    """A person is drawn and measured for real; the exit code says whether a limit is missed."""
    runner = CliRunner()
    arguments = ["--seed", "13", "--people", "1", "--out", str(tmp_path)]
    result = runner.invoke(command.app, [*arguments, "--json"])
    record = json.loads(result.stdout)
    assert (record["people"], record["seed"]) == (1, 13)
    counts = {count["name"]: (count["right"], count["total"], count["limit"]) for count in record["counts"]}
    assert (counts[EXERCISE], counts[SIDE], counts[FOREHEAD_FLAG]) == ((6, 6, 0.95), (1, 1, 0.95), (1, 1, 0.9))
    assert result.exit_code == 0
    assert (tmp_path / "measured" / "series.csv").exists()
    monkeypatch.setattr(command, "measure_cohort", lambda *_: (tmp_path / "measured" / "people.csv").write_text("input\n"))
    again = runner.invoke(command.app, arguments)
    assert again.exit_code == 1
    assert "side of the palsy                            0 of    1    0.0%   limit 95%: MISSED" in again.stdout


def test_people_of_another_seed_in_the_folder_are_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "cohort.json").write_text(json.dumps({"seed": 5}))
    monkeypatch.setattr("sys.argv", ["evaluation", "--seed", "6", "--people", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        run(command.app)
    assert stopped.value.code == 1
    assert "holds people drawn with" in capsys.readouterr().err
