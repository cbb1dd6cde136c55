"""The reporting sheet of a model: the items of TRIPOD+AI, answered by recorded facts only.

The items are those of TRIPOD+AI (Collins et al., *BMJ* 2024; 385: e078378), with the numbers of the corresponding items of
CLAIM (Mongan, Moy and Kahn, *Radiology: Artificial Intelligence* 2020; 2: e200029). The wording is ours and short: read the
papers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

NOT_RECORDED: Final = "not recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """An answer to an item: its subject, its value, and the place where that is recorded. ``None`` means not recorded."""

    item: str
    about: str
    value: str | None
    where: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An item of TRIPOD+AI: the question in short, and the numbers of the corresponding items of CLAIM."""

    asks: str
    claim: str = ""


ITEMS: Final[Mapping[str, Item]] = {
    "1": Item(asks="title: the kind of model, the people, the outcome", claim="1"),
    "2": Item(asks="abstract", claim="2"),
    "3a": Item(asks="health context, existing models", claim="3"),
    "3b": Item(asks="intended patients, place in care, users", claim="3"),
    "3c": Item(asks="known health inequalities"),
    "4": Item(asks="objectives: development, evaluation or both", claim="4, 6"),
    "5a": Item(asks="sources of the data, and the people they represent", claim="5, 7"),
    "5b": Item(asks="dates of the data", claim="8"),
    "6a": Item(asks="setting and centers", claim="8"),
    "6b": Item(asks="who and what was eligible", claim="8, 10"),
    "6c": Item(asks="treatments received"),
    "7": Item(asks="data preparation, alike in all groups", claim="9, 11, 12"),
    "8a": Item(asks="the outcome, how it was assessed", claim="14, 15, 17"),
    "8b": Item(asks="who assessed it: qualifications, agreement", claim="16, 18"),
    "8c": Item(asks="blinding of the assessment", claim="16"),
    "9a": Item(asks="choice of predictors"),
    "9b": Item(asks="the predictors, how they were measured", claim="11"),
    "9c": Item(asks="who assessed the predictors"),
    "10": Item(asks="justification of the sample size", claim="19"),
    "11": Item(asks="missing data", claim="13"),
    "12a": Item(asks="how the data were divided and used", claim="20, 21"),
    "12b": Item(asks="how predictors were handled: functional form, scaling", claim="9"),
    "12c": Item(asks="type of model, how it was built, tuned and chosen", claim="22, 23, 24, 25, 26, 27"),
    "12d": Item(asks="differences between clusters of people"),
    "12e": Item(asks="measures of performance, and why", claim="28, 29"),
    "12f": Item(asks="updating after evaluation, recalibration"),
    "12g": Item(asks="how predictions were calculated for the evaluation", claim="31"),
    "13": Item(asks="class imbalance"),
    "14": Item(asks="fairness: what was done", claim="30"),
    "15": Item(asks="output of the model, and its thresholds"),
    "16": Item(asks="how training and evaluation data differ", claim="32"),
    "17": Item(asks="ethical approval and consent"),
    "18a": Item(asks="funding", claim="42"),
    "18b": Item(asks="conflicts of interest"),
    "18c": Item(asks="study protocol", claim="41"),
    "18d": Item(asks="registration", claim="40"),
    "18e": Item(asks="availability of the data", claim="41"),
    "18f": Item(asks="availability of the code", claim="41"),
    "19": Item(asks="involvement of patients and the public"),
    "20a": Item(asks="flow of participants", claim="33"),
    "20b": Item(asks="characteristics of the participants", claim="34"),
    "20c": Item(asks="comparison of training and evaluation people", claim="34"),
    "21": Item(asks="people and events in each analysis"),
    "22": Item(asks="the full model, so that others can use it", claim="22, 41"),
    "23a": Item(asks="performance with intervals, in key subgroups", claim="35, 36"),
    "23b": Item(asks="differences of performance between clusters", claim="37"),
    "24": Item(asks="results of updating"),
    "25": Item(asks="interpretation, fairness in context", claim="39"),
    "26": Item(asks="limitations", claim="38"),
    "27a": Item(asks="poor or missing input when it is used"),
    "27b": Item(asks="what users must do and know"),
    "27c": Item(asks="next steps: applicability, generalizability"),
}


def render(name: str, facts: Sequence[Fact], *, synthetic: bool) -> str:
    """Render the sheet as Markdown: every item with its facts and their sources, and the items without any record.

    Raises:
        ValueError: a fact is about an unknown item, or has a value without a source.
    """
    for fact in facts:
        if fact.item not in ITEMS:
            raise ValueError(f"the fact about {fact.about} answers item {fact.item}, which TRIPOD+AI does not have")
        if fact.value is not None and not fact.where:
            raise ValueError(f"the fact about {fact.about} has no source: name the place where it is recorded")
    answered = {fact.item for fact in facts if fact.value is not None}
    lines = [f"# Reporting sheet of {name}", ""]
    if synthetic:
        lines += ["**Synthetic: this model was trained on drawings of faces. It must not be used for real people.**", ""]
    lines += [
        "Written by the flow that registered the model, **from recorded facts only**. Anything else is",
        f"“{NOT_RECORDED}”, and people must answer it before they rely on the model. For research only;",
        "not a medical device.",
        "",
        "Items are those of TRIPOD+AI (BMJ 2024; 385: e078378), with the numbers of the corresponding items of CLAIM 2020",
        "(Radiology: Artificial Intelligence 2020; 2: e200029); the wording is ours.",
        "",
        "| TRIPOD+AI | CLAIM | Asks for | Fact | Value | Recorded in |",
        "|---|---|---|---|---|---|",
    ]
    for number, item in ITEMS.items():
        own = [fact for fact in facts if fact.item == number]
        for fact in own or [Fact(item=number, about="", value=None)]:
            cells = (number, item.claim, item.asks, fact.about, fact.value or NOT_RECORDED, fact.where or "")
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
    missing = [number for number in ITEMS if number not in answered]
    lines += ["", f"Without any record: {', '.join(missing)} ({len(missing)} of {len(ITEMS)} items).", ""]
    return "\n".join(lines)


def counted(counts: Iterable[tuple[object, int]]) -> str | None:
    """Format counts as ``a: 3, b: 4``, sorted by name; ``None`` if there are none."""
    return ", ".join(f"{name}: {count}" for name, count in sorted((str(name), count) for name, count in counts)) or None


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
