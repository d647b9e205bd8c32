"""Erased users: who joins later is served redacted copies of their events, wherever these are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from murmuration.accounts.management import close_account
from murmuration.protocol.identifiers import UserId
from tests.budgets.meter import Meter
from tests.in_process import Client, segment
from tests.rooms.people import (
    V1,
    V3,
    create_room,
    invite,
    join,
    leave,
    messages,
    ok,
    path,
    redact,
    relate,
    send,
    set_state,
)
from tests.sync.client import Syncing, bodies_of

Make = Callable[..., Client]
OLD = "/_matrix/client/api/v1"
V2 = "/_matrix/client/v2"
SECRET = "a secret of theirs"


@dataclass
class Room:
    """A room of Alice's with Bob in it, before which Eve is erased, and Carol, who joined after that."""

    room_id: str
    alice: Client
    eve: Client
    carol: Client
    message: str
    root: str
    event_ids: list[str]


@pytest.fixture
def room(alice: Client, make_client: Make) -> Room:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice, preset="public_chat", name="ours")
    join(eve, room_id)
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    set_state(alice, room_id, "m.room.power_levels", {**levels, "state_default": 0, "events": {}})
    root = send(alice, room_id, "root")
    message = send(eve, room_id, SECRET)
    edit = {"m.new_content": {"msgtype": "m.text", "body": SECRET}, "body": SECRET}
    sent = [
        message,
        relate(eve, room_id, message, "m.replace", **edit),
        relate(eve, room_id, root, "m.thread", body=SECRET),
        send(eve, room_id, {"secret": SECRET}, "org.example.custom"),
        set_state(eve, room_id, "m.room.topic", {"topic": SECRET}),
        set_state(eve, room_id, "org.example.state", {"secret": SECRET}, "old"),
        set_state(eve, room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
    ]
    ok(eve.put(f"{V3}/profile/{segment(eve.user_id)}/displayname", {"displayname": SECRET}))
    set_state(alice, room_id, "org.example.state", {"now": "mine"}, "old")
    redaction = ok(eve.put(path(room_id, "redact", send(eve, room_id), "r1"), {"reason": SECRET}))
    close_account(UserId(eve.user_id), erase=True)
    join(carol, room_id)
    send(alice, room_id, "the last")
    return Room(room_id, alice, eve, carol, message, root, [*sent, redaction["event_id"]])


def reads(client: Client, room: Room) -> dict[str, Any]:
    """Return what all reading operations answer a member, by a name for each."""
    room_id, message, root = room.room_id, room.message, room.root
    old = f"{OLD}/rooms/{segment(room_id)}"
    rel, at = path(room_id, "relations", message, version=V1), {"ts": 0, "dir": "f"}
    found = {f"event {event_id}": client.get(path(room_id, "event", event_id)) for event_id in room.event_ids}
    found |= {
        "sync": client.get(f"{V3}/sync", filter='{"room":{"timeline":{"limit":50}}}'),
        "sync with state": client.get(f"{V3}/sync", filter='{"room":{"timeline":{"limit":1}}}'),
        "sync after": client.get(f"{V3}/sync", use_state_after="true"),
        "messages b": client.get(path(room_id, "messages"), dir="b", limit=50),
        "messages f": client.get(path(room_id, "messages"), dir="f", limit=50),
        "context": client.get(path(room_id, "context", message), limit=50),
        "relations": client.get(rel),
        "relations of root": client.get(path(room_id, "relations", root, version=V1), recurse="true"),
        "root": client.get(path(room_id, "event", root)),
        "threads": client.get(path(room_id, "threads", version=V1)),
        "state": client.get(path(room_id, "state")),
        "topic": client.get(path(room_id, "state", "m.room.topic")),
        "topic event": client.get(path(room_id, "state", "m.room.topic"), format="event"),
        "replaced": client.get(path(room_id, "state", "org.example.state", "old"), format="event"),
        "members": client.get(path(room_id, "members")),
        "timestamp": client.get(path(room_id, "timestamp_to_event", version=V1), **at),
        "initial sync": client.get(f"{V3}/initialSync", limit=50),
        "room initial sync": client.get(path(room_id, "initialSync"), limit=50),
        "v1 events": client.get(f"{V3}/events/{segment(message)}"),
        "v1 messages": client.get(f"{old}/messages", dir="b", limit=50),
        "v1 state": client.get(f"{old}/state"),
        "v1 members": client.get(f"{old}/members"),
        "v1 initial sync": client.get(f"{OLD}/initialSync", limit=50),
        "v1 event": client.get(f"{OLD}/events/{segment(message)}"),
        "v2 paginate": client.get(f"{V2}/rooms/{segment(room_id)}/paginate", max=50),
    }
    return {name: ok(answer) for name, answer in found.items()}


def test_who_joins_later_is_served_redacted_copies(room: Room) -> None:
    answers = reads(room.carol, room)
    assert {name for name, answer in answers.items() if SECRET in str(answer)} == set()
    assert answers[f"event {room.message}"]["content"] == {}
    assert answers["topic"] == {}
    shown = [event["event_id"] for event in answers["messages b"]["chunk"]]
    assert set(room.event_ids) < set(shown)


def test_who_was_there_sees_all_of_it(room: Room) -> None:
    answers = reads(room.alice, room)
    assert answers[f"event {room.message}"]["content"]["body"] == SECRET
    assert answers["topic"] == {"topic": SECRET}
    for name in ("sync", "messages b", "context", "relations", "threads", "state", "v2 paginate"):
        assert SECRET in str(answers[name]), name


def test_users_outside_the_room_are_shown_no_erased_content(room: Room, make_client: Make) -> None:
    """A summary shows a room as new members see it, to everybody who asks."""
    set_state(room.alice, room.room_id, "m.room.name", {"name": "ours"})
    ok(room.alice.put(f"{V3}/directory/list/room/{segment(room.room_id)}", {"visibility": "public"}))
    stranger = make_client("stranger")
    space = create_room(room.alice, preset="public_chat", creation_content={"type": "m.space"})
    set_state(room.alice, space, "m.space.child", {"via": ["example.org"]}, room.room_id)
    unstable = "/_matrix/client/unstable/im.nheko.summary/rooms"
    answers = {
        "summary": stranger.get(f"{V1}/room_summary/{segment(room.room_id)}"),
        "old summary": stranger.get(f"{unstable}/{segment(room.room_id)}/summary"),
        "hierarchy": stranger.get(path(space, "hierarchy", version=V1)),
        "directory": stranger.post(f"{V3}/publicRooms", {"filter": {"generic_search_term": "ours"}}),
        "search by topic": stranger.post(f"{V3}/publicRooms", {"filter": {"generic_search_term": SECRET}}),
        "v2 directory": stranger.get(f"{V2}/publishedRooms", search="ours"),
    }
    shown = {name: str(ok(answer)) for name, answer in answers.items()}
    assert {name for name, text in shown.items() if SECRET in text} == set()
    assert {name for name, text in shown.items() if room.room_id not in text} == {"search by topic"}


def test_what_a_room_works_by_is_served_whole(alice: Client, make_client: Make) -> None:
    """In older versions redaction removes the version from the create event, and a power level."""
    eve, carol = make_client("eve"), make_client("carol")
    content = {"type": "m.space"}
    room_id = create_room(eve, preset="public_chat", room_version="10", creation_content=content)
    levels = ok(eve.get(path(room_id, "state", "m.room.power_levels")))
    set_state(eve, room_id, "m.room.power_levels", {**levels, "invite": 40})
    join(alice, room_id)
    close_account(UserId(eve.user_id), erase=True)
    join(carol, room_id)
    create = ok(carol.get(path(room_id, "state", "m.room.create")))
    assert (create["room_version"], create["type"]) == ("10", "m.space")
    assert ok(carol.get(path(room_id, "state", "m.room.power_levels")))["invite"] == 40
    assert ok(carol.get(f"{V1}/room_summary/{segment(room_id)}"))["room_type"] == "m.space"


def test_the_room_goes_on_working(room: Room) -> None:
    algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
    assert ok(room.carol.get(path(room.room_id, "state", "m.room.encryption"))) == algorithm
    assert ok(room.carol.get(path(room.room_id, "state", "m.room.name"))) == {"name": "ours"}
    assert bodies_of(Syncing(room.carol).sync(), room.room_id) == ["the last"]


def test_who_joined_before_the_erasure_keeps_seeing_it(alice: Client, make_client: Make) -> None:
    eve, early, gone = make_client("eve"), make_client("early"), make_client("gone")
    room_id = create_room(alice, preset="public_chat")
    join(eve, room_id)
    message = send(eve, room_id, SECRET)
    for each in (early, gone):
        join(each, room_id)
    leave(gone, room_id)
    close_account(UserId(eve.user_id), erase=True)
    for each in (early, gone):
        assert ok(each.get(path(room_id, "event", message)))["content"]["body"] == SECRET
    leave(early, room_id)
    join(early, room_id)
    assert ok(early.get(path(room_id, "event", message)))["content"] == {}


def test_who_comes_back_sees_what_they_saw_then(alice: Client, make_client: Make) -> None:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice, preset="public_chat")
    join(eve, room_id)
    before = send(eve, room_id, SECRET)
    join(carol, room_id)
    during = send(eve, room_id, SECRET)
    leave(carol, room_id)
    after = send(eve, room_id, SECRET)
    close_account(UserId(eve.user_id), erase=True)
    join(carol, room_id)
    contents = [ok(carol.get(path(room_id, "event", each)))["content"] for each in (before, during, after)]
    assert [content.get("body") for content in contents] == [None, SECRET, None]


