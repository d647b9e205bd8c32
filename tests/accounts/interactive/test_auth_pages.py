"""Pages on which stages of user-interactive authentication are completed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from murmuration.accounts.interactive.interactive_auth import Attempt
from tests.accounts.browser import stage_path
from tests.accounts.conftest import PASSWORD
from tests.in_process import Answer, Client

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def submit(session: str, kind: str = "m.login.password", **fields: str) -> Answer:
    return Client().request("POST", stage_path(session, kind), urlencode(fields).encode(), headers=FORM)


def asked(client: Client, path: str = "/_matrix/client/v3/delete_devices", **body: Any) -> str:
    answer = client.post(path, {"devices": [], **body})
    assert answer.status == 401, answer.json
    return str(answer.json["session"])


def test_a_password_on_the_page(register: Callable[..., Client]) -> None:
    user = register()
    session = asked(user)
    assert b"Password" in Client().get(stage_path(session, "m.login.password")).body
    wrong = submit(session, user=user.user_id, password="x")
    assert (wrong.status, b'role="alert"' in wrong.body, b"onAuthDone" in wrong.body) == (403, True, False)
    done = submit(session, user=user.user_id, password=PASSWORD)
    assert (done.status, b"onAuthDone" in done.body) == (200, True)
    body = {"devices": [], "auth": {"session": session}}
    assert user.post("/_matrix/client/v3/delete_devices", body).status == 200


def test_another_users_password_is_no_proof(register: Callable[..., Client]) -> None:
    user, other = register(), register()
    session = asked(user)
    assert submit(session, user=other.user_id, password=PASSWORD).status == 200
    body = {"devices": [], "auth": {"session": session}}
    assert user.post("/_matrix/client/v3/delete_devices", body).json["errcode"] == "M_FORBIDDEN"


def test_who_is_lured_to_the_page_lets_nobody_in(register: Callable[..., Client]) -> None:
    """A stranger can make up a session for a login, or for a new password, and send its page to a user."""
    user, path = register(), "/_matrix/client/api/v1/login"
    digest = Attempt("POST", path, {}).digest(None, bind_body=False)
    session = f"{'a' * 24}.{digest}"
    assert submit(session, user=user.user_id, password=PASSWORD).status == 200
    answer = Client().post(path, {"type": "m.login.password", "session": session})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")

    path, body = "/_matrix/client/v3/account/password", {"new_password": "a stranger's"}
    session = Client().post(path, body).json["session"]
    assert submit(session, user=user.user_id, password=PASSWORD).status == 200
    answer = Client().post(path, {**body, "auth": {"session": session}})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


def test_a_registration_token_on_the_page(
    configure: Callable[..., None], fresh_name: Callable[..., str]
) -> None:
    from murmuration.accounts.registration_tokens import create_registration_token

    configure(REGISTRATION="token")
    token, body = create_registration_token(uses_allowed=1), {"username": fresh_name(), "password": "x"}
    session = Client().post("/_matrix/client/v3/register", body).json["session"]
    kind = "m.login.registration_token"
    assert submit(session, kind, token="wrong").status == 403
    assert submit(session, kind, token=token).status == 200
    made = Client().post("/_matrix/client/v3/register", {**body, "auth": {"session": session}})
    assert made.status == 200


@pytest.mark.parametrize(
    ("kind", "session", "error"),
    [
        ("m.login.password", "x", (404, "M_NOT_FOUND")),
        ("m.login.recaptcha", "a" * 24 + "." + "b" * 16, (404, "M_NOT_FOUND")),
        ("m.login.sso", "a" * 24 + "." + "b" * 16, (404, "M_NOT_FOUND")),
        ("m.login.oauth2", "a" * 24 + "." + "b" * 16, (404, "M_NOT_FOUND")),
    ],
)
def test_pages_that_there_are_not(deployment: None, kind: str, session: str, error: tuple[int, str]) -> None:
    for method in ("GET", "POST"):
        answer = Client().request(method, stage_path(session, kind), b"")
        assert (answer.status, answer.json["errcode"]) == error


def test_forms_that_are_none(deployment: None) -> None:
    session = "a" * 24 + "." + "b" * 16
    for body in (b"\xff", b"user=%FF", b"&".join(b"a=b" for _ in range(200))):
        answer = Client().request("POST", stage_path(session, "m.login.password"), body)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    missing = Client().request("POST", stage_path(session, "m.login.password"), b"user=x")
    assert missing.json["errcode"] == "M_MISSING_PARAM"
    assert (
        Client().get("/_matrix/client/v3/auth/m.login.password/fallback/web").json["errcode"]
        == "M_MISSING_PARAM"
    )
