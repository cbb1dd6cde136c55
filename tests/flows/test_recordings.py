"""No sequence of manifests, corrections and kills loses a recording: every clip row has its objects, and the reverse.

Real store, real catalog, the real admission and recording; only the decoder is replaced by one that copies a frame table.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule, run_state_machine_as_test
from pydantic import SecretStr

from flows import ingest
from flows.doctor.fsck import fsck
from flows.execution import clip_worker
from flows.execution.clip_worker import clip_work_name, ingest_clip
from flows.execution.executor import Engine
from flows.execution.identities import normalized_url, statement_of
from flows.workspace import PrivatePath, Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.intake import FIRST_RETRY_S, MAX_DEATHS
from vitau.catalog.tables import statements
from vitau.data.layout import SUBJECTS, clip_prefix, frames_key, key_frame_key, raw_key
from vitau.data.parquet import read_table
from vitau.errors import ClipError
from vitau.media import sources as media_sources
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sandbox import DIED
from vitau.media.sources import to_clip
from vitau.schema import Cohort, Skipped
from vitau.store import open_store

RECIPE = FrameRecipe()
KEY = SecretStr("a key that only this test knows")


class KilledError(BaseException):
    """The death of the process of an ingest."""


def open_at(folder: Path) -> Workspace:
    return Workspace(offline_settings(folder, pseudonym_key=KEY, num_processes=1))


@pytest.fixture(scope="module")
def frames(cohort: Path, tmp_path_factory) -> Path:
    """The frame table of a drawn clip, which stands for that of any clip."""
    store = open_store(tmp_path_factory.mktemp("frames"))
    ingested = ingest_clip(read_manifest(cohort / "manifest.csv")[0][0], store, b"any key", RECIPE)
    return store.download(ingested.frames.key, tmp_path_factory.mktemp("table") / "frames.parquet")


@contextmanager
def without_decoder(frames: Path, num_cuts: list[str]) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:

        def copy(call, _limits) -> None:
            if isinstance(call, clip_worker.FrameCutting):
                clip, path, files = call.clip, call.path, [call.frames_file, call.measures_file]
            else:  # the range of a recording
                clip, path, *files = call.args[:3]
            if path.read_bytes().startswith(b"deadly"):
                raise ClipError(f"{DIED}: killed by SIGKILL; save the recording again with another program")
            num_cuts.append(clip.sha256)
            for file in files:
                shutil.copy(frames, file)

        patch.setattr(clip_worker, "run_isolated", copy)
        patch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
        patch.setattr(ingest, "gate", lambda *_: None)
        yield patch


@pytest.fixture
def cuts(frames) -> Iterator[list[str]]:
    num_cuts: list[str] = []
    with without_decoder(frames, num_cuts):
        yield num_cuts


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_at(tmp_path)
    yield opened
    opened.catalog.engine.dispose()


def clip(folder: Path, name: str, person: str = "p1", cohort: Cohort = Cohort.PALSY, **fields) -> SourceClip:
    path = folder / f"{name}.mp4"
    if not path.exists():
        path.write_bytes(name.encode())
    row = fields.pop("row", "row 2")
    return SourceClip(row=row, subject_id=person, cohort=cohort, source="manifest", paths=(path,), **fields)


def run(workspace: Workspace, *clips: SourceClip) -> list[ingest.Outcome]:
    return ingest.ingest_clips(workspace, clips, RECIPE, Engine.LOCAL)


def check_rows_and_objects(workspace: Workspace) -> None:
    """Every clip has its recording and frames, and every object a clip or a claim."""
    catalog, store = workspace.catalog, workspace.store
    keys = set(store.keys(SUBJECTS))
    claimed = {clip_prefix(claim.subject, claim.clip) for claim in catalog.ingest_claims()}
    owned = set()
    for known in catalog.all_clips():
        owned.add(clip_prefix(known.subject, known.sha256))
        assert raw_key(known.subject, known.sha256, known.suffix) in keys
        (table,) = catalog.frame_tables_of(known.sha256)
        assert {table.key, table.quarantine_key} <= keys
    for key in keys:
        assert any(key.startswith(prefix) for prefix in owned | claimed), key


def test_a_person_of_the_other_cohort_is_a_skipped_row_and_nothing_is_erased(workspace, tmp_path, cuts):
    known = clip(tmp_path, "a")
    run(workspace, known)
    keys = list(workspace.store.keys())
    for wrong in (
        replace(known, cohort=Cohort.CONTROL),
        replace(known, subject_id="p2"),
        replace(clip(tmp_path, "b"), cohort=Cohort.CONTROL),
    ):
        (outcome,) = run(workspace, wrong)
        assert isinstance(outcome, Skipped)
        assert "correct the manifest" in outcome.reason or "keep one row" in outcome.reason
        assert list(workspace.store.keys()) == keys
    assert len(workspace.catalog.frame_tables_of(workspace.catalog.all_clips()[0].sha256)) == 1
    check_rows_and_objects(workspace)


def test_a_clip_is_recorded_before_the_next_one_is_decoded(workspace, tmp_path, cuts, monkeypatch):
    known_at_decoding = []
    copy = clip_worker.run_isolated

    def noting(call, limits):
        known_at_decoding.append(len(workspace.catalog.all_clips()))
        copy(call, limits)

    monkeypatch.setattr(clip_worker, "run_isolated", noting)
    run(workspace, *(clip(tmp_path, name) for name in "abc"))
    assert known_at_decoding == [0, 1, 2]


def test_a_clip_that_kills_its_decoder_is_not_tried_for_ever(workspace, tmp_path, cuts):
    deadly, good = clip(tmp_path, "deadly"), clip(tmp_path, "good", row="row 3")
    for _ in range(MAX_DEATHS):
        bad, fine = run(workspace, deadly, good)
        assert isinstance(bad, Skipped)
        assert bad.reason.startswith(DIED)
        assert isinstance(fine, ingest.Recorded)
    (letter,) = workspace.catalog.dead_letters()
    bad, _ = run(workspace, deadly, good)
    assert bad.reason == (
        "its decoder died 3 times, and it is not tried again: "
        f"save it again, or run `python -m flows dead-letters --release {letter.name}`"
    )
    assert workspace.catalog.release_dead_letters([letter.name]) == 1
    assert run(workspace, deadly)[0].reason.startswith(DIED)
    assert workspace.catalog.ingest_claims() == []
    check_rows_and_objects(workspace)


def test_corrections_are_recorded_once_and_an_old_manifest_does_not_undo_them(workspace, tmp_path, cuts):
    first = clip(tmp_path, "a", consent="2024", licence="study")
    run(workspace, first)
    run(workspace, replace(first, consent="2026", mirrored=True, fps=12.0))
    for rerun in (first, replace(first, consent="2026", mirrored=True, fps=12.0), first):
        run(workspace, rerun)
        (known,) = workspace.catalog.clips()
        assert (known.consent, known.licence, known.mirrored, known.fps) == ("2026", "study", True, 12.0)
    (table,) = workspace.catalog.frame_tables_of(known.sha256)
    assert table.key == frames_key(known.subject, known.sha256, RECIPE.digest, revision=1)
    assert not workspace.store.exists(frames_key(known.subject, known.sha256, RECIPE.digest))
    assert len(cuts) == 2
    check_rows_and_objects(workspace)


def test_a_corrected_visit_is_recorded_without_cutting_a_face_again_and_an_old_manifest_does_not_undo_it(
    workspace, tmp_path, cuts
):
    first = clip(tmp_path, "a")
    corrected = replace(first, visit="week-12", recorded_at="2026-11-29")
    run(workspace, first)
    keys = list(workspace.store.keys())
    run(workspace, replace(first, visit="week-2", recorded_at="2026-11-28T10:30"))
    for rerun in (corrected, first, replace(first, licence="a manifest without visits"), replace(first, visit="week-12")):
        (outcome,) = run(workspace, rerun)
        assert not outcome.new
        (known,) = workspace.catalog.clips()
        assert (known.visit, known.taken_at) == ("week-12", "2026-11-29")
    assert workspace.catalog.recorded_clip(known.sha256).revision == 0
    with workspace.catalog.engine.connect() as connection:
        history = sa.select(statements.c.visit, statements.c.taken_at).order_by(statements.c.number)
        stated = [tuple(row) for row in connection.execute(history)]
    assert stated == [
        (None, None),
        ("week-2", "2026-11-28T10:30"),
        ("week-12", "2026-11-29"),
        (None, None),
        ("week-12", None),
    ]
    assert len(cuts) == 1
    assert list(workspace.store.keys()) == keys
    check_rows_and_objects(workspace)


def test_a_visit_changes_neither_the_key_of_a_clip_nor_its_lease_nor_the_digest_of_a_source_without_visits(tmp_path):
    plain = clip(tmp_path, "a")
    dated = replace(plain, visit="week-12", recorded_at="2026-11-29")
    key = KEY.get_secret_value().encode()
    assert clip_work_name(dated, key, RECIPE) == clip_work_name(plain, key, RECIPE)
    one, other = (to_clip(source, source.paths[0], key) for source in (plain, dated))
    assert raw_key(other.subject, other.sha256, other.suffix) == raw_key(one.subject, one.sha256, one.suffix)
    assert statement_of([plain], key) == "0df7ef78e3bab70c7249234a3f168d26", (
        "as before there were visits: known sources stay known"
    )
    assert len({statement_of([source], key) for source in (plain, dated, replace(dated, recorded_at=None))}) == 3


def test_the_renewed_pictures_of_a_corrected_clip_are_not_taken_for_damaged(workspace, tmp_path, cuts):
    first = clip(tmp_path, "a")
    run(workspace, first)
    (known,) = workspace.catalog.clips()
    (table,) = workspace.catalog.frame_tables_of(known.sha256)
    crops = read_table(workspace.store, table.key, ["frame_index", "crop"]).filter(pc.field("crop").is_valid())
    picture = key_frame_key(known.subject, known.sha256, crops["frame_index"][0].as_py())
    workspace.store.put(picture, b"the face of the other side")
    assert fsck(workspace.store, workspace.catalog).defects == ()
    run(workspace, replace(first, mirrored=True))
    assert workspace.store.get(picture) == crops["crop"][0].as_py()
    assert fsck(workspace.store, workspace.catalog).defects == ()


def test_withdrawn_consent_ends_every_use_until_it_is_given_anew(workspace, tmp_path, cuts):
    first, other = clip(tmp_path, "a", consent="yes"), clip(tmp_path, "b", person="p2")
    run(workspace, first, other)
    run(workspace, replace(first, consent="Withdrawn"))
    catalog = workspace.catalog
    (withdrawn,) = catalog.withdrawn_subjects()
    assert withdrawn not in {subject.pseudonym for subject in catalog.subjects()}
    assert [len(found) for found in (catalog.clips(), catalog.all_clips())] == [1, 2]
    assert {table.clip for table in catalog.frame_tables(ingest_version())} == {catalog.clips()[0].sha256}
    run(workspace, replace(first, consent="yes", licence="another manifest with the old consent"))
    run(workspace, replace(first, consent=None, licence="a manifest without the column"))
    assert catalog.withdrawn_subjects() == {withdrawn}
    run(workspace, replace(first, consent="yes, 29 November 2026"))
    assert catalog.withdrawn_subjects() == set()


def ingest_version() -> str:
    return clip_worker.frames_version(RECIPE)


def test_a_known_clip_cannot_become_drawn_or_get_another_range(workspace, tmp_path, cuts):
    first = clip(tmp_path, "a")
    run(workspace, first)
    (outcome,) = run(workspace, replace(first, source="synthetic"))
    assert isinstance(outcome, Skipped)
    assert "belongs to subject … and cannot be …'s too" in outcome.reason


def test_spellings_of_an_identifier_are_one_person_and_known_people_keep_their_pseudonym(workspace, tmp_path, cuts):
    composed, decomposed = "Mu\u0308ller", "M\u00fcller"
    run(workspace, clip(tmp_path, "a", person=composed), clip(tmp_path, "b", person=decomposed, row="row 3"))
    assert len(workspace.catalog.subjects()) == 1
    key = KEY.get_secret_value().encode()
    now, before = media_sources.pseudonyms(key, "manifest", "Zoe\u0308")
    assert media_sources.pseudonyms(key, "manifest", "S005") == [media_sources.pseudonym(key, "manifest", "S005")]
    old = media_sources.to_subject(clip(tmp_path, "c", person="Zoe\u0308"), key)
    workspace.catalog.add_subject(replace(old, pseudonym=before))
    run(workspace, clip(tmp_path, "c", person="Zoe\u0308"))
    names = {subject.pseudonym for subject in workspace.catalog.subjects()}
    assert before in names
    assert now not in names


@pytest.fixture
def requests(monkeypatch, tmp_path) -> list[str]:
    """The requests for URLs; the server of ``http://host/gone`` answers 404."""
    from flows.execution import admission

    made: list[str] = []
    fetch = admission.fetch

    def download(source, folder, **options):
        if source.url is None:
            return fetch(source, folder, **options)
        made.append(source.url)
        if "gone" in source.url:
            raise ClipError(f"{source.row}: {source.url} answers 404")
        path = folder / f"{len(made)}.mp4"
        path.write_bytes(f"encoding {len(made)}".encode())
        return path

    monkeypatch.setattr(admission, "fetch", download)
    return made


