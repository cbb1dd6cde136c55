"""The promotion policy of the settings, and how many people are needed for what."""

from collections.abc import Iterable

from flows.settings import Settings
from vitau.data.protocols import LEAST_PALSIED
from vitau.data.splits import NUM_CONTROL_FOLDS
from vitau.evaluation.promotion.policy import PATIENTS, SMOKE, SMOKE_CONFOUNDED, Policy, find_policy


def choose_policy(settings: Settings, recipes: Iterable[str]) -> Policy:
    """Return the policy of the settings; ``SMOKE`` among smoke tests, as long as no other recipe is involved.

    Of the settings, smoke tests then keep one thing: whether confounded sources are accepted.
    """
    policy = find_policy(settings.policy)
    if not all(recipe.startswith("smoke-") for recipe in recipes):
        return policy
    return SMOKE_CONFOUNDED if policy.accept_confounded else SMOKE


def people_needed(policy: Policy = PATIENTS) -> str:
    """Return a sentence that says how many people are needed for what."""
    return (
        f"Leaving people out one at a time needs {LEAST_PALSIED} palsied people and {NUM_CONTROL_FOLDS} others. A champion "
        f"needs {policy.min_left_out} of each left out, or {policy.min_people} of each held out. An interval of ± 0.12 around "
        "an AUROC of 0.90 needs 15 of each."
    )
