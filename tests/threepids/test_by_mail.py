"""Proofs by mail: setting a new password, registration with an address, login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.accounts.registration_tokens import create_registration_token
from murmuration.accounts.threepids import binding
from murmuration.protocol.identifiers import UserId
from tests.accounts.conftest import PASSWORD
from tests.client_v1.test_email_logins import Mailbox, dora, mailbox
from tests.in_process import Answer, Client
from tests.rooms.people import ok, refused

__all__ = ["dora", "mailbox"]
V3 = "/_matrix/client/v3"
CHANGE = f"{V3}/account/password"
REGISTER = f"{V3}/register"
SECRET = "owls.fly_at=night-"
Dora = tuple[Client, str]


def ask(path: str, address: str, **more: Any) -> Answer:
    body = {"client_secret": SECRET, "email": address, "send_attempt": 1, **more}
    return Client().post(f"{path}/email/requestToken", body)


def follow(mailbox: Mailbox) -> None:
    link = mailbox.link()
    assert Client().get(link).status == 200, "only the button proves"
    assert Client().request("POST", link, b"").status == 200


def proof(sid: str, **more: Any) -> dict[str, Any]:
    creds = {"sid": sid, "client_secret": SECRET, **more.pop("creds", {})}
    return {"type": "m.login.email.identity", "threepid_creds": creds, **more}


def set_password(sid: str, password: str = "new", **more: Any) -> Answer:
    return Client().post(CHANGE, {"new_password": password, "auth": proof(sid, **more)})


def log_in(identifier: dict[str, Any], password: str) -> Answer:
    body = {"type": "m.login.password", "identifier": identifier, "password": password}
    return Client().post(f"{V3}/login", body)


def user_login(user: Client, password: str) -> Answer:
    return log_in({"type": "m.id.user", "user": user.user_id}, password)


class TestNewPassword:
    def test_by_a_mail_that_was_read(self, mailbox: Mailbox, dora: Dora) -> None:
        user, address = dora
        flows = Client().post(CHANGE, {"new_password": "new"}).json["flows"]
        assert flows == [{"stages": ["m.login.password"]}, {"stages": ["m.login.email.identity"]}]
        sid = ok(ask(CHANGE, address.upper()))["sid"]
        assert mailbox.mails[-1][1] == address
        assert "set a new password" in mailbox.mails[-1][2]
        refused(set_password(sid), 401, "M_FORBIDDEN")
        assert user_login(user, PASSWORD).status == 200
        follow(mailbox)
        assert ok(set_password(sid)) == {}
        assert (user_login(user, PASSWORD).status, user_login(user, "new").status) == (403, 200)
        refused(user.get(f"{V3}/account/whoami"), 401, "M_UNKNOWN_TOKEN")
        refused(set_password(sid, "newer"), 401, "M_FORBIDDEN")

    def test_again_as_the_answer_was_lost(self, mailbox: Mailbox, dora: Dora) -> None:
        sid = ok(ask(CHANGE, dora[1]))["sid"]
        follow(mailbox)
        session = Client().post(CHANGE, {"new_password": "new"}).json["session"]
        for _ in range(2):
            assert ok(set_password(sid, session=session)) == {}
        refused(set_password(sid, "other", session=session), 403, "M_FORBIDDEN")

    def test_mails_to_an_address_without_an_account(
        self, mailbox: Mailbox, fresh_name: Callable[..., str]
    ) -> None:
        refused(ask(CHANGE, f"{fresh_name()}@mail.example"), 400, "M_THREEPID_NOT_FOUND")
        assert mailbox.mails == []

    def test_by_a_link_for_something_else(
        self, mailbox: Mailbox, dora: Dora, fresh_name: Callable[..., str]
    ) -> None:
        address = f"{fresh_name()}@mail.example"
        sid = ok(ask(f"{V3}/account/3pid", address))["sid"]
        follow(mailbox)
        binding.add(UserId(dora[0].user_id), "email", address, validated_ms=1)
        refused(set_password(sid), 401, "M_FORBIDDEN")

    def test_by_an_address_that_was_removed(self, mailbox: Mailbox, dora: Dora) -> None:
        sid = ok(ask(CHANGE, dora[1]))["sid"]
        follow(mailbox)
        binding.remove(UserId(dora[0].user_id), "email", dora[1])
        refused(set_password(sid), 401, "M_FORBIDDEN")

    @pytest.mark.parametrize(
        ("creds", "status", "errcode"),
        [
            ({"client_secret": "another"}, 401, "M_FORBIDDEN"),
            ({"sid": "another"}, 401, "M_FORBIDDEN"),
            ({"sid": None}, 400, "M_BAD_JSON"),
        ],
    )
    def test_with_other_credentials(
        self, mailbox: Mailbox, dora: Dora, creds: dict[str, Any], status: int, errcode: str
    ) -> None:
        sid = ok(ask(CHANGE, dora[1]))["sid"]
        follow(mailbox)
        refused(set_password(sid, creds=creds), status, errcode)

    def test_without_credentials(self, mailbox: Mailbox) -> None:
        auth = {"type": "m.login.email.identity"}
        refused(Client().post(CHANGE, {"new_password": "new", "auth": auth}), 400, "M_MISSING_PARAM")

    def test_where_no_mail_is_sent(self, deployment: None) -> None:
        refused(ask(CHANGE, "dora@mail.example"), 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
        refused(set_password("any"), 401, "M_FORBIDDEN")

    def test_nobody_is_logged_out_who_wants_to_stay(self, mailbox: Mailbox, dora: Dora) -> None:
        sid = ok(ask(CHANGE, dora[1]))["sid"]
        follow(mailbox)
        body = {"new_password": "new", "logout_devices": False, "auth": proof(sid)}
        assert ok(Client().post(CHANGE, body)) == {}
        assert dora[0].get(f"{V3}/account/whoami").status == 200


class TestRegistration:
    @pytest.fixture
    def address(self, fresh_name: Callable[..., str]) -> str:
        return f"{fresh_name('nora')}@mail.example"

    def register(self, name: str, auth: dict[str, Any] | None) -> Answer:
        body = {"username": name, "password": PASSWORD}
        return Client().post(REGISTER, body if auth is None else {**body, "auth": auth})

    def test_with_an_address(self, mailbox: Mailbox, address: str, fresh_name: Callable[..., str]) -> None:
        name = fresh_name()
        challenge = self.register(name, None).json
        assert challenge["flows"] == [{"stages": ["m.login.dummy"]}, {"stages": ["m.login.email.identity"]}]
        sid, session = ok(ask(REGISTER, address))["sid"], challenge["session"]
        refused(self.register(name, proof(sid, session=session)), 401, "M_FORBIDDEN")
        follow(mailbox)
        for _ in range(2):
            assert ok(self.register(name, proof(sid, session=session)))["user_id"] == f"@{name}:example.org"
        assert binding.owner("email", address) == f"@{name}:example.org"
        [shown] = binding.addresses(UserId(f"@{name}:example.org"))
        assert shown["address"] == address
        refused(ask(REGISTER, address), 400, "M_THREEPID_IN_USE")

    def test_with_an_address_that_became_anothers(
        self, mailbox: Mailbox, address: str, dora: Dora, fresh_name: Callable[..., str]
    ) -> None:
        sid = ok(ask(REGISTER, address))["sid"]
        follow(mailbox)
        binding.add(UserId(dora[0].user_id), "email", address, validated_ms=1)
        name = fresh_name()
        refused(self.register(name, proof(sid)), 400, "M_THREEPID_IN_USE")
        assert user_login(Client(user_id=f"@{name}:example.org"), PASSWORD).status == 403

    @pytest.mark.parametrize("wanted", [True, False])
    def test_with_a_token_as_well(
        self,
        mailbox: Mailbox,
        configure: Callable[..., None],
        address: str,
        fresh_name: Callable[..., str],
        wanted: bool,
    ) -> None:
        configure(REGISTRATION="token")
        name, token = fresh_name(), create_registration_token(uses_allowed=1)
        stage = {"type": "m.login.registration_token", "token": token}
        challenge = self.register(name, None).json
        flows = [[stage["type"], last] for last in ("m.login.dummy", "m.login.email.identity")]
        assert challenge["flows"] == [{"stages": stages} for stages in flows]
        sid, session = ok(ask(REGISTER, address))["sid"], challenge["session"]
        follow(mailbox)
        halfway = self.register(name, {**stage, "session": session})
        assert (halfway.status, halfway.json["completed"]) == (401, [stage["type"]])
        last = proof(sid, session=session) if wanted else {"type": "m.login.dummy", "session": session}
        assert ok(self.register(name, last))["user_id"] == f"@{name}:example.org"
        assert binding.owner("email", address) == (f"@{name}:example.org" if wanted else None)

    def test_where_it_is_closed(self, mailbox: Mailbox, configure: Callable[..., None], address: str) -> None:
        configure(REGISTRATION="closed")
        refused(ask(REGISTER, address), 403, "M_FORBIDDEN")
        assert mailbox.mails == []


class TestLogin:
    def test_by_address(self, mailbox: Mailbox, dora: Dora) -> None:
        user, address = dora
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": address.upper()}
        assert ok(log_in(identifier, PASSWORD))["user_id"] == user.user_id
        refused(log_in(identifier, "wrong"), 403, "M_FORBIDDEN")
        old = {"type": "m.login.password", "medium": "email", "address": address, "password": PASSWORD}
        assert ok(Client().post(f"{V3}/login", old))["user_id"] == user.user_id

    @pytest.mark.parametrize(
        ("identifier", "status", "errcode"),
        [
            ({"medium": "email", "address": "nobody@mail.example"}, 403, "M_FORBIDDEN"),
            ({"medium": "email", "address": "nobody"}, 403, "M_FORBIDDEN"),
            ({"medium": "msisdn", "address": "491234567"}, 403, "M_FORBIDDEN"),
            ({"medium": "email"}, 400, "M_MISSING_PARAM"),
            ({"medium": "email", "address": 1}, 400, "M_BAD_JSON"),
        ],
    )
    def test_by_what_is_nobodys(
        self, deployment: None, identifier: dict[str, Any], status: int, errcode: str
    ) -> None:
        refused(log_in({"type": "m.id.thirdparty", **identifier}, PASSWORD), status, errcode)