def url_clip(url: str, row: str, start_s: float | None = None, end_s: float | None = None) -> SourceClip:
    return SourceClip(row=row, subject_id="p1", cohort=Cohort.PALSY, source="manifest", url=url, start_s=start_s, end_s=end_s)


def test_ranges_of_a_url_make_one_request_and_a_rerun_none_even_after_a_new_encoding(workspace, cuts, requests):
    url = "https://Example.org:443/talk?b=2&a=1#t=3"
    ranges = [url_clip(url, f"row {number}", number, number + 1.0) for number in range(2, 5)]
    assert all(isinstance(outcome, ingest.Recorded) and outcome.new for outcome in run(workspace, *ranges))
    again = run(workspace, *(replace(source, url="https://example.org/talk?a=1&b=2&utm_source=mail") for source in ranges))
    assert all(isinstance(outcome, ingest.Recorded) and not outcome.new for outcome in again)
    assert len(requests) == 1
    assert len(workspace.catalog.clips()) == 3
    assert not list((workspace.settings.work / "tmp").iterdir())
    assert "xample" not in (workspace.settings.work.parent / "catalog.db").read_bytes().decode(errors="replace")


def test_the_visit_of_a_url_is_corrected_without_a_request(workspace, cuts, requests):
    source = url_clip("https://example.org/talk", "row 2", 1.0, 2.0)
    run(workspace, source)
    decoded = list(cuts)
    run(workspace, replace(source, visit="week-12", recorded_at="2026-11-29"))
    (known,) = workspace.catalog.clips()
    assert (known.visit, known.taken_at) == ("week-12", "2026-11-29")
    assert (len(requests), cuts) == (1, decoded)


