"""Limits on what other servers send and ask, and on asking them: what takes from each, for their table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from murmuration.protocol.errors import LimitExceeded, MatrixError
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from tests.in_process import Answer

if TYPE_CHECKING:
    from tests.accounts.test_limits_table import Stage

_numbers = itertools.count(1)


def by_address(stage: Stage) -> str:
    return stage.alice.source_ip


def called(function: Callable[[], object]) -> Answer:
    """Return what a call comes to, where the request that makes it would have to be another server's."""
    try:
        function()
    except MatrixError as error:
        return Answer(error.status, {}, json.dumps(error.body()).encode())
    return Answer(200, {}, b"{}")


def fetch_keys(stage: Stage) -> Answer:
    from murmuration.federation import authentication
    from murmuration.federation.keys import fetching

    credentials: Any = [SimpleNamespace(key_id="ed25519:a")]
    with mock.patch.object(fetching, "verify_keys", return_value={}):
        return called(
            lambda: authentication._keys(ServerName("a.example"), credentials, lambda: by_address(stage))
        )


def query_keys(stage: Stage) -> Answer:
    from murmuration.federation.keys import notary
    from murmuration.federation.names import policy

    with mock.patch.object(policy, "is_allowed", return_value=False):
        return called(lambda: notary._query({ServerName("a.example"): mock.Mock()}, by_address(stage)))


def by_server(stage: Stage) -> ServerName:
    """Return the name of another server, of this stage alone."""
    return ServerName(f"{stage.alice.user_id[1:].partition(':')[0]}.example")


def send_events(stage: Stage) -> Answer:
    from murmuration.federation.inbound.transactions import taking

    return called(lambda: taking.take_transaction(by_server(stage), {"pdus": [{}]}, 100))


def invite_elsewhere(stage: Stage) -> Answer:
    from murmuration.federation.membership import inviting

    return called(
        lambda: inviting.invite_user(
            UserId(stage.alice.user_id), RoomId("!none:example.org"), UserId("@a:b.example")
        )
    )


def set_invite_elsewhere(stage: Stage) -> Answer:
    from murmuration.federation.membership import states

    content = {"membership": "invite"}
    alice = UserId(stage.alice.user_id)
    return called(lambda: states._invite(alice, RoomId("!none:example.org"), UserId("@a:b.example"), content))


def ask_for_template(stage: Stage) -> Answer:
    from murmuration.federation.membership.serving import templates

    server = by_server(stage)
    return called(lambda: templates.make_leave(server, RoomId("!none:example.org"), UserId(f"@a:{server}")))


def hand_in(stage: Stage) -> Answer:
    from murmuration.federation.membership.serving import taking

    return called(
        lambda: taking.take(by_server(stage), RoomId("!none:example.org"), EventId("$event"), {}, "leave")
    )


def invite_from_elsewhere(stage: Stage) -> Answer:
    from murmuration.federation.membership.serving import invites

    return called(
        lambda: invites.invite_v1(by_server(stage), RoomId("!none:example.org"), EventId("$event"), {})
    )


def invite_to_a_room_elsewhere(stage: Stage) -> Answer:
    from murmuration.federation.membership.serving import invites
    from murmuration.protocol.events import Event
    from murmuration.protocol.room_versions import ROOM_VERSIONS

    server = by_server(stage)
    pdu: Any = {
        "type": "m.room.member",
        "room_id": f"!{next(_numbers)}:{server}",
        "sender": f"@bob:{server}",
        "state_key": stage.alice.user_id,
        "content": {"membership": "invite"},
        "origin_server_ts": 1,
    }
    return called(lambda: invites._record(server, Event(pdu, ROOM_VERSIONS["11"]), []))


def exchange_invite(stage: Stage) -> Answer:
    from murmuration.federation.membership.serving import third_party

    return called(lambda: third_party.exchange(by_server(stage), RoomId("!none:example.org"), {}))


def send_message_to_device(stage: Stage) -> Answer:
    from murmuration.federation.devices import messages

    server = by_server(stage)
    content = {
        "sender": f"@bob:{server}",
        "type": "m.test",
        "message_id": f"m{next(_numbers)}",
        "messages": {"@nobody:example.org": {"D": {}}},
    }
    return called(lambda: messages.take_messages(server, [content]))


def send_ephemera(stage: Stage) -> Answer:
    from murmuration.federation.ephemera import taking

    def take() -> None:
        if not taking.may_go_on(by_server(stage), 1):
            raise LimitExceeded("It is dropped", retry_after_ms=1)

    return called(take)


def ask_for_devices(stage: Stage) -> Answer:
    from murmuration.federation.devices import serving

    return called(lambda: serving.get_user_devices(by_server(stage), UserId("@nobody:example.org")))


def ask_for_keys(stage: Stage) -> Answer:
    from murmuration.federation.devices import serving

    wanted: dict[str, Any] = {"device_keys": {"@nobody:example.org": []}}
    return called(lambda: serving.query_user_keys(by_server(stage), wanted))


def ask_for_profile(stage: Stage) -> Answer:
    from murmuration.federation import profiles

    user_id = UserId(f"@u{next(_numbers)}:{by_server(stage)}")
    with mock.patch.object(profiles, "_ask", return_value={}):
        return called(lambda: profiles.get_user_profile(user_id, by_address(stage)))


def park_event(stage: Stage) -> Answer:
    from murmuration.federation.inbound.transactions import working

    def park() -> None:
        outcomes = working._Outcomes(RoomId(stage.room), by_server(stage), parked=False)
        outcomes.park(EventId("$event"), {})
        if outcomes.counts["too_many_parked"]:
            raise LimitExceeded("It is dropped", retry_after_ms=1)

    return called(park)


def ask_for_state(stage: Stage) -> Answer:
    from murmuration.federation.serving import access

    return called(lambda: access.take_state_request(by_server(stage)))
