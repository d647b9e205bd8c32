"""Version 2's initialSync and scrollback: fresh at first, then what is new, or a new page of too much."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from murmuration.aws import dynamodb
from murmuration.drafts.v2 import catching_up
from murmuration.protocol.identifiers import UserId
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.users import memberships
from murmuration.sync import answer
from tests.client_v2.streams import (
    V2,
    Streaming,
    define_filter,
    define_stream,
    event_stream,
    initial_sync,
    paginate,
    rooms_of,
    scrollback,
)
from tests.in_process import Client
from tests.rooms.people import (
    bodies,
    create_room,
    event_ids,
    invite,
    join,
    leave,
    ok,
    path,
    refused,
    send,
    set_state,
)


@pytest.fixture
def room_id(alice: Client, bob: Client) -> str:
    """Return a public room of Alice's that Bob has joined."""
    room_id = create_room(alice, preset="public_chat", name="lounge")
    join(bob, room_id)
    return room_id


def types(events: list[Any]) -> set[str]:
    return {event["type"] for event in events}


# -- All rooms -----------------------------------------------------------------------------------------------


def test_the_first_time_all_rooms_come_whole(alice: Client, bob: Client, room_id: str) -> None:
    for number in range(5):
        send(alice, room_id, str(number))
    answer = initial_sync(bob, streaming=define_stream(bob), max=3)
    [room] = answer["rooms"]
    assert (room["room_id"], room["membership"], room["members"]) == (room_id, "join", 2)
    assert bodies(room["messages"]) == ["2", "3", "4"]
    assert not room["incremental"]
    assert {"m.room.create", "m.room.name", "m.room.member", "m.room.power_levels"} <= types(room["state"])
    before = paginate(bob, room_id, token=room["token"], max=2)
    assert bodies(before["events"]) == ["0", "1"]


