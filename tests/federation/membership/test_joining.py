"""Users of this server join rooms of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.signing import SigningKey
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import event_places, member_index, room_items
from tests.federation.asking import VERSIONS
from tests.federation.hosting import Host
from tests.federation.network import Network, Reply
from tests.federation.remote import Remote
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V3, create_room, ok, path, refused

pytestmark = pytest.mark.usefixtures("jobs")


def join(client: Client, room: str, *via: str) -> Answer:
    query = "&".join(f"via={server}" for server in via)
    return client.post(f"{V3}/join/{segment(room)}?{query}")


def sync(client: Client, since: str | None = None) -> Any:
    return ok(client.get(f"{V3}/sync", since=since))


@pytest.mark.parametrize("only_v1", [False, True], ids=["v2", "v1"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_user_joins_a_room_of_another_server(
    alice: Client, host: Host, version: str, only_v1: bool
) -> None:
    host.only_v1 = only_v1
    room = host.room(version)
    room.add("m.room.name", {"name": "Tea"}, "")
    room.message("from before")
    since = sync(alice)["next_batch"]
    assert ok(join(alice, room.room_id, host.remote.name)) == {"room_id": room.room_id}
    assert room.membership(alice.user_id) == "join"
    ours = Room.load(RoomId(room.room_id))
    assert {
        entry.event.event_id for entry in room_items.read_state_of_type(RoomId(room.room_id), room.version)
    } == {event.event_id for event in room.state.values()}
    assert ours.head.extremities == (room.newest.event_id,) if room.newest else False
    assert set(member_index.read_present(ours.head)) == {alice.user_id, room.creator}
    assert member_index.read_servers(ours.head) == {host.remote.name: 1}
    section = sync(alice, since)["rooms"]["join"][room.room_id]
    assert section["timeline"]["limited"] is True
    assert [event["state_key"] for event in section["timeline"]["events"]] == [alice.user_id]
    names = [event["content"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == [{"name": "Tea"}]


def test_what_is_said_there_goes_on_here(alice: Client, host: Host) -> None:
    """Users of both servers write into the room after the join."""
    room = host.room("11")
    ok(join(alice, room.room_id, host.remote.name))
    body = {"msgtype": "m.text", "body": "hello"}
    ok(alice.put(path(room.room_id, "send", "m.room.message", "t1"), body))
    entries = room_items.read_log(RoomId(room.room_id), room.version)
    assert [entry.event.type for entry in entries] == ["m.room.member", "m.room.message"]
    assert [entry.distributed for entry in entries] == [True, False]  # the other server tells of the join
    assert entries[1].event.prev_events == (entries[0].event.event_id,)


def test_by_an_alias(alice: Client, host: Host) -> None:
    room = host.room()
    alias = f"#tea:{host.remote.name}"
    host.aliases[alias] = room.room_id
    assert ok(join(alice, alias)) == {"room_id": room.room_id}
    refused(join(alice, f"#coffee:{host.remote.name}"), 404, "M_NOT_FOUND")


def test_by_the_server_in_the_rooms_id(alice: Client, host: Host) -> None:
    room = host.room("11")
    ok(join(alice, room.room_id))


def test_without_a_server_to_ask(alice: Client, host: Host) -> None:
    room = host.room("12")
    refused(join(alice, room.room_id), 404, "M_NOT_FOUND")
    assert host.asked == []


def test_the_next_server_is_asked_when_one_is_gone(alice: Client, host: Host, fresh_name: str) -> None:
    room = host.room("12")
    ok(join(alice, room.room_id, f"gone.{fresh_name}", host.remote.name))


def test_a_second_user_joins_here(alice: Client, bob: Client, host: Host) -> None:
    room = host.room("11")
    ok(join(alice, room.room_id, host.remote.name))
    asked = len(host.asked)
    ok(join(bob, room.room_id, host.remote.name))
    assert len(host.asked) == asked
    assert Room.load(RoomId(room.room_id)).head.local_joined == 2


@pytest.mark.parametrize(
    ("status", "errcode", "shown"),
    [
        (403, "M_FORBIDDEN", (403, "M_FORBIDDEN")),
        (400, "M_UNABLE_TO_AUTHORISE_JOIN", (400, "M_UNABLE_TO_AUTHORISE_JOIN")),
        (400, "M_INCOMPATIBLE_ROOM_VERSION", (400, "M_INCOMPATIBLE_ROOM_VERSION")),
        (404, "M_NOT_FOUND", (404, "M_NOT_FOUND")),
        (400, "M_MISSING_PARAM", (502, "M_UNKNOWN")),
        (400, "M_INVALID_PARAM", (502, "M_UNKNOWN")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
    ],
)
def test_what_the_other_server_refuses(
    alice: Client, host: Host, status: int, errcode: str, shown: tuple[int, str]
) -> None:
    room = host.room()
    host.lies["make_join"] = lambda _: Reply({"errcode": errcode, "error": "No"}, status)
    refused(join(alice, room.room_id, host.remote.name), *shown)
    assert room_items.read_head(RoomId(room.room_id)) is None
    # A refusal isn't remembered: the next try asks again.
    del host.lies["make_join"]
    ok(join(alice, room.room_id, host.remote.name))


def test_federation_off(alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("MURMURATION_FEDERATION", "off")
    settings.cache_clear()
    refused(join(alice, "!room:elsewhere.example", host.remote.name), 403, "M_FORBIDDEN")


# -- Servers that lie ------------------------------------------------------------------------------------

TEMPLATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another room": lambda made: made["event"].update(room_id="!other:example.org"),
    "another sender": lambda made: made["event"].update(sender="@bob:example.org"),
    "another user's state": lambda made: made["event"].update(state_key="@bob:example.org"),
    "another type": lambda made: made["event"].update(type="m.room.power_levels"),
    "another membership": lambda made: made["event"]["content"].update(membership="leave"),
    "an unknown version": lambda made: made.update(room_version="org.example.13"),
    "no event": lambda made: made.pop("event"),
    "no references": lambda made: made["event"].update(prev_events="x"),
    "a list": lambda made: [made],
}


@pytest.mark.parametrize("lie", TEMPLATES)
def test_a_template_that_lies_is_not_signed(alice: Client, host: Host, lie: str) -> None:
    room = host.room("11")

    def change(made: dict[str, Any]) -> Any:
        found = TEMPLATES[lie](made)
        return found if isinstance(found, list) else None

    host.lies["make_join"] = change
    refused(join(alice, room.room_id, host.remote.name), 502, "M_UNKNOWN")
    assert "v2/send_join" not in host.asked
    assert room_items.read_head(RoomId(room.room_id)) is None


def drop_create(answer: dict[str, Any]) -> None:
    answer["state"] = [pdu for pdu in answer["state"] if pdu["type"] != "m.room.create"]


def strip_signatures(answer: dict[str, Any]) -> None:
    for pdu in [*answer["state"], *answer["auth_chain"]]:
        pdu["signatures"] = {}


def close_the_room(answer: dict[str, Any]) -> None:
    answer["state"] = [pdu for pdu in answer["state"] if pdu["type"] != "m.room.join_rules"]


ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no creation": drop_create,
    "no signatures": strip_signatures,
    "a state that doesn't allow the join": close_the_room,
    "no state": lambda answer: answer.update(state=[]),
    "state that is no list": lambda answer: answer.update(state={}),
    "no auth chain": lambda answer: answer.pop("auth_chain"),
    "a list": lambda answer: [answer],
}


@pytest.mark.parametrize("version", ["6", "12"])
@pytest.mark.parametrize("lie", ANSWERS)
def test_an_answer_that_lies_makes_no_room(alice: Client, host: Host, lie: str, version: str) -> None:
    room = host.room(version)
    host.lies["send_join"] = lambda answer: (
        ANSWERS[lie](json_copy(answer)) if lie == "a list" else change(answer)
    )

    def change(answer: dict[str, Any]) -> Any:
        copied = json_copy(answer)
        ANSWERS[lie](copied)
        return copied

    refused(join(alice, room.room_id, host.remote.name), 502, "M_UNKNOWN")
    assert room_items.read_head(RoomId(room.room_id)) is None


def json_copy(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def test_an_answer_of_another_room(alice: Client, host: Host) -> None:
    room, other = host.room("12"), host.room("12")

    def change(answer: dict[str, Any]) -> Any:
        return {**answer, "state": [event.pdu for event in other.state.values()]}

    host.lies["send_join"] = change
    refused(join(alice, room.room_id, host.remote.name), 502, "M_UNKNOWN")
    assert room_items.read_head(RoomId(room.room_id)) is None
    assert room_items.read_head(RoomId(other.room_id)) is None


def test_single_bad_events_are_left_out(alice: Client, host: Host, network: Network, fresh_name: str) -> None:
    """The events that they authorise are left out too. The rest of the room is joined."""
    room = host.room("11")
    room.add("m.room.name", {"name": "Tea"}, "")
    stranger = Remote(ServerName(f"stranger.{fresh_name}"), SigningKey(b"s" * 32, "s1"))
    stranger.serve(network)
    user = UserId(f"@carl:{stranger.name}")
    forged = room.member(user, "join", key=host.remote.key)  # not by its sender's server
    needs_it = room.add("org.example.x", {}, "", sender=UserId(room.creator))
    topic = room.add("m.room.topic", {"topic": "right"}, "")

    def change(answer: dict[str, Any]) -> Any:
        copied = json_copy(answer)
        for pdu in copied["state"]:
            if pdu["type"] == "m.room.topic":
                pdu["content"] = {"topic": "wrong"}
        copied["state"] += [None, {"type": "m.room.name"}, 7]
        return copied

    host.lies["send_join"] = change
    ok(join(alice, room.room_id, host.remote.name))
    ours = Room.load(RoomId(room.room_id))
    assert ours.membership(user) is None
    assert event_places.locate([forged.event_id], RoomId(room.room_id)) == {}
    name = ours.event("m.room.name")
    assert name is not None
    assert name.content == {"name": "Tea"}
    kept = ours.event("m.room.topic")
    assert kept is not None
    assert (kept.event_id, kept.content) == (topic.event_id, {})  # redacted, as its hash is wrong
    assert ours.event("org.example.x") is not None
    assert needs_it.event_id in event_places.locate([needs_it.event_id], RoomId(room.room_id))


def test_an_event_that_comes_back_changed_is_not_taken(alice: Client, host: Host) -> None:
    room = host.room("11")

    def change(answer: dict[str, Any]) -> Any:
        other = room.message("signed by them")
        return {**json_copy(answer), "event": other.pdu}

    host.lies["send_join"] = change
    ok(join(alice, room.room_id, host.remote.name))
    (entry,) = room_items.read_log(RoomId(room.room_id), room.version)
    assert (entry.event.type, entry.event.sender) == ("m.room.member", alice.user_id)


# -- Rooms that are too large ----------------------------------------------------------------------------


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Limit rooms to two members."""

    monkeypatch.setenv("MURMURATION_FEDERATION_MAX_MEMBERS", "2")
    settings.cache_clear()
    return 2


