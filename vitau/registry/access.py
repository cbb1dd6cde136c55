"""Access to MLflow's server: one log-in may write, every other one may only read.

MLflow's own basic authentication lets any log-in create experiments and models. Its configuration names the function below
as ``authorization_function``.
"""

from typing import Any, Final

_READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_REQUESTS: Final = ("/search", "/graphql")
"""Ends of the paths that MLflow's clients and its page read from with POST."""


def authenticate() -> Any:
    """Return the log-in of the current request, or the answer that refuses it: 401 without a valid one, 403 to a reader."""
    from mlflow.environment_variables import MLFLOW_AUTH_ADMIN_USERNAME
    from mlflow.server import auth

    found = auth.authenticate_request_basic_auth()
    if not isinstance(found, auth.Authorization) or found.username == MLFLOW_AUTH_ADMIN_USERNAME.get():
        return found
    if is_reading(auth.request.method, auth.request.path):
        return found
    return auth.make_response(f"{found.username} may read models and not change them", 403)


def is_reading(method: str, path: str) -> bool:
    """Return whether a request to MLflow only reads."""
    return method in _READING_METHODS or (method == "POST" and path.endswith(_READING_REQUESTS))
