"""The measured truth of a model's explanations, with intervals over people; imports numpy only.

Axes: S people, R resamples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import (
    format_estimate,
    percentile_interval,
    resample_weights,
    weighted_mean,
    with_point_estimate,
)
from vitau.evaluation.metrics import UNDEFINED, Estimate

Array = npt.NDArray[Any]

FUSED: Final = "fused"
MIRROR_OCCLUSION: Final = "mirror_occlusion"
GRADCAM: Final = "gradcam"
HEATMAPS: Final = "heatmaps"
REGION_GRADCAM: Final = "region_gradcam"
NAMES: Final[Mapping[str, str]] = {
    FUSED: "network and movement together",
    MIRROR_OCCLUSION: "mirror occlusion",
    GRADCAM: "Grad-CAM",
    HEATMAPS: "heatmaps of regions",
    REGION_GRADCAM: "Grad-CAM of regions",
}
"""The explanations in the words of the pages; the first is shown first."""
OF_RECOGNITION: Final = (FUSED, MIRROR_OCCLUSION, GRADCAM)
OF_REGIONS: Final = (HEATMAPS, REGION_GRADCAM)
PLACES: Final[Mapping[str, str]] = {
    **dict.fromkeys(OF_RECOGNITION, "an affected region"),
    **dict.fromkeys(OF_REGIONS, "its affected region"),
}
WHOLE: Final = "the whole score"
NETWORK: Final = "the network alone, not what movement adds"
NUM_RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationMetrics:
    """Metrics of the truth of one explanation, on palsied people whose affected regions are known.

    Attributes:
        pointing: Share of maps whose maximum lies within 30 px (of 256) of a peak of an affected region, on either side. The
            map of a region must point at that region.
        chance: That share for a random point of the picture.
        gain: ``pointing`` less ``chance``, paired by person; chance differs between people, by the number of their regions.
        chance_on_face: That share for a random point of the face.
        marks: Share of maps whose maximum lies in a box that a reader drew, of the frames with such boxes.
        marks_chance: That share for a random point of the picture.
        affected_side: As ``pointing``, of the peaks on the affected side alone, for people whose side is known.
        face_mass: Share of the map's sum that lies on the face.
        face_area: Share of the picture that is face.
        deletion: By how much faster the evidence of a palsy falls while pixels are made symmetric in the order of the map than
            in random order: mean difference of the two curves. Positive is better than random. Of a fused model, movement is
            measured again in the changed frames of the person.
        insertion: The same of its rise, while a symmetric face gets its pixels back.
        randomized: ``pointing`` of the same explanation of a model with random weights.
        empty: Share of maps that are 0 everywhere.
    """

    pointing: Estimate
    chance: Estimate
    gain: Estimate
    chance_on_face: Estimate
    marks: Estimate = UNDEFINED
    marks_chance: Estimate = UNDEFINED
    affected_side: Estimate = UNDEFINED
    face_mass: Estimate
    face_area: Estimate
    deletion: Estimate = UNDEFINED
    insertion: Estimate = UNDEFINED
    randomized: Estimate
    empty: Estimate

    @property
    def beats_chance(self) -> bool:
        """Return whether the whole interval of the gain is above 0: the map points better than a random point."""
        return self.gain.interval is not None and self.gain.interval[0] > 0

    @classmethod
    def of_people(cls, values: Mapping[str, Array], seed: int = 0) -> Self:
        """Compute the estimates from the values (S,) of people by field; NaN leaves a person out of a field."""
        num_people = len(values["pointing"])
        weight_RS = with_point_estimate(resample_weights(num_people, NUM_RESAMPLES, seed))
        values = {**values, "gain": values["pointing"] - values["chance"]}
        return cls(**{name: _estimate(value_S, weight_RS) for name, value_S in values.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: each value with its interval beside it; what is undefined is left out."""
        document: dict[str, Any] = {}
        for field in fields(self):
            estimate: Estimate = getattr(self, field.name)
            if estimate.value is not None:
                document |= {field.name: estimate.value, f"{field.name}_interval": estimate.interval}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form."""
        return cls(**{field.name: _read(document, field.name) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanations:
    """The explanations of recognition, and of regions for a region model, by name, evaluated on frames of people.

    ``seen_in_training`` is true where nobody was held out, because the model was trained on everybody.
    """

    num_people: int
    num_frames: int
    seen_in_training: bool
    by_name: Mapping[str, ExplanationMetrics]

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        counts = {"n_people": self.num_people, "n_frames": self.num_frames, "seen_in_training": self.seen_in_training}
        return counts | {name: metrics.to_json() for name, metrics in self.by_name.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> "Explanations | None":
        """Read the stored form; ``None`` for a model that was registered before explanations were evaluated."""
        if not document:
            return None
        return cls(
            num_people=document["n_people"],
            num_frames=document["n_frames"],
            seen_in_training=document["seen_in_training"],
            by_name={name: ExplanationMetrics.from_json(document[name]) for name in NAMES if name in document},
        )

    @property
    def people(self) -> str:
        """The people, in words."""
        how = "of training" if self.seen_in_training else "who were not in training"
        return f"{self.num_people} palsied people {how}, {self.num_frames} frames"

    def explains(self, name: str) -> str:
        """Return what an explanation explains, in words: of a model with movement, most explain its network alone."""
        return NETWORK if name != FUSED and FUSED in self.by_name else WHOLE

    def best(self, names: Sequence[str] = OF_RECOGNITION) -> str | None:
        """Return the name of the explanation to judge a part of the model by; ``None`` if none of these was evaluated.

        It is the one of the whole fused score, which readers see first, or else the one that points best beyond chance.
        """
        known = [name for name in names if name in self.by_name]
        if FUSED in known:
            return FUSED
        return max(known, key=lambda name: self.by_name[name].gain.value or 0.0, default=None)

    def card_lines(self) -> Iterator[str]:
        """Yield the lines of the model card."""
        yield f"- explanations, on {self.people}:"
        for name, own in self.by_name.items():
            verdict = "better than chance" if own.beats_chance else "**not better than chance**"
            found = f"points at {PLACES[name]} in {_words(own.pointing)} of frames"
            scope = f", of {self.explains(name)}" if name in OF_RECOGNITION and FUSED in self.by_name else ""
            yield f"  - {NAMES[name]}{scope}, {verdict}: {found}"
            yield (
                f"    - a random point of the picture does in {_words(own.chance)}, one of the face in "
                f"{_words(own.chance_on_face)}, the map of random weights in {_words(own.randomized)}"
            )
            yield (
                f"    - at the affected side {_words(own.affected_side)}; mass on the face {_words(own.face_mass)}, whose area "
                f"is {_words(own.face_area)}"
            )
            if own.marks.value is not None:
                yield f"    - in a box that readers drew {_words(own.marks)}, a random point {_words(own.marks_chance)}"
            if own.deletion.value is not None:
                yield f"    - {_curves(own)} better than random pixels"


def _curves(own: ExplanationMetrics) -> str:
    insertion = "" if own.insertion.value is None else f", insertion {_words(own.insertion)}"
    return f"deletion {_words(own.deletion)}{insertion}"


def _words(estimate: Estimate) -> str:
    return format_estimate(estimate.value, estimate.interval, digits=2, undefined="not defined")


def _read(document: Mapping[str, Any], name: str) -> Estimate:
    if name not in document:
        return UNDEFINED
    interval = document.get(f"{name}_interval")
    return Estimate(value=document[name], interval=None if interval is None else (interval[0], interval[1]))


def _estimate(value_S: Array, weight_RS: Array) -> Estimate:
    known_S = ~np.isnan(value_S)
    if not known_S.any():
        return UNDEFINED
    mean_R = weighted_mean(weight_RS[:, known_S], value_S[known_S])
    return Estimate(value=float(mean_R[0]), interval=percentile_interval(mean_R[1:]))
