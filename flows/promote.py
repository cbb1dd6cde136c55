"""From a registered version to the champion, by evidence; and back again. Every decision is a signed record."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

import vitau
from flows.promotion.registered_models import MODELS, known_training
from flows.settings import Settings, SettingsError
from flows.workspace import Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import Action, PromotionRecord, broken_records, champion_stack
from vitau.catalog.signing import canonical
from vitau.errors import RegistryError
from vitau.evaluation.policy import PATIENTS, SMOKE, Policy
from vitau.evaluation.promotion import decide_promotion
from vitau.registry import registry


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a version: the champion before and after, by which record, the reasons that speak against it."""

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
    """A record as the history tells it; ``problem`` says what is wrong with its signature or with the alias."""

    record: PromotionRecord
    problem: str | None


@flow(name="promote")
def promote(
    model: str | None = None,
    version: int | None = None,
    why: str | None = None,
    by: str = "flow promote",
    settings: Settings | None = None,
) -> list[Decision]:
    """Judge the newest version of each model, or one version by name, and make it champion if the evidence allows.

    With ``why`` a named version is made champion against the verdict, and the record says so.
    """
    workspace = open_workspace(settings)
    if model is not None and version is not None:
        return [decide(workspace, known_training(workspace, model, version), by=by, asked=True, why=why)]
    newest = {each.model: each for each in sorted(workspace.catalog.trainings(), key=lambda each: each.version)}
    asked = [newest[name] for name in MODELS if name in newest and model in {None, name}]
    if not asked:
        raise RegistryError(f"no {model or 'model'} was trained here; there are {', '.join(sorted(newest)) or 'none'}")
    return [decide(workspace, training, by=by) for training in asked]


@flow(name="rollback")
def rollback(model: str, why: str = "", by: str = "flow rollback", settings: Settings | None = None) -> Decision:
    """Make the champion before this one champion again; a rollback that was interrupted is finished instead."""
    return roll_back(open_workspace(settings), model, why=why, by=by)


@task(cache_policy=NO_CACHE, task_run_name="promote-{training.model}")
def decide(workspace: Workspace, training: Training, *, by: str, asked: bool = False, why: str | None = None) -> Decision:
    """Judge a version against the champion and let the alias follow; a version that was judged is not judged again.

    Unless it is ``asked`` for by name: then it is judged against today's champion, once.

    Raises:
        RegistryError: the alias does not stand where the records say, or a version that was taken back is asked for without a
            reason.
    """
    key, model = signing_key(workspace), training.model
    standing, _ = settle(workspace, model, tolerant=why is not None)
    records = workspace.catalog.promotions(model)
    own = [record for record in records if record.version == training.version]
    if standing == training.version or (own and not asked):
        return told(own[-1] if own else None, training, standing)
    taken_back = own[-1] if own and own[-1].action is Action.ROLLED_BACK else None
    if taken_back is not None and why is None:
        raise RegistryError(
            f"version {training.version} of {model} was taken back (record {taken_back.number}): "
            "give --why to make it champion again"
        )
    champion = None if standing is None else known_training(workspace, model, standing)
    policy = policy_for(training, champion)
    once = name_of(training, champion, policy)
    known = next((record for record in own if record.facts.get("once") == once), None)
    facts = dict(known.facts) if known else judged(workspace, training, champion, policy) | {"once": once}
    facts |= {"model": model, "version": training.version, "before": standing, "by": by, "why": why}
    promoted = facts["verdict"]["promote"] and taken_back is None
    action = Action.PROMOTED if promoted else Action.OVERRIDDEN if why is not None else Action.REFUSED
    facts |= {"action": action, "after": standing if action is Action.REFUSED else training.version}
    again = action is Action.OVERRIDDEN or (promoted and known is not None)  # it was champion, and another one came in between
    record, new = workspace.catalog.append_promotion(facts, key=key, once=None if again else once)
    if new:
        publish(workspace, record)
        get_logger(__name__).info("%s version %d is %s (record %d)", model, record.version, record.action, record.number)
    return told(record, training, record.after, new=new)


def roll_back(workspace: Workspace, model: str, *, why: str, by: str) -> Decision:
    """Let the alias go back to the champion before this one, with a record.

    Raises:
        RegistryError: there is none.
    """
    key = signing_key(workspace)
    standing, finished = settle(workspace, model)
    if finished is not None and finished.action is Action.ROLLED_BACK:
        return told(finished, None, standing, new=True)
    stack = champion_stack(workspace.catalog.promotions(model))
    if len(stack) < 2:
        raise RegistryError(f"no champion of {model} came before version {standing}: there is nothing to go back to")
    facts = {"model": model, "version": stack[-1], "action": Action.ROLLED_BACK, "before": stack[-1], "after": stack[-2]}
    facts |= {"by": by, "why": why or None, "software": vitau.__version__}
    record, _ = workspace.catalog.append_promotion(facts, key=key)
    publish(workspace, record)
    return told(record, None, record.after, new=True)


