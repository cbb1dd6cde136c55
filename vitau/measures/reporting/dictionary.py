"""The dictionary of the data: every column of every table, and the variables of a record in the form that REDCap imports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vitau.measures.geometry import CENTRAL_MEASURES, SIDED_MEASURES
from vitau.measures.reporting.words import measure_words
from vitau.measures.results import TASK_WORDS, Measure, Recording, Task
from vitau.schema import Side

LONGEST_NAME: Final = 26
"""REDCap's limit for the name of a variable."""
FORM: Final = "vitau_measures"
REDCAP_HEADER: Final = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
"""The header of a data dictionary as REDCap exports and imports it."""

_TASKS: Final[Mapping[Task, str]] = {
    Task.REST: "rest",
    Task.BROW_RAISE: "brow",
    Task.EYE_CLOSURE: "eyes",
    Task.EYE_CLOSURE_TIGHT: "tight",
    Task.SNARL: "snarl",
    Task.SMILE: "smile",
    Task.LIP_PUCKER: "pucker",
    Task.LOWER_TEETH: "teeth",
    Task.JAW_OPENING: "jaw",
}
_MEASURES: Final[Mapping[str, str]] = {
    "brow_height": "browht",
    "lid_gap": "lidgap",
    "upper_margin_reflex": "mrd1",
    "lower_margin_reflex": "mrd2",
    "nasal_wing_height": "wing",
    "lip_corner_height": "cornerht",
    "lip_corner_lateral": "cornerlat",
    "upper_lip_height": "uplip",
    "lower_lip_height": "lowlip",
    "philtrum_deviation": "philtrum",
    "mouth_opening": "mouth",
    "dental_show": "dental",
    "chin_height": "chin",
}
_VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "right": ("r", "right"),
    "left": ("l", "left"),
    "value": ("v", "value"),
    "difference": ("diff", "right minus left"),
    "ratio": ("ratio", "smaller side divided by larger side"),
    "symmetry_index": ("si", "symmetry index"),
    "smallest_detectable_change": ("sdc", "smallest detectable change"),
}
"""Values of a measure in a record: field of :class:`Measure` → ending of the name, and label."""
_SIDES: Final = "0, not measurable | 1, right | 2, left"
_SIDE_CODES: Final = {None: 0, Side.RIGHT: 1, Side.LEFT: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A variable of a record: one row of the data dictionary that REDCap imports."""

    name: str
    label: str
    kind: str = "text"
    section: str = ""
    choices: str = ""
    note: str = ""
    validation: str = ""
    least: str = ""
    most: str = ""
    identifier: bool = False

    def row(self) -> tuple[str, ...]:
        """Return the row below ``REDCAP_HEADER``."""
        first = (self.name, FORM, self.section, self.kind, self.label, self.choices, self.note)
        return (*first, self.validation, self.least, self.most, "y" if self.identifier else "", *("" for _ in range(7)))


ABOUT: Final[Sequence[Variable]] = (
    Variable(name="record_id", label="Record: the name of the input", identifier=True),
    Variable(name="visit", label="Visit"),
    Variable(name="recorded_at", label="Date of the recording, as in the manifest"),
    Variable(
        name="side", label="Weaker side", kind="radio", choices=_SIDES,
        section="Movement", note="Everybody has one; it does not say that a palsy is there",
    ),
    Variable(name="side_probability", label="Probability of the side", validation="number", least="0.5", most="1"),
    Variable(name="asymmetry", label="Asymmetry of movement", validation="number", least="0", note="0 is equal movement"),
    Variable(
        name="forehead_spared", label="Forehead spared (central pattern)", kind="yesno",
        note="Never excludes a stroke; empty where neither pattern is shown",
    ),
    Variable(name="eye_distance_mm", label="Distance of the eyes by an iris of 11.7 mm", validation="number", note="mm"),
    Variable(name="frames", label="Sampled frames", validation="integer", least="0"),
    Variable(name="frames_measured", label="Measured frames", validation="integer", least="0"),
    Variable(name="landmarks", label="Source of the landmarks"),
)  # fmt: skip
"""The first variables of a record."""

COLUMNS: Final[Sequence[tuple[str, str, str]]] = (
    ("input", "text", "name of the input"),
    ("visit, recorded_at", "text", "as in the manifest"),
    ("exercise, task", "text", "; ".join(f"{task.value}: {words}" for task, words in TASK_WORDS.items())),
    ("measure", "text", "name of the measure, see below"),
    ("kind", "text", "rest: level at rest; excursion: movement that the exercise asks for; synkinesis: other movement"),
    ("unit", "text", "unit of right, left, value, difference, standard_error and smallest_detectable_change"),
    ("right, left", "number", "the person's own sides"),
    ("value", "number", "value of a measure without sides"),
    ("right_mm, left_mm", "number", "the same in mm, by an iris of 11.7 mm; empty without a scale"),
    ("difference", "number", "right minus left"),
    ("ratio", "number", "smaller side divided by larger side; empty for tiny movements"),
    (
        "symmetry_index",
        "number",
        "(right − left) / (right + left): 0 is even, 1 only the right side moves, −1 only the left one",
    ),
    ("speed_right, speed_left", "number", "largest speed of the movement, in units per s"),
    ("correlation", "number", "correlation of the curves of both sides during the exercise"),
    ("standard_error", "number", "standard error of the measurement"),
    ("smallest_detectable_change", "number", "1.96 · √2 · standard error; a smaller change may be noise"),
    ("num_frames, num_repetitions", "number", "frames and repetitions that it rests on"),
    ("reason", "text", "why it is not measurable; empty if it is"),
)
"""Columns of ``measures.csv`` and of the sheet of measures: names, type, meaning."""


def column_rows() -> Iterator[tuple[str, str, str]]:
    """Yield name, type and meaning of all columns: those of measures, then the measures themselves."""
    yield from COLUMNS
    for name, definition in {**SIDED_MEASURES, **CENTRAL_MEASURES}.items():
        yield (name, "measure", f"{measure_words(name)}: {definition}")


def variables(recordings: Sequence[Recording]) -> list[Variable]:
    """Return the variables of the records of some recordings: what is about the person, then each measure that occurs."""
    pairs = {(measure.task, measure.measure): measure for recording in recordings for measure in recording.measures}
    found = list(ABOUT)
    for task in Task:
        new_section = True
        for (measure_task, name), measure in pairs.items():
            if measure_task is not task:
                continue
            for field in _fields(measure):
                found.append(_variable(measure, name, field, TASK_WORDS[task].capitalize() if new_section else ""))
                new_section = False
    return found


def record(recording: Recording) -> dict[str, str | float | int | None]:
    """Return the values of a recording by the names of their variables; what was not measured is missing."""
    person = recording.person
    values: dict[str, str | float | int | None] = {
        "record_id": recording.item,
        "visit": recording.visit,
        "recorded_at": recording.recorded_at,
        "side": _SIDE_CODES[person.side],
        "side_probability": person.side_probability,
        "asymmetry": person.asymmetry,
        "forehead_spared": None if person.forehead_spared is None else int(person.forehead_spared),
        "eye_distance_mm": recording.series.eye_distance_mm,
        "frames": recording.num_frames,
        "frames_measured": int(recording.series.usable.sum()),
        "landmarks": recording.backend,
    }
    for measure in recording.measures:
        for field in _fields(measure):
            values[variable_name(measure.task, measure.measure, field)] = getattr(measure, field)
    return values


def variable_name(task: Task, measure: str, field: str) -> str:
    """Return the name of a variable, such as ``smile_cornerlat_r``: lowercase, at most 26 characters."""
    return f"{_TASKS[task]}_{_MEASURES.get(measure, measure.replace('_', '')[:12])}_{_VALUES[field][0]}"


def _fields(measure: Measure) -> list[str]:
    sided = f"{measure.measure}" in SIDED_MEASURES or measure.right is not None
    return [field for field in _VALUES if field != "value"] if sided else ["value", "smallest_detectable_change"]


def _variable(measure: Measure, name: str, field: str, section: str) -> Variable:
    unit = "" if field in ("ratio", "symmetry_index") else measure.unit
    kinds = {"rest": "level at rest", "excursion": "movement", "synkinesis": "movement that is not asked for"}
    return Variable(
        name=variable_name(measure.task, name, field),
        label=f"{measure_words(name)}, {TASK_WORDS[measure.task]}: {_VALUES[field][1]}",
        section=section,
        note="; ".join(filter(None, (kinds.get(measure.kind, measure.kind), unit))),
        validation="number",
    )
