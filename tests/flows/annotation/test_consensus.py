"""The commands of the labeling manager on a real catalog and store; no service runs."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import SecretStr

from flows.annotation.consensus import export_answers, import_answers, label_report, labels_at, merge_subjects
from flows.cli import connection
from flows.cli.app import app
from flows.cli.label_tables import merge_notices
from flows.settings import Settings, SettingsError
from flows.workspace import Workspace
from labeling.consensus.consensus import Rule
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import Catalog, Training
from vitau.data import snapshot as snapshots
from vitau.data.layout import snapshot_key
from vitau.errors import CatalogError, LabelingError, StoreError
from vitau.media.sources import pseudonym
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Split, Stage, Subject

KEY = "a key that only this test knows"
PARIS = pseudonym(KEY.encode(), "paris", "Jean Valjean")


def answers(subject: str, reader: str, *affected: AU, version: str = "1", stage: Stage = Stage.READER) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=stage,
            affected=au in affected,
            side=Side.LEFT if affected else None,
            annotation=f"{subject}-{reader}",
            version=version,
            answered_at="2026-11-23T09:30:00Z",
            lead_time_s=15.5,
        )
        for au in AUS
    ]


@pytest.fixture
def workspace(new_catalog: Callable[[], Catalog], tmp_path: Path) -> Workspace:
    catalog = new_catalog()
    for name in ("p1", "p2", "p3", PARIS):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic"))
    settings = offline_settings(
        tmp_path,
        catalog=catalog.engine.url.render_as_string(hide_password=False),
        pseudonym_key=KEY,
        guest_readers=("paris-1", "paris-2"),
    )
    return on(catalog, settings)


def on(catalog: Catalog, settings: Settings) -> Workspace:
    """Return a workspace on an open catalog, which the caller closes."""
    workspace = Workspace(settings)
    vars(workspace)["catalog"] = catalog
    return workspace


def test_past_labels_are_resolved_at_every_offset(workspace):
    catalog = workspace.catalog
    catalog.append_answers(answers("p1", "reader-a", AU.AU1) + answers("p1", "reader-b", AU.AU1))
    catalog.append_answers(answers("p1", "reader-b", AU.AU2, version="2"))
    catalog.append_answers(answers("p1", "adjudicator", AU.AU2, stage=Stage.ADJUDICATION))
    assert labels_at(workspace, 15) == ()
    assert labels_at(workspace, 16)[0].affected[AU.AU1]
    assert labels_at(workspace, 24) == ()
    assert labels_at(workspace, 32)[0].affected == {au: au is AU.AU2 for au in AUS}
    with pytest.raises(CatalogError, match="the ledger ends at offset 32: there is no state 33 yet"):
        labels_at(workspace, 33)


def test_the_rule_is_a_setting(workspace):
    workspace.catalog.append_answers(answers("p1", "reader-a", AU.AU1) + answers("p1", "reader-b", AU.AU1))
    by_rule = {
        rule: labels_at(on(workspace.catalog, workspace.settings.model_copy(update={"consensus_rule": rule})), 16)
        for rule in Rule
    }
    assert {rule: len(labels) for rule, labels in by_rule.items()} == {"unanimous": 1, "majority": 1, "adjudicated": 0}


def test_a_report_counts_people_and_has_statistics_of_readers(workspace):
    workspace.catalog.append_answers(answers("p1", "reader-a", AU.AU1) + answers("p1", "reader-b", AU.AU1))
    workspace.catalog.append_answers(answers("p2", "reader-a") + answers("p2", "reader-b", AU.AU2) + answers("p3", "reader-a"))
    found = label_report(workspace, num_resamples=20)
    assert (found.ledger_offset, found.labeled, found.disputed, found.waiting) == (40, 1, 1, 1)
    assert found.agreement.overall.raw == 15 / 16
    assert [(reader.reader, reader.num_subjects, reader.speed.median_s) for reader in found.readers] == [
        ("reader-a", 3, 15.5),
        ("reader-b", 2, 15.5),
    ]


def test_an_export_is_complete_and_importing_it_adds_no_row(workspace, tmp_path):
    workspace.catalog.append_answers(answers("p1", "reader-a", AU.AU1) + answers("p1", "reader-b"))
    file = tmp_path / "ledger.csv"
    assert export_answers(workspace.catalog, file) == 16
    assert import_answers(workspace, file, source="any") == (16, 0)
    before = file.read_bytes()
    export_answers(workspace.catalog, file)
    assert file.read_bytes() == before
    with pytest.raises(StoreError, match="cannot be written: No such file or directory; give another place"):
        export_answers(workspace.catalog, tmp_path / "nowhere" / "ledger.csv")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["subject,reader,au,affected,side", *lines]) + "\n", encoding="utf-8-sig")
    return path


def test_a_study_labeled_elsewhere_is_imported_by_its_own_ids_and_becomes_labels(workspace, tmp_path):
    lines = [
        f"Jean Valjean,{reader},{au},{'yes,left' if au == 'AU1' else 'no,'}" for reader in ("paris-1", "paris-2") for au in AUS
    ]
    file = write(tmp_path / "study.csv", *lines)
    assert import_answers(workspace, file, source="paris") == (16, 16)
    assert import_answers(workspace, file, source="paris") == (16, 0)
    (label,) = labels_at(workspace, 16)
    assert (label.subject, label.affected[AU.AU1], label.side) == (PARIS, True, Side.LEFT)
    with pytest.raises(LabelingError, match="line 2: unknown subject"):
        import_answers(workspace, file, source="rome")


def test_an_import_under_another_pseudonym_key_is_refused_before_anything_is_read(workspace, tmp_path):
    file = write(tmp_path / "study.csv", "p1,paris-1,AU1,no,")
    assert import_answers(workspace, file, source="paris") == (1, 1)
    other = on(
        workspace.catalog, workspace.settings.model_copy(update={"pseudonym_key": SecretStr("quite another key 0123456789")})
    )
    with pytest.raises(
        SettingsError, match=r"but the pseudonyms of this catalog were made with the key [0-9a-f]{16}: set that"
    ):
        import_answers(other, write(tmp_path / "more.csv", "p2,paris-1,AU1,no,"), source="paris")
    assert workspace.catalog.ledger_offset() == 1


def test_a_file_with_a_wrong_line_is_not_imported(workspace, tmp_path):
    file = write(tmp_path / "study.csv", "p1,paris-1,AU1,no,", "p1,paris-1,AU1,yes,left")
    with pytest.raises(LabelingError, match=r"nothing of .*study\.csv was imported\nline 3: duplicate answer"):
        import_answers(workspace, file, source="paris")
    strange = write(tmp_path / "strange.csv", "p1,paris-1,AU1,no,", "p1,rome-1,AU1,no,")
    with pytest.raises(LabelingError) as caught:
        import_answers(workspace, strange, source="paris")
    assert str(caught.value) == (
        "readers rome-1 are neither in VITAU_READERS nor in VITAU_GUEST_READERS: "
        "name them there first, so that the consensus includes them"
    )
    assert workspace.catalog.ledger_offset() == 0


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), (b"subject\xff", "it is not UTF-8")])
def test_an_unreadable_file_is_one_sentence(workspace, tmp_path, content, reason):
    file = tmp_path / "study.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LabelingError) as caught:
        import_answers(workspace, file, source="paris")
    assert str(caught.value) == f"{file} cannot be read: {reason}"


def freeze(workspace: Workspace, splits: dict[str, str]) -> str:
    rows = [
        {
            "subject": name,
            "clip": f"{index:064x}",
            "frame_index": 0,
            "frames_key": "k",
            "source": "synthetic",
            "cohort": "palsy",
            "split": split,
            "side": None,
            **dict.fromkeys(AUS, False),
        }
        for index, (name, split) in enumerate(splits.items())
    ]
    frozen = snapshots.freeze(pa.Table.from_pylist(rows, snapshots.snapshot_schema()), workspace.store, 1)
    workspace.catalog.add_snapshot(frozen)
    for model in ("vitau-palsy", "vitau-regions"):
        workspace.catalog.add_training(
            Training(
                key=f"{frozen.digest}{model}",
                model=model,
                recipe="r",
                snapshot=frozen.digest,
                model_digest="m",
                model_key="k",
                version=4,
                run_id="run",
                metrics={},
            )
        )
    return frozen.digest


def test_a_merge_returns_the_trainings_that_used_the_person_in_another_split(workspace):
    freeze(workspace, {"p3": "train"})
    digest = freeze(workspace, {"p1": "train", "p2": "test", "p3": "train"})
    workspace.catalog.add_splits({"p1": Split.TRAIN, "p2": Split.TEST}, strata={"p1": "palsy", "p2": "palsy"})
    found = merge_subjects(workspace, "p1", "p2", why="same face")
    assert (found.new, found.kept, found.split, found.ledger_offset) == (True, "p1", Split.TEST, 1)
    assert [(training.model, training.version, training.snapshot, training.split) for training in found.trained_on] == [
        ("vitau-palsy", 4, digest, Split.TRAIN),
        ("vitau-regions", 4, digest, Split.TRAIN),
    ]
    again = merge_subjects(workspace, "p1", "p2", why="same face")
    assert replace(again, new=True) == found


def test_a_merge_within_one_split_affects_no_training(workspace):
    freeze(workspace, {"p1": "train", "p2": "train"})
    workspace.catalog.add_splits({"p1": Split.TRAIN, "p2": Split.TRAIN}, strata={"p1": "palsy", "p2": "palsy"})
    assert merge_subjects(workspace, "p1", "p2", why="same face").trained_on == []


def test_a_damaged_snapshot_does_not_stop_a_merge_and_is_reported(workspace):
    damaged = freeze(workspace, {"p3": "train"})
    digest = freeze(workspace, {"p1": "train", "p2": "test", "p3": "train"})
    workspace.store.erase(snapshot_key(damaged))
    workspace.store.put(snapshot_key(damaged), b"not a table")
    workspace.catalog.add_splits({"p1": Split.TRAIN, "p2": Split.TEST}, strata={"p1": "palsy", "p2": "palsy"})
    found = merge_subjects(workspace, "p1", "p2", why="same face")
    assert {training.snapshot for training in found.trained_on} == {digest}
    assert found.damaged == [damaged]
    assert list(merge_notices(found))[-1] == (
        f"Snapshot {damaged[:12]} cannot be read, and whether its models used this person in another split is unknown: "
        "restore its manifest from a backup."
    )


@pytest.fixture
def command(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Run ``python -m flows labels ARGUMENTS…`` on the workspace, in this process, which has the imports."""
    settings = workspace.settings
    environment = {
        "VITAU_STORE": settings.store,
        "VITAU_CATALOG": settings.catalog.get_secret_value(),
        "VITAU_PSEUDONYM_KEY": KEY,
        "VITAU_LABEL_STUDIO_URL": settings.label_studio_url,
        "VITAU_LABEL_STUDIO_TOKEN": "token",
        "VITAU_MLFLOW_URL": settings.mlflow_url,
        "VITAU_GUEST_READERS": '["paris-1", "paris-2"]',
    }

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(connection, "export_to_libraries", lambda _: None)

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["flows", "labels", *map(str, arguments), "--state", str(tmp_path / "none")])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(prog_name="python -m flows")
        output, errors = capfd.readouterr()
        first, *rest = errors.splitlines(keepends=True)
        assert first == f"Working on store {settings.store} and catalog {environment['VITAU_CATALOG']}, from the environment\n"
        return ended.value.code, output, "".join(rest)

    return run


@pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)  # both databases answer above; a command takes a second
def test_the_commands_print_data_on_stdout_and_messages_on_stderr(workspace, command, tmp_path):
    rows = [answers(name, reader, AU.AU1) for name in ("p1", "p2") for reader in ("reader-a", "reader-b")]
    workspace.catalog.append_answers([row for page in rows for row in page])
    assert command("at", 16) == (
        0,
        "subject  side  AU1  AU2  AU4  AU6  AU9  AU12  AU25  AU26\np1       left  1    0    0    0    0    0     0     0\n",
        "",
    )
    code, out, _ = command("at", 16, "--json")
    assert (code, json.loads(out)) == (
        0,
        [{"subject": "p1", "affected": {au.value: au is AU.AU1 for au in AUS}, "side": "left", "visit": None}],
    )
    code, out, _ = command("report")
    assert code == 0
    assert out.splitlines()[0] == (
        "Ledger offset 32, rule unanimous: 2 people labeled, 0 of them adjudicated, 0 waiting, 0 disputed."
    )
    assert "reader-a / reader-b  2       16     1.000 [1.000, 1.000]  1.000 [1.000, 1.000]" in out
    code, out, _ = command("report", "--json")
    assert json.loads(out)["agreement"]["by_au"]["AU1"]["raw"] == 1
    assert command("export", tmp_path / "out.csv") == (0, "", f"32 answers are in {tmp_path / 'out.csv'}\n")
    assert command("import", tmp_path / "out.csv", "--source", "any") == (0, '{\n "answers": 32,\n "new": 0\n}\n', "")
    code, out, err = command("merge", "p1", "p2", "--why", "same face", "--yes")
    assert (code, json.loads(out)["ledger_offset"], err) == (0, 33, "The labels follow with the next `annotate`.\n")


@pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)  # both databases answer above; a command takes a second
def test_an_error_is_a_sentence_and_exit_code_1(command, tmp_path):
    assert command("at", 7) == (1, "", "Error: the ledger ends at offset 0: there is no state 7 yet\n")
    file = write(tmp_path / "study.csv", "p1,Ada Lovelace,AU1,no,", "p1,paris-1,AU3,no,", "p9,paris-1,AU1,no,")
    code, out, err = command("import", file, "--source", "paris")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"Error: nothing of {file} was imported",
        "line 2: reader without a pseudonym; use up to 32 small letters, digits and hyphens, such as reader-a",
        "line 3: unknown AU AU3; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26",
        "line 4: unknown subject; ingest the clips of this person first, and give the same --source",
    ]
    assert command("merge", "p1", "p9", "--why", "same face", "--yes") == (
        1,
        "",
        "Error: no subject p9 is in the catalog: check the pseudonym\n",
    )
