"""An identity server says to whom an address belongs that has invites."""

from __future__ import annotations

import itertools
import json
import os
from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.signing import SigningKey, sign_json
from murmuration.rooms.room import Room
from tests.federation.asking import FED
from tests.federation.network import Network, Received, Reply
from tests.federation.remote import Remote
from tests.in_process import Answer, Client, segment
from tests.rooms.people import create_room, ok, path

ONBIND = f"{FED}/v1/3pid/onbind"
KEY = SigningKey(b"i" * 32, "0")
_addresses = itertools.count(os.getpid() % 30_000)


def invite(user_id: str, room_id: str, sender: str, **changes: Any) -> dict[str, Any]:
    signed = {"mxid": user_id, "token": "token", "sender": sender}
    return {
        "medium": "email",
        "address": "bob@example.com",
        "mxid": user_id,
        "room_id": room_id,
        "sender": sender,
        "signed": sign_json(signed, ServerName("id.example"), KEY),
        **changes,
    }


def bind(user_id: str, *invites: Any, **changes: Any) -> Answer:
    """Return the answer to an identity server with an address of its own, as addresses have a limit."""
    address = f"2001:db8:1d:{next(_addresses):x}::1"
    body = {"medium": "email", "address": "bob@example.com", "mxid": user_id, "invites": list(invites)}
    return Client(source_ip=address).put(ONBIND, {**body, **changes})


@pytest.fixture
def asked(remote: Remote) -> list[tuple[str, str, Any]]:
    """Return what the other server is asked for: method, path and body. It agrees to all."""
    found: list[tuple[str, str, Any]] = []
    assert remote.server is not None
    usual = remote.server.handler

    def answer(received: Received) -> Reply:
        if "/exchange_third_party_invite/" not in received.target:
            return usual(received)
        found.append((received.method, received.target, json.loads(received.body)))
        return Reply({})

    remote.server.handler = answer
    return found


def test_the_sender_s_server_is_asked_for_each_invite(
    alice: Client, remote: Remote, asked: list[tuple[str, str, Any]]
) -> None:
    sender = f"@dora:{remote.name}"
    rooms = [f"!{name}:{remote.name}" for name in ("one", "two")]
    invites = [invite(alice.user_id, room_id, sender) for room_id in rooms]
    assert ok(bind(alice.user_id, *invites)) == {}
    assert sorted(target for _, target, _ in asked) == [
        f"{FED}/v1/exchange_third_party_invite/{segment(room_id)}" for room_id in rooms
    ]
    method, _, body = min(asked, key=lambda it: it[1])
    assert method == "PUT"
    assert body == {
        "type": "m.room.member",
        "room_id": rooms[0],
        "sender": sender,
        "state_key": alice.user_id,
        "content": {
            "membership": "invite",
            "third_party_invite": {"display_name": alice.user_id, "signed": invites[0]["signed"]},
        },
    }


def test_a_room_of_this_server_invites_the_user(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="private_chat")
    content = {
        "display_name": "b…@example.com",
        "key_validity_url": "https://id.example/valid",
        "public_key": KEY.public_base64,
        "public_keys": [{"public_key": KEY.public_base64}],
    }
    ok(alice.put(path(room_id, "state", "m.room.third_party_invite", "token"), content))
    forged = invite(bob.user_id, room_id, alice.user_id)
    forged["signed"] = sign_json(
        {"mxid": bob.user_id, "token": "token"}, ServerName("id.example"), SigningKey(b"f" * 32, "0")
    )
    for given, membership in ((forged, None), (invite(bob.user_id, room_id, alice.user_id), "invite")):
        assert ok(bind(bob.user_id, given)) == {}
        event = Room.load(RoomId(room_id)).event("m.room.member", bob.user_id)
        assert (event.membership if event is not None else None) == membership


def test_a_server_that_is_away_is_no_error(alice: Client, network: Network) -> None:
    assert ok(bind(alice.user_id, invite(alice.user_id, "!a:b.example", "@c:away.example"))) == {}


@pytest.mark.parametrize(
    ("changes", "status", "errcode"),
    [
        ({"mxid": "@nobody:example.org"}, 404, "M_NOT_FOUND"),
        ({"mxid": "@alice:elsewhere.example"}, 404, "M_NOT_FOUND"),
        ({"mxid": 1}, 400, "M_BAD_JSON"),
        ({"invites": None}, 400, "M_BAD_JSON"),
        ({"invites": [1]}, 400, "M_BAD_JSON"),
        ({"invites": [{}]}, 400, "M_INVALID_PARAM"),
        ({"invites": [{"room_id": "!a:b", "sender": "@a:b"}]}, 400, "M_MISSING_PARAM"),
        ({"invites": [{"room_id": "!a:b", "sender": "@a:b", "signed": {}}]}, 400, "M_INVALID_PARAM"),
        ({"invites": [{}] * 11}, 413, "M_TOO_LARGE"),
    ],
)
def test_what_is_no_binding(alice: Client, changes: dict[str, Any], status: int, errcode: str) -> None:
    answer = bind(alice.user_id, **changes)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
