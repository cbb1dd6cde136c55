import pytest
from prefect.states import Failed

from flows.execution import retries
from vitau.errors import GateError, ObjectNotFoundError, RegistryError, StoreError


class Deployed:
    """A run of a deployment."""

    id = "of a deployment"


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (RegistryError("MLflow does not answer"), True),
        (StoreError("S3 does not answer"), True),
        (ObjectNotFoundError("no object"), False),
        (GateError("gate 3"), False),
        (ValueError("ours"), False),
    ],
)
def test_only_an_unavailable_service_is_retried_and_only_in_deployed_runs(error, retried, monkeypatch):
    failed = Failed(data=error)
    assert not retries.is_service_unavailable(None, None, failed), "at a terminal the error is shown at once"
    monkeypatch.setattr(retries, "deployment", Deployed)
    assert retries.is_service_unavailable(None, None, failed) is retried
