"""The form in which MLflow logs a model: its folder, the code that scoring needs, pinned requirements and the signature."""

import importlib.metadata
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from vitau.registry import bundle
from vitau.schema import SCORE_COLUMNS

BUNDLE: Final = "bundle"
REQUIREMENTS: Final = (
    *("av", "dlib-bin", "face-recognition-models", "mlflow", "numpy", "opencv-python-headless", "pandas", "pyarrow"),
    *("safetensors", "timm", "torch", "torchvision"),
)
"""Distributions that a registered model needs; registration pins them to the installed versions."""

_SHIPPED_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "asymmetry": ("features", "fusion", "model", "patches", "signals"),
    "evaluation": ("decision",),
    "measures": ("asymmetry", "geometry"),
    "measures/landmarks": ("backend", "stated"),
    "measures/landmarks/refinement": ("network", "patches", "refined"),
    "measures/weakness": ("odds",),
    "media": ("clips", "containers", "crops", "faces", "frames", "inputs", "videos"),
    "media/tracking": ("clip", "split", "tracker"),
    "models": ("checkpoint", "encoder", "generator", "heatmaps", "inputs", "interpreter", "recompute", "regions", "vit"),
    "registry": ("bundle",),
    "schema": ("answers", "cells", "columns", "domain", "gate", "visits"),
    "scoring": ("predict", "pyfunc", "reading", "scores"),
}
SHIPPED: Final = (
    *("__init__.py", "errors.py"),
    *(f"{folder}/{name}.py" for folder, names in _SHIPPED_MODULES.items() for name in ("__init__", *names)),
)
"""The files of this package that travel with a registered model: those that :mod:`vitau.scoring.pyfunc` imports."""
_WEIGHTS: Final = "measures/landmarks/refinement/refinement.safetensors"
"""Travels too: movement is measured from refined landmarks."""

_TYPES: Final[Mapping[str, Any]] = {
    "string": DataType.string,
    "int32": DataType.integer,
    "float32": DataType.float,
    "float64": DataType.double,
    "bool": DataType.boolean,
    "fixed_size_list<float>[4]": Array(DataType.float),
}


def log_model(folder: Path, beside: Mapping[str, str]) -> Any:
    """Log a model folder, texts beside it and the code that it needs, in the run that is open; return MLflow's ModelInfo."""
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / BUNDLE
        shutil.copytree(folder, copy)
        thresholds = json.dumps(bundle.read_thresholds(folder), indent=1) + "\n"
        texts = {**beside, bundle.LANDMARKS: bundle.LANDMARKS_TEXT, bundle.THRESHOLDS: thresholds}
        for file_name, text in texts.items():
            (copy / file_name).write_text(text, encoding="utf-8")
        bundle.write_sums(copy)
        package = Path(work) / "vitau"
        _copy_package(Path(__file__).parents[1], package)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about its own type hints, and about a signature that is given
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(package / "scoring" / "pyfunc.py"),
                artifacts={BUNDLE: str(copy)},
                code_paths=[str(package)],
                pip_requirements=[f"{dist}=={importlib.metadata.version(dist)}" for dist in REQUIREMENTS],
                signature=signature(),
            )
    return logged


def _copy_package(source: Path, dest: Path) -> None:
    for name in (*SHIPPED, _WEIGHTS):
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, dest / name)


def signature() -> ModelSignature:
    """Return the MLflow signature: encoded pictures or paths in, with options of the recording; ``SCORE_COLUMNS`` out."""
    columns = {"image": DataType.binary, "path": DataType.string, "mirrored": DataType.boolean}
    columns |= dict.fromkeys(("start_s", "end_s", "fps"), DataType.double)
    inputs = [ColSpec(kind, name, required=False) for name, kind in columns.items()]
    outputs = [ColSpec(_TYPES[column.type], name, required=not column.nullable) for name, column in SCORE_COLUMNS.items()]
    params = ParamSchema([ParamSpec("analyse_all", DataType.boolean, default=False)])
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params)
