"""Sources of the numbers in README and docs, which ``tests/test_figures.py`` compares with them."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

DEMO: Final = "docs/figures/demo.json"
IRIS, ASYMMETRIC = "vitau/measures/pixels.py:IRIS_MM", "vitau/measures/movement/pattern.py:ASYMMETRIC_FROM"
LINKS: Final = "labeling/label_studio/projects.py:PRESIGN_MIN"
Source: TypeAlias = str | Callable[[], list[float]]


def hanley_and_mcneil(auroc: float = 0.90, sizes: tuple[int, ...] = (5, 15, 50)) -> list[float]:
    """Return an AUROC, and half the width of its 95 % interval for as many palsied as other people (Radiology 1982)."""
    more, less = auroc / (2 - auroc) - auroc**2, 2 * auroc**2 / (1 + auroc) - auroc**2
    return [auroc, *(1.96 * ((auroc * (1 - auroc) + (n - 1) * (more + less)) / n**2) ** 0.5 for n in sizes)]


SOURCES: Final[Mapping[str, Mapping[str, tuple[Source, ...]]]] = {
    "README.md": {
        "Two commands": (DEMO, "pyproject.toml"),
        "What you must bring": ("LICENSE",),
    },
    "docs/contributors.md": {"Mutation check": ("infra/mutants.py:REQUIRED_SHARE",)},
    "docs/label-studio.md": {
        "Accidents retract nothing": ("labeling/label_studio/reconcile.py:MAX_DELETED_SHARE",),
        "Retries": ("labeling/label_studio/client.py:RETRY_FOR_S",),
        "Webhooks": ("labeling/label_studio/webhook.py:AT_MOST_S", "labeling/label_studio/webhook.py:MAX_BODY"),
    },
    "docs/labeling-managers.md": {
        "Start here": (DEMO,),
        "Your page": ("flows/home/page.py:RELIABLE", "flows/home/page.py:TENTATIVE"),
        "New material": ("flows/settings.py:ASK_AGAIN_ABOVE",),
        "Two subjects, one person": (
            "flows/settings.py:Settings.identity_floor",
            "vitau/media/identity/distances.py:DIFFERENT_PEOPLE",
        ),
    },
    "docs/measures.md": {
        "The coordinates": (IRIS,),
        "Per exercise": (
            "vitau/measures/movement/excursion.py:SMALLEST_FOR_RATIO",
            "vitau/measures/movement/uncertainty.py:CONFIDENCE_Z",
        ),
        "Per person": (
            *(f"docs/figures/measures-{seed}.json" for seed in range(20261, 20266)),
            "vitau/measures/evaluation/drawn.py:LIMITS",
            "vitau/measures/movement/pattern.py:SIDE_FROM",
            "vitau/media/synthetic/people.py:act",
        ),
        "Where the landmarks come from": (
            "vitau/measures/landmarks/flattening.json",
            "vitau/measures/landmarks/refinement/refined.py:_INNER_SHARE",
        ),
    },
    "docs/model-users.md": {
        "Start here": ("docs/figures/scores.txt",),
        "Install": ("pyproject.toml",),
        "What `vitau score` writes": (
            "docs/figures/scores.json",
            "docs/figures/scores.csv",
            ASYMMETRIC,
            "vitau/judging/judges.py:CERTAIN_SIDE",
        ),
        "As ONNX": ("vitau/models/inputs.py:to_pixels", "vitau/scoring/export.py:TOLERANCE"),
        "What the pictures mean": (
            "docs/figures/explanations-drawn.json",
            "docs/figures/explanations-renders.json",
        ),
    },
    "docs/operators.md": {
        "Settings": ("flows/cli/demo.py:DRAWN_IDENTITY_FLOOR",),
        "The whole stack on one machine": (
            "flows/local_stack/supervisor.py:record_crash",
            "flows/local_stack/supervisor.py:_LONGEST_BACKOFF_S",
            LINKS,
        ),
        "When something is wrong": ("flows/doctor/services.py:_SCHEDULE_TIMEOUT_S",),
        "Sizing": (DEMO, "docs/figures/load.txt"),
        "Sources": ("vitau/media/videos.py:MAX_DURATION_S", "vitau/media/sandbox.py:Limits.file_bytes"),
        "Deployments": (
            "infra/prefect.yaml",
            "flows/deploy.py:HEARTBEAT_S",
            "flows/execution/orphaned_runs.py:SILENCE_S",
            "flows/execution/orphaned_runs.py:BEGINNING_S",
        ),
        "Champions": (
            "vitau/evaluation/promotion/policy.py:Policy",
            "vitau/evaluation/crossvalidation/shortcuts.py:SEPARATES",
        ),
        "Monitoring": ("vitau/evaluation/drift.py:ALPHA", "vitau/evaluation/drift.py:MIN_EFFECT"),
    },
    "docs/researchers.md": {
        "Measure without a model": (IRIS,),
        "Measure on a page": ("vitau/commands/serve.py:serve",),
        "How many patients": ("vitau/data/splits.py:FRACTIONS", hanley_and_mcneil),
        "New people, and a champion": (ASYMMETRIC,),
    },
    "docs/security.md": {"What is protected": (LINKS,)},
    "docs/studies.md": {
        "Orders of the queue": ("docs/figures/queue-orders.json", "flows/studies/active_learning.py:SCATTER"),
        "Threshold for new material": (
            "docs/figures/new-material.json",
            "flows/settings.py:ASK_AGAIN_ABOVE",
            "flows/studies/change_threshold.py:run",
        ),
        "The benchmark on drawn people": ("docs/figures/benchmark-24.json", "docs/figures/healthy.txt"),
        "Movement features against networks": (
            "docs/figures/movement-renders.json",
            "docs/figures/movement-drawn.json",
        ),
        "All methods on rendered people": (
            "docs/figures/methods-renders-recognition.md",
            "docs/figures/methods-renders-regions.md",
            "docs/figures/recipes-renders.txt",
        ),
        "The paper's numbers": ("vitau/evaluation/published.py:RECOGNITION", "vitau/evaluation/published.py:REGIONS"),
    },
    "docs/training.md": {
        "Start here": ("vitau/training/config.py:CameraChanges",),
        "Movement and network": (
            "vitau/training/fusion.py:NETWORK",
            "vitau/training/fusion.py:MOVEMENT",
            "vitau/training/fusion.py:REGION_NETWORK",
        ),
        "Cross-validation": ("vitau/data/protocols.py:VALIDATION_SHARE",),
        "Small studies": ("vitau/data/protocols.py:VALIDATION_SHARE",),
    },
}
"""Page → heading of the second level → where its numbers stand: a file, a definition (``FILE.py:NAME``), or a formula."""
OF_ONE_RECORD: Final = (
    ("docs/measures.md", "Where the landmarks come from"),
    ("docs/model-users.md", "What the pictures mean"),
    ("docs/studies.md", "Orders of the queue"),
    ("docs/studies.md", "Threshold for new material"),
    ("docs/studies.md", "The benchmark on drawn people"),
    ("docs/studies.md", "Movement features against networks"),
    ("docs/studies.md", "All methods on rendered people"),
)
"""Page and heading of tables each of whose rows is one record of an output."""
