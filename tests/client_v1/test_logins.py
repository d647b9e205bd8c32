"""Login and registration by stages, as the founding draft of 2014 has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from murmuration.accounts import registration_tokens
from murmuration.protocol.identifiers import UserId
from tests.accounts.browser import Browser, links
from tests.accounts.conftest import PASSWORD as WORDS
from tests.in_process import Answer, Client

LOGIN, REGISTER = "/_matrix/client/api/v1/login", "/_matrix/client/api/v1/register"
PASSWORD, OAUTH2 = "m.login.password", "m.login.oauth2"
Configure = Callable[..., None]
Offer = Callable[..., str]


def post(path: str, kind: str, **fields: Any) -> Answer:
    return Client().post(path, {"type": kind, **fields})


def log_in(user: Client, /, **fields: Any) -> Answer:
    return post(LOGIN, PASSWORD, **{"user": user.user_id, "password": WORDS, **fields})


def name_of(user: Client) -> str:
    return user.user_id[1:].partition(":")[0]


# -- Login ---------------------------------------------------------------------------------------------------


def test_a_flow_of_one_stage_lists_no_stages(deployment: None) -> None:
    assert Client().get(LOGIN).json == {"flows": [{"type": PASSWORD}]}


@pytest.mark.parametrize("whole", [True, False])
def test_a_password_logs_in_by_name_or_whole_id(register: Callable[..., Client], whole: bool) -> None:
    user = register()
    answer = log_in(user, user=user.user_id if whole else name_of(user))
    assert (answer.status, answer.json["user_id"], answer.json["home_server"]) == (
        200,
        user.user_id,
        "example.org",
    )
    whoami = Client(answer.json["access_token"]).get("/_matrix/client/v3/account/whoami").json
    assert whoami["user_id"] == user.user_id


def test_a_token_in_the_query_serves_as_of_old(register: Callable[..., Client]) -> None:
    token = log_in(register()).json["access_token"]
    assert Client().get("/_matrix/client/v3/account/whoami", access_token=token).status == 200


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"password": "x"}, (403, "M_FORBIDDEN")),
        ({"user": "nobody-of-that-name"}, (403, "M_FORBIDDEN")),
        ({"user": 1}, (400, "M_BAD_JSON")),
        ({"user": None}, (400, "M_MISSING_PARAM")),
        ({"password": None}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.recaptcha"}, (400, "M_UNKNOWN")),
        ({"type": OAUTH2}, (400, "M_UNKNOWN")),
        ({"type": None}, (400, "M_MISSING_PARAM")),
        ({"type": {}}, (400, "M_BAD_JSON")),
        ({"session": 1}, (400, "M_BAD_JSON")),
        ({"session": "x"}, (400, "M_INVALID_PARAM")),
        ({"session": "a" * 24 + "." + "b" * 16}, (403, "M_FORBIDDEN")),
        ({"device_id": "a#b"}, (400, "M_INVALID_PARAM")),
    ],
)
def test_bad_logins(register: Callable[..., Client], fields: dict[str, Any], error: tuple[int, str]) -> None:
    answer = log_in(register(), **fields)
    assert (answer.status, answer.json["errcode"]) == error


def test_failed_logins_are_limited(register: Callable[..., Client], request: pytest.FixtureRequest) -> None:
    user = register()
    request.getfixturevalue("limited")
    answers = [log_in(user, password="x").status for _ in range(8)]
    assert answers[0] == 403
    assert answers[-1] == 429


# -- Registration --------------------------------------------------------------------------------------------


def test_a_password_registers(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    assert Client().get(REGISTER).json == {"flows": [{"type": PASSWORD}]}
    answer = post(REGISTER, PASSWORD, user=name, password=WORDS)
    assert (answer.status, answer.json["user_id"]) == (200, f"@{name}:example.org")
    assert Client(answer.json["access_token"]).get("/_matrix/client/v3/account/whoami").status == 200
    again = post(REGISTER, PASSWORD, user=name, password=WORDS)
    assert (again.status, again.json["errcode"]) == (400, "M_USER_IN_USE")


def test_without_a_user_the_server_chooses_a_name(deployment: None) -> None:
    assert post(REGISTER, PASSWORD, password=WORDS).json["user_id"].startswith("@")


@pytest.mark.parametrize("sender", ["", "server@example.org"])
def test_registration_takes_a_token_first(
    configure: Configure, fresh_name: Callable[..., str], sender: str
) -> None:
    configure(REGISTRATION="token", MAIL_SENDER=sender)
    token, name = registration_tokens.create_registration_token(uses_allowed=1), fresh_name()
    stages = ["m.login.registration_token", PASSWORD]
    assert Client().get(REGISTER).json == {"flows": [{"type": stages[0], "stages": stages}]}
    assert post(REGISTER, PASSWORD, user=name, password=WORDS).json["errcode"] == "M_FORBIDDEN"
    assert post(REGISTER, stages[0], token="wrong").json["errcode"] == "M_FORBIDDEN"
    first = post(REGISTER, stages[0], token=token).json
    assert first["next"] == PASSWORD
    answer = post(REGISTER, PASSWORD, user=name, password=WORDS, session=first["session"])
    assert answer.json["user_id"] == f"@{name}:example.org"
    assert post(REGISTER, stages[0], token=token).status == 403


def test_closed_registration(configure: Configure) -> None:
    configure(REGISTRATION="closed")
    for answer in (Client().get(REGISTER), post(REGISTER, PASSWORD, user="x", password="y")):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


# -- OAuth 2.0 -----------------------------------------------------------------------------------------------


def come_back(uri: str, who: str = "alice") -> Answer:
    """Return what the redirect URI answers the client, whose browser visits it with the code."""
    return Browser().visit(Browser(who).authorise(uri))


def test_the_redirect_uri_answers_with_credentials(offer: Offer) -> None:
    offer()
    assert {"type": OAUTH2} in Client().get(LOGIN).json["flows"]
    begun = post(LOGIN, OAUTH2, device_id="BROWSER").json
    assert urlsplit(begun["uri"]).path == "/oauth/authorize"
    first = come_back(begun["uri"])
    assert first.status == 200
    assert first.json["device_id"] == "BROWSER"
    who = Client(first.json["access_token"]).get("/_matrix/client/v3/account/whoami").json["user_id"]
    assert who == first.json["user_id"]

    again = post(LOGIN, OAUTH2, user=who).json
    assert come_back(again["uri"]).json["user_id"] == who
    another = come_back(post(LOGIN, OAUTH2, user=who).json["uri"], "bob")
    assert (another.status, another.json["errcode"]) == (403, "M_FORBIDDEN")


def test_a_session_that_waits_is_no_login(offer: Offer) -> None:
    """Whoever began the session can neither finish it without the user, nor learn the user's credentials."""
    offer()
    begun = post(LOGIN, OAUTH2).json
    assert come_back(begun["uri"]).status == 200
    assert "access_token" not in post(LOGIN, OAUTH2, session=begun["session"]).json


