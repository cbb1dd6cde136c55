"""Access to MLflow's server: one log-in may write, every other one may only read, and nobody may use its assistant.

MLflow's own basic authentication lets any log-in create experiments and models. Its configuration names the function below
as ``authorization_function``.
"""

from typing import Any, Final

_READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_REQUESTS: Final = ("/search", "/graphql")
"""Ends of the paths that MLflow's clients and its page read from with POST."""
_ASSISTANT: Final = "/mlflow/assistant"
"""Part of the paths of MLflow's assistant, a language model with a shell on the server. No setting turns it off."""


def authenticate() -> Any:
    """Return the log-in of the current request, or the answer that refuses it.

    The answer is 401 without a valid log-in, and 403 to a reader who writes and to everybody who calls the assistant.
    """
    from mlflow.environment_variables import MLFLOW_AUTH_ADMIN_USERNAME
    from mlflow.server import auth

    if _ASSISTANT in auth.request.path:
        return auth.make_response("the assistant of MLflow is off: it would run commands on this server", 403)
    found = auth.authenticate_request_basic_auth()
    if not isinstance(found, auth.Authorization) or found.username == MLFLOW_AUTH_ADMIN_USERNAME.get():
        return found
    if is_reading(auth.request.method, auth.request.path):
        return found
    return auth.make_response(f"{found.username} may read models and not change them", 403)


def is_reading(method: str, path: str) -> bool:
    """Return whether a request to MLflow only reads."""
    return method in _READING_METHODS or (method == "POST" and path.endswith(_READING_REQUESTS))