def history(workspace: Workspace, model: str | None = None) -> list[AuditEntry]:
    """List every decision in order, and say of each what is wrong with it: its signature, its place, or MLflow's alias."""
    records = workspace.catalog.promotions()
    problems = broken_records(records, signing_key(workspace))
    for name in {record.model for record in records}:
        last = [record for record in records if record.model == name][-1]
        standing = registry.champion(workspace.settings.mlflow_url, name)
        if standing != last.after:
            problems.setdefault(last.number, f"the alias champion stands on version {standing}, not on {last.after}")
        newest = registry.last_decision(workspace.settings.mlflow_url, name)
        if newest is not None and newest > last.number:
            problems.setdefault(last.number, f"MLflow knows of a later record, {newest}, which is not here")
    return [
        AuditEntry(record=record, problem=problems.get(record.number))
        for record in records
        if model is None or record.model == model
    ]


def settle(workspace: Workspace, model: str, *, tolerant: bool = False) -> tuple[int | None, PromotionRecord | None]:
    """Finish a decision that was recorded and not carried out; returns the champion, and the record if one was finished.

    Raises:
        RegistryError: the alias was moved by hand, and nobody is about to give a reason.
    """
    standing = registry.champion(workspace.settings.mlflow_url, model)
    records = workspace.catalog.promotions(model)
    if not records or standing == records[-1].after:
        return standing, None
    last = records[-1]
    if standing == last.before:
        publish(workspace, last)
        return last.after, last
    if not tolerant:
        raise RegistryError(
            f"the alias champion of {model} stands on version {standing}, but record {last.number} says {last.after}: somebody "
            f"moved it by hand; `promote {model} VERSION --why …` records where it should stand"
        )
    return standing, None


def publish(workspace: Workspace, record: PromotionRecord) -> None:
    """Let MLflow follow a record: the text beside the run, tags on the version, and last the alias."""
    url = workspace.settings.mlflow_url
    tags = {"decision": str(record.action), "decision_record": str(record.number), "decision_signature": record.signature}
    registry.record_decision(url, record.model, record.version, text=record.text, number=record.number, tags=tags)
    if record.after is not None and record.after != record.before:
        registry.set_champion(url, record.model, record.after)


def judged(workspace: Workspace, training: Training, champion: Training | None, policy: Policy) -> dict[str, Any]:
    """Gather the evidence and judge; returns what the record keeps of it."""
    from flows.promotion.evaluation import gather  # torch, which history and rollback need not load

    evidence = gather(workspace, training, champion)
    verdict = decide_promotion(evidence.people, evidence.challenger, evidence.champion, policy)
    return {
        "snapshot": training.snapshot,
        "recipe": training.recipe,
        "run": training.run_id,
        "digest": training.model_digest,
        "champion_digest": champion and champion.model_digest,
        "evidence": {
            "sha256": evidence.digest,
            "left_out": evidence.num_left_out,
            "protocol": training.metrics.get("protocol"),
        },
        "verdict": asdict(verdict),
        "software": vitau.__version__,
    }


def policy_for(challenger: Training, champion: Training | None) -> Policy:
    """Ask a smoke test for nothing, among its like; whoever challenges a model that learnt something must keep every limit."""
    return SMOKE if all(each.recipe.startswith("smoke-") for each in (challenger, champion) if each is not None) else PATIENTS


def name_of(challenger: Training, champion: Training | None, policy: Policy) -> str:
    """Name a verdict by all that determines it."""
    of = [challenger.model, challenger.version, challenger.model_digest, challenger.snapshot]
    return sha256(canonical([*of, champion and champion.model_digest, asdict(policy)]).encode()).hexdigest()


def signing_key(workspace: Workspace) -> bytes:
    """Give the key of the records' signatures.

    Raises:
        SettingsError: there is none.
    """
    key = workspace.settings.signing_key
    if key is None:
        raise SettingsError("decisions about champions are signed: set VITAU_SIGNING_KEY, or use `make up`, which draws one")
    return key.get_secret_value().encode()


def told(record: PromotionRecord | None, training: Training | None, standing: int | None, *, new: bool = False) -> Decision:
    """Say what a record decided; without one, the champion stood before there were records."""
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


def against(record: PromotionRecord) -> tuple[str, ...]:
    """Give the sentences that spoke against a version."""
    reasons: Sequence[dict[str, Any]] = record.facts.get("verdict", {}).get("reasons", ())
    return tuple(reason["sentence"] for reason in reasons if reason["holds"] is False)