def test_a_room_that_is_too_large(alice: Client, host: Host, limit: int) -> None:
    """The user leaves it again, and the join isn't tried by the next server."""
    room = host.room("11")
    for number in range(limit):
        room.member(UserId(f"@u{number}:{host.remote.name}"), "join")
    answer = join(alice, room.room_id, host.remote.name)
    refused(answer, 403, "M_FORBIDDEN")
    assert "it has 3 members" in answer.json["error"]
    assert "federation_max_members" in answer.json["error"]
    assert room_items.read_head(RoomId(room.room_id)) is None
    assert room.membership(alice.user_id) == "leave"


def test_a_room_that_is_too_large_is_joined_by_one_server_alone(
    alice: Client, host: Host, network: Network, fresh_name: str, limit: int
) -> None:
    second = Host(Remote(ServerName(f"second.{fresh_name}")), network)
    room = host.room("11")
    second.rooms[room.room_id] = room
    for number in range(limit):
        room.member(UserId(f"@u{number}:{host.remote.name}"), "join")
    refused(join(alice, room.room_id, host.remote.name, second.remote.name), 403, "M_FORBIDDEN")
    joins = [asked for it in (host, second) for asked in it.asked if asked.endswith("/send_join")]
    assert len(joins) == 1


@pytest.mark.parametrize("complexity", [1.0, 1e300, 10**400], ids=["1", "large", "huge"])
@pytest.mark.usefixtures("limit")
def test_a_room_that_is_too_complex_is_not_joined(alice: Client, host: Host, complexity: Any) -> None:
    """The user is told the reason before the room learns of them."""
    host.complexity = complexity
    room = host.room("11")
    answer = join(alice, room.room_id, host.remote.name)
    refused(answer, 403, "M_FORBIDDEN")
    assert "events" in answer.json["error"]
    assert "federation_max_members" in answer.json["error"]
    assert room.membership(alice.user_id) is None