def test_a_code_is_good_once(offer: Offer) -> None:
    offer()
    back = Browser().authorise(post(LOGIN, OAUTH2).json["uri"])
    assert Browser().visit(back, accept="*/*").status == 200
    assert Browser().visit(back, accept="*/*").json["errcode"] == "M_FORBIDDEN"


def test_several_providers_are_chosen_among_on_a_page(offer: Offer) -> None:
    offer(count=2)
    uri = post(LOGIN, OAUTH2).json["uri"]
    browser = Browser()
    first, second = links(browser.visit(uri))
    sent = browser.visit(urlsplit(uri).path + second)
    assert sent.status == 302
    assert come_back(sent.headers["Location"]).status == 200
    assert browser.visit(f"{urlsplit(uri).path}?choice=x").status == 403
    assert first != second


def test_stages_come_one_after_the_other(
    offer: Offer,
    register: Callable[..., Client],
) -> None:
    user = register()
    offer(settings={"LOGIN_FLOWS": f"{PASSWORD},{OAUTH2}"})
    stages = [PASSWORD, OAUTH2]
    assert Client().get(LOGIN).json == {"flows": [{"type": PASSWORD, "stages": stages}]}
    assert post(LOGIN, OAUTH2).json["errcode"] == "M_FORBIDDEN"
    first = log_in(user).json
    assert (first["next"], "access_token" in first) == (OAUTH2, False)
    begun = post(LOGIN, OAUTH2, session=first["session"]).json
    # Alice of the provider is somebody else here.
    assert come_back(begun["uri"]).json["errcode"] == "M_FORBIDDEN"

    from murmuration.accounts.sso.identity_providers import providers
    from murmuration.aws import dynamodb
    from murmuration.storage.users import subjects

    subject = subjects.Subject(providers()[0].id, "alice")
    dynamodb.transact(subjects.link_writes(subject, UserId(user.user_id)))
    begun = post(LOGIN, OAUTH2, session=first["session"]).json
    assert come_back(begun["uri"]).json["user_id"] == user.user_id
    # The session has done its work.
    assert post(LOGIN, OAUTH2, session=first["session"]).json["errcode"] == "M_FORBIDDEN"


