"""Pseudonym keys that replace each other: every value stays derivable, and the old keys are sealed."""

import pytest

from vitau.catalog.rekeying.keys import NAME, PseudonymKeys, fingerprint, new_names, renamed, seal, unseal
from vitau.errors import CatalogError
from vitau.media.sources import pseudonym
from vitau.schema import tombstone

FIRST, SECOND, THIRD = b"the first key", b"the second key", b"the third key"
ANNA = pseudonym(FIRST, "s", "Anna")


def test_a_value_is_found_under_every_name_that_later_keys_gave_it_the_newest_first():
    keys = PseudonymKeys(present=THIRD, retired=(FIRST, SECOND))
    assert keys.derive(lambda key: pseudonym(key, "s", "Anna")) == [
        pseudonym(THIRD, "s", "Anna"),
        renamed(THIRD, pseudonym(SECOND, "s", "Anna")),
        renamed(THIRD, renamed(SECOND, ANNA)),
    ]
    assert PseudonymKeys(present=FIRST).derive(lambda key: pseudonym(key, "s", "Anna")) == [ANNA]


@pytest.mark.parametrize("value", [ANNA, tombstone(ANNA), "0" * 32, "f" * 64])
def test_a_new_name_has_the_form_of_the_old_one_and_depends_on_the_key(value):
    new = renamed(SECOND, value)
    assert (len(new), new == value, new == renamed(THIRD, value)) == (len(value), False, False)
    assert NAME.fullmatch(new) is None or NAME.fullmatch(value) is not None
    assert new.startswith("erased-") == value.startswith("erased-")


def test_only_pseudonyms_and_tombstones_get_new_names():
    assert new_names(SECOND, {ANNA, tombstone(ANNA)}) == {name: renamed(SECOND, name) for name in (ANNA, tombstone(ANNA))}
    with pytest.raises(CatalogError, match=r"1 people have names that are no pseudonyms of ViTAU \(Anna, …\)"):
        new_names(SECOND, {"Anna", ANNA})


def test_a_sealed_text_is_read_with_its_key_only_and_a_change_is_noticed():
    sealed = seal(SECOND, "the first key")
    assert unseal(SECOND, sealed) == "the first key"
    assert "the first key" not in sealed
    assert seal(SECOND, "the first key") != sealed, "two seals of one text do not show that it is the same"
    for key, text in ((FIRST, sealed), (SECOND, sealed[:-8] + ("A" if sealed[-8] != "A" else "B") + sealed[-7:])):
        with pytest.raises(CatalogError, match="is sealed with another key, or was changed"):
            unseal(key, text)


def test_a_fingerprint_stays_what_catalogs_have_noted():
    assert fingerprint(b"a key whose fingerprint is noted") == "121bafb269a17938"


def test_keys_are_not_printed():
    assert "key" not in repr(PseudonymKeys(present=FIRST, retired=(SECOND,))).replace("PseudonymKeys", "")
