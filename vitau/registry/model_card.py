"""The card of a model: its use, lineage and test metrics on one page."""

from collections.abc import Mapping
from typing import Any

from vitau.evaluation.metrics import metrics_from_json


def model_card(name: str, metrics: Mapping[str, Any], lineage: Mapping[str, str]) -> str:
    """Render the card as Markdown: restrictions of use, lineage, and the metrics on test people."""
    lines = [f"# {name}", ""]
    if lineage.get("synthetic") == "true":
        lines += ["**Synthetic: this model was trained on drawings of faces. It must not be used for real people.**", ""]
    lines += ["For research only; not a medical device.", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in lineage.items()]
    if pretraining := metrics.get("pretraining"):
        lines.append(f"- pretrained on {pretraining['drawn_people']} drawn people who are in no data set")
    lines += [f"- started from weights with the sha256 {digest}" for digest in metrics.get("weights") or ()]
    test = metrics_from_json(metrics.get("test", {}))
    if test is not None:
        lines.append(f"- n subjects on test people: {test.num_subjects}")
        for metric in ("auroc", "accuracy", "balanced_accuracy"):
            estimate = test.estimates()[metric]
            if estimate.value is not None:
                ends = estimate.interval
                interval = "" if ends is None else f" (95 % interval over people {ends[0]:.2f} to {ends[1]:.2f})"
                lines.append(f"- {metric.replace('_', ' ')} on test people: {estimate.value:.4g}{interval}")
    lines += [
        "",
        "Faces are found with dlib's 68-point landmarks, whose training data exclude commercial use (LANDMARKS.md).",
        "",
    ]
    return "\n".join(lines)
