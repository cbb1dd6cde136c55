"""Decisions about champions: their signed records in the catalog, and what MLflow shows of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.promotion.champion import alias_differs, approval, publish_approval, verify_last
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import PromotionRecord, broken_records
from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome for a version: champion before and after, number of the record, reasons against the version."""

    model: str
    version: int
    action: str
    before: int | None
    after: int | None
    record: int | None
    new: bool
    against: tuple[str, ...] = ()
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """A record in the history; ``problem`` describes a wrong signature or a wrong alias."""

    record: PromotionRecord
    problem: str | None


def history(workspace: Workspace, model: str | None = None, *, compare: bool = True) -> list[AuditEntry]:
    """Return every decision in order, each with what is wrong with its signature, its number or the alias in MLflow.

    Unless ``compare``, the aliases and files in MLflow are not looked at, because it does not run.
    """
    records = workspace.catalog.promotions()
    problems = broken_records(records, workspace.signing_key())
    for name in {record.model for record in records} if compare else ():
        last = [record for record in records if record.model == name][-1]
        standing = registry.champion(workspace.settings.mlflow_url, name)
        if standing != last.after:
            problems.setdefault(last.number, f"the alias champion is version {standing}, not {last.after}")
        elif last.number not in problems and (problem := files_problem(workspace, name, last.after)):
            problems[last.number] = problem
        newest = registry.last_decision(workspace.settings.mlflow_url, name)
        if newest is not None and newest > last.number:
            problems.setdefault(last.number, f"MLflow has a later record, {newest}, which the catalog lacks")
    return [
        AuditEntry(record=record, problem=problems.get(record.number))
        for record in records
        if model is None or record.model == model
    ]


def files_problem(workspace: Workspace, model: str, version: int | None) -> str | None:
    """Return what is wrong with the champion's files in MLflow, compared with the records; ``None`` if nothing is."""
    try:
        approval(workspace, model, version)
    except (ChecksumError, RegistryError) as error:
        return str(error)
    return None


def finish_interrupted(
    workspace: Workspace, model: str, *, tolerant: bool = False
) -> tuple[int | None, PromotionRecord | None]:
    """Publish a decision that was recorded but not published.

    Returns:
        The version of the champion, and the record if one was published.

    Raises:
        RegistryError: The last record does not verify, or the alias differs from it, and ``tolerant`` is false.
    """
    url = workspace.settings.mlflow_url
    standing = registry.champion(url, model)
    records = workspace.catalog.promotions(model)
    if records and not tolerant:
        verify_last(workspace, records[-1], workspace.catalog.promotions())
    if not records:
        return standing, None
    last = records[-1]
    if standing == last.after:
        # a refusal moves no alias: only the tags show that it was published
        if last.before != last.after or not registry.lacks_decision(url, model, last.version, last.number):
            return standing, None
        publish(workspace, last)
        return standing, last
    if standing == last.before:
        publish(workspace, last)
        return last.after, last
    if not tolerant:
        raise alias_differs(last, standing)
    return standing, None


def publish(workspace: Workspace, record: PromotionRecord) -> None:
    """Write a record to MLflow: its text to the run, tags to the version, the champion's signature, and last the alias."""
    url = workspace.settings.mlflow_url
    tags = {"decision": str(record.action), "decision_record": str(record.number), "decision_signature": record.signature}
    policy, warning = record.facts.get("verdict", {}).get("policy", {}).get("name"), record.facts.get("warning")
    tags |= ({"decision_policy": policy} if policy else {}) | ({registry.WARNING_TAG: warning} if warning else {})
    registry.record_decision(url, record.model, record.version, text=record.text, number=record.number, tags=tags)
    if record.after is not None and record.facts.get("approved"):
        publish_approval(workspace, record.model, record.after, record.facts["approved"])
    if record.after is not None and record.after != record.before:
        registry.set_champion(url, record.model, record.after)


def decision_of(
    record: PromotionRecord | None, training: Training | None, standing: int | None, *, new: bool = False
) -> Decision:
    """Return the decision in a record; without a record, the champion was set before records were kept."""
    if record is None:
        assert training is not None
        return Decision(
            model=training.model,
            version=training.version,
            action="champion",
            before=standing,
            after=standing,
            record=None,
            new=False,
        )
    return Decision(
        model=record.model,
        version=record.version,
        action=record.action.value,
        before=record.before,
        after=record.after,
        record=record.number,
        new=new,
        against=against(record),
        why=record.facts.get("why"),
    )


def last_decisions(workspace: Workspace, trainings: Iterable[Training]) -> list[Decision]:
    """Return the last decision about each version, with the champion of today; none about a version that was never judged."""
    found = []
    for training in trainings:
        records = workspace.catalog.promotions(training.model)
        own = [record for record in records if record.version == training.version]
        found += [replace(decision_of(own[-1], training, None), after=records[-1].after)] if own else []
    return found


def against(record: PromotionRecord) -> tuple[str, ...]:
    """Return the sentences of the checks that a version failed."""
    reasons: Sequence[dict[str, Any]] = record.facts.get("verdict", {}).get("reasons", ())
    return tuple(reason["sentence"] for reason in reasons if reason["holds"] is False)
