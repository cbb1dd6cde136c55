"""The frame rule of gate 1: the limits within which a frame is used, by ingest and by every path that scores a recording."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from vitau.schema.domain import QuarantineReason

HALF_BRIGHTNESS: Final = 128
"""Mean luma below which the pixels without detail are the dark ones."""


REASON_WORDS: Final[Mapping[str, str]] = {
    QuarantineReason.NO_FACE: "without a face",
    QuarantineReason.NOT_ALIGNED: "with a face that cannot be aligned",
    QuarantineReason.SMALL: "with a face too small",
    QuarantineReason.LOW_CONFIDENCE: "with an uncertain face",
    QuarantineReason.BLURRED: "blurred",
    QuarantineReason.DARK: "too dark",
    QuarantineReason.BRIGHT: "too bright",
    QuarantineReason.TURNED: "with the head turned away",
}
"""What is wrong with a frame, after a count: "3 blurred"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLimits:
    """The limits within which a frame is used. A missing measure of a face is outside its limit.

    ``sharpness_min`` separates motion blur and compression artifacts from skin; ``detector_score_min`` is dlib's own threshold;
    ``clipped_max`` is the share of the face's pixels without detail. Lengths are in px of the recording, angles in degrees.
    """

    face_px_min: float = 30.0
    detector_score_min: float = 0.0
    sharpness_min: float = 15.0
    brightness_min: float = 30.0
    brightness_max: float = 225.0
    clipped_max: float = 0.5
    yaw_deg_max: float = 45.0
    pitch_deg_max: float = 40.0

    @property
    def digest(self) -> str:
        """Digest of these limits in object keys: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def intervals(self) -> dict[str, tuple[float | None, float | None]]:
        """Return measure → closed interval, ``None`` for no limit. The row rule and the suite both use it."""
        return {
            "face_px": (self.face_px_min, None),
            "detector_score": (self.detector_score_min, None),
            "sharpness": (self.sharpness_min, None),
            "brightness": (self.brightness_min, self.brightness_max),
            "clipped": (None, self.clipped_max),
            "yaw_deg": (-self.yaw_deg_max, self.yaw_deg_max),
            "pitch_deg": (-self.pitch_deg_max, self.pitch_deg_max),
        }


def failed_limits(measures: Mapping[str, Any], limits: FrameLimits) -> dict[QuarantineReason, Any]:
    """Return for each reason about an aligned face whether it applies, in the order of :class:`QuarantineReason`.

    Args:
        measures: the columns that ``limits.intervals()`` names: numbers of one frame, or arrays of many; NaN is missing.
        limits: of the frames.

    Returns:
        Reason → bool of one frame, or an array of many.
    """
    outside = {measure: _outside(measures[measure], *interval) for measure, interval in limits.intervals().items()}
    brightness = measures["brightness"]
    shadowed = outside["clipped"] & (brightness < HALF_BRIGHTNESS)
    return {
        QuarantineReason.SMALL: outside["face_px"],
        QuarantineReason.LOW_CONFIDENCE: outside["detector_score"],
        QuarantineReason.BLURRED: outside["sharpness"],
        QuarantineReason.DARK: (True ^ (brightness >= limits.brightness_min)) | shadowed,
        QuarantineReason.BRIGHT: outside["brightness"] | outside["clipped"],
        QuarantineReason.TURNED: outside["yaw_deg"] | outside["pitch_deg"],
    }


def _outside(values: Any, low: float | None, high: float | None) -> Any:
    """Return whether values are missing or outside a closed interval; ``^`` negates a bool and an array alike."""
    inside = values == values  # noqa: PLR0124 - False where the value is missing, NaN
    if low is not None:
        inside = inside & (values >= low)
    if high is not None:
        inside = inside & (values <= high)
    return True ^ inside
