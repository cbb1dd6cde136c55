import pytest

from flows.settings import SettingsError, load_settings

GIVEN = {
    "VITAU_STORE": "file:///store",
    "VITAU_CATALOG": "sqlite:////catalog.db",
    "VITAU_PSEUDONYM_KEY": "a key long enough",
    "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
    "VITAU_LABEL_STUDIO_TOKEN": "token",
    "VITAU_MLFLOW_URL": "http://127.0.0.1:2",
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_is_read_and_secrets_are_not_printed(environment):
    settings = load_settings()
    assert settings.store == "file:///store"
    assert "a key long enough" not in repr(settings)
    assert settings.pseudonym_key.get_secret_value() == "a key long enough"


def test_all_missing_variables_are_named_at_once(environment):
    environment.delenv("VITAU_STORE")
    environment.delenv("VITAU_MLFLOW_URL")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == (
        "the environment lacks settings: VITAU_STORE (missing), VITAU_MLFLOW_URL (missing); "
        "see infra/.env.example, or use `make up`"
    )


def test_a_bad_value_is_named_and_not_repeated(environment):
    environment.setenv("VITAU_PSEUDONYM_KEY", "short")
    with pytest.raises(SettingsError, match="VITAU_PSEUDONYM_KEY") as caught:
        load_settings()
    assert "short;" not in str(caught.value)
