"""Signatures of registered models, as a model user verifies them with `vitau pull --key`."""

import pytest
from typer.testing import CliRunner

from tests.registry.test_download import names
from vitau.catalog.signing import public_key, sign
from vitau.cli import app
from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.download import pull
from vitau.registry.signature import publish_signature, read_public_key, registered_files, statement

SECRET, OTHER = b"the operator's secret", b"the secret of another operator"
NAME = "to-be-signed"


@pytest.fixture(scope="module")
def versions(tracking_uri, make_bundle):
    """Three versions, the first of which is signed; returns the number of each."""
    numbers = []
    for seed, threshold in ((11, 0.4), (12, 0.5), (13, 0.6)):
        folder = make_bundle(threshold, seed)
        number, _ = registry.register(tracking_uri, NAME, folder, metrics={"test": {}}, lineage={})
        numbers.append(number)
    digest = registry.find_version(tracking_uri, f"models:/{NAME}/{numbers[0]}").digest
    files = registered_files(tracking_uri, NAME, numbers[0], digest)
    publish_signature(tracking_uri, NAME, numbers[0], sign(statement(NAME, numbers[0], digest, files), SECRET))
    return numbers


def test_a_signed_version_is_pulled_with_the_key_and_stays_so_when_it_is_complete(versions, tracking_uri, tmp_path):
    address, key = f"models:/{NAME}/{versions[0]}", public_key(SECRET)
    assert pull(tracking_uri, address, tmp_path / "model", public_key=key).num_fetched == 8
    assert pull(tracking_uri, address, tmp_path / "model", public_key=key).num_fetched == 0
    with pytest.raises(
        RegistryError, match=rf"^the signature of {NAME} version 1 is not one of key {public_key(OTHER)[:12]}…: "
    ):
        pull(tracking_uri, address, tmp_path / "model", public_key=public_key(OTHER))
    assert len(names(tmp_path / "model")) == 10, "the model that was there was lost"


def test_an_unsigned_version_is_refused_before_anything_is_downloaded(versions, tracking_uri, tmp_path):
    with pytest.raises(RegistryError) as caught:
        pull(tracking_uri, f"models:/{NAME}/{versions[1]}", tmp_path / "model", public_key=public_key(SECRET))
    assert str(caught.value) == f"{NAME} version 2 is not signed: ask its operator to approve it, or leave out --key"
    assert list(tmp_path.iterdir()) == []


def test_the_signature_of_another_version_is_refused(versions, tracking_uri, tmp_path):
    first = registry.find_version(tracking_uri, f"models:/{NAME}/{versions[0]}")
    publish_signature(tracking_uri, NAME, versions[2], first.signature)
    with pytest.raises(RegistryError, match=rf"^the signature of {NAME} version 3 is not one of key"):
        pull(tracking_uri, f"models:/{NAME}/3", tmp_path / "model", public_key=public_key(SECRET))


def test_other_weights_than_those_that_were_trained_are_not_signed(versions, tracking_uri):
    with pytest.raises(
        ChecksumError, match=rf"^{NAME} version 1 in the registry is not the model that was trained here \(digest"
    ):
        registered_files(tracking_uri, NAME, versions[0], "0" * 64)


def test_a_key_is_hexadecimal_digits_or_a_file_with_them(tmp_path):
    key = public_key(SECRET)
    (tmp_path / "key.txt").write_text(f"{key.upper()}\n")
    assert read_public_key(key) == read_public_key(str(tmp_path / "key.txt")) == key
    (tmp_path / "key.txt").write_bytes(b"\x00\xff")
    for wrong in (key[:-1], str(tmp_path / "key.txt"), str(tmp_path / "missing"), ""):
        with pytest.raises(ValueError, match=r"is neither a public key of 64 hexadecimal digits nor a file with one: ask the"):
            read_public_key(wrong)


def test_the_command_names_the_key_or_states_that_nothing_was_checked(versions, tracking_uri, tmp_path):
    arguments = ["pull", f"models:/{NAME}/{versions[0]}", str(tmp_path / "model"), "--tracking-uri", tracking_uri]
    checked = CliRunner().invoke(app, [*arguments, "--key", public_key(SECRET)])
    assert checked.stderr.endswith(
        f"files fetched; its signature by {public_key(SECRET)[:12]}… holds. Read its README.md first.\n"
    )
    unchecked = CliRunner().invoke(app, arguments)
    assert unchecked.stderr.endswith("are there already; its signature was not checked (--key). Read its README.md first.\n")