@pytest.mark.parametrize("compact", [None, "true"])
def test_rooms_that_do_not_fit_are_only_named(
    alice: Client, bob: Client, room_id: str, compact: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for each by scrollback; the stream goes on from there."""
    join(bob, other := create_room(alice, preset="public_chat"))
    monkeypatch.setattr(answer, "ALL_ROOMS_BYTES", 1)
    found = initial_sync(bob, streaming=define_stream(bob), compact=compact)
    rooms = {room["room_id"]: room for room in found["rooms"]}
    assert {name: room["membership"] for name, room in rooms.items()} == dict.fromkeys(
        (room_id, other), "join"
    )
    named = [name for name, room in rooms.items() if room == {"room_id": name, "membership": "join"}]
    assert len(named) == 1
    assert scrollback(bob, named[0])["state"]
    event_id = send(alice, named[0])
    news = event_stream(bob, found["streaming"])
    assert event_ids(news["events"]) == [event_id]


def test_a_token_that_was_never_read_by_gives_all_again(alice: Client, bob: Client, room_id: str) -> None:
    """Whoever lost the first answer asks again."""
    token = define_stream(bob)
    first = initial_sync(bob, streaming=token)
    send(alice, room_id, "new")
    second = initial_sync(bob, streaming=token)
    assert not second["rooms"][0]["incremental"]
    assert event_ids(second["rooms"][0]["messages"])[:-1] == event_ids(first["rooms"][0]["messages"])


def test_later_requests_return_what_is_new(alice: Client, bob: Client, room_id: str) -> None:
    quiet = create_room(bob)
    stream = Streaming(bob)
    stream.begin()
    before = stream.token
    sent = [send(alice, room_id, str(number)) for number in range(3)]
    topic = set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
    answer = stream.begin(max=4)
    [room] = answer["rooms"]
    assert room["incremental"]
    assert event_ids(room["messages"]) == [*sent, topic]
    assert event_ids(room["state"]) == [topic]
    assert "token" not in room
    assert quiet not in rooms_of(answer)
    assert rooms_of(initial_sync(bob, streaming=before, max=4))[room_id]["messages"][0]["event_id"] == sent[0]
    assert stream.begin()["rooms"] == []


def test_too_much_is_a_new_page(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    sent = [send(alice, room_id, str(number)) for number in range(4)]
    [room] = stream.begin(max=3)["rooms"]
    assert not room["incremental"]
    assert event_ids(room["messages"]) == sent[1:]
    assert "m.room.create" in types(room["state"])
    before = paginate(bob, room_id, token=room["token"], max=1)
    assert event_ids(before["events"]) == sent[:1]


def test_the_maximum_may_be_zero(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    [room] = stream.begin(max=0)["rooms"]
    assert room["messages"] == []
    newest = paginate(bob, room_id, token=room["token"], max=1)["events"]
    assert event_ids(newest) == event_ids(paginate(bob, room_id, max=1)["events"])
    sent = send(alice, room_id, "new")
    [room] = stream.begin(max=0)["rooms"]
    assert (room["messages"], room["incremental"]) == ([], False)
    assert event_ids(paginate(bob, room_id, token=room["token"], max=1)["events"]) == [sent]


@pytest.mark.parametrize(
    ("query", "status", "errcode"),
    [
        ({"max": -1}, 400, "M_INVALID_PARAM"),
        ({"max": "many"}, 400, "M_INVALID_PARAM"),
        ({"compact": "yes"}, 400, "M_INVALID_PARAM"),
        ({"filter": "e_x"}, 404, "M_NOT_FOUND"),
        ({"state_filter": "e_x"}, 404, "M_NOT_FOUND"),
    ],
)
def test_what_is_asked_for_is_checked(alice: Client, query: Any, status: int, errcode: str) -> None:
    refused(alice.get(f"{V2}/initialSync", **query), status, errcode)


def test_messages_and_state_have_filters_of_their_own(alice: Client, bob: Client, room_id: str) -> None:
    send(alice, room_id, "hello")
    only_messages = define_filter(bob, types=["m.room.mess*"])
    only_names = define_filter(bob, types=["m.room.name"])
    nothing = define_filter(bob, types=[])
    token = define_stream(bob)
    [room] = initial_sync(bob, streaming=token, filter=only_messages, state_filter=only_names)["rooms"]
    assert bodies(room["messages"]) == ["hello"]
    assert types(room["messages"]) == {"m.room.message"}
    assert [event["content"] for event in room["state"]] == [{"name": "lounge"}]
    [room] = initial_sync(bob, streaming=token, filter=only_messages, state_filter=nothing)["rooms"]
    assert room["state"] == []


def test_what_filters_leave_out_makes_no_page_too_long(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    only = define_filter(bob, types=["m.room.message"])
    sent = send(alice, room_id, "hello")
    for number in range(5):
        set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
    [room] = stream.begin(max=1, filter=only)["rooms"]
    assert (event_ids(room["messages"]), room["incremental"]) == ([sent], True)
    assert [event["content"] for event in room["state"]] == [{"topic": "4"}]


def test_updates_come_inside_their_parents_and_count_for_nothing(
    alice: Client, bob: Client, room_id: str
) -> None:
    stream = Streaming(bob)
    stream.begin()
    parent = send(alice, room_id, "one")
    updates = [
        send(alice, room_id, {"msgtype": "m.text", "body": str(n), "updates": parent}) for n in range(3)
    ]
    [room] = stream.begin(max=1)["rooms"]
    [event] = room["messages"]
    assert event["event_id"] == parent
    assert event_ids(event["updated_by"]) == updates


def test_the_compact_form_has_each_event_once(alice: Client, bob: Client, room_id: str) -> None:
    set_state(alice, room_id, "m.room.name", {"name": "bar"})
    token = define_stream(bob)
    [whole] = initial_sync(bob, streaming=token)["rooms"]
    [compact] = initial_sync(bob, streaming=token, compact="true")["rooms"]
    assert compact["messages"] == event_ids(whole["messages"])
    assert compact["state"] == event_ids(whole["state"])
    assert set(compact["events"]) == {*compact["messages"], *compact["state"]}
    renamed = compact["events"][compact["messages"][-1]]
    assert (renamed["content"], renamed["unsigned"]["prev_content"]) == ({"name": "bar"}, {"name": "lounge"})
    duplicate = whole["messages"][-1]
    assert duplicate["unsigned"]["prev_content"] == {"name": "lounge"}


def test_invites_and_rooms_that_were_left(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    other = create_room(alice, name="other")
    invite(alice, other, bob)
    invited = rooms_of(stream.begin())[other]
    assert (invited["membership"], invited["invite"]["state_key"]) == ("invite", bob.user_id)
    assert "m.room.name" in types(invited["invite"]["invite_room_state"])
    seen = send(alice, room_id, "seen")
    leave(bob, room_id)
    send(alice, room_id, "unseen")
    left = rooms_of(stream.begin())[room_id]
    assert (left["membership"], left["incremental"]) == ("leave", True)
    assert event_ids(left["messages"])[0] == seen
    assert len(left["messages"]) == 2
    assert event_ids(left["state"]) == event_ids(left["messages"])[1:]
    leave(bob, other)
    assert stream.begin()["rooms"] == [{"room_id": other, "membership": "leave"}]
    assert initial_sync(bob, streaming=define_stream(bob))["rooms"] == []


def test_new_rooms_come_whole(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    later = create_room(alice, preset="public_chat")
    join(bob, later)
    [room] = stream.begin()["rooms"]
    assert (room["room_id"], room["incremental"]) == (later, False)
    assert "m.room.create" in types(room["messages"])


def test_without_a_token_all_comes_and_one_is_made(alice: Client, bob: Client, room_id: str) -> None:
    answer = initial_sync(bob)
    assert list(rooms_of(answer)) == [room_id]
    send(alice, room_id, "later")
    assert bodies(event_stream(bob, answer["streaming"])["events"]) == ["later"]


def test_only_the_streams_rooms_come(alice: Client, room_id: str) -> None:
    other = create_room(alice)
    assert list(rooms_of(initial_sync(alice, streaming=define_stream(alice, rooms=[other])))) == [other]
    no_room = initial_sync(alice, streaming=define_stream(alice, rooms=[]))
    assert no_room["rooms"] == []
    both = define_filter(alice, not_rooms=[other])
    assert list(rooms_of(initial_sync(alice, filter=both))) == [room_id]


def test_presence_is_that_of_the_streams_users(alice: Client, bob: Client, room_id: str) -> None:
    ok(alice.put(f"/_matrix/client/v3/presence/{alice.user_id}/status", {"presence": "online"}))
    everybody, nobody, another = (
        define_stream(bob, users=users) for users in (["*"], [], ["@carol:example.org"])
    )
    mine = define_stream(bob, users=[alice.user_id])
    for token, told in ((everybody, True), (mine, True), (nobody, False), (another, False)):
        present = [event["sender"] for event in initial_sync(bob, streaming=token)["presence"]]
        assert (alice.user_id in present) is told
    of_messages = define_filter(bob, types=["m.room.message"], users=[alice.user_id])
    present = initial_sync(bob, streaming=everybody, filter=of_messages)["presence"]
    assert [event["sender"] for event in present] == [alice.user_id]


def test_an_expired_place_gives_all_again(alice: Client, room_id: str) -> None:
    stream = Streaming(alice)
    stream.begin()
    row = "s_" + stream.token.partition(".")[2]
    dynamodb.execute(dynamodb.delete(tokens.TABLE, tokens.token_key(UserId(alice.user_id), row)))
    [room] = stream.begin()["rooms"]
    assert not room["incremental"]


def test_initial_sync_and_stream_give_nothing_twice(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    sent = [send(alice, room_id, "one")]
    shown = event_ids(stream.begin(max=1)["rooms"][0]["messages"])
    sent.append(send(alice, room_id, "two"))
    shown += event_ids(stream.events())
    sent.append(send(alice, room_id, "three"))
    shown += event_ids(stream.begin()["rooms"][0]["messages"])
    assert shown == sent
    assert stream.events() == []


# -- One room ------------------------------------------------------------------------------------------------


def test_opening_a_room_gives_its_newest_events(alice: Client, bob: Client, room_id: str) -> None:
    for number in range(5):
        send(alice, room_id, str(number))
    only = define_filter(bob, types=["m.room.name"])
    room = scrollback(bob, room_id, max=2, state_filter=only)
    assert bodies(room["events"]) == ["3", "4"]
    assert [event["content"] for event in room["state"]] == [{"name": "lounge"}]
    assert (room["incremental"], room["members"]) == (False, 2)
    assert "streaming" not in room
    assert bodies(paginate(bob, room_id, token=room["token"], max=2)["events"]) == ["1", "2"]


def test_opening_it_again_gives_what_is_new_and_the_stream_goes_on_behind(
    alice: Client, bob: Client, room_id: str
) -> None:
    other = create_room(bob)
    stream = Streaming(bob)
    stream.begin()
    sent = [send(alice, room_id, str(number)) for number in range(3)]
    elsewhere = send(bob, other, "elsewhere")
    room = scrollback(bob, room_id, max=3, streaming=stream.token)
    assert (event_ids(room["events"]), room["incremental"], room["state"]) == (sent, True, [])
    assert "token" not in room
    again = scrollback(bob, room_id, max=3, streaming=stream.token)
    assert event_ids(again["events"]) == sent
    assert event_ids(event_stream(bob, room["streaming"])["events"]) == [elsewhere]
    assert len(event_stream(bob, stream.token)["events"]) == 4
    settled = scrollback(bob, room_id, streaming=room["streaming"])
    assert (settled["events"], settled["incremental"]) == ([], True)
    assert settled["streaming"] == room["streaming"]


def test_more_than_the_maximum_is_a_new_page(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    sent = [send(alice, room_id, str(number)) for number in range(4)]
    room = scrollback(bob, room_id, max=3, streaming=stream.token)
    assert (event_ids(room["events"]), room["incremental"]) == (sent[1:], False)
    assert event_ids(paginate(bob, room_id, token=room["token"], max=1)["events"]) == sent[:1]
    assert event_stream(bob, room["streaming"])["events"] == []


def test_a_stream_that_was_never_read_by_counts_for_nothing(alice: Client, room_id: str) -> None:
    token = define_stream(alice)
    room = scrollback(alice, room_id, streaming=token)
    assert (room["incremental"], room["streaming"]) == (False, token)


def test_what_a_room_was_opened_with_does_not_come_down_a_new_stream(
    alice: Client, bob: Client, room_id: str
) -> None:
    other = create_room(bob)
    token = define_stream(bob)
    sent = [send(alice, room_id, str(number)) for number in range(3)]
    elsewhere = send(bob, other, "elsewhere")
    room = scrollback(bob, room_id, max=2, streaming=token)
    assert event_ids(room["events"]) == sent[1:]
    later = send(alice, room_id, "later")
    events = event_ids(event_stream(bob, room["streaming"])["events"])
    assert sorted(events) == sorted([sent[0], elsewhere, later])
    assert len(rooms_of(initial_sync(bob, streaming=token))) == 2


def test_a_room_that_was_left_ends_with_the_leaving(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    seen = send(alice, room_id, "seen")
    leave(bob, room_id)
    send(alice, room_id, "unseen")
    set_state(alice, room_id, "m.room.name", {"name": "unseen"})
    for room in (scrollback(bob, room_id), scrollback(bob, room_id, streaming=stream.token)):
        assert "unseen" not in bodies(room["events"])
        assert seen in event_ids(room["events"])
        assert {"name": "unseen"} not in [event.get("content") for event in room["state"]]


def test_who_came_back_sees_it_as_if_new(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    stream.begin()
    leave(bob, room_id)
    join(bob, room_id)
    assert not scrollback(bob, room_id, streaming=stream.token)["incremental"]


def test_a_room_that_is_not_theirs_is_refused(alice: Client, bob: Client) -> None:
    closed = create_room(alice, preset="private_chat")
    refused(bob.get(path(closed, "scrollback", version=V2)), 403, "M_FORBIDDEN")
    refused(bob.get(path("!nowhere:example.org", "scrollback", version=V2)), 403, "M_FORBIDDEN")
    set_state(alice, closed, "m.room.history_visibility", {"history_visibility": "world_readable"})
    said = send(alice, closed, "to all")
    room = scrollback(bob, closed)
    assert event_ids(room["events"])[-1] == said
    assert "m.room.create" in types(room["state"])


def test_hidden_history_stays_hidden(alice: Client, bob: Client) -> None:
    room_id = create_room(alice)
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    invite(alice, room_id, bob)
    send(alice, room_id, "hidden")
    join(bob, room_id)
    send(alice, room_id, "shown")
    for events in (
        scrollback(bob, room_id)["events"],
        rooms_of(initial_sync(bob))[room_id]["messages"],
    ):
        assert bodies(events) == ["shown"]


# -- While others write --------------------------------------------------------------------------------------


def test_who_is_removed_while_rooms_are_read_sees_nothing_of_it(
    alice: Client, bob: Client, room_id: str
) -> None:
    stream = Streaming(bob)
    stream.begin()
    read = memberships.read_memberships

    def remove_then(*arguments: Any, **options: Any) -> Any:
        rows = read(*arguments, **options)
        with mock.patch.object(memberships, "read_memberships", read):
            ok(alice.post(path(room_id, "kick"), {"user_id": bob.user_id}))
            send(alice, room_id, "behind his back")
        return rows

    with mock.patch.object(memberships, "read_memberships", remove_then):
        assert stream.begin()["rooms"] == []
    [room] = stream.begin()["rooms"]
    assert room["membership"] == "leave"
    assert "behind his back" not in bodies(room["messages"])


def test_what_is_sent_while_pages_are_read_comes_next(alice: Client, bob: Client, room_id: str) -> None:
    stream, read = Streaming(bob), catching_up.read_page
    sent: list[str] = []

    def send_then(*arguments: Any) -> Any:
        if not sent:
            sent.append(send(alice, room_id, "meanwhile"))
            sent.append(set_state(alice, room_id, "m.room.topic", {"topic": "meanwhile"}))
        return read(*arguments)

    with mock.patch.object(catching_up, "read_page", send_then):
        [room] = stream.begin()["rooms"]
    assert not set(sent) & {*event_ids(room["messages"]), *event_ids(room["state"])}
    assert event_ids(stream.events()) == sent
