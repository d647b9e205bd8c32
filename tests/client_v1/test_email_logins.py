"""Login by what is sent by mail, as the founding draft of 2014 has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from murmuration.accounts.threepids import binding
from murmuration.protocol.identifiers import UserId
from tests.accounts.conftest import PASSWORD as WORDS
from tests.accounts.conftest import Clock
from tests.in_process import Answer, Client

LOGIN = "/_matrix/client/api/v1/login"
CODE, URL = "m.login.email.code", "m.login.email.url"


@dataclass
class Mailbox:
    """What was sent: (sender, to, subject, text, HTML)."""

    mails: list[tuple[str, str, str, str, str | None]] = field(default_factory=list)

    def code(self) -> str:
        (found,) = re.findall(r"^ +(\d{8})$", self.mails[-1][3], re.MULTILINE)
        return str(found)

    def link(self) -> str:
        (found,) = re.findall(r"^https://\S+$", self.mails[-1][3], re.MULTILINE)
        return str(found).removeprefix("https://example.org")


@pytest.fixture
def mailbox(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    found = Mailbox()
    configure(MAIL_SENDER="server@example.org")
    monkeypatch.setattr("murmuration.aws.mail.send", lambda *mail: found.mails.append(mail))
    return found


@pytest.fixture
def dora(register: Callable[..., Client], fresh_name: Callable[..., str]) -> tuple[Client, str]:
    """Return a user with an address."""
    user, address = register(), f"{fresh_name('dora')}@mail.example"
    binding.add(UserId(user.user_id), "email", address, validated_ms=1)
    return user, address


def post(kind: str, **fields: Any) -> Answer:
    return Client().post(LOGIN, {"type": kind, **fields})


def begin(kind: str, dora: tuple[Client, str], **more: Any) -> str:
    answer = post(kind, user=dora[0].user_id, email=dora[1], **more)
    assert answer.status == 200, answer.json
    assert answer.json == {"type": kind, "session": answer.json["session"]}
    return str(answer.json["session"])


def test_flows_by_mail_are_listed_where_there_is_a_sender(mailbox: Mailbox) -> None:
    assert {"type": CODE} in Client().get(LOGIN).json["flows"]
    assert {"type": URL} in Client().get(LOGIN).json["flows"]


def test_a_code(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(CODE, dora)
    sender, to, subject, _, _ = mailbox.mails[-1]
    assert (sender, to) == ("server@example.org", dora[1])
    assert mailbox.code() in subject
    answer = post(CODE, session=session, code=mailbox.code())
    assert answer.json["user_id"] == dora[0].user_id
    assert Client(answer.json["access_token"]).get("/_matrix/client/v3/account/whoami").status == 200
    assert post(CODE, session=session, code=mailbox.code()).json["errcode"] == "M_FORBIDDEN"


def test_an_address_is_known_however_it_is_written(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(CODE, (dora[0], f" {dora[1].upper()} "))
    assert post(CODE, session=session, code=mailbox.code()).status == 200


def test_a_code_is_good_for_five_tries(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(CODE, dora)
    wrong = f"{(int(mailbox.code()) + 1) % 10**8:08}"
    for _ in range(5):
        assert post(CODE, session=session, code=wrong).json["errcode"] == "M_FORBIDDEN"
    assert post(CODE, session=session, code=mailbox.code()).json["errcode"] == "M_FORBIDDEN"


def test_a_code_is_good_for_a_quarter_of_an_hour(
    mailbox: Mailbox, dora: tuple[Client, str], clock: Clock
) -> None:
    session = begin(CODE, dora)
    clock.advance(901_000)
    assert post(CODE, session=session, code=mailbox.code()).json["errcode"] == "M_FORBIDDEN"


def test_a_code_is_of_its_session(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    begin(CODE, dora)
    code, other = mailbox.code(), begin(CODE, dora)
    if code != mailbox.code():
        assert post(CODE, session=other, code=code).json["errcode"] == "M_FORBIDDEN"
    assert post(CODE, code=code).json["errcode"] == "M_FORBIDDEN"


def test_a_new_code_replaces_the_one_before(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(CODE, dora)
    first = mailbox.code()
    assert begin(CODE, dora, session=session) == session
    if first != mailbox.code():
        assert post(CODE, session=session, code=first).json["errcode"] == "M_FORBIDDEN"
    assert post(CODE, session=session, code=mailbox.code()).status == 200


def test_a_link(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(URL, dora)
    early = post(URL, session=session)
    assert (early.status, early.json["errcode"]) == (403, "M_LOGIN_EMAIL_URL_NOT_YET")
    # What looks into mail follows links: that alone proves nothing.
    page = Client().get(mailbox.link())
    assert page.headers["Content-Type"].startswith("text/html")
    assert post(URL, session=session).json["errcode"] == "M_LOGIN_EMAIL_URL_NOT_YET"
    assert Client().request("POST", mailbox.link(), b"").status == 200
    answer = post(URL, session=session)
    assert answer.json["user_id"] == dora[0].user_id
    assert post(URL, session=session).status == 400


def test_a_link_that_somebody_made_up(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    session = begin(URL, dora)
    link = mailbox.link()
    for changed in (
        f"{link}x",
        link.replace("sid=", "sid=x"),
        link.replace("secret=", "secret=x"),
        urlsplit(link).path,
    ):
        assert Client().request("POST", changed, b"").json["errcode"] == "M_FORBIDDEN"
    assert post(URL, session=session).json["errcode"] == "M_LOGIN_EMAIL_URL_NOT_YET"


@pytest.mark.parametrize("kind", [CODE, URL])
def test_nobody_learns_whose_an_address_is(
    mailbox: Mailbox, dora: tuple[Client, str], register: Callable[..., Client], kind: str
) -> None:
    """An address that isn't the user's gets no mail, and the login goes nowhere."""
    for pair in ((register(), dora[1]), (dora[0], "other@mail.example"), (Client(user_id="nobody"), dora[1])):
        session = begin(kind, pair)
        found = post(kind, session=session, **({"code": "00000000"} if kind == CODE else {}))
        assert found.json["errcode"] == ("M_FORBIDDEN" if kind == CODE else "M_LOGIN_EMAIL_URL_NOT_YET")
    assert mailbox.mails == []


@pytest.mark.parametrize("kind", [CODE, URL])
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"user": "x"}, "M_MISSING_PARAM"),
        ({"email": "x@y"}, "M_MISSING_PARAM"),
        ({"user": 1, "email": "x@y"}, "M_BAD_JSON"),
        ({"user": "x", "email": 1}, "M_BAD_JSON"),
        ({"user": "x", "email": "x"}, "M_INVALID_PARAM"),
        ({"user": "x", "email": "a@b\r\nBcc: c@d"}, "M_INVALID_PARAM"),
        ({"user": "x", "email": "a@b,c@d"}, "M_INVALID_PARAM"),
        ({"user": "x", "email": f"{'a' * 300}@b"}, "M_INVALID_PARAM"),
    ],
)
def test_bad_requests(mailbox: Mailbox, kind: str, fields: dict[str, Any], error: str) -> None:
    answer = post(kind, **fields)
    assert (answer.status, answer.json["errcode"]) == (400, error)


def test_a_code_of_a_wrong_type(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    assert post(CODE, session=begin(CODE, dora), code=1).json["errcode"] == "M_BAD_JSON"


def test_mails_are_limited(
    mailbox: Mailbox, dora: tuple[Client, str], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("limited")
    answers = [post(CODE, user=dora[0].user_id, email=dora[1]).status for _ in range(6)]
    assert (answers[0], answers[-1]) == (200, 429)
    assert len(mailbox.mails) == answers.count(200)


def test_after_a_password(mailbox: Mailbox, dora: tuple[Client, str], configure: Callable[..., None]) -> None:
    """The code goes to the user who knew the password, and to nobody else."""
    configure(LOGIN_FLOWS=f"m.login.password,{CODE}")
    first = post("m.login.password", user=dora[0].user_id, password=WORDS).json
    assert first["next"] == CODE
    other = post(CODE, session=first["session"], user="nobody", email=dora[1])
    assert other.json["errcode"] == "M_FORBIDDEN"
    sent = post(CODE, session=first["session"], email=dora[1])
    assert sent.json == {"type": CODE, "session": first["session"]}
    done = post(CODE, session=first["session"], code=mailbox.code())
    assert done.json["user_id"] == dora[0].user_id


def test_both_stages_are_the_same_users(
    mailbox: Mailbox,
    dora: tuple[Client, str],
    register: Callable[..., Client],
    configure: Callable[..., None],
) -> None:
    """Dora's own code is no second factor for the user whose password she found out, in whichever order."""
    configure(LOGIN_FLOWS=f"m.login.password,{CODE} {CODE},m.login.password")
    victim = register()
    session = begin(CODE, dora)
    first = post("m.login.password", user=victim.user_id, password=WORDS, session=session)
    assert first.json["next"] == CODE
    assert post(CODE, session=session, code=mailbox.code()).json["errcode"] == "M_FORBIDDEN"

    session = begin(CODE, dora)
    assert post(CODE, session=session, code=mailbox.code()).json["next"] == "m.login.password"
    second = post("m.login.password", user=victim.user_id, password=WORDS, session=session)
    assert second.json["errcode"] == "M_FORBIDDEN"
    assert post("m.login.password", user=dora[0].user_id, password=WORDS, session=session).status == 200


def test_a_closed_account_leaves_its_address(mailbox: Mailbox, dora: tuple[Client, str]) -> None:
    from murmuration.accounts.management import close_account

    close_account(UserId(dora[0].user_id))
    assert binding.owner("email", dora[1]) is None