def test_a_failed_url_is_requested_once_a_run_and_not_again_before_its_time(workspace, cuts, requests):
    gone = [url_clip("http://host/gone", "row 2", 1.0, 2.0), url_clip("http://host/gone", "row 3", 2.0, 3.0)]
    assert [outcome.reason for outcome in run(workspace, *gone)] == ["… answers 404"] * 2
    (outcome, _) = run(workspace, *gone)
    assert outcome.reason == "its URL failed 1 times (… answers 404); it is requested again in 10 minutes"
    assert len(requests) == 1
    waits = [workspace.catalog.add_url_failure("url", "404", now_s=0.0).next_try_at for _ in range(12)]
    assert waits[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert waits[-1] == waits[-2] == 7 * 24 * 3600


@pytest.mark.parametrize(
    "url",
    [
        "https://youtu.be/abcdefghijk",
        "https://m.youtube.com/watch?t=3&v=abcdefghijk",
        "HTTPS://www.YouTube.com/watch?v=abcdefghijk&list=x",
    ],
)
def test_a_video_has_one_url(url):
    assert normalized_url(url) == "https://youtube.com/watch?v=abcdefghijk"


def test_prefect_stores_no_path_of_a_source_and_no_setting(tmp_path, workspace):
    parameters = {"source": PrivatePath(tmp_path / "Ada Lovelace" / "manifest.csv"), "layout": ingest.Layout.MANIFEST}
    parameters["settings"] = workspace.settings
    stored = ingest.ingest.serialize_parameters(parameters)
    assert stored == {"source": "<PrivatePath>", "layout": "manifest", "settings": {}}


class Manifests(RuleBasedStateMachine):
    """Manifests that share people and clips, contradict each other, and are killed between any two steps."""

    frames: Path
    manifests = Bundle("manifests")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vitau-test-"))
        self.workspace = open_at(self.folder)
        self.people: dict[str, Cohort] = {}
        self.decoder = without_decoder(self.frames, [])
        self.patch = self.decoder.__enter__()

    @rule(
        target=manifests,
        rows=st.lists(
            st.tuples(
                st.sampled_from("abc"), st.sampled_from(["p1", "p2"]), st.sampled_from(Cohort), st.booleans(), st.booleans()
            ),
            min_size=1,
            max_size=3,
        ),
    )
    def write(self, rows):
        return multiple(
            [
                replace(
                    clip(self.folder, name, person, cohort, row=f"row {number}"),
                    mirrored=mirrored,
                    consent="withdrawn" if withdrawn else "yes",
                )
                for number, (name, person, cohort, mirrored, withdrawn) in enumerate(rows, start=2)
            ]
        )

    @rule(clips=manifests)
    def read(self, clips):
        before = self.recordings()
        run(self.workspace, *clips)
        assert before <= self.recordings()
        assert self.workspace.catalog.leases() == {}

    @rule(clips=manifests, after=st.integers(0, 7))
    def read_and_be_killed(self, clips, after):
        """Run an ingest that dies before one of its writes into the store or the catalog."""
        before, steps = self.recordings(), iter(range(after))

        def dying(function):
            def call(*args, **kwargs):
                if next(steps, None) is None:
                    raise KilledError
                return function(*args, **kwargs)

            return call

        with pytest.MonkeyPatch.context() as patch:
            for owner, name in (
                (type(self.workspace.store), "put"),
                (type(self.workspace.catalog), "claim_clip"),
                (type(self.workspace.catalog), "record_clip"),
                (type(self.workspace.catalog), "drop_claim"),
                (type(self.workspace.store), "erase"),
            ):
                patch.setattr(owner, name, dying(getattr(owner, name)))
            with suppress(KilledError):
                run(self.workspace, *clips)
        assert before <= self.recordings()

    def recordings(self) -> set[str]:
        """Return the keys of the recordings that the catalog knows, as far as they exist."""
        known = {raw_key(found.subject, found.sha256, found.suffix) for found in self.workspace.catalog.all_clips()}
        return known & set(self.workspace.store.keys(SUBJECTS))

    @invariant()
    def every_clip_has_its_objects_and_every_object_its_clip(self) -> None:
        if hasattr(self, "workspace"):
            check_rows_and_objects(self.workspace)

    def teardown(self) -> None:
        if hasattr(self, "workspace"):
            self.decoder.__exit__(None, None, None)
            self.workspace.catalog.engine.dispose()
            shutil.rmtree(self.folder)


def test_no_sequence_of_manifests_and_kills_separates_clips_from_their_objects(frames):
    Manifests.frames = frames
    machine = hypothesis_settings(max_examples=12, stateful_step_count=12, deadline=None, phases=(Phase.generate,))
    run_state_machine_as_test(Manifests, settings=machine)
