"""The rules about invites that the owner of a third-party identifier has redeemed."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.signing import SigningKey, sign_json
from tests.protocol.auth_rules.cases import LEVELS, Case, each, judge
from tests.protocol.dag import BOB, CAROL, MOD, Piece, member, power_levels, state

KEY = SigningKey(b"\1" * 32, "0")
OTHER_KEY = SigningKey(b"\2" * 32, "0")
TOKEN = "a-token"
IDENTITY_SERVER = ServerName("id.example")


def signed(key: SigningKey = KEY, server: ServerName = IDENTITY_SERVER, **changes: Any) -> dict[str, Any]:
    """Return the part that the identity server signed: the identifier of that token is carol's."""
    content = {"mxid": CAROL, "token": TOKEN, **changes}
    return sign_json({name: value for name, value in content.items() if value is not None}, server, key)


def invite(**third_party_invite: Any) -> Piece:
    return member(CAROL, "invite", third_party_invite={"display_name": "c…", **third_party_invite})


def third_party_invite(**content: Any) -> tuple[str, Piece]:
    """Return bob's invite to the identifier."""
    return BOB, state("m.room.third_party_invite", TOKEN, **content)


def public(key: SigningKey) -> str:
    return key.public_base64


def keys_entry(key: SigningKey) -> dict[str, str]:
    return {"public_key": public(key)}


BY_ONE_KEY = third_party_invite(public_key=public(KEY))
REFUSED = "1-5: 5.3.1.{0}, 6-7: 4.3.1.{0}, 8-11: 4.4.1.{0}, 12: 5.4.1.{0}"
ACCEPTED = invite(signed=signed())
UNSIGNED = {"mxid": CAROL, "token": TOKEN}

UNSIGNED_INVITES: list[dict[str, Any]] = [{}, {"signed": None}, {"signed": "me"}, {"signed": []}]
WRONG_SIGNATURES: list[Any] = [
    None,
    [],
    {"id.example": None},
    {"id.example": {"ed25519:0": 1}},
    {"id.example": {"ed25519:0": "?"}},
]

CASES = [
    Case("by the one key", BOB, ACCEPTED, state=[BY_ONE_KEY]),
    Case(
        "by one of several keys",
        BOB,
        ACCEPTED,
        state=[third_party_invite(public_keys=[keys_entry(OTHER_KEY), keys_entry(KEY)])],
    ),
    Case(
        "by one of the list beside the one",
        BOB,
        ACCEPTED,
        state=[third_party_invite(public_key=public(OTHER_KEY), public_keys=[keys_entry(KEY)])],
    ),
    Case(
        "by a key in the URL-safe alphabet",
        BOB,
        ACCEPTED,
        state=[third_party_invite(public_key=unpadded_base64.encode_urlsafe(KEY.public_key))],
    ),
    Case(
        "by one of several signatures",
        BOB,
        invite(signed=sign_json(signed(OTHER_KEY), ServerName("id2.example"), KEY)),
        state=[BY_ONE_KEY],
    ),
    Case(
        "whatever power the sender has now",
        BOB,
        ACCEPTED,
        state=[BY_ONE_KEY, power_levels(LEVELS, invite=50)],
    ),
    Case("to a banned user", BOB, ACCEPTED, REFUSED.format(1), state=[BY_ONE_KEY, member(CAROL, "ban")]),
    *(
        Case(f"with {wrong!r} for signed", BOB, invite(**wrong), REFUSED.format(2), state=[BY_ONE_KEY])
        for wrong in UNSIGNED_INVITES
    ),
    Case(
        "that is no object",
        BOB,
        member(CAROL, "invite", third_party_invite="yes"),
        REFUSED.format(2),
        state=[BY_ONE_KEY],
    ),
    Case("without its mxid", BOB, invite(signed=signed(mxid=None)), REFUSED.format(3), state=[BY_ONE_KEY]),
    Case("without its token", BOB, invite(signed=signed(token=None)), REFUSED.format(3), state=[BY_ONE_KEY]),
    Case(
        "of a token that is no string",
        BOB,
        invite(signed=signed(token=[TOKEN])),
        REFUSED.format(3),
        state=[BY_ONE_KEY],
    ),
    Case("for another user", BOB, invite(signed=signed(mxid=BOB)), REFUSED.format(4), state=[BY_ONE_KEY]),
    Case(
        "of another token", BOB, invite(signed=signed(token="other")), REFUSED.format(5), state=[BY_ONE_KEY]
    ),
    Case("of a room without any", BOB, ACCEPTED, REFUSED.format(5)),
    Case("by another sender", MOD, ACCEPTED, REFUSED.format(6), state=[BY_ONE_KEY]),
    Case("by another key", BOB, invite(signed=signed(OTHER_KEY)), REFUSED.format(8), state=[BY_ONE_KEY]),
    Case("by no key", BOB, invite(signed=UNSIGNED), REFUSED.format(8), state=[BY_ONE_KEY]),
    Case(
        "with a signature of something else",
        BOB,
        invite(signed={**signed(extra=1), "extra": 2}),
        REFUSED.format(8),
        state=[BY_ONE_KEY],
    ),
    *(
        Case(
            f"by keys such as {wrong!r}",
            BOB,
            ACCEPTED,
            REFUSED.format(8),
            state=[third_party_invite(**wrong)],
        )
        for wrong in (
            {},
            {"public_key": "???"},
            {"public_key": "c2hvcnQ"},
            {"public_key": [public(KEY)]},
            {"public_keys": public(KEY)},
            {"public_keys": [public(KEY)]},
        )
    ),
    *(
        Case(
            f"with {wrong!r} for signatures",
            BOB,
            invite(signed={**UNSIGNED, "signatures": wrong}),
            REFUSED.format(8),
            state=[BY_ONE_KEY],
        )
        for wrong in WRONG_SIGNATURES
    ),
]


@each(*CASES)
def test_third_party_invites(case, version, rule):
    judge(case, version, rule)


@pytest.mark.parametrize("version", ["1", "12"])
def test_what_is_no_third_party_invite_takes_power(version):
    judge(
        Case("", BOB, member(CAROL, "invite"), state=[BY_ONE_KEY, power_levels(LEVELS, invite=50)]),
        version,
        {"1": "5.3.5", "12": "5.4.5"}[version],
    )
