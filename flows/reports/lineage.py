"""Where a score comes from, and what came of a clip or a person: the same chain read in both directions.

Everything is read from the catalog and the snapshots' own rows; people who were merged are followed under all their names.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flows.promotion.registered_models import MODELS, bundled, known_training
from flows.workspace import Workspace
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.data import snapshot as snapshots
from vitau.data.layout import parse_score_name
from vitau.data.parquet import read_table
from vitau.errors import CatalogError
from vitau.schema import Snapshot, Split, all_names, canonical_name

SHOWN: Final = 8
"""Clips that are listed one by one in the text; JSON has all of them."""

SHORTEST: Final = 6
"""Characters of a digest or pseudonym that are enough to mean it, if nothing else begins so."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing in a chain: what it is, its name, what is known about it, and what it leads to."""

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    leads_to: tuple["Node", ...] = ()


def lineage(workspace: Workspace, name: str) -> Node:
    """Follow what a name means: back from a score, a model version or a snapshot; forward from a clip or a person.

    Args:
        workspace: the rows and the objects.
        name: ``scores/<model digest>/<subject>…`` or ``<model digest>/<subject>``, ``vitau-palsy/2``, a model's or a snapshot's
            digest, a clip's sha256, or a pseudonym; digests and pseudonyms may be cut to their first characters.

    Raises:
        CatalogError: nothing has this name, or more than one thing.
    """
    score = parse_score_name(name)
    if score is not None:
        return from_score(workspace, *score)
    version = re.fullmatch(rf"(?:models:/)?({'|'.join(MODELS)})/(\d+)", name)
    if version is not None:
        return version_node(workspace, known_training(workspace, version[1], int(version[2])))
    known = list(everything(workspace))
    found = sorted({(kind, each) for kind, each in known if each == name}) or sorted(
        {(kind, each) for kind, each in known if len(name) >= SHORTEST and each.startswith(name)}
    )
    if len(found) != 1:
        what = f"{len(found)} things begin with {name}: write more of it" if found else f"nothing here is called {name}"
        raise CatalogError(
            f"{what}; give a score (DIGEST/SUBJECT), a version (vitau-palsy/2), or at least {SHORTEST} characters of the "
            "digest of a model, a snapshot or a clip, or of a pseudonym"
        )
    kind, whole = found[0]
    if kind == "model":
        return version_node(workspace, next(each for each in workspace.catalog.trainings() if each.model_digest == whole))
    if kind == "snapshot":
        return snapshot_node(workspace, next(each for each in workspace.catalog.snapshots() if each.digest == whole))
    return from_clip(workspace, whole) if kind == "clip" else from_subject(workspace, whole)


