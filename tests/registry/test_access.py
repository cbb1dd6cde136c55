"""Requests to MLflow that a log-in for reading may send."""

import pytest

from vitau.registry.access import is_reading

API = "/api/2.0/mlflow"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/registered-models/alias"),
        ("POST", f"{API}/runs/search"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/model.safetensors"),
        ("HEAD", "/"),
    ],
)
def test_a_reader_may_look_up_and_download(method, path):
    assert is_reading(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/registered-models/create"),
        ("POST", f"{API}/registered-models/alias"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/search"),
        ("DELETE", f"{API}/registered-models/delete"),
        ("PATCH", f"{API}/users/update-password"),
        ("POST", f"{API}/runs/search/../create"),
    ],
)
def test_a_reader_may_change_nothing(method, path):
    assert not is_reading(method, path)
