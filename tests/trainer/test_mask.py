"""What is secret is in nothing that is said, however it is spelt or cut."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.trainer.failure import MAX_TRACEBACK, EntrypointError, classify
from tessera.trainer.mask import HIDDEN, MIN_CHARS, Mask

# Neither of what stands in a secret's place, nor of line ends, which the next test is about.
LETTERS = st.characters(exclude_characters="*", exclude_categories=("Cs", "Cc", "Zl", "Zp"))
SECRETS = st.text(LETTERS, min_size=MIN_CHARS, max_size=20).filter(lambda s: s == s.strip())
SECRET = 'planted/+ "q" 0123456789'


def masked(*secrets: str) -> Mask:
    mask = Mask()
    mask.learn(secrets)
    return mask


@given(st.lists(SECRETS, min_size=1, max_size=4), st.data())
def test_no_secret_is_left(secrets, data):
    parts = data.draw(st.lists(st.one_of(st.sampled_from(secrets), st.text(LETTERS, max_size=9))))
    said = masked(*secrets)("".join(parts))
    assert all(secret not in said for secret in secrets)


@given(st.text(LETTERS, max_size=40))
def test_nothing_else_is_touched(text):
    assert Mask()(text) == text
    assert masked("planted-0123456789")(text) == text


@pytest.mark.parametrize(
    "spelt", [str, repr, json.dumps, quote, quote_plus, lambda s: quote(s, safe="")]
)
def test_however_it_is_written(spelt):
    said = masked(SECRET)(f"<{spelt(SECRET)}>")
    assert "0123456789" not in said
    assert HIDDEN in said


def test_every_line_of_several():
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\r\nkqhkiG9w0BAQ==\nend\n"
    mask = masked(key)
    for said in (key, repr(key), json.dumps(key), "  MIIEvQIBADANBg kqhkiG9w0BAQ=="):
        assert "MIIEvQ" not in mask(said)
        assert "kqhkiG" not in mask(said)
    assert mask("the end") == "the end", "too short to be known again"


def test_of_two_that_begin_alike_the_longer_one_goes_whole():
    assert masked("planted-0", "planted-0123")("planted-0123") == HIDDEN


def test_what_is_cut_is_masked_before():
    """Half a secret at the edge of what is kept is half a secret told."""
    said = "x" * 490 + SECRET + "\n" + SECRET * 2 + "y" * (MAX_TRACEBACK - 40)
    failure = classify(LookupError(said), 0, mask=masked(SECRET))
    for part in ("planted", "01234", "56789"):
        assert part not in failure.message + failure.traceback
    assert len(failure.traceback) <= MAX_TRACEBACK


def test_what_code_of_a_users_raised():
    error = EntrypointError(f"entrypoint: `a:b` raised LookupError: 401 for {SECRET}")
    error.__cause__ = LookupError(f"401 for {SECRET}")
    failure = classify(error, 0, mask=masked(SECRET))
    assert failure.message == f"entrypoint: `a:b` raised LookupError: 401 for {HIDDEN}"
    assert failure.traceback == f"LookupError: 401 for {HIDDEN}\n"
