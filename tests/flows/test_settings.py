import pytest

from flows.settings import SettingsError, load_settings, mask_password
from vitau.evaluation.promotion.policy import POLICIES

GIVEN = {
    "VITAU_STORE": "file:///store",
    "VITAU_CATALOG": "sqlite:////catalog.db",
    "VITAU_PSEUDONYM_KEY": "a key long enough",
    "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
    "VITAU_LABEL_STUDIO_TOKEN": "token",
    "VITAU_MLFLOW_URL": "http://127.0.0.1:2",
}


def test_the_environment_is_read_and_secrets_are_not_printed():
    settings = load_settings(GIVEN)
    assert settings.store == "file:///store"
    assert "a key long enough" not in repr(settings)
    assert settings.pseudonym_key.get_secret_value() == "a key long enough"


def test_without_a_mapping_the_environment_of_the_process_is_read(monkeypatch):
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == load_settings(GIVEN)


def test_numbers_switches_and_lists_are_parsed():
    settings = load_settings(GIVEN | {"VITAU_QUEUE": "7", "VITAU_SUGGEST_TO_READERS": "true", "VITAU_READERS": '["a", "b"]'})
    assert (settings.queue, settings.suggest_to_readers, settings.readers) == (7, True, ("a", "b"))
    with pytest.raises(SettingsError, match=r"VITAU_READERS \(value error\)"):
        load_settings(GIVEN | {"VITAU_READERS": "a, b"})
    with pytest.raises(SettingsError, match=r"VITAU_READERS"):
        load_settings(GIVEN | {"VITAU_READERS": '["Ada Lovelace"]'})


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("sqlite:////demo/catalog.db", "sqlite:////demo/catalog.db"),
        ("postgresql+psycopg://db/vitau", "postgresql+psycopg://db/vitau"),
        ("postgresql+psycopg://vitau@db/vitau", "postgresql+psycopg://vitau@db/vitau"),
        ("postgresql+psycopg://vitau:a@b:c@db/vitau", "postgresql+psycopg://vitau:•••@db/vitau"),
        ("postgresql+psycopg://db/vitau?user=v&password=abc&x=1", "postgresql+psycopg://db/vitau?user=v&password=•••&x=1"),
        ("/folder", "/folder"),
    ],
)
def test_a_password_in_an_address_is_masked(url, masked):
    assert mask_password(url) == masked


def test_all_missing_variables_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value for name, value in GIVEN.items() if name not in {"VITAU_STORE", "VITAU_MLFLOW_URL"}})
    assert str(caught.value) == (
        "the environment lacks settings or has wrong ones: VITAU_STORE (missing), VITAU_MLFLOW_URL (missing); "
        "see infra/.env.example, or use `make up`"
    )


def test_a_bad_value_is_named_and_not_repeated():
    with pytest.raises(SettingsError, match="VITAU_PSEUDONYM_KEY") as caught:
        load_settings(GIVEN | {"VITAU_PSEUDONYM_KEY": "short"})
    assert "short;" not in str(caught.value)


def test_a_program_without_the_pseudonym_key_starts_and_cannot_turn_names_into_pseudonyms():
    settings = load_settings({name: value for name, value in GIVEN.items() if name != "VITAU_PSEUDONYM_KEY"})
    with pytest.raises(SettingsError) as caught:
        settings.require_pseudonym_key()
    assert str(caught.value) == (
        "VITAU_PSEUDONYM_KEY is not set, and names of people cannot become pseudonyms: set it for this command, "
        "or run it where clips are ingested"
    )
    assert load_settings(GIVEN).require_pseudonym_key() == b"a key long enough"


def test_more_answers_than_readers_are_refused_in_one_sentence():
    assert load_settings(GIVEN).num_readers == 2
    five = GIVEN | {"VITAU_READERS": '["a", "b", "c", "d", "e"]'}
    assert (load_settings(five).num_readers, load_settings(five | {"VITAU_READERS_PER_PERSON": "2"}).num_readers) == (5, 2)
    with pytest.raises(SettingsError) as caught:
        load_settings(GIVEN | {"VITAU_READERS_PER_PERSON": "3"})
    assert str(caught.value) == (
        "VITAU_READERS_PER_PERSON is 3, but VITAU_READERS names 2: name more readers, or ask for fewer answers"
    )


def test_the_policy_is_chosen_by_name_and_an_unknown_one_is_answered_with_the_names():
    assert load_settings(GIVEN).policy == "patients"
    with pytest.raises(SettingsError) as caught:
        load_settings(GIVEN | {"VITAU_POLICY": "smoke"})
    assert str(caught.value) == f"there is no promotion policy 'smoke': set VITAU_POLICY to one of {', '.join(POLICIES)}"
