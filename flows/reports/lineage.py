"""Lineage: from a score back to its clips, and from a clip or person forward to models and scores.

All facts come from the catalog and the rows of the snapshots. Merged people are followed under all their names.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from flows.promotion.registered_models import MODELS, bundled, known_training
from flows.promotion.retrain_trigger import versions_to_retrain
from flows.workspace import Workspace
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.data import snapshot as snapshots
from vitau.data.layout import parse_score_name
from vitau.data.parquet import read_table
from vitau.errors import CatalogError, SnapshotError, StoreError
from vitau.schema import Protocol, Snapshot, Split, all_names, canonical_name

SHOWN: Final = 8
"""Number of clips listed in the text; JSON has all of them."""

SHORTEST: Final = 6
"""Least number of characters of an abbreviated digest or pseudonym."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One item of a chain: its kind, name and facts, and the items that it leads to."""

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    leads_to: tuple["Node", ...] = ()


def lineage(workspace: Workspace, name: str) -> Node:
    """Return the chain of a name: backward from a score, model version or snapshot, forward from a clip or person.

    Args:
        workspace: The catalog and the store.
        name: ``scores/<model digest>/<subject>…`` or ``<model digest>/<subject>``, ``vitau-palsy/2``, the digest of a model or
            snapshot, an MLflow run, the sha256 of a clip, or a pseudonym. Digests and pseudonyms may be abbreviated.

    Raises:
        CatalogError: No item has this name, or several have.
    """
    score = parse_score_name(name)
    if score is not None:
        return from_score(workspace, *score)
    version = re.fullmatch(rf"(?:models:/)?({'|'.join(MODELS)})/(\d+)", name)
    if version is not None:
        return version_node(workspace, known_training(workspace, version[1], int(version[2])))
    known = sorted(set(items_named(workspace, name)))
    found = [item for item in known if item[1] == name] or [item for item in known if len(name) >= SHORTEST]
    if len(found) != 1:
        problem = f"{len(found)} names begin with {name}: give more characters" if found else f"no item is named {name}"
        raise CatalogError(
            f"{problem}; give a score (DIGEST/SUBJECT), a version (vitau-palsy/2), or at least {SHORTEST} characters of the "
            "digest of a model, a snapshot or a clip, of a run, or of a pseudonym"
        )
    kind, whole = found[0]
    if kind in {"model", "run"}:
        trainings = workspace.catalog.trainings()
        return version_node(workspace, next(own for own in trainings if whole in {own.model_digest, own.run_id}))
    if kind == "snapshot":
        return snapshot_node(workspace, next(frozen for frozen in workspace.catalog.snapshots() if frozen.digest == whole))
    return from_clip(workspace, whole) if kind == "clip" else from_subject(workspace, whole)


