"""Monitoring: people of the same population raise no alarm; people in the dark do, with a page and tasks for the readers."""

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import SecretStr

from flows.execution.clip_worker import frames_version
from flows.execution.prefect_api import open_api
from flows.promotion.registered_models import REGIONS
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.label_studio.client import connect
from labeling.label_studio.projects import count_answers
from vitau.catalog.catalog import FrameTable, Training
from vitau.data import snapshot as snapshots
from vitau.media.crops import from_jpeg, quality, to_jpeg
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.checkpoint import save_model
from vitau.models.regions import build_regions
from vitau.models.vit import build_vit
from vitau.registry import registry
from vitau.registry.bundle import folder_digest
from vitau.schema import AUS, Clip, Cohort, Split, Subject
from vitau.training.recipes import tiny_palsy, tiny_regions

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

TRAINED, SAME, DARK = 36, 24, 24


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Results of three runs: on people like those before, on people in the dark, and repeated."""

    workspace: Workspace
    prefect: str
    runs: list[Any]


@pytest.fixture(scope="module")
def watched(services, own_label_studio, own_mlflow, command, tmp_path_factory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("monitor")
    settings = Settings(
        store=(own_label_studio.state / "store").as_uri(),
        catalog=SecretStr(f"sqlite:///{folder / 'catalog.db'}"),
        pseudonym_key=SecretStr("the key of these tests"),
        signing_key=SecretStr("signs in these tests only"),
        label_studio_url=own_label_studio.url,
        label_studio_token=SecretStr(own_label_studio.token),
        mlflow_url=own_mlflow,
        work=folder / "work",
    )
    workspace = Workspace(settings)
    environment = services.environment | {
        "VITAU_STORE": settings.store,
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_LABEL_STUDIO_URL": own_label_studio.url,
        "VITAU_LABEL_STUDIO_TOKEN": own_label_studio.token,
        "VITAU_MLFLOW_URL": own_mlflow,
        "VITAU_WORK": str(folder / "work"),
    }
    champion(workspace, add_people(workspace, range(TRAINED), light=1.0))
    runs = []
    for people, light in (
        (range(TRAINED, TRAINED + SAME), 1.0),
        (range(100, 100 + DARK), 0.3),
        (range(0), 1.0),
    ):
        add_people(workspace, people, light=light)
        runs.append(command("flows", "monitor", "--out", folder / f"{len(runs)}.html", env=environment))
    yield Watched(workspace=workspace, prefect=services.environment["PREFECT_API_URL"], runs=runs)
    workspace.catalog.engine.dispose()


def add_people(workspace: Workspace, people: range, *, light: float) -> list[dict[str, Any]]:
    """Add drawn people with one frame each, cut and measured as `ingest` does; return their rows of a snapshot."""
    catalog, rows = workspace.catalog, []
    for index in people:
        person = draw_person(2026, index)
        drawn = draw_crop(person, "rest", 0.0, np.random.default_rng(index), 128)  # four times as quick as the full size
        image = cv2.resize(drawn.image, (256, 256), interpolation=cv2.INTER_CUBIC)
        crop = from_jpeg(to_jpeg(np.clip(image * light, 0, 255).astype(np.uint8)))
        name, clip = f"person-{index:03d}", f"{index:064x}"
        cohort = Cohort.PALSY if index % 2 else Cohort.CONTROL
        points = (2 * drawn.landmarks + 0.5).astype(np.float32)
        frame = frame_of(clip, crop, points)
        key = f"subjects/{name}/clips/{clip}/frames-0.parquet"
        workspace.store.put(key, parquet([frame]))
        workspace.store.put("none.parquet", parquet([{"frame_index": -1}]))
        catalog.add_subject(Subject(pseudonym=name, cohort=cohort, source="synthetic", synthetic=True))
        catalog.add_clip(Clip(sha256=clip, subject=name, source="synthetic", suffix=".jpg", synthetic=True))
        catalog.add_frame_table(
            FrameTable(
                clip=clip,
                recipe=frames_version(),
                key=key,
                num_frames=1,
                num_faces=1,
                quarantine_key="none.parquet",
                quarantined={},
            )
        )
        rows.append(
            {"subject": name, "clip": clip, "frame_index": 0, "frames_key": key, "source": "synthetic", "cohort": cohort.value}
            | {"split": (Split.TRAIN if index % 3 else Split.TEST).value, "side": None, **dict.fromkeys(AUS, False)}
        )
    return rows


def frame_of(clip: str, crop: Any, points: Any) -> dict[str, Any]:
    measured = quality(crop, points, points, (256, 256))
    return {
        "clip": clip,
        "frame_index": 0,
        "time_s": 0.0,
        "box": [0.0, 0.0, 256.0, 256.0],
        "crop": to_jpeg(crop),
        "landmarks": points.ravel().tolist(),
        "crop_landmarks": points.ravel().tolist(),
        "detector_score": 1.0,
        "embedding": np.random.default_rng(int(clip, 16)).normal(0, 0.05, 128).tolist(),  # dlib's takes a second a face
        **{field: getattr(measured, field) for field in type(measured).__dataclass_fields__},
    }


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def champion(workspace: Workspace, rows: list[dict[str, Any]]) -> None:
    """Register untrained models as if they were trained on these people; their scores are arbitrary."""
    frozen = snapshots.freeze(pa.Table.from_pylist(rows, snapshots.snapshot_schema()), workspace.store, 0)
    workspace.catalog.add_snapshot(frozen)
    torch.manual_seed(0)
    bundle = workspace.folder("bundle")
    card = {"synthetic": True, "recipe": "tiny", "protocol": "subjects", "snapshot": frozen.digest, "ledger_offset": 0}
    save_model(bundle / "model", build_regions(tiny_regions().model), tiny_regions().model, threshold=None, **card)
    save_model(bundle / "recognition", build_vit(tiny_palsy().model), tiny_palsy().model, threshold=0.5, **card)
    url, digest = workspace.settings.mlflow_url, folder_digest(bundle)
    version, run_id = registry.register(url, REGIONS, bundle, metrics={}, lineage={})
    registry.set_champion(url, REGIONS, version)
    workspace.catalog.add_training(
        Training(
            key="regions",
            model=REGIONS,
            recipe="tiny-regions",
            snapshot=frozen.digest,
            model_digest=digest,
            model_key=f"models/{digest}",
            version=version,
            run_id=run_id,
            metrics={},
        )
    )


def output_of(done: Any) -> dict[str, Any]:
    assert done.code == 0, done.err
    return json.loads(done.out)


def events(watched: Watched) -> list[dict[str, Any]]:
    """Return the alarms recorded by the Prefect server."""
    query = {"filter": {"event": {"name": ["vitau.monitor.alarm"]}}}
    with open_api(watched.prefect) as client:
        return list(client.post("/events/filter", json=query).json()["events"])


def test_people_like_those_before_raise_no_alarm(watched):
    same = output_of(watched.runs[0])
    assert (same["people_before"], same["people_now"], same["drifted"], same["asked_about"], same["pushed"]) == (
        TRAINED,
        SAME,
        [],
        0,
        0,
    )
    assert len(watched.workspace.catalog.scores()) == TRAINED // 3 + SAME + DARK


def test_people_in_the_dark_raise_an_alarm_and_the_darkest_come_first_in_the_queues(watched):
    dark = output_of(watched.runs[1])
    assert "brightness" in dark["drifted"]
    first = watched.workspace.catalog.priority_subjects()
    assert len(first) == dark["asked_about"] == 20
    in_the_dark = {f"person-{index:03d}" for index in range(100, 100 + DARK) if index % 2}
    assert set(list(first)[: len(in_the_dark)]) == in_the_dark
    assert all("bits from those the champion knows" in why for why in first.values())
    client = connect(
        watched.workspace.settings.label_studio_url, watched.workspace.settings.label_studio_token.get_secret_value()
    )
    readers = {counts["project"]: counts["subjects"] for counts in count_answers(client) if "reader" in counts["project"]}
    assert set(readers.values()) == {dark["pushed"]}
    assert dark["pushed"] >= len(in_the_dark)


def test_an_alarm_is_sent_once_and_names_no_person(watched):
    found = events(watched)
    assert [event["payload"]["drifted"] for event in found] == [output_of(watched.runs[1])["drifted"]]
    assert found[0]["resource"]["prefect.resource.id"] == f"vitau.model.{REGIONS}"
    assert "person-" not in json.dumps(found)
    again = output_of(watched.runs[2])
    assert again == output_of(watched.runs[1]) | {"new": False, "pushed": 0}


def test_the_page_opens_in_a_browser_and_shows_the_drift(watched, chromium, tmp_path):
    key = output_of(watched.runs[1])["report"].partition("/store/")[2]
    path = tmp_path / "monitor.html"
    path.write_bytes(watched.workspace.store.get(key))
    assert b"person-" not in path.read_bytes()
    seen: dict[str, Any] = {}
    thread = threading.Thread(target=open_page, args=(chromium, path, tmp_path / "monitor.png", seen))
    thread.start()
    thread.join(120)
    assert seen["errors"] == []
    assert "comparisons drifted" in seen["text"]
    assert seen["drifted"] == list(output_of(watched.runs[1])["drifted"])
    assert "palsy score" in seen["text"]
    assert seen["bars"] > 50


def open_page(chromium, page_path, screenshot, seen: dict[str, Any]) -> None:
    """Open a page in a real browser and record what it shows."""
    errors: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.goto(page_path.as_uri())
        page.screenshot(path=screenshot, full_page=True)
        seen |= {
            "text": page.inner_text("body"),
            "drifted": page.locator("tr.drifted td:first-child").all_inner_texts(),
            "bars": page.locator("svg rect").count(),
            "errors": errors,
        }
