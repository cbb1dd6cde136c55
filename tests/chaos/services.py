"""The demo's Label Studio and MLflow, which all copies share: set back before each pair, and compared after it."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from flows.promotion.registered_models import MODELS
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import connect
from labeling.label_studio.pagination import list_tasks
from labeling.label_studio.projects import erase_subjects
from vitau.registry.registry import CHAMPION, DIGEST_TAG
from vitau.registry.traces import RETRAIN_TAG
from vitau.registry.tracking import connected
from vitau.schema import Stage

SHARED: Final = frozenset({"annotate", "retrain", "promote", "erase"})
"""The flows that write to Label Studio or MLflow."""
LACKING: Final = 3
"""People whose tasks a pair of `annotate` lacks, so that it pushes them again."""
COMPARED_TAGS: Final = (DIGEST_TAG, "decision", "decision_record", RETRAIN_TAG)


class SharedServices:
    """The databases of Label Studio and MLflow, kept as they were, and read as comparable lines."""

    def __init__(self, state: Path, environment: Mapping[str, str], kept: Path) -> None:
        self._label_studio = connect(environment["VITAU_LABEL_STUDIO_URL"], environment["VITAU_LABEL_STUDIO_TOKEN"])
        self._mlflow = environment["VITAU_MLFLOW_URL"]
        live = [*state.glob("label-studio/*.sqlite3"), *state.glob("mlflow/*.db")]
        self._kept = {path: kept / f"{number}.db" for number, path in enumerate(live)}
        kept.mkdir(parents=True)
        for path, copy in self._kept.items():
            _copy_database(path, copy)

    def prepare(self, flow: str) -> None:
        """Set both services back, and take away what the flow is to write."""
        self.restore()
        if flow == "annotate":
            subjects = {task.data["subject"] for _, task in self._tasks()}
            erase_subjects(self._label_studio, sorted(subjects)[:LACKING])
        if flow in {"retrain", "promote"}:
            self._take_decisions(whole=flow == "retrain")

    def restore(self) -> None:
        """Set both services back to where they were."""
        for path, copy in self._kept.items():
            _copy_database(copy, path)

    def lines(self) -> Counter[str]:
        """Return the tasks of Label Studio and the versions of MLflow as comparable lines."""
        tasks = Counter(
            f"task of {project} about {task.data['subject']}, answered: {task.is_labeled}" for project, task in self._tasks()
        )
        with connected(self._mlflow) as client:
            versions = Counter(
                f"version {version.name}/{version.version} { {tag: version.tags.get(tag) for tag in COMPARED_TAGS} }"
                for version in client.search_model_versions()
            )
            champions = Counter(f"aliases of {model.name}: {model.aliases}" for model in client.search_registered_models())
        return tasks + versions + champions

    def _tasks(self) -> list[tuple[str, Any]]:
        projects = self._label_studio.projects.list(page_size=100, include="id,title,created_at")
        return [
            (project.title, task)
            for project in projects
            for task in list_tasks(
                self._label_studio,
                ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER, made_at=""),
            )
        ]

    def _take_decisions(self, *, whole: bool) -> None:
        """Delete the models, or only what decisions left with their versions."""
        with connected(self._mlflow) as client:
            for model in client.search_registered_models():
                if model.name not in MODELS:
                    continue
                if whole:
                    client.delete_registered_model(model.name)
                    continue
                if CHAMPION in model.aliases:
                    client.delete_registered_model_alias(model.name, CHAMPION)
                for version in client.search_model_versions(f"name = '{model.name}'"):
                    for tag in version.tags.keys() - {DIGEST_TAG}:
                        if tag.startswith("decision"):
                            client.delete_model_version_tag(model.name, version.version, tag)


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database into another one, beside programs that use it: for them it is one transaction."""
    with closing(sqlite3.connect(source, timeout=60)) as read, closing(sqlite3.connect(target, timeout=60)) as written:
        read.backup(written)
