"""The card of a model: what everybody who pulls it must know, on one page."""

from collections.abc import Mapping
from typing import Any


def model_card(name: str, metrics: Mapping[str, Any], lineage: Mapping[str, str]) -> str:
    """What everybody who pulls the model must know, as Markdown."""
    lines = [f"# {name}", ""]
    if lineage.get("synthetic") == "true":
        lines += ["**Synthetic: this model has learnt from drawings of faces. It says nothing about real people.**", ""]
    lines += ["For research only; not a medical device.", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in lineage.items()]
    if pretraining := metrics.get("pretraining"):
        lines.append(f"- pretrained on {pretraining['drawn_people']} drawn people who are in no data set")
    test = metrics.get("test", metrics)
    for key in ("n_subjects", "auroc", "accuracy", "balanced_accuracy"):
        if isinstance(test.get(key), int | float):
            low, high = test.get(f"{key}_interval") or (None, None)
            interval = "" if low is None or high is None else f" (95 % interval over people {low:.2f} to {high:.2f})"
            lines.append(f"- {key.replace('_', ' ')} on test people: {test[key]:.4g}{interval}")
    lines += [
        "",
        "Faces are found with dlib's 68-point landmarks, whose training data exclude commercial use (LANDMARKS.md).",
        "",
    ]
    return "\n".join(lines)