def items_named(workspace: Workspace, start: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of every item that lineage can start from and whose name begins so."""
    catalog = workspace.catalog
    trainings = catalog.trainings()
    few = [
        *(("model", training.model_digest) for training in trainings),
        *(("run", training.run_id) for training in trainings),
        *(("snapshot", snapshot.digest) for snapshot in catalog.snapshots()),
    ]
    yield from (item for item in few if item[1].startswith(start))
    yield from (("clip", clip.sha256) for clip in catalog.find_clips(starting=start))
    yield from (("subject", pseudonym) for pseudonym in catalog.names_starting(start))


def from_score(workspace: Workspace, digest: str, subject: str) -> Node:
    """Return the chain from a score back to the model, its run, snapshot and ledger offset, and the clips of both."""
    catalog = workspace.catalog
    digests = sorted({own.model_digest for own in catalog.trainings() if own.model_digest.startswith(digest)})
    names = catalog.names_starting(subject)
    scores = [score for whole in digests for score in catalog.scores(whole, subjects=names)]
    if len(scores) != 1:
        raise CatalogError(f"{len(scores)} scores match {digest}/{subject}: give the digest of a model and a pseudonym")
    training = next(own for own in catalog.trainings() if own.model_digest == scores[0].model_digest)
    return score_node(workspace, scores[0], version_node(workspace, training))


def from_clip(workspace: Workspace, sha256: str) -> Node:
    """Return the chain from a clip to its frame tables, snapshots, versions trained on it, and scores of its frames."""
    (clip,) = workspace.catalog.find_clips(starting=sha256)
    tables = [
        Node(
            kind="frame table",
            name=table.key,
            facts={"frames": table.num_frames, "quarantined": sum(table.quarantined.values())},
        )
        for table in workspace.catalog.frame_tables_of(sha256)
    ]
    uses = forward(workspace, column="clip", names={sha256})
    scored = [
        score_node(workspace, score) for score in scores_of(workspace, clip.subject) if sha256 in scored_clips(workspace, score)
    ]
    stated = {"visit": clip.visit, "recorded at": clip.taken_at}
    facts = {"subject": clip.subject, "source": clip.source, **{name: value for name, value in stated.items() if value}}
    return Node(kind="clip", name=sha256, facts=facts, leads_to=(*tables, *uses, *scored))


def from_subject(workspace: Workspace, name: str) -> Node:
    """Return the chain from a person, under every name, to snapshots, versions trained on them, and scores."""
    merged = workspace.catalog.merged_names()
    kept, names = canonical_name(name, merged), all_names(name, merged)
    person = workspace.catalog.person(kept)
    offsets = workspace.catalog.ledger_offsets(names)
    facts = {
        "cohort": person.cohort.value,
        "source": person.source,
        "also called": sorted(names - {kept}),
        "clips": [clip.sha256 for clip in workspace.catalog.find_clips(names=names)],
        "answers": len(offsets),
        "last answer at ledger offset": max(offsets, default=None),
    }
    scored = [score_node(workspace, score) for score in scores_of(workspace, kept)]
    return Node(
        kind="subject",
        name=kept,
        facts={key: value for key, value in facts.items() if value not in (None, [])},
        leads_to=(*forward(workspace, column="subject", names=names), *scored),
    )


def forward(workspace: Workspace, *, column: Literal["subject", "clip"], names: set[str]) -> Iterator[Node]:
    """Yield every snapshot that contains one of these clips or people, with their splits and the versions trained on it.

    A snapshot that cannot be read, which may contain them, is yielded with the reason.
    """
    for frozen in workspace.catalog.snapshots():
        try:
            splits = snapshots.splits_of(workspace.store, frozen.digest, column, names)
        except (SnapshotError, StoreError) as error:
            yield damaged_node(workspace, frozen, error)
            continue
        if splits:
            versions = [
                Node(
                    kind="model version",
                    name=f"{training.model}/{training.version}",
                    facts=version_facts(workspace, training, splits),
                )
                for training in workspace.catalog.trainings(frozen.digest)
            ]
            facts = {"split": ", ".join(sorted(splits)), "ledger offset": frozen.ledger_offset}
            yield Node(kind="snapshot", name=frozen.digest, facts=facts, leads_to=tuple(versions))


def damaged_node(workspace: Workspace, frozen: Snapshot, error: Exception) -> Node:
    """Return a snapshot whose rows cannot be read, with the reason and the versions trained on it."""
    versions = [
        Node(kind="model version", name=f"{training.model}/{training.version}", facts={"digest": training.model_digest})
        for training in workspace.catalog.trainings(frozen.digest)
    ]
    return Node(kind="damaged snapshot", name=frozen.digest, facts={"problem": str(error)}, leads_to=tuple(versions))


def version_facts(workspace: Workspace, training: Training, splits: set[Split]) -> dict[str, Any]:
    """Return how a version used people of these splits, and the decision about it."""
    used = {Split.TRAIN: "trained on", Split.VAL: "chosen by", Split.TEST: "tested on"}
    use = ", ".join(used[split] for split in Split if split in splits)
    if training.protocol is Protocol.LOPO:
        use = "trained on or chosen by, after being left out once"
    return {
        "use": use,
        "recipe": training.recipe,
        "digest": training.model_digest,
        "decision": decision(workspace, training),
        **mark(workspace, training),
    }


def version_node(workspace: Workspace, training: Training) -> Node:
    """Return the chain from a version back to its run, its snapshot, and the recognition in its bundle."""
    frozen = next(own for own in workspace.catalog.snapshots() if own.digest == training.snapshot)
    recognition = [
        Node(
            kind="recognition",
            name=f"{other.model}/{other.version}",
            facts={"digest": other.model_digest, "snapshot": other.snapshot, **mark(workspace, other)},
        )
        for other in bundled(workspace, training.model_digest)
        if other.model != training.model
    ]
    facts = {
        "digest": training.model_digest,
        "recipe": training.recipe,
        "run": training.run_id,
        "decision": decision(workspace, training),
        **mark(workspace, training),
    }
    return Node(
        kind="model version",
        name=f"{training.model}/{training.version}",
        facts=facts,
        leads_to=(snapshot_node(workspace, frozen), *recognition),
    )


def snapshot_node(workspace: Workspace, frozen: Snapshot) -> Node:
    """Return the chain from a snapshot back to the ledger offset of its labels and to its clips by split.

    The clips of a damaged snapshot are missing, with the reason.
    """
    offset = Node(kind="ledger offset", name=str(frozen.ledger_offset))
    try:
        rows = snapshots.load(workspace.store, frozen.digest)
    except (SnapshotError, StoreError) as error:
        facts = {"frames": frozen.num_frames, "problem": str(error)}
        return Node(kind="damaged snapshot", name=frozen.digest, facts=facts, leads_to=(offset,))
    clips: dict[str, set[str]] = {split: set() for split in Split}
    for row in rows.group_by(["clip", "split"]).aggregate([]).to_pylist():
        clips[row["split"]].add(row["clip"])
    return Node(
        kind="snapshot",
        name=frozen.digest,
        facts={"frames": frozen.num_frames},
        leads_to=(
            offset,
            *(
                Node(kind=f"clips of {split} people", name=str(len(found)), facts={"clips": sorted(found)})
                for split, found in clips.items()
            ),
        ),
    )


def score_node(workspace: Workspace, score: ScoredSubject, *leads_to: Node) -> Node:
    """Return a score with the clips that it was computed from."""
    facts = {
        "model digest": score.model_digest,
        "palsied": score.summary.get("palsied"),
        "palsy score": score.summary.get("palsy_score"),
        "clips": scored_clips(workspace, score),
    }
    return Node(kind="score", name=score.key, facts=facts, leads_to=leads_to)


def scores_of(workspace: Workspace, subject: str) -> list[ScoredSubject]:
    """Return every score of a person, under all names."""
    return workspace.catalog.scores(subjects=all_names(subject, workspace.catalog.merged_names()))


def scored_clips(workspace: Workspace, score: ScoredSubject) -> list[str]:
    """Return the clips whose frames a score was computed from."""
    table = read_table(workspace.store, score.key, ["input"])
    return sorted(set(table["input"].to_pylist()))


def decision(workspace: Workspace, training: Training) -> str | None:
    """Return the latest decision about a version with the number of its record."""
    records = [own for own in workspace.catalog.promotions(training.model) if own.version == training.version]
    return f"{records[-1].action} (record {records[-1].number})" if records else None


def mark(workspace: Workspace, training: Training) -> dict[str, str]:
    """Return the mark of a version that learned from a person who was erased since; empty for any other."""
    marked = f"{training.model}/{training.version}" in versions_to_retrain(workspace)
    return {"retrain": "it learned from a person who was erased"} if marked else {}


def tree(node: Node, indent: str = "") -> Iterator[str]:
    """Yield a chain as indented lines: an item with its facts, and below it the items that it leads to."""
    facts = "  ".join(f"{name}: {format_fact(value)}" for name, value in node.facts.items() if value is not None)
    yield f"{indent}{node.kind} {node.name}" + (f"  ({facts})" if facts else "")
    for below in node.leads_to:
        yield from tree(below, indent + "  ")


def format_fact(value: Any) -> str:
    """Return a fact as text; of a long list the first items, abbreviated, and the number of the others."""
    if not isinstance(value, list):
        return str(value)
    rest = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
    return " ".join(str(item)[:12] for item in value[:SHOWN]) + rest
