"""Promote a registered version to champion, or roll back. Every decision is a signed record."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger
from prefect.runtime import flow_run

import vitau
from flows.promotion.champion import approval, is_approved, sign_champion
from flows.promotion.decisions import Decision, against, decision_of, finish_interrupted, publish
from flows.promotion.looks import count_looks, note_look
from flows.promotion.policies import choose_policy
from flows.promotion.registered_models import MODELS, known_training
from flows.promotion.shortcuts import probe_of
from flows.reports.run_summary import publish_summary
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import Action, PromotionRecord, champion_stack
from vitau.catalog.signing import canonical
from vitau.errors import RegistryError
from vitau.evaluation.explanations.results import Explanations
from vitau.evaluation.promotion.policy import Policy
from vitau.evaluation.promotion.verdict import decide_promotion
from vitau.registry import registry
from vitau.schema import Protocol

if TYPE_CHECKING:
    from flows.promotion.evaluation import Evidence


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A version compared with the champion of the moment.

    Attributes:
        training: Of the version.
        champion: Version of the champion; ``None`` if there is none.
        facts: What the record keeps of the evaluation, including its key ``once``. Empty if ``decision`` is set.
        repeated: Whether the facts come from the record of an earlier evaluation with the same key.
        rolled_back: Whether the latest decision took this version back.
        decision: The standing decision of a version that is not evaluated again.
        approved: Digests of the version's files in the registry, for its record.
        champion_approved: Digests of the champion's files.
    """

    training: Training
    champion: int | None
    approved: Mapping[str, Any] | None = None
    champion_approved: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    repeated: bool = False
    rolled_back: bool = False
    decision: Decision | None = None


def promotion_name() -> str:
    """Return the name of a run of `promote`: what it was asked to promote."""
    given = flow_run.parameters
    named = [str(given[name]) for name in ("model", "version") if given.get(name) is not None]
    return " ".join(["promote", *(named or ["the newest"])])


@flow(name="promote", flow_run_name=promotion_name, on_completion=[publish_summary])
def promote(
    model: str | None = None,
    version: int | None = None,
    why: str | None = None,
    by: str = "flow promote",
    settings: Settings | None = None,
) -> list[Decision]:
    """Evaluate the newest version of each model, or one named version, and promote it if the policy allows.

    A version that was judged by another policy than that of the settings is judged anew.

    With ``why``, a named version becomes champion against the verdict; its record contains the reason.
    """
    workspace = open_workspace(settings)
    if model is not None and version is not None:
        evaluation = evaluate(workspace, known_training(workspace, model, version), again=True, why=why)
        return [promote_or_refuse(workspace, evaluation, by=by, why=why)]
    trainings = sorted(workspace.catalog.trainings(), key=lambda training: training.version)
    newest = {training.model: training for training in trainings}
    chosen = [newest[name] for name in MODELS if name in newest and model in {None, name}]
    if not chosen:
        raise RegistryError(f"no {model or 'model'} was trained here; there are {', '.join(sorted(newest)) or 'none'}")
    return [promote_or_refuse(workspace, evaluate(workspace, training), by=by) for training in chosen]


@flow(name="rollback", flow_run_name="rollback {model}", on_completion=[publish_summary])
def rollback(model: str, why: str = "", by: str = "flow rollback", settings: Settings | None = None) -> Decision:
    """Restore the previous champion, or finish a rollback that was interrupted."""
    return roll_back(open_workspace(settings), model, why=why, by=by)


