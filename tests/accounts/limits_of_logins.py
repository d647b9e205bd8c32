"""Requests of the table of limits that have to do with registration and login."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.accounts.conftest import PASSWORD, password_auth
from tests.in_process import Answer
from tests.rooms.people import V3

if TYPE_CHECKING:
    from tests.accounts.test_limits_table import Stage

V1 = "/_matrix/client/api/v1"
_numbers = itertools.count(1)


def register(stage: Stage) -> Answer:
    body = {"username": f"limited-{next(_numbers)}-{stage.alice.user_id[1:9]}", "password": PASSWORD}
    return stage.stranger.post(f"{V3}/register", {**body, "auth": {"type": "m.login.dummy"}})


def begin_registration(stage: Stage) -> Answer:
    body = {"username": f"limited-{next(_numbers)}-{stage.alice.user_id[1:9]}", "password": PASSWORD}
    return stage.stranger.post(f"{V3}/register", body)


def register_by_token(stage: Stage) -> Answer:
    stage.configure(REGISTRATION="token")
    return stage.stranger.post(f"{V1}/register", {"type": "m.login.registration_token", "token": "x"})


def ask_token(stage: Stage) -> Answer:
    stage.configure(REGISTRATION="token")
    return stage.stranger.get("/_matrix/client/v1/register/m.login.registration_token/validity", token="x")


def ask_for_proof(stage: Stage) -> Answer:
    stage.configure(MAIL_SENDER="server@example.org")
    body = {"client_secret": "secret", "email": stage.mail_address, "send_attempt": next(_numbers)}
    return stage.stranger.post(f"{V3}/register/email/requestToken", body)


def get_login_token(stage: Stage) -> Answer:
    return stage.alice.post("/_matrix/client/v1/login/get_token", {"auth": password_auth(stage.alice)})


def go_to_provider(stage: Stage) -> Answer:
    stage.offer_provider()
    return stage.stranger.get(f"{V3}/login/sso/redirect", redirectUrl="https://app.example.org")


def choose_provider(stage: Stage) -> Answer:
    stage.offer_provider()
    return stage.stranger.get(f"{V1}/login/oauth2", choice="none")


def submit_page(stage: Stage) -> Answer:
    session = stage.stranger.post(f"{V3}/account/deactivate").json["session"]
    where = f"{V3}/auth/m.login.registration_token/fallback/web"
    return stage.stranger.request("POST", where, b"token=x", session=session)