def test_who_is_not_in_a_world_readable_room(alice: Client, make_client: Make) -> None:
    eve, guest = make_client("eve"), make_client("guest")
    room_id = create_room(alice, preset="public_chat")
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    join(eve, room_id)
    send(eve, room_id, SECRET)
    assert SECRET in str(messages(guest, room_id))
    close_account(UserId(eve.user_id), erase=True)
    assert SECRET not in str(messages(guest, room_id))


def test_an_invite_tells_nothing_of_it(alice: Client, make_client: Make) -> None:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice)
    invite(alice, room_id, eve)
    join(eve, room_id)
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    set_state(alice, room_id, "m.room.power_levels", {**levels, "state_default": 0, "events": {}})
    set_state(eve, room_id, "m.room.name", {"name": SECRET})
    ok(eve.put(f"{V3}/profile/{segment(eve.user_id)}/displayname", {"displayname": SECRET}))
    invite(eve, room_id, carol)
    assert SECRET in str(Syncing(carol).sync()["rooms"]["invite"])
    close_account(UserId(eve.user_id), erase=True)
    for answer in (Syncing(carol).sync(), ok(carol.get(f"{OLD}/initialSync"))):
        assert room_id in str(answer)
        assert SECRET not in str(answer)


def test_without_erasure_nothing_changes(alice: Client, make_client: Make) -> None:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice, preset="public_chat")
    join(eve, room_id)
    message = send(eve, room_id, SECRET)
    close_account(UserId(eve.user_id))
    join(carol, room_id)
    with Meter() as unmarked:
        assert ok(carol.get(path(room_id, "event", message)))["content"]["body"] == SECRET
    close_account(UserId(eve.user_id), erase=True)  # later, as an operator may
    dave = make_client("dave")
    join(dave, room_id)
    assert ok(dave.get(path(room_id, "event", message)))["content"] == {}
    with Meter() as marked:
        ok(dave.get(path(room_id, "event", message)))
    assert marked.spent.read_units <= unmarked.spent.read_units


def test_rooms_that_were_left_and_forgotten(alice: Client, make_client: Make) -> None:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice, preset="public_chat")
    join(eve, room_id)
    message = send(eve, room_id, SECRET)
    taken_back = send(eve, room_id, SECRET)
    redact(alice, room_id, taken_back)
    leave(eve, room_id)
    ok(eve.post(path(room_id, "forget")))
    close_account(UserId(eve.user_id), erase=True)
    join(carol, room_id)
    assert ok(carol.get(path(room_id, "event", message)))["content"] == {}
    assert "redacted_because" in ok(carol.get(path(room_id, "event", taken_back)))["unsigned"]


def test_a_redacted_copy_can_be_reported(alice: Client, make_client: Make) -> None:
    eve, carol = make_client("eve"), make_client("carol")
    room_id = create_room(alice, preset="public_chat")
    join(eve, room_id)
    message = send(eve, room_id, SECRET)
    close_account(UserId(eve.user_id), erase=True)
    join(carol, room_id)
    ok(carol.post(path(room_id, "report", message), {"reason": "spam"}))
