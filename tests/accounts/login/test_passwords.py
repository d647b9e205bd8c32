from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.accounts import passwords
from murmuration.protocol.errors import BadJson, InvalidParam, MissingParam, WeakPassword

pytestmark = pytest.mark.usefixtures("deployment")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_password_matches_its_own_hash_only(password):
    stored = passwords.hash_password(password)
    assert passwords.matches(password, stored)
    assert not passwords.matches(password + "x", stored)
    assert password not in stored or len(password) < 4


def test_the_same_password_has_another_hash_each_time():
    assert passwords.hash_password("x") != passwords.hash_password("x")


def test_the_parameters_are_kept_with_the_hash(configure):
    stored = passwords.hash_password("x")
    assert stored.startswith("scrypt$4$8$5$")
    configure(PASSWORD_COST="5")
    assert passwords.matches("x", stored)
    assert passwords.hash_password("x").startswith("scrypt$5$")


def test_normal_forms_are_the_same_password():
    assert passwords.matches("e\u0301", passwords.hash_password("\u00e9"))


def test_no_hash_matches_nothing():
    assert not passwords.matches("x", None)


@pytest.mark.parametrize(
    ("value", "error"),
    [(None, MissingParam), (3, BadJson), ("x" * 513, InvalidParam), ("", WeakPassword)],
)
def test_what_is_no_password(value, error):
    with pytest.raises(error):
        passwords.parse_new_password(value)
