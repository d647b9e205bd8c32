"""More requests of the table of limits; most have to do with other servers."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

from murmuration.identity import patience, turns
from murmuration.protocol.errors import Refusal
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.transport.errors import TimedOut
from tests.accounts.limits_of_servers import by_server, called
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, path

_numbers = itertools.count(1)


def list_rooms(stage: Any) -> Answer:
    from murmuration.federation.finding import public_rooms
    from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

    return called(lambda: public_rooms.serve_public_rooms(by_server(stage), DirectoryRequest(limit=1)))


def list_children(stage: Any) -> Answer:
    from murmuration.federation.serving import hierarchy

    return called(lambda: hierarchy.get_hierarchy(by_server(stage), stage.room, suggested_only=False))


def ask_for_complexity(stage: Any) -> Answer:
    from murmuration.federation.serving import complexity

    return called(lambda: complexity.get_complexity(by_server(stage), stage.room))


def list_rooms_elsewhere(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.get(f"{V3}/publicRooms", server="nowhere.invalid")


def find_alias_elsewhere(stage: Any) -> Answer:
    stranger: Client = stage.stranger
    return stranger.get(f"{V3}/directory/room/{segment('#a:nowhere.invalid')}")


def bind_address(stage: Any) -> Answer:
    stranger: Client = stage.stranger
    body = {"medium": "email", "address": "a@example.com", "mxid": stage.alice.user_id, "invites": []}
    return stranger.put("/_matrix/federation/v1/3pid/onbind", body)


def list_space_elsewhere(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.get(path("!a:nowhere.invalid", "hierarchy", version="/_matrix/client/v1"))


def summarise_elsewhere(client: Client) -> Answer:
    return client.get(f"/_matrix/client/v1/room_summary/{segment('!a:nowhere.invalid')}")


def join_elsewhere(stage: Any) -> Answer:
    from murmuration.aws import queues
    from murmuration.federation.membership import joining
    from murmuration.rooms.membership.joining import JoinRequest

    user_id, room_id, server = (
        stage.alice.user_id,
        RoomId("!a:nowhere.invalid"),
        ServerName("nowhere.invalid"),
    )
    with mock.patch.object(joining, "_wait"), mock.patch.object(queues, "send"):
        return called(lambda: joining.join_elsewhere(user_id, room_id, [server], JoinRequest(room_id)))


def join_by_alias_elsewhere(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.post(f"{V3}/join/{segment('#a:nowhere.invalid')}")


def knock_by_alias_elsewhere(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.post(f"{V3}/knock/{segment('#a:nowhere.invalid')}")


def send_to_device_elsewhere(stage: Any) -> Answer:
    body: Any = {"messages": {"@a:nowhere.invalid": {"X": {}}}}
    alice: Client = stage.alice
    return alice.put(f"{V3}/sendToDevice/m.x/{next(_numbers)}", body)


def set_field(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.put(f"{V3}/profile/{alice.user_id}/m.tz", {"m.tz": "UTC"})


def knock(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.post(f"{V3}/knock/{segment(stage.room)}")


def work_long(stage: Any) -> Answer:
    with mock.patch.object(patience.Work, "quick_s", -1), patience.working(lambda: stage.alice.user_id):
        return called(patience.go_on)


def join_long(stage: Any) -> Answer:
    turn = turns.Turn(stage.alice.user_id)
    with mock.patch.object(turns.Turn, "quick_s", -1), patience.bounded(turn):
        return called(patience.go_on)


def work_long_for_server(stage: Any) -> Answer:
    def go_on() -> None:
        try:
            patience.go_on()
        except TimedOut as error:
            raise Refusal(504, "TimedOut", "") from error

    owner = by_server(stage)
    with mock.patch.object(patience.Work, "quick_s", -1), patience.working(lambda: owner, for_server=True):
        return called(go_on)


def ask_openid_token(stage: Any) -> Answer:
    alice: Client = stage.alice
    return alice.post(f"{V3}/user/{segment(alice.user_id)}/openid/request_token", {})
