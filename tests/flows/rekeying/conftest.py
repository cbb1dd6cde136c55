"""A small study with clips, answers, splits, a snapshot, a model, scores, a merge and an erasure; no service runs."""

import io
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from flows import ingest
from flows.doctor.fsck import fsck
from flows.erase import make_receipt
from flows.erasure.content import content_tombstone
from flows.erasure.keys import check_pseudonym_key
from flows.erasure.objects import Uses
from flows.erasure.scan import Scan
from flows.execution.clip_worker import clip_work_name, ingest_clip
from flows.execution.identities import content_name, statement_of, url_name
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.catalog.intake import MAX_DEATHS
from vitau.catalog.recordings import ClaimedClip
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sandbox import DIED
from vitau.media.sources import pseudonym, to_subject
from vitau.schema import AUS, Cohort, Comparison, LedgerRow, RegionLabels, SeenAnnotation, Side, Skipped, Split, Stage, Subject
from vitau.store import open_store, tombstone_key

KEY, NEW_KEY = "the first key of these tests", "the second key, which replaces it"
SIGNING_KEY = "signs in these tests only"
RECIPE = FrameRecipe()
MODEL = "b" * 64
VISIT, RECORDED_AT = "week-12", "2031-03-01"
ERASED_CLIP = "e" * 64
URL = "https://example.org/talk"


@pytest.fixture(scope="session")
def recorded(cohort: Path, tmp_path_factory) -> Path:
    """A store with the clips of the cohort, ingested under the first key."""
    folder = tmp_path_factory.mktemp("recorded")
    for source in read_manifest(cohort / "manifest.csv")[0]:
        ingest_clip(source, open_store(folder), KEY.encode(), RECIPE)
    return folder


@dataclass
class Study:
    """A workspace on the study, and what it states of every person, by identifier of the source."""

    workspace: Workspace
    sources: list[SourceClip]
    deadly: SourceClip
    names: dict[str, str]
    splits: dict[str, Split] = field(default_factory=dict)
    scored_clip: str = ""

    def under(self, key: str, new_key: str | None = None) -> Workspace:
        """Return a new workspace with other keys on the same catalog and store."""
        changed = {"pseudonym_key": SecretStr(key), "new_pseudonym_key": None if new_key is None else SecretStr(new_key)}
        workspace = Workspace(self.workspace.settings.model_copy(update=changed))
        vars(workspace)["catalog"] = self.workspace.catalog
        return workspace


@pytest.fixture
def study(new_catalog, recorded: Path, cohort: Path, tmp_path: Path, monkeypatch) -> Study:
    """Two patients, and two controls who were merged; a fifth person was erased."""
    catalog = new_catalog()
    shutil.copytree(recorded, tmp_path / "store")
    settings = offline_settings(
        tmp_path,
        catalog=catalog.engine.url.render_as_string(hide_password=False),
        pseudonym_key=KEY,
        new_pseudonym_key=NEW_KEY,
        signing_key=SIGNING_KEY,
        num_processes=1,
    )
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda *_: None)
    workspace = Workspace(settings)
    vars(workspace)["catalog"] = catalog
    (tmp_path / "work").mkdir()
    check_pseudonym_key(workspace)
    listed, _ = read_manifest(cohort / "manifest.csv")
    sources = [replace(source, visit=VISIT, recorded_at=RECORDED_AT) for source in listed]
    names = {source.subject_id: pseudonym(KEY.encode(), source.source, source.subject_id) for source in sources}
    (tmp_path / "deadly.mp4").write_bytes(b"kills its decoder")
    deadly = SourceClip(
        row="row 9", subject_id="gone", cohort=Cohort.PALSY, source="synthetic", paths=(tmp_path / "deadly.mp4",)
    )
    found = Study(workspace=workspace, sources=sources, deadly=deadly, names=names)
    record_clips(found)
    answer_and_freeze(found)
    erase_someone(found)
    score_and_note(found)
    fsck(workspace.store, catalog)
    return found


def record_clips(study: Study) -> None:
    catalog, store = study.workspace.catalog, study.workspace.store
    statement = statement_of(study.sources, KEY.encode())
    for source in study.sources:
        ingested = ingest_clip(source, store, KEY.encode(), RECIPE)
        catalog.record_clip(
            to_subject(source, KEY.encode()),
            ClaimedClip(clip=ingested.clip, revision=0),
            ingested.frames,
            statement=statement,
            stated=ingested.clip,
        )
        store.put(layout.key_frame_key(ingested.clip.subject, ingested.clip.sha256, 0), b"a picture")