@pytest.mark.parametrize(
    "complexity", [0.008, True, "9", None, [], -1, Reply(b"NaN"), Reply(b'{"v1": 1e999}')]
)
@pytest.mark.usefixtures("limit")
def test_a_complexity_that_is_no_reason(alice: Client, host: Host, complexity: Any) -> None:
    """The complexity is small or not a number, so the number of members decides."""
    host.complexity = complexity
    assert ok(join(alice, host.room("11").room_id, host.remote.name))


def test_the_limit_is_on_by_default() -> None:
    from murmuration.settings import Settings

    assert Settings(ServerName("a.example"), "").federation_max_members == 20_000


def test_a_room_that_grew_is_not_left(alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator fetches a large room again that this server is in. No user leaves it because of its
    size.
    """
    from murmuration.federation.membership.repairing import rejoin_room

    room = host.room("11")
    ok(join(alice, room.room_id, host.remote.name))
    for number in range(3):
        room.member(UserId(f"@u{number}:{host.remote.name}"), "join")
    monkeypatch.setenv("MURMURATION_FEDERATION_MAX_MEMBERS", "2")
    settings.cache_clear()
    host.complexity = 1.0
    assert rejoin_room(RoomId(room.room_id)) == [alice.user_id]
    assert room.membership(alice.user_id) == "join"
    assert Room.load(RoomId(room.room_id)).head.joined == 5


# -- Rooms that this server was in ------------------------------------------------------------------------


def test_back_into_a_room_that_went_on(alice: Client, host: Host) -> None:
    """The state is today's, there is a gap, and the formerly newest events are not the newest any more."""
    room = host.room("11")
    room.add("m.room.name", {"name": "Then"}, "")
    ok(join(alice, room.room_id, host.remote.name))
    ok(alice.post(path(room.room_id, "leave")))
    (*_, left) = room_items.read_log(RoomId(room.room_id), room.version)
    room.take(left.event)
    room.add("m.room.name", {"name": "Now"}, "")
    room.member(UserId(f"@new:{host.remote.name}"), "join")
    since = sync(alice)["next_batch"]
    ok(join(alice, room.room_id, host.remote.name))
    ours = Room.load(RoomId(room.room_id))
    assert room.newest is not None
    assert ours.head.extremities == (room.newest.event_id,)
    name = ours.event("m.room.name")
    assert name is not None
    assert name.content == {"name": "Now"}
    assert set(member_index.read_present(ours.head)) == {
        alice.user_id, room.creator, f"@new:{host.remote.name}"
    }  # fmt: skip
    section = sync(alice, since)["rooms"]["join"][room.room_id]
    assert section["timeline"]["limited"] is True
    shown = {event["state_key"]: event for event in section["timeline"]["events"]}
    assert set(shown) == {alice.user_id}


def test_a_room_of_ours_that_went_on_elsewhere(alice: Client, bob: Client, host: Host) -> None:
    """No user of this server is in it any more, so this server's state is outdated and not used."""
    room_id = RoomId(create_room(alice, preset="public_chat", room_version="11"))
    refused(join(bob, "!unknown:example.org"), 404, "M_NOT_FOUND")
    ok(join(bob, room_id))
    assert Room.load(room_id).head.local_joined == 2


@pytest.mark.parametrize("members", [60, 300])
def test_a_room_whose_state_takes_more_than_a_transaction(alice: Client, host: Host, members: int) -> None:
    room = host.room("11")
    for number in range(members):
        room.member(UserId(f"@u{number}:{host.remote.name}"), "join")
    ok(join(alice, room.room_id, host.remote.name))
    ours = Room.load(RoomId(room.room_id))
    assert ours.head.unsettled is None
    assert ours.head.joined == members + 2
    assert member_index.read_servers(ours.head) == {host.remote.name: members + 1}
    assert len(member_index.read_present(ours.head)) == members + 2
    assert room.room_id in sync(alice)["rooms"]["join"]


def test_the_joined_event_is_ours_with_all_signatures(alice: Client, host: Host) -> None:
    room = host.room("11")

    def change(answer: dict[str, Any]) -> Any:
        copied = json_copy(answer)
        copied["event"]["signatures"]["vouching.example"] = {"ed25519:1": "A" * 86}
        return copied

    host.lies["send_join"] = change
    ok(join(alice, room.room_id, host.remote.name))
    (entry,) = room_items.read_log(RoomId(room.room_id), room.version)
    assert isinstance(entry.event, Event)
    assert "vouching.example" in entry.event.pdu["signatures"]