@task(cache_policy=NO_CACHE, task_run_name="evaluate-{training.model}")
def evaluate(workspace: Workspace, training: Training, *, again: bool = False, why: str | None = None) -> Evaluation:
    """Compare a version with the champion; a version that has a decision by this policy keeps it.

    With ``again``, a decided version is evaluated against the current champion, once for each champion and policy.

    Raises:
        RegistryError: The alias differs from the records, or a version that was rolled back is named without a reason.
        ChecksumError: The registry has other files of the version or the champion than were trained or approved.
        SettingsError: There is no signing key.
    """
    workspace.signing_key()
    champion_version, _ = finish_interrupted(workspace, training.model, tolerant=why is not None)
    records, name = workspace.catalog.promotions(training.model), (training.model, training.version)
    own = [record for record in records if record.version == training.version]
    if champion_version == training.version and why is not None and records and not is_approved(workspace, *name):
        return renew(workspace, training)
    champion = None if champion_version is None else known_training(workspace, training.model, champion_version)
    policy = policy_for(workspace.settings, training, champion)
    if champion_version == training.version or (own and not again and not judged_by_another(policy, own)):
        if champion_version == training.version:
            sign_champion(workspace, *name)
        decision = decision_of(own[-1] if own else None, training, champion_version)
        return Evaluation(training=training, champion=champion_version, decision=decision)
    rollback_record = own[-1] if own and own[-1].action is Action.ROLLED_BACK else None
    if rollback_record is not None and why is None:
        raise RegistryError(
            f"version {training.version} of {training.model} was rolled back (record {rollback_record.number}): "
            "give --why to make it champion again"
        )
    approved = approval(workspace, *name, renew=why is not None)
    champion_approved = approval(workspace, training.model, champion_version) if why is None else None
    once = evaluation_key(training, champion, policy)
    earlier = next((record for record in own if record.facts.get("once") == once), None)
    facts = dict(earlier.facts) if earlier else verdict_facts(workspace, training, champion, policy) | {"once": once}
    return Evaluation(
        training=training,
        champion=champion_version,
        facts=facts,
        repeated=earlier is not None,
        rolled_back=rollback_record is not None,
        approved=approved,
        champion_approved=champion_approved,
    )


def renew(workspace: Workspace, training: Training) -> Evaluation:
    """Return the facts that approve the champion once more, after its alias, its files or the signing key were changed."""
    facts = {"digest": training.model_digest, "verdict": {"promote": False, "reasons": []}, "once": None}
    return Evaluation(
        training=training,
        champion=training.version,
        facts=facts | {"software": vitau.__version__},
        approved=approval(workspace, training.model, training.version, renew=True),
    )


@task(cache_policy=NO_CACHE, task_run_name="promote-{evaluation.training.model}")
def promote_or_refuse(workspace: Workspace, evaluation: Evaluation, *, by: str, why: str | None = None) -> Decision:
    """Record the decision that follows from an evaluation, and move the alias if the version is promoted."""
    if evaluation.decision is not None:
        return evaluation.decision
    training, once = evaluation.training, evaluation.facts["once"]
    promoted = evaluation.facts["verdict"]["promote"] and not evaluation.rolled_back
    action = Action.PROMOTED if promoted else Action.OVERRIDDEN if why is not None else Action.REFUSED
    facts = {
        **evaluation.facts,
        "model": training.model,
        "version": training.version,
        "before": evaluation.champion,
        "by": by,
        "why": why,
        "action": action,
        "after": evaluation.champion if action is Action.REFUSED else training.version,
        "approved": evaluation.champion_approved if action is Action.REFUSED else evaluation.approved,
    }
    # A repeated promotion needs a record of its own: the version was champion, and another one came in between.
    unique = action is not Action.OVERRIDDEN and not (promoted and evaluation.repeated)
    key = workspace.signing_key()
    record, new = workspace.catalog.append_promotion(facts, key=key, once=once if unique else None)
    if new:
        publish(workspace, record)
        name = f"{record.model} version {record.version}"
        outcome = "; ".join([f"{record.action} (record {record.number})", *against(record)])
        get_logger(__name__).info("%s is %s", name, outcome)
    return decision_of(record, training, record.after, new=new)


