"""Requests of the table of limits that have to do with other servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from murmuration.protocol.errors import MatrixError
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, path


def called(function: Callable[[], object]) -> Answer:
    """What a call comes to, where the request that makes it would have to be another server's."""
    try:
        function()
    except MatrixError as error:
        return Answer(error.status, {}, json.dumps(error.body()).encode())
    return Answer(200, {}, b"{}")


def by_server(stage: Any) -> str:
    """The name of another server, of this stage alone."""
    return f"{stage.alice.user_id[1:].partition(':')[0]}.example"


def list_rooms(stage: Any) -> Answer:
    from murmuration.federation.finding import public_rooms
    from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

    return called(lambda: public_rooms.serve_public_rooms(by_server(stage), DirectoryRequest(limit=1)))


def list_children(stage: Any) -> Answer:
    from murmuration.federation.serving import hierarchy

    return called(lambda: hierarchy.get_hierarchy(by_server(stage), stage.room, suggested_only=False))


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


def ask_for_template(stage: Any) -> Answer:
    from murmuration.federation.membership.serving import templates

    server = by_server(stage)
    return called(lambda: templates.make_leave(server, "!none:example.org", f"@a:{server}"))


def hand_in(stage: Any) -> Answer:
    from murmuration.federation.membership.serving import taking

    return called(lambda: taking.take(by_server(stage), "!none:example.org", "$event", {}, "leave"))


def invite_from_elsewhere(stage: Any) -> Answer:
    from murmuration.federation.membership.serving import invites

    return called(lambda: invites.invite_v1(by_server(stage), "!none:example.org", "$event", {}))


def exchange_invite(stage: Any) -> Answer:
    from murmuration.federation.membership.serving import third_party

    return called(lambda: third_party.exchange(by_server(stage), "!none:example.org", {}))


def ask_for_state(stage: Any) -> Answer:
    from murmuration.federation.serving import access

    return called(lambda: access.take_state_request(by_server(stage)))
