"""Other servers are told of changes of our users' devices: each once, in a chain, also after an outage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.federation.devices.meeting import note_members
from murmuration.federation.outbound import device_changes
from murmuration.federation.requests import health
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.keys import device_changes as stored_changes
from murmuration.storage.keys.device_changes import KEPT
from murmuration.storage.keys.device_lists import record_change
from murmuration.storage.live.streams import user_stream
from murmuration.storage.servers import backlogs
from tests.federation.devices.conftest import encrypted_room
from tests.federation.devices.elsewhere import Elsewhere, Streams
from tests.federation.devices.test_serving import publish
from tests.federation.devices.test_tracking import newest_entry
from tests.federation.outbound import Workers
from tests.in_process import Client
from tests.keys.crypto import CrossSigning
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror
from tests.rooms.people import join

UPDATE = "m.device_list_update"


def chain(elsewhere: Elsewhere) -> list[tuple[Any, Any, Any, bool]]:
    """Return the updates that a server got: previous ones, stream ID, device, whether it was deleted."""
    return [
        (content["prev_id"], content["stream_id"], content["device_id"], content.get("deleted", False))
        for content in elsewhere.contents(UPDATE)
    ]


def rename(client: Client, name: str) -> None:
    path = f"/_matrix/client/v3/devices/{client.device_id}"
    assert client.put(path, {"display_name": name}).status == 200


def test_keys_names_and_deletions(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    keys = publish(alice)
    streams.run(user_stream(UserId(alice.user_id)))
    laptop = log_in(UserId(alice.user_id), DeviceId("LAPTOP"))
    publish(laptop)
    rename(laptop, "Alice's laptop")
    streams.run(user_stream(UserId(alice.user_id)))
    assert laptop.post("/_matrix/client/v3/logout", {}).status == 200
    streams.run(user_stream(UserId(alice.user_id)))
    assert elsewhere.edus[0]["content"] == {
        "user_id": alice.user_id,
        "device_id": "ALICE",
        "stream_id": 1,
        "prev_id": [0],
        "keys": keys,
    }
    assert chain(elsewhere) == [
        ([0], 1, "ALICE", False),
        ([2], 3, "LAPTOP", False),
        ([3], 4, "LAPTOP", True),
    ], "the second change of the laptop replaced the first in its stream"
    assert elsewhere.contents(UPDATE)[1]["device_display_name"] == "Alice's laptop"
    assert elsewhere.get("user", "devices", alice.user_id).json["stream_id"] == 4


def test_each_change_is_told(alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams) -> None:
    publish(alice)
    for number in range(3):
        streams.run(user_stream(UserId(alice.user_id)))
        rename(alice, f"n{number}")
    streams.run(user_stream(UserId(alice.user_id)))
    assert chain(elsewhere) == [([number], number + 1, "ALICE", False) for number in range(4)]


def test_cross_signing_keys(alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams) -> None:
    keys = publish(alice)
    streams.run(user_stream(UserId(alice.user_id)))
    own = CrossSigning(alice.user_id)
    assert alice.post("/_matrix/client/v3/keys/device_signing/upload", own.body()).status == 200
    streams.run(user_stream(UserId(alice.user_id)))
    expected = {
        "user_id": alice.user_id,
        "master_key": own.key("master"),
        "self_signing_key": own.key("self_signing"),
    }
    for name in ("m.signing_key_update", "org.matrix.signing_key_update"):
        assert elsewhere.contents(name) == [expected]
    signed = own.self_signing.sign(alice.user_id, keys, keep=False)
    body = {alice.user_id: {"ALICE": signed}}
    assert alice.post("/_matrix/client/v3/keys/signatures/upload", body).json == {"failures": {}}
    streams.run(user_stream(UserId(alice.user_id)))
    assert chain(elsewhere) == [([0], 1, "ALICE", False), ([1], 3, "ALICE", False)]
    signatures = elsewhere.contents(UPDATE)[1]["keys"]["signatures"][alice.user_id]
    assert own.self_signing.key_id in signatures


def test_nobody_is_told_who_shares_no_room(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    fresh_user_id: Callable[[str], str],
) -> None:
    carol = log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))
    publish(carol)
    streams.run(user_stream(UserId(carol.user_id)))
    assert elsewhere.transactions == []


def test_what_only_the_user_sees_is_not_told(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    own = CrossSigning(alice.user_id)
    assert alice.post("/_matrix/client/v3/keys/device_signing/upload", own.body()).status == 200
    streams.run(user_stream(UserId(alice.user_id)))
    told = len(elsewhere.edus)
    body = {"user_signing_key": own.key("user_signing")}
    assert alice.post("/_matrix/client/v3/keys/device_signing/upload", body).status == 200
    streams.run(user_stream(UserId(alice.user_id)))
    assert len(elsewhere.edus) == told


def test_after_an_outage_the_newest_of_each_device(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams, workers: Workers
) -> None:
    publish(alice)
    streams.run(user_stream(UserId(alice.user_id)))
    elsewhere.silent = True
    laptop = log_in(UserId(alice.user_id), DeviceId("LAPTOP"))
    for number in range(3):
        rename(alice, f"n{number}")
        streams.run(user_stream(UserId(alice.user_id)))
        rename(laptop, f"l{number}") if number else publish(laptop)
        streams.run(user_stream(UserId(alice.user_id)))
    assert backlogs.read(ServerName(elsewhere.name)) is not None
    elsewhere.silent = False
    health.well(ServerName(elsewhere.name))
    workers.tick()
    # The first that failed may have arrived, so it is sent again as it was; then the newest of each device.
    assert chain(elsewhere) == [
        ([0], 1, "ALICE", False),
        ([1], 2, "ALICE", False),
        ([2], 6, "ALICE", False),
        ([6], 7, "LAPTOP", False),
    ]
    assert elsewhere.contents(UPDATE)[-2]["device_display_name"] == "n2"
    assert backlogs.read(ServerName(elsewhere.name)) is None
    rename(alice, "again")
    streams.run(user_stream(UserId(alice.user_id)))
    assert chain(elsewhere)[-1] == ([7], 8, "ALICE", False)


def test_who_missed_too_much_cannot_take_it_for_all(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    publish(alice)
    for _ in range(KEPT + 5):
        record_change(UserId(alice.user_id), devices=["ALICE"])
    edus = device_changes.read_edus(UserId(alice.user_id), [KEPT + 6], 2)
    assert edus[0]["content"]["prev_id"] == [6]


def test_a_new_server_is_told_of_who_is_there(
    alice: Client, elsewhere: Elsewhere, streams: Streams, workers: Workers
) -> None:
    publish(alice)
    mirror = encrypted_room(alice, elsewhere)
    workers.skip(mirror.room_id)
    note_members([newest_entry(mirror)])
    workers.run()
    assert chain(elsewhere) == [([0], 1, "ALICE", False)]


def test_who_comes_to_a_room_is_told_of(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    workers: Workers,
    fresh_user_id: Callable[[str], str],
) -> None:
    carol = log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))
    publish(carol)
    join(carol, room.room_id)
    note_members([newest_entry(room)])
    workers.run()
    assert [content["user_id"] for content in elsewhere.contents(UPDATE)] == [carol.user_id]


def test_many_devices_are_logged_out_in_one_chain(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    for number in range(70):
        log_in(UserId(alice.user_id), DeviceId(f"D{number:02}"))
    assert alice.post("/_matrix/client/v3/logout/all", {}).status == 200
    assert [change.number for change in stored_changes.read(UserId(alice.user_id), 1)] == list(range(1, 72))


def test_a_repetition_of_the_record_is_told_as_the_same(
    alice: Client, elsewhere: Elsewhere, room: Mirror, streams: Streams
) -> None:
    publish(alice)
    stream = user_stream(UserId(alice.user_id))
    streams.run(stream)
    streams._seen.clear()
    streams.order(stream)
    assert streams.workers.messages() == [], "the queue takes it once"


@pytest.mark.parametrize("federation", ["off"])
def test_without_federation_nobody_is_told(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    streams: Streams,
    federation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from murmuration.settings import settings

    publish(alice)
    monkeypatch.setenv("MURMURATION_FEDERATION", federation)
    settings.cache_clear()
    streams.run(user_stream(UserId(alice.user_id)))
    assert elsewhere.transactions == []