def answer_and_freeze(study: Study) -> None:
    catalog, workspace = study.workspace.catalog, study.workspace
    patients = [subject.pseudonym for subject in catalog.subjects() if subject.cohort is Cohort.PALSY]
    controls = [subject.pseudonym for subject in catalog.subjects() if subject.cohort is Cohort.CONTROL]
    for reader in ("reader-a", "reader-b"):
        for name in patients:
            catalog.append_answers(answers(name, reader))
    catalog.set_labels(
        [RegionLabels(subject=name, affected=dict.fromkeys(AUS, True), side=Side.LEFT) for name in patients], ledger_offset=32
    )
    splits = dict(zip([*patients, *controls], (Split.TRAIN, Split.TEST, Split.VAL, Split.TEST), strict=True))
    catalog.add_splits(splits, strata=dict.fromkeys(splits, "palsy"))
    rows = []
    for table in catalog.frame_tables(ingest_version()):
        subject = table.key.split("/")[1]
        rows += [
            {"subject": subject, "clip": table.clip, "frame_index": 0, "frames_key": table.key, "source": "synthetic"}
            | {"cohort": "palsy" if subject in patients else "control", "split": splits[subject].value}
            | {"side": "left" if subject in patients else None, **dict.fromkeys(AUS, subject in patients)}
        ]
    frozen = snapshots.freeze(
        pa.Table.from_pylist(rows, snapshots.snapshot_schema()), workspace.store, 32, catalog.ledger_digest(32)
    )
    catalog.add_snapshot(frozen)
    catalog.add_training(
        Training(
            key="t",
            model="vitau-regions",
            recipe="smoke-regions",
            snapshot=frozen.digest,
            model_digest=MODEL,
            model_key=f"models/{MODEL}",
            version=1,
            run_id="run",
            metrics={},
        )
    )
    catalog.merge(controls[0], controls[1], why=f"the same face as {controls[0]}")
    study.splits = {person: catalog.splits().get(name, catalog.splits()[controls[0]]) for person, name in study.names.items()}


def ingest_version() -> str:
    from flows.execution.clip_worker import frames_version

    return frames_version(RECIPE)


def answers(subject: str, reader: str) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=True,
            side=Side.LEFT,
            annotation=f"{subject[:4]}-{reader}",
            version="1",
            answered_at="2026-11-23T09:30:00Z",
            note="a note",
        )
        for au in AUS
    ]


def erase_someone(study: Study) -> None:
    workspace, catalog = study.workspace, study.workspace.catalog
    name = pseudonym(KEY.encode(), "synthetic", "gone")
    catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic", synthetic=True))
    catalog.append_answers(answers(name, "reader-a"))
    (frozen,) = catalog.snapshots()
    row = snapshots.load(workspace.store, frozen.digest).to_pylist()[0]
    everyone = pa.Table.from_pylist([row, row | {"subject": name, "clip": ERASED_CLIP}], snapshots.snapshot_schema())
    second = snapshots.freeze(everyone, workspace.store, 0)
    catalog.add_snapshot(second)
    catalog.begin_erasure({name})
    workspace.store.put(tombstone_key(name), b"erased\n")
    snapshots.redact(workspace.store, second.digest, {name})
    catalog.add_erased_content([content_tombstone(KEY.encode(), ERASED_CLIP)])
    catalog.delete_rows_of({name})
    catalog.forget({name})
    uses = Uses(snapshots=(second.digest,), trained=(), damaged=())
    receipt = make_receipt(workspace, {name}, {"objects": 1}, uses, Scan(), [])
    catalog.finish_erasure({name}, snapshots=[second.digest], trainings=[], receipt=receipt)


def score_and_note(study: Study) -> None:
    workspace, catalog = study.workspace, study.workspace.catalog
    name, clip = next((clip.subject, clip.sha256) for clip in catalog.clips())
    study.scored_clip = clip
    key, overlay = layout.score_key(MODEL, name), layout.overlay_key(MODEL, name, clip, 0, "AU1")
    sink = io.BytesIO()
    pq.write_table(pa.table({"input": [clip]}), sink)
    workspace.store.put(key, sink.getvalue())
    workspace.store.put(overlay, b"an overlay")
    summary = {"palsy_score": 0.9, "key_frames": [{"pictures": {"AU1": overlay}}]}
    catalog.add_score(ScoredSubject(model_digest=MODEL, subject=name, key=key, summary=summary))
    catalog.set_priorities({name: "new"})
    catalog.add_comparison(Comparison(subject=name, material="m", shown="s", frames=("f",), difference=0.1))
    catalog.set_skipped("a source", [Skipped(item=name, reason=f"clip {clip[:12]} belongs to subject {name}")])
    catalog.record_seen("a project", [SeenAnnotation(annotation="7", task=1, subject=name, version="1")])
    catalog.add_url(url_name(KEY.encode(), URL), "", clip)
    catalog.add_url_failure(url_name(KEY.encode(), f"{URL}/gone"), "404")
    letter = content_name(clip_work_name(study.deadly, KEY.encode(), RECIPE))
    for _ in range(MAX_DEATHS):
        catalog.add_death(letter, DIED)
    workspace.store.put("reports/s/report.html", f"<p>{name}</p>".encode())
    workspace.store.put("validation/g/d/page.html", json.dumps({"subject": name}).encode())
    (workspace.settings.work / "labeling.html").write_text(f"<td>{name}</td>")
    (workspace.settings.work / "run.log").write_text(f"subjects/{name}/clips")