def roll_back(workspace: Workspace, model: str, *, why: str, by: str) -> Decision:
    """Move the alias back to the previous champion, with a record.

    Raises:
        RegistryError: There is no previous champion.
    """
    key = workspace.signing_key()
    standing, finished = finish_interrupted(workspace, model)
    if finished is not None and finished.action is Action.ROLLED_BACK:
        return decision_of(finished, None, standing, new=True)
    stack = champion_stack(workspace.catalog.promotions(model))
    if len(stack) < 2:
        raise RegistryError(f"no champion of {model} came before version {standing}: there is nothing to roll back to")
    facts = {"model": model, "version": stack[-1], "action": Action.ROLLED_BACK, "before": stack[-1], "after": stack[-2]}
    facts |= {"by": by, "why": why or None, "software": vitau.__version__, "approved": approval(workspace, model, stack[-2])}
    record, _ = workspace.catalog.append_promotion(facts, key=key)
    publish(workspace, record)
    return decision_of(record, None, record.after, new=True)


def verdict_facts(workspace: Workspace, training: Training, champion: Training | None, policy: Policy) -> dict[str, Any]:
    """Evaluate a version on held-out people, show the figures with its run, and return the facts for its record."""
    from flows.promotion.evaluation import gather  # torch, which history and rollback need not load
    from flows.reports.figures import evaluation_figures

    evidence = gather(workspace, training, champion)
    figures = evaluation_figures(evidence.people, evidence.challenger)
    registry.log_figures(workspace.settings.mlflow_url, training.run_id, figures)
    return facts_of(workspace, training, champion, policy, evidence)


def facts_of(
    workspace: Workspace, training: Training, champion: Training | None, policy: Policy, evidence: "Evidence"
) -> dict[str, Any]:
    """Decide about a version by the evidence, and return the facts for its record."""
    protocol = evidence.people.protocol
    for tested in (training, champion):
        if tested is not None:
            about = {"model": tested.model, "digest": tested.model_digest, "purpose": "promotion"}
            note_look(workspace, snapshot=training.snapshot, protocol=protocol, **about)
    probe, warned = probe_of(workspace, training)
    challenger = replace(evidence.challenger, explanations=Explanations.from_json(training.metrics.get("explanations")))
    verdict = decide_promotion(evidence.people, challenger, evidence.champion, policy, probe=probe, warned=warned)
    return {
        "snapshot": training.snapshot,
        "recipe": training.recipe,
        "run": training.run_id,
        "digest": training.model_digest,
        "champion_digest": champion and champion.model_digest,
        "evidence": {
            "sha256": evidence.digest,
            "left_out": evidence.num_left_out,
            **({"erased": evidence.num_erased} if evidence.num_erased else {}),
            "protocol": str(protocol),
            **({"kind": f"leave one person out, n = {verdict.num_palsied}"} if protocol is Protocol.LOPO else {}),
            "looks": count_looks(workspace, training.snapshot, protocol),
        },
        "warning": probe.warning,
        "verdict": asdict(verdict),
        "software": vitau.__version__,
    }


def policy_for(settings: Settings, challenger: Training, champion: Training | None) -> Policy:
    """Return the policy of the settings; one of smoke tests as long as neither side was really trained."""
    return choose_policy(settings, [training.recipe for training in (challenger, champion) if training is not None])


def judged_by_another(policy: Policy, records: Sequence[PromotionRecord]) -> bool:
    """Return whether the last verdict about a version was by a policy of another name.

    A version that was rolled back stays so: only a person brings it back.
    """
    if records[-1].action is Action.ROLLED_BACK:
        return False
    names = [record.facts.get("verdict", {}).get("policy", {}).get("name") for record in records]
    judged = [name for name in names if name is not None]
    return bool(judged) and judged[-1] != policy.name


def evaluation_key(challenger: Training, champion: Training | None, policy: Policy) -> str:
    """Return the digest of everything that determines an evaluation."""
    inputs = [challenger.model, challenger.version, challenger.model_digest, challenger.snapshot]
    return sha256(canonical([*inputs, champion and champion.model_digest, asdict(policy)]).encode()).hexdigest()
