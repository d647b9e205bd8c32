"""Settings about login, and the messages for wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from murmuration.accounts.login_flows import read_login_flows
from murmuration.accounts.sso.identity_providers import read_providers
from murmuration.settings import SettingsError

GOOD = {"id": "a", "name": "A", "client_id": "x", "issuer": "https://a.example"}
PLAIN = {
    "id": "b", "name": "B", "client_id": "x", "scopes": ["user"], "subject_claim": "id",
    "authorization_endpoint": "https://b.example/a", "token_endpoint": "https://b.example/t",
    "userinfo_endpoint": "https://b.example/u",
}  # fmt: skip


def test_providers_are_read() -> None:
    first, second = read_providers(json.dumps([{**GOOD, "icon": "mxc://a/b", "brand": "github"}, PLAIN]))
    assert first.public == {"id": "a", "name": "A", "icon": "mxc://a/b", "brand": "github"}
    assert (second.scopes, second.subject_claim) == (("user",), "id")
    assert read_providers("") == ()


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({}, "must be a list of objects"),
        ([1], "must be a list of objects"),
        ([{}], "id, name, client_id is missing"),
        ([{**GOOD, "isuer": "x"}], "provider 'a': isuer is not a setting"),
        ([{**GOOD, "client_secret": "x"}], "client_secret is not a setting"),
        ([{**GOOD, "name": 1}], "name must be a string"),
        ([{**GOOD, "scopes": "openid"}], "scopes must be a list"),
        ([{**GOOD, "scopes": ["profile"]}], "must have openid"),
        ([{**GOOD, "creates_accounts": "yes"}], "creates_accounts must be true or false"),
        ([{**GOOD, "id": "a/b"}], "an id has the characters"),
        ([{**GOOD, "brand": "A"}], "brand must be"),
        ([{**GOOD, "icon": "https://a"}], "icon must be an mxc"),
        ([{**GOOD, "client_auth": "none"}], "client_auth must be one of"),
        ([{**GOOD, "issuer": "a.example"}], "issuer must be an https: URL"),
        ([{**GOOD, "issuer": ""}], "without an issuer, authorization_endpoint, token_endpoint"),
        ([GOOD, GOOD], "two providers of one id"),
    ],
)
def test_wrong_providers(listed: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_providers(json.dumps(listed))


def test_providers_must_be_json() -> None:
    with pytest.raises(SettingsError, match="is not JSON"):
        read_providers("{")


@pytest.mark.parametrize(
    ("text", "means", "flows"),
    [
        ("", {}, ["m.login.password"]),
        ("", {"providers": True}, ["m.login.password", "m.login.oauth2"]),
        ("", {"mail": True}, ["m.login.password", "m.login.email.code", "m.login.email.url"]),
        (" m.login.oauth2 ", {"providers": True}, ["m.login.oauth2"]),
        (
            "m.login.password,m.login.email.code m.login.oauth2",
            {"mail": True, "providers": True},
            ["m.login.password,m.login.email.code", "m.login.oauth2"],
        ),
    ],
)
def test_flows(text: str, means: dict[str, bool], flows: list[str]) -> None:
    found = read_login_flows(text, **{"mail": False, "providers": False, **means})
    assert [",".join(flow) for flow in found] == flows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m.login.recaptcha", "has 'm.login.recaptcha'; the types"),
        ("m.login.password,", "has ''; the types"),
        ("m.login.password,m.login.password", "a stage twice"),
        ("m.login.email.code", "no sender of mail"),
        ("m.login.oauth2", "no identity providers"),
    ],
)
def test_wrong_flows(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_login_flows(text, mail=False, providers=False)


def test_no_flow_ends_within_another() -> None:
    with pytest.raises(SettingsError, match="with which another flow begins"):
        read_login_flows("m.login.password m.login.password,m.login.oauth2", mail=False, providers=True)
