"""Malformed answers of other servers are reported as those servers' errors."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.federation.devices import contents
from murmuration.federation.finding import entries, spaces
from murmuration.federation.keys import documents
from murmuration.federation.membership import answers, handshakes, joining, outside, stripped
from murmuration.federation.profiles import get_user_profile
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, RequestFailed
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.keys import KeyRing, VerifyKey
from murmuration.protocol.pdus.signing import sign_json
from murmuration.storage.servers import remote_keys
from tests.federation.hosting import Host, HostedRoom
from tests.federation.spoiling import UNSIGNABLE, renamed, spoilt
from tests.in_process import Client
from tests.keys.crypto import CrossSigning, KeyPair, device_keys
from tests.rooms.people import V3

MOST = 60
"""So many ways of each kind are tried."""


@dataclass
class Scene:
    """Alice here, a room elsewhere, and what another server answers to the next question."""

    alice: Client
    host: Host
    room: HostedRoom
    answer: Any = None

    @property
    def server(self) -> ServerName:
        return self.host.remote.name

    @property
    def user_id(self) -> UserId:
        return UserId(f"@u:{self.server}")

    @property
    def state(self) -> list[Event]:
        return list(self.room.state.values())

    def keys(self, wanted: Any, **_: Any) -> KeyRing:
        key = self.host.remote.key
        verify = VerifyKey(key.key_id, key.public_key, valid_until_ts=10**15)
        return {name: verify for name in wanted if name == (self.server, key.key_id)}

    def join(self) -> Event:
        self.answer = self.template()
        return handshakes.make(self.server, "join", RoomId(self.room.room_id), UserId(self.alice.user_id), {})

    def template(self) -> Any:
        event = self.room.template(UserId(self.alice.user_id), "join")
        return {"room_version": self.room.version.id, "event": event}


@pytest.fixture(params=["1", "12"])
def scene(
    request: pytest.FixtureRequest, alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    made = Scene(alice, host, host.room(request.param))
    made.room.member(made.user_id, "join")

    def ask(*_: Any, **__: Any) -> Any:
        if not isinstance(made.answer, dict):
            raise Malformed("no object")
        return made.answer

    monkeypatch.setattr(client, "request", ask)
    monkeypatch.setattr(answers, "verify_keys", made.keys)
    monkeypatch.setattr(stripped, "verify_keys", made.keys)
    return made


Take = Callable[[Any], object]


def template(scene: Scene) -> tuple[Any, Take]:
    def take(answer: Any) -> object:
        scene.answer = answer
        return handshakes.make(
            scene.server, "join", RoomId(scene.room.room_id), UserId(scene.alice.user_id), {}
        )

    return scene.template(), take


def join(scene: Scene) -> tuple[Any, Take]:
    event = scene.join()
    chain = scene.room.auth_chain([event, *scene.state])
    told = {"state": [it.pdu for it in scene.state], "auth_chain": chain, "event": event.pdu}
    return told, lambda answer: answers.check_answer(answer, event).joined()


def shown_state(scene: Scene, given: list[Any]) -> tuple[Any, Take]:
    event = scene.join()

    def take(answer: Any) -> object:
        state = stripped.received_state(answer, scene.room.version, RoomId(scene.room.room_id))
        row = outside.outside_row(event, "invite", state, [scene.server])
        outside.record(UserId(scene.alice.user_id), RoomId(scene.room.room_id), lambda _: row)
        assert scene.alice.get(f"{V3}/sync").status == 200
        return row

    return given, take


def stripped_state(scene: Scene) -> tuple[Any, Take]:
    names = ("type", "state_key", "sender", "content")
    pdus: list[dict[str, Any]] = [{**event.pdu} for event in scene.state]
    given = [{name: pdu[name] for name in names} for pdu in pdus]
    if scene.room.version.create_event_is_room_id:
        given.append(pdus[0])
    return shown_state(scene, given)


def whole_state(scene: Scene) -> tuple[Any, Take]:
    return shown_state(scene, [event.pdu for event in scene.state])


def alias(scene: Scene) -> tuple[Any, Take]:
    def take(answer: Any) -> object:
        scene.answer = answer
        return joining.find_alias(f"#a:{scene.server}")

    return {"room_id": scene.room.room_id, "servers": [scene.server]}, take


def profile(scene: Scene) -> tuple[Any, Take]:
    numbers = itertools.count()

    def take(answer: Any) -> object:
        scene.answer = answer
        return json.dumps(get_user_profile(UserId(f"@u{next(numbers)}:{scene.server}"), "::1")).encode()

    return {"displayname": "Bob", "avatar_url": "mxc://a/b", "m.tz": "UTC"}, take


def keys(scene: Scene) -> tuple[Any, Take]:
    """Return a document that is signed, whatever it says."""
    remote = scene.host.remote
    document = {name: value for name, value in remote.document().items() if name != "signatures"}
    (key,) = document["verify_keys"].values()
    document["old_verify_keys"] = {"ed25519:old": {"key": key["key"], "expired_ts": 5}}

    def take(answer: Any) -> object:
        signed = sign_json(answer, scene.server, remote.key)
        remote_keys.write(documents.keys_of(signed, scene.server, "origin"))
        return remote_keys.read_server(scene.server)

    return document, take


def devices(scene: Scene) -> tuple[Any, Take]:
    user_id, signing = scene.user_id, CrossSigning(scene.user_id)
    device = {"device_id": "D", "keys": device_keys(user_id, "D", KeyPair("D")), "device_display_name": "x"}
    told = {"user_id": user_id, "stream_id": 3, "devices": [device]}
    told |= {f"{name}_key": signing.key(name) for name in ("master", "self_signing")}
    return told, lambda answer: contents.from_device_list(user_id, answer)


def queried_keys(scene: Scene) -> tuple[Any, Take]:
    user_id, signing = scene.user_id, CrossSigning(scene.user_id)
    told = {"device_keys": {user_id: {"D": device_keys(user_id, "D", KeyPair("D"))}}}
    told |= {f"{name}_keys": {user_id: signing.key(name)} for name in ("master", "self_signing")}
    return told, lambda answer: contents.from_query(user_id, answer)


def listing(scene: Scene) -> tuple[Any, Take]:
    told = {
        "room_id": scene.room.room_id, "num_joined_members": 3, "world_readable": True, "join_rule": "public",
        "guest_can_join": True, "name": "x", "topic": "x", "avatar_url": "mxc://a/b", "room_type": "m.space",
        "canonical_alias": f"#a:{scene.server}",
    }  # fmt: skip
    return told, lambda answer: json.dumps(entries.listing_of(answer), ensure_ascii=False).encode()


def space(scene: Scene) -> tuple[Any, Take]:
    room_id = RoomId(scene.room.room_id)
    child = {
        "type": "m.space.child", "state_key": room_id, "sender": scene.user_id, "origin_server_ts": 1,
        "content": {"via": [scene.server], "order": "a", "suggested": True},
    }  # fmt: skip
    room, _ = listing(scene)
    told = {
        "room": {**room, "allowed_room_ids": [room_id], "children_state": [child]},
        "children": [room],
        "inaccessible_children": [room_id],
    }
    return told, lambda answer: spaces._parse(room_id, answer)


KINDS = (
    template, join, stripped_state, whole_state, alias, profile, keys, devices, queried_keys, listing, space,
)  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
def test_spoilt_answers(
    scene: Scene, make: Callable[[Scene], tuple[Any, Take]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The valid part of each answer is used, or the error says that the other server is at fault."""
    from murmuration.identity import rate_limits

    monkeypatch.setattr(rate_limits, "check", lambda *_: None)
    valid, take = make(scene)
    take(valid)
    for answer in [*spoilt(valid, *UNSIGNABLE, most=MOST), *renamed(valid, most=MOST // 3)]:
        try:
            take(answer)
        except (MatrixError, RequestFailed):
            continue
