"""Old names become new ones wherever they stand, and nothing else changes."""

import base64
import gzip

from hypothesis import given
from hypothesis import strategies as st

from flows.rekeying.change import OldNames
from vitau.catalog.rekeying.keys import new_names
from vitau.catalog.rekeying.renaming import Renaming
from vitau.media.sources import pseudonym
from vitau.schema import tombstone

OLD = [pseudonym(b"the old key", "s", str(number)) for number in range(50)] + [tombstone("a person")]
RENAMING = Renaming(new_names(b"the new key", OLD))
NAMES = OldNames(frozenset(OLD))


def test_names_are_replaced_in_keys_addresses_and_longer_runs_of_digits():
    old, new = OLD[3], RENAMING.names[OLD[3]]
    for text in ("subjects/{}/clips/0123456789abcdef0123", "?d=subjects%2f{}%2fx", "a{}b{}", "{}", "0123456789abcdef{}"):
        assert RENAMING.text(text.replace("{}", old)) == text.replace("{}", new)
    gone = OLD[-1]
    assert RENAMING.text(f"tombstones/{gone}") == f"tombstones/{RENAMING.names[gone]}"


def test_json_is_renamed_in_names_and_values_and_other_values_stay():
    old, new = OLD[0], RENAMING.names[OLD[0]]
    value = {old: [old, 1, None, {"of": f"<p>{old}</p>"}], "other": 2.5}
    assert RENAMING.value(value) == {new: [new, 1, None, {"of": f"<p>{new}</p>"}], "other": 2.5}


@given(st.text())
def test_a_text_without_an_old_name_stays(text):
    assert RENAMING.text(text) == text
    assert not NAMES.in_text(text)


@given(st.lists(st.one_of(st.sampled_from(OLD), st.text("0123456789abcdef/", max_size=70)), max_size=6))
def test_no_old_name_is_left_and_the_length_stays(parts):
    text = "".join(parts)
    new = RENAMING.text(text)
    assert len(new) == len(text)
    assert not any(old in new for old in OLD)


@given(st.binary(max_size=30), st.sampled_from(OLD), st.binary(max_size=30), st.booleans())
def test_an_old_name_is_found_in_base64_and_in_gzip_whatever_surrounds_it(before, name, after, url_safe):
    raw = before + b"/" + name.encode() + b"/" + after
    code = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(raw)
    assert NAMES.in_bytes(b"GET /resolve?fileuri=" + code)
    assert NAMES.in_bytes(gzip.compress(raw))
    assert not NAMES.in_bytes(base64.b64encode(raw.replace(name.encode(), b"")))
