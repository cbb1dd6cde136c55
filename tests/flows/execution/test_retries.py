import pytest
from prefect.states import Failed

from flows.execution import retries
from vitau.errors import GateError, ObjectNotFoundError, RegistryError, StoreError


class Deployed:
    """A run of a deployment."""

    id = "of a deployment"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RegistryError("MLflow does not answer"), True),
        (StoreError("S3 does not answer"), True),
        (ObjectNotFoundError("no object"), False),
        (GateError("gate 3"), False),
        (ValueError("ours"), False),
    ],
)
def test_only_a_service_that_is_away_is_asked_again_and_only_where_nobody_waits(error, again, monkeypatch):
    failed = Failed(data=error)
    assert not retries.service_away(None, None, failed), "at a terminal the sentence comes at once"
    monkeypatch.setattr(retries, "deployment", Deployed)
    assert retries.service_away(None, None, failed) is again
