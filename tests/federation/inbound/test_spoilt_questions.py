"""Other servers' requests with malformed paths, queries and bodies never cause a server error."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.federation.peers import Peer, share_room
from tests.federation.spoiling import spoilt
from tests.in_process import Client, segment
from tests.rooms.people import send

V1 = "/_matrix/federation/v1"
STRANGE = (
    "", "x", "-1", "0", "1.5", "9" * 30, "9" * 400, "1e5", "NaN", "true", "é", "\x00", "a" * 300, "!x", "$x",
    "@x:y", "!" + "x" * 300 + ":y", "$" + "x" * 43, "%", "..", "🎉", "²", "١٢",
)  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "backfill/{room}": ("v", "limit"),
    "state/{room}": ("event_id",),
    "state_ids/{room}": ("event_id",),
    "timestamp_to_event/{room}": ("ts", "dir"),
    "hierarchy/{room}": ("suggested_only",),
    "make_join/{room}/{user}": ("ver",),
    "make_knock/{room}/{user}": ("ver",),
    "query/directory": ("room_alias",),
    "query/profile": ("user_id", "field"),
    "publicRooms": ("limit", "since", "third_party_instance_id", "include_all_networks"),
}
USUAL = {"v": "{event}", "event_id": "{event}", "limit": "10", "ts": "1", "dir": "f", "ver": "12",
         "user_id": "{user}"}  # fmt: skip
PATHS = (
    "backfill/{}?v=$x&limit=1", "event/{}", "event_auth/{}/$x", "event_auth/{room}/{}", "make_join/{}/{user}",
    "make_join/{room}/{}", "make_leave/{room}/{}", "state/{}?event_id=$x", "user/devices/{}", "hierarchy/{}",
    "media/download/{}", "media/thumbnail/{}?width=1&height=1",
)  # fmt: skip


@pytest.fixture
def names(alice: Client, peer: Peer) -> dict[str, str]:
    mirror = share_room(alice, peer)
    event_id = send(alice, mirror.room_id)
    return {"room": segment(mirror.room_id), "user": segment(f"@bob:{peer.name}"), "event": event_id}


def check(peer: Peer, method: str, uri: str, *body: Any) -> None:
    path, _, query = uri.partition("?")
    answer = peer.call(method, f"{path}?{query}" if query else path, *body)
    assert answer.status < 500, (uri, body, answer.body)
    if answer.status != 200:
        assert answer.json["errcode"].startswith("M_")


@pytest.mark.parametrize("route", QUERIES)
def test_queries(peer: Peer, names: dict[str, str], route: str) -> None:
    path = f"{V1}/{route.format(**names)}"
    usual = {name: USUAL[name].format(**names) for name in QUERIES[route] if name in USUAL}
    for name, strange in itertools.product(QUERIES[route], STRANGE):
        check(peer, "GET", f"{path}?{urlencode({**usual, name: strange})}")
    for left_out in QUERIES[route]:
        check(peer, "GET", f"{path}?{urlencode({k: v for k, v in usual.items() if k != left_out})}")


@pytest.mark.parametrize("route", PATHS)
def test_paths(peer: Peer, names: dict[str, str], route: str) -> None:
    for strange in STRANGE:
        if strange not in ("", ".."):  # which are other paths
            check(peer, "GET", f"{V1}/{route.format(segment(strange), **names)}")


@pytest.mark.parametrize("what", ["missing", "devices", "claim", "rooms", "third", "transaction", "keys"])
def test_bodies(alice: Client, peer: Peer, names: dict[str, str], what: str) -> None:
    room_id, bob = peer.room.room_id, f"@bob:{peer.name}"
    member = {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": {"mxid": bob}}}
    method, path, body = {
        "missing": (
            "POST", f"{V1}/get_missing_events/{names['room']}",
            {"earliest_events": ["$x"], "latest_events": [names["event"]], "limit": 5, "min_depth": 1},
        ),
        "devices": ("POST", f"{V1}/user/keys/query", {"device_keys": {alice.user_id: ["D"]}}),
        "claim": ("POST", f"{V1}/user/keys/claim", {"one_time_keys": {alice.user_id: {"D": "x"}}}),
        "rooms": (
            "POST", f"{V1}/publicRooms", {"limit": 3, "since": "x", "filter": {"generic_search_term": "x"}},
        ),
        "third": (
            "PUT", f"{V1}/exchange_third_party_invite/{names['room']}",
            {"type": "m.room.member", "room_id": room_id, "sender": alice.user_id, "state_key": bob,
             "content": member},
        ),
        "transaction": (
            "PUT", f"{V1}/send/t1", {"origin": peer.name, "pdus": [{}], "edus": [{"edu_type": "x"}]},
        ),
        "keys": (
            "POST", "/_matrix/key/v2/query",
            {"server_keys": {peer.name: {"ed25519:1": {"minimum_valid_until_ts": 1}}}},
        ),
    }[what]  # fmt: skip
    check(peer, method, path, body)
    for wrong in itertools.chain(spoilt(body, most=150), [[], "x", 5, None, {}]):
        check(peer, method, path, wrong)
