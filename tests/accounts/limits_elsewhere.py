"""Requests of the table of limits that have to do with other servers."""

from __future__ import annotations

from typing import Any
from unittest import mock

from murmuration.protocol.identifiers import RoomId, ServerName
from tests.accounts.limits_of_servers import by_server, called
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, path


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