def everything(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Name everything that can be asked about, with its kind."""
    catalog = workspace.catalog
    yield from (("model", each.model_digest) for each in catalog.trainings())
    yield from (("snapshot", each.digest) for each in catalog.snapshots())
    yield from (("clip", each.sha256) for each in catalog.clips())
    yield from (("subject", each) for each in catalog.pseudonyms())


def from_score(workspace: Workspace, digest: str, subject: str) -> Node:
    """Go back from a person's score to the model, its run, snapshot and ledger offset, and the clips of both ends."""
    catalog = workspace.catalog
    digests = sorted({each.model_digest for each in catalog.trainings() if each.model_digest.startswith(digest)})
    scores = [each for whole in digests for each in catalog.scores(whole) if each.subject.startswith(subject)]
    if len(scores) != 1:
        raise CatalogError(f"{len(scores)} scores are called {digest}/{subject}: write a model's digest and a pseudonym")
    training = next(each for each in catalog.trainings() if each.model_digest == scores[0].model_digest)
    return score_node(workspace, scores[0], version_node(workspace, training))


def from_clip(workspace: Workspace, sha256: str) -> Node:
    """Go forward from a clip to its frame tables, snapshots, versions trained on it, and the scores of its frames."""
    clip = next(each for each in workspace.catalog.clips() if each.sha256 == sha256)
    tables = [
        Node(
            kind="frame table", name=each.key, facts={"frames": each.num_frames, "quarantined": sum(each.quarantined.values())}
        )
        for each in workspace.catalog.frame_tables_of(sha256)
    ]
    uses = forward(workspace, column="clip", names={sha256})
    scored = [
        score_node(workspace, each)
        for each in person_scores(workspace, clip.subject)
        if sha256 in clips_scored(workspace, each)
    ]
    facts = {"subject": clip.subject, "source": clip.source}
    return Node(kind="clip", name=sha256, facts=facts, leads_to=(*tables, *uses, *scored))


def from_subject(workspace: Workspace, name: str) -> Node:
    """Go forward from a person, under every name, to snapshots, versions trained on them, and scores."""
    merged = workspace.catalog.merged_names()
    kept, names = canonical_name(name, merged), all_names(name, merged)
    person = next(each for each in workspace.catalog.subjects() if each.pseudonym == kept)
    offsets = [offset for offset, subject in workspace.catalog.ledger_subjects() if subject in names]
    facts = {
        "cohort": person.cohort.value,
        "source": person.source,
        "also called": sorted(names - {kept}),
        "clips": [each.sha256 for each in workspace.catalog.clips() if each.subject == kept],
        "answers": len(offsets),
        "last answer at ledger offset": max(offsets, default=None),
    }
    scored = [score_node(workspace, each) for each in person_scores(workspace, kept)]
    return Node(
        kind="subject",
        name=kept,
        facts={key: value for key, value in facts.items() if value not in (None, [])},
        leads_to=(*forward(workspace, column="subject", names=names), *scored),
    )


def forward(workspace: Workspace, *, column: str, names: set[str]) -> Iterator[Node]:
    """Give every snapshot that holds one of these clips or people, in which split, with the versions made from it."""
    for frozen in workspace.catalog.snapshots():
        rows = snapshots.load(workspace.store, frozen.digest).select([column, "split"]).to_pydict()
        splits = {split for each, split in zip(rows[column], rows["split"], strict=True) if each in names}
        if splits:
            made = [
                Node(kind="model version", name=f"{each.model}/{each.version}", facts=version_facts(workspace, each, splits))
                for each in workspace.catalog.trainings(frozen.digest)
            ]
            facts = {"split": ", ".join(sorted(splits)), "ledger offset": frozen.ledger_offset}
            yield Node(kind="snapshot", name=frozen.digest, facts=facts, leads_to=tuple(made))


def version_facts(workspace: Workspace, training: Training, splits: set[str]) -> dict[str, Any]:
    """Say what a version did with people of these splits, and what became of it."""
    used = {Split.TRAIN: "trained on", Split.VAL: "chosen by", Split.TEST: "tested on"}
    words = ", ".join(used[split] for split in Split if split in splits)
    return {"use": words, "recipe": training.recipe, "digest": training.model_digest, "decision": decision(workspace, training)}


def version_node(workspace: Workspace, training: Training) -> Node:
    """Go back from a version to its run, its snapshot, and the recognition that it carries."""
    frozen = next(each for each in workspace.catalog.snapshots() if each.digest == training.snapshot)
    carried = [
        Node(
            kind="recognition",
            name=f"{each.model}/{each.version}",
            facts={"digest": each.model_digest, "snapshot": each.snapshot},
        )
        for each in bundled(workspace, training.model_digest)
        if each.model != training.model
    ]
    facts = {
        "digest": training.model_digest,
        "recipe": training.recipe,
        "run": training.run_id,
        "decision": decision(workspace, training),
    }
    return Node(
        kind="model version",
        name=f"{training.model}/{training.version}",
        facts=facts,
        leads_to=(snapshot_node(workspace, frozen), *carried),
    )


def snapshot_node(workspace: Workspace, frozen: Snapshot) -> Node:
    """Go back from a snapshot to the labels' place in the ledger and the clips, by split."""
    rows = snapshots.load(workspace.store, frozen.digest).select(["clip", "split"]).to_pydict()
    clips: dict[str, set[str]] = {split: set() for split in Split}
    for clip, split in zip(rows["clip"], rows["split"], strict=True):
        clips[split].add(clip)
    return Node(
        kind="snapshot",
        name=frozen.digest,
        facts={"frames": frozen.num_frames},
        leads_to=(
            Node(kind="ledger offset", name=str(frozen.ledger_offset)),
            *(
                Node(kind=f"clips of {split} people", name=str(len(found)), facts={"clips": sorted(found)})
                for split, found in clips.items()
            ),
        ),
    )


def score_node(workspace: Workspace, score: ScoredSubject, *leads_to: Node) -> Node:
    """Say what was scored: whose clips, with which answer."""
    facts = {
        "model digest": score.model_digest,
        "palsied": score.summary.get("palsied"),
        "palsy score": score.summary.get("palsy_score"),
        "clips": clips_scored(workspace, score),
    }
    return Node(kind="score", name=score.key, facts=facts, leads_to=leads_to)


def person_scores(workspace: Workspace, subject: str) -> list[ScoredSubject]:
    """Give every score of a person, under all names."""
    merged = workspace.catalog.merged_names()
    return [each for each in workspace.catalog.scores() if canonical_name(each.subject, merged) == subject]


def clips_scored(workspace: Workspace, score: ScoredSubject) -> list[str]:
    """Name the clips whose frames went into a score."""
    table = read_table(workspace.store, score.key, ["input"])
    return sorted(set(table["input"].to_pylist()))


def decision(workspace: Workspace, training: Training) -> str | None:
    """Say what the last record about a version decided."""
    records = [each for each in workspace.catalog.promotions(training.model) if each.version == training.version]
    return f"{records[-1].action} (record {records[-1].number})" if records else None


def tree(node: Node, indent: str = "") -> Iterator[str]:
    """Lay a chain out as lines: a thing, what is known about it, and below it what it leads to."""
    facts = "  ".join(f"{name}: {shown(value)}" for name, value in node.facts.items() if value is not None)
    yield f"{indent}{node.kind} {node.name}" + (f"  ({facts})" if facts else "")
    for each in node.leads_to:
        yield from tree(each, indent + "  ")


def shown(value: Any) -> str:
    """Write a fact for a terminal; of a long list the first ones, cut, and how many more there are."""
    if not isinstance(value, list):
        return str(value)
    rest = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
    return " ".join(str(each)[:12] for each in value[:SHOWN]) + rest