def test_today_offers_no_login_that_a_second_stage_has_to_follow(
    offer: Offer,
    register: Callable[..., Client],
) -> None:
    user = register()
    offer(settings={"LOGIN_FLOWS": f"{PASSWORD},{OAUTH2}"})
    flows = Client().get("/_matrix/client/v3/login").json["flows"]
    assert [flow["type"] for flow in flows] == ["m.login.token"]
    body = {"type": PASSWORD, "identifier": {"type": "m.id.user", "user": user.user_id}, "password": WORDS}
    assert Client().post("/_matrix/client/v3/login", body).json["errcode"] == "M_UNKNOWN"
    redirect = Client().get("/_matrix/client/v3/login/sso/redirect", redirectUrl="https://client.example/")
    assert redirect.status == 404


def test_the_first_stage_completed_away_goes_on_in_another_session(
    offer: Offer,
    register: Callable[..., Client],
) -> None:
    user = register()
    offer(settings={"LOGIN_FLOWS": f"{OAUTH2},{PASSWORD}"})
    from murmuration.accounts.sso.identity_providers import providers
    from murmuration.aws import dynamodb
    from murmuration.storage.users import subjects

    subject = subjects.Subject(providers()[0].id, "alice")
    dynamodb.transact(subjects.link_writes(subject, UserId(user.user_id)))
    begun = post(LOGIN, OAUTH2).json
    back = come_back(begun["uri"]).json
    assert back["next"] == PASSWORD
    assert log_in(user, session=begun["session"]).json["errcode"] == "M_FORBIDDEN"
    assert log_in(register(), session=back["session"]).json["errcode"] == "M_FORBIDDEN"
    assert log_in(user, session=back["session"]).json["user_id"] == user.user_id
    assert log_in(user, session=back["session"]).json["errcode"] == "M_FORBIDDEN"


def test_registration_by_a_provider(offer: Offer, fresh_name: Callable[..., str]) -> None:
    offer(settings={"REGISTRATION": "closed"})
    assert Client().get(REGISTER).json == {"flows": [{"type": OAUTH2}]}
    name = fresh_name("dora")
    made = come_back(post(REGISTER, OAUTH2, user=name).json["uri"])
    assert made.json["user_id"] == f"@{name}:example.org"
    again = come_back(post(REGISTER, OAUTH2).json["uri"])
    assert (again.status, again.json["errcode"]) == (400, "M_USER_IN_USE")
    taken = come_back(post(REGISTER, OAUTH2, user=name).json["uri"], "bob")
    assert (taken.status, taken.json["errcode"]) == (400, "M_USER_IN_USE")


def test_a_login_session_is_none_of_a_registration(offer: Offer) -> None:
    offer()
    session = post(LOGIN, OAUTH2).json["session"]
    assert post(REGISTER, OAUTH2, session=session).json["errcode"] == "M_FORBIDDEN"


# -- The fallback page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/_matrix/client/api/v1/login/fallback", "/_matrix/static/client/login/"])
def test_the_fallback_page_brings_all_that_it_needs(deployment: None, path: str) -> None:
    answer = Client().get(path, device_id="</script><b>", password="x")
    assert answer.status == 200
    text = answer.body.decode()
    assert "</script><b>" not in text
    assert not re.search(r'src=|href=|\bon\w+="', text)
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])
    assert data["fields"] == {"device_id": "</script><b>"}


def test_what_the_page_began_is_answered_with_the_page(offer: Offer) -> None:
    offer()
    uri = post(LOGIN, OAUTH2, page=True, device_id="PAGE").json["uri"]
    page = come_back(uri)
    assert page.headers["Content-Type"].startswith("text/html")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page.body.decode())[0])
    assert data["outcome"]["device_id"] == "PAGE"
    assert Client(data["outcome"]["access_token"]).get("/_matrix/client/v3/account/whoami").status == 200
