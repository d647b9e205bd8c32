"""Endpoints for an account's addresses: request, proof, adding, listing, removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.accounts.threepids import binding
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.protocol.errors import Unavailable
from tests.accounts.conftest import PASSWORD as WORDS
from tests.client_v1.test_email_logins import CODE, Mailbox, begin, mailbox
from tests.client_v1.test_email_logins import post as log_in
from tests.faults import Way, fault
from tests.in_process import Answer, Client
from tests.rooms.people import ok, refused

__all__ = ["mailbox"]
PREFIX = "/_matrix/client/v3/account/3pid"
SECRET = "monkeys_are_GREAT"


@pytest.fixture
def alice(register: Callable[..., Client]) -> Client:
    return register()


@pytest.fixture
def address(fresh_name: Callable[..., str]) -> str:
    return f"{fresh_name('alice')}@mail.example"


def request_token(address: str, **more: Any) -> Answer:
    body = {"client_secret": SECRET, "email": address, "send_attempt": 1, **more}
    return Client().post(f"{PREFIX}/email/requestToken", {k: v for k, v in body.items() if v is not None})


def add(client: Client, sid: str, **more: Any) -> Answer:
    identifier = {"type": "m.id.user", "user": client.user_id}
    auth = {"type": "m.login.password", "identifier": identifier, "password": WORDS}
    return client.post(f"{PREFIX}/add", {"sid": sid, "client_secret": SECRET, "auth": auth, **more})


def prove(mailbox: Mailbox, address: str) -> str:
    """Return the session of an address whose mail was read."""
    sid = ok(request_token(address))["sid"]
    assert Client().request("POST", mailbox.link(), b"").status == 200
    return str(sid)


def addresses(client: Client) -> list[Any]:
    return list(ok(client.get(PREFIX))["threepids"])


def test_an_address_is_added_and_one_logs_in_by_it(mailbox: Mailbox, alice: Client, address: str) -> None:
    assert addresses(alice) == []
    sid = ok(request_token(address.upper()))["sid"]
    assert mailbox.mails[-1][1] == address
    refused(add(alice, sid), 400, "M_THREEPID_AUTH_FAILED")
    assert Client().request("POST", mailbox.link(), b"").status == 200
    unproved = alice.post(f"{PREFIX}/add", {"sid": sid, "client_secret": SECRET})
    assert (unproved.status, unproved.json["flows"]) == (401, [{"stages": ["m.login.password"]}])
    for _ in range(2):
        assert ok(add(alice, sid)) == {}
    [shown] = addresses(alice)
    assert (shown["medium"], shown["address"]) == ("email", address)
    assert 0 < shown["validated_at"] <= shown["added_at"]
    session = begin(CODE, (alice, address))
    assert log_in(CODE, session=session, code=mailbox.code()).json["user_id"] == alice.user_id


def test_an_address_is_removed(mailbox: Mailbox, alice: Client, address: str) -> None:
    ok(add(alice, prove(mailbox, address)))
    body = {"medium": "email", "address": address}
    for _ in range(2):
        assert ok(alice.post(f"{PREFIX}/delete", body)) == {"id_server_unbind_result": "no-support"}
    assert (addresses(alice), binding.owner("email", address)) == ([], None)
    refused(alice.post(f"{PREFIX}/delete", {"medium": "email"}), 400, "M_MISSING_PARAM")
    refused(
        alice.post(f"{PREFIX}/delete", {**body, "medium": "pigeon"}), 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    )


def test_an_address_is_one_accounts(
    mailbox: Mailbox, register: Callable[..., Client], alice: Client, address: str
) -> None:
    other, sid = register(), prove(mailbox, address)
    ok(add(alice, sid))
    refused(add(other, sid), 400, "M_THREEPID_IN_USE")
    refused(request_token(address), 400, "M_THREEPID_IN_USE")
    ok(other.post(f"{PREFIX}/delete", {"medium": "email", "address": address}))
    assert len(addresses(alice)) == 1


def test_a_proof_is_its_clients_and_for_its_purpose(mailbox: Mailbox, alice: Client, address: str) -> None:
    sid = prove(mailbox, address)
    refused(add(alice, sid, client_secret="another"), 400, "M_THREEPID_AUTH_FAILED")
    refused(add(alice, f"{sid}x"), 400, "M_THREEPID_AUTH_FAILED")

    from murmuration.accounts.threepids import validation

    assert validation.validated(sid, SECRET, "login") is None


def test_the_same_attempt_sends_one_mail(mailbox: Mailbox, address: str) -> None:
    first = ok(request_token(address))
    assert ok(request_token(address)) == first
    assert len(mailbox.mails) == 1
    assert ok(request_token(address, send_attempt=2, next_link="https://example.org/next")) == first
    assert len(mailbox.mails) == 2


def test_a_mail_that_could_not_be_sent_is_sent_when_asked_for_again(
    mailbox: Mailbox, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("The mail can't be sent now; try again later")

    with monkeypatch.context() as patch:
        patch.setattr("murmuration.aws.mail.send", refuse)
        assert request_token(address).status == 503
    prove(mailbox, address)
    assert len(mailbox.mails) == 1


def test_a_mail_is_sent_though_the_database_had_to_be_asked_twice(mailbox: Mailbox, address: str) -> None:
    with fault(1, Way.TWICE):
        prove(mailbox, address)
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("more", "errcode"),
    [
        ({"email": "nobody"}, "M_INVALID_PARAM"),
        ({"email": None}, "M_MISSING_PARAM"),
        ({"client_secret": "a b"}, "M_INVALID_PARAM"),
        ({"client_secret": ""}, "M_INVALID_PARAM"),
        ({"client_secret": None}, "M_MISSING_PARAM"),
        ({"send_attempt": "1"}, "M_BAD_JSON"),
        ({"send_attempt": None}, "M_MISSING_PARAM"),
    ],
)
def test_what_is_asked_for_is_checked(
    mailbox: Mailbox, address: str, more: dict[str, Any], errcode: str
) -> None:
    refused(request_token(address, **more), 400, errcode)
    assert mailbox.mails == []


def test_without_a_sender_there_are_no_mails(deployment: None, address: str) -> None:
    refused(request_token(address), 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")


def test_mails_to_an_address_are_limited(
    mailbox: Mailbox, configure: Callable[..., None], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(MAIL_SENDER="server@example.org", RATE_LIMITS="on")
    now = now_ms()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    answers = [request_token(address, send_attempt=attempt) for attempt in range(1, 8)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json["retry_after_ms"] > 0
