"""Version 2: devices and tokens, and what else is reached by version 2's paths as it is today."""

from __future__ import annotations

from collections.abc import Callable

from murmuration.protocol.identifiers import DeviceId, UserId
from tests.in_process import Client, segment
from tests.logged_in import log_in
from tests.rooms.people import bodies, create_room, join, messages, ok, path, refused, send

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
MakeClient = Callable[..., Client]


def test_a_token_is_revoked_with_its_device(alice: Client) -> None:
    tablet = log_in(UserId(alice.user_id), DeviceId("TABLET"))
    for _ in range(2):
        ok(alice.post(f"{V2}/account/revokeToken", {"access_token": tablet.token}))
    refused(tablet.get(f"{V3}/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    devices = ok(alice.get(f"{V2}/devices"))["devices"]
    assert [device["device_id"] for device in devices] == [alice.device_id]
    ok(alice.post(f"{V2}/account/revokeToken", {"access_token": alice.token}))
    refused(alice.get(f"{V3}/account/whoami"), 401, "M_UNKNOWN_TOKEN")


def test_an_older_token_of_the_device_revokes_nothing(alice: Client) -> None:
    older = log_in(UserId(alice.user_id), DeviceId("TABLET"))
    newer = log_in(UserId(alice.user_id), DeviceId("TABLET"))
    ok(alice.post(f"{V2}/account/revokeToken", {"access_token": older.token}))
    assert ok(newer.get(f"{V3}/account/whoami"))["device_id"] == "TABLET"


def test_anothers_token_is_not_ones_to_revoke(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    refused(alice.post(f"{V2}/account/revokeToken", {"access_token": bob.token}), 403, "M_FORBIDDEN")
    refused(alice.post(f"{V2}/account/revokeToken", {"access_token": "x"}), 400, "M_INVALID_PARAM")
    refused(alice.post(f"{V2}/account/revokeToken", {"access_token": 5}), 400, "M_BAD_JSON")
    refused(alice.post(f"{V2}/account/revokeToken", {}), 400, "M_MISSING_PARAM")
    assert ok(bob.get(f"{V3}/account/whoami"))["user_id"] == bob.user_id


def test_devices_and_accounts_are_deleted_as_today(alice: Client) -> None:
    log_in(UserId(alice.user_id), DeviceId("TABLET"))
    assert ok(alice.get(f"{V2}/devices/TABLET"))["device_id"] == "TABLET"
    assert "flows" in alice.request("DELETE", f"{V2}/devices/TABLET", {}).json
    assert "flows" in alice.post(f"{V2}/account/deactivate").json
    ok(alice.post(f"{V2}/logout"))
    refused(alice.get(f"{V2}/devices"), 401, "M_UNKNOWN_TOKEN")


def test_the_profile_is_todays(alice: Client) -> None:
    where = f"{V2}/profile/{segment(alice.user_id)}"
    ok(alice.put(f"{where}/displayname", {"displayname": "Alice"}))
    assert ok(alice.get(f"{where}/displayname")) == {"displayname": "Alice"}
    assert ok(alice.get(where))["displayname"] == "Alice"
    ok(alice.delete(f"{where}/displayname"))


def test_a_change_of_profile_is_not_shared_where_its_owner_wants_that(alice: Client) -> None:
    where = f"{V2}/profile/{segment(alice.user_id)}/displayname"
    ok(alice.put(where, {"displayname": "Alice"}))
    room_id = create_room(alice)
    ok(alice.put(where, {"displayname": "Private"}, propagate="false"))
    member = path(room_id, "state", "m.room.member", alice.user_id)
    assert ok(alice.get(where)) == {"displayname": "Private"}
    assert ok(alice.get(member))["displayname"] == "Alice"
    ok(alice.put(where, {"displayname": "Public"}))
    assert ok(alice.get(member))["displayname"] == "Public"
    refused(alice.put(where, {"displayname": "x"}, propagate="perhaps"), 400, "M_INVALID_PARAM")


def test_what_else_is_as_it_is_today(alice: Client, make_client: MakeClient) -> None:
    bob, name = make_client("bob"), alice.user_id[1:].partition(":")[0]
    room_id = create_room(alice, preset="public_chat", room_alias_name=name)
    alias = segment(f"#{name}:example.org")
    assert ok(alice.get(f"{V2}/directory/room/{alias}"))["room_id"] == room_id
    ok(alice.delete(f"{V2}/directory/room/{alias}"))
    refused(alice.get(f"{V2}/directory/room/{alias}"), 404, "M_NOT_FOUND")
    join(bob, room_id)
    event_id = send(bob, room_id, "oops")
    ok(bob.put(path(room_id, "redact", event_id, "r1", version=V2)))
    assert not any("body" in event["content"] for event in messages(alice, room_id, limit=2)["chunk"])
    ok(bob.put(path(room_id, "typing", bob.user_id, version=V2), {"typing": True, "timeout": 5000}))
    assert ok(bob.get(f"{V2}/voip/turnServer")) == {}
    assert bodies(messages(alice, room_id, limit=1)["chunk"]) == []
    club = create_room(
        alice, initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    )
    assert ok(bob.post(f"{V2}/knock/{segment(club)}")) == {"room_id": club}
