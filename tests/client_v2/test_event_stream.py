"""Version 2's event stream: only from the token on, nothing twice, nothing superseded, nothing unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.drafts.v2 import event_stream as domain
from murmuration.presence import telling
from murmuration.protocol.identifiers import UserId
from murmuration.storage.live import streamings
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.users import presence
from tests.client_v2.streams import (
    V2,
    Streaming,
    define_filter,
    define_stream,
    event_stream,
    paginate,
)
from tests.in_process import Client, segment
from tests.rooms.people import (
    bodies,
    create_room,
    event_ids,
    invite,
    join,
    leave,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)
from tests.rooms.receiving.test_receiving import BOB, open_room
from tests.sync.conftest import sqs

Make = Callable[..., Client]
__all__ = ["sqs"]
LONG = 20_000
"""A timeout, in milliseconds, that no test waits out."""


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


# -- Tokens --------------------------------------------------------------------------------------------------


def test_a_stream_begins_where_it_was_made(bob: Client, alice: Client, room_id: str) -> None:
    send(alice, room_id, "before")
    stream = Streaming(bob)
    assert stream.go_on() == {"events": [], "streaming": stream.token}
    send(alice, room_id, "after")
    assert bodies(stream.events()) == ["after"]
    assert stream.events() == []


def test_the_same_token_gives_the_same(bob: Client, alice: Client, room_id: str) -> None:
    token = define_stream(bob)
    for text in ("one", "two"):
        send(alice, room_id, text)
    first = event_stream(bob, token)
    send(alice, room_id, "three")
    again = event_stream(bob, token)
    assert bodies(first["events"]) == ["one", "two"]
    assert bodies(again["events"]) == ["one", "two", "three"]
    assert bodies(event_stream(bob, first["streaming"])["events"]) == ["three"]


def test_several_streams_of_a_device_are_each_for_themselves(make_client: Make, alice: Client) -> None:
    rooms = [create_room(alice) for _ in range(3)]
    whole, first, rest = (
        Streaming(alice, definition=definition)
        for definition in ({"rooms": ["*"]}, {"rooms": rooms[:1]}, {"rooms": rooms[1:]})
    )
    for room_id in rooms:
        send(alice, room_id, room_id)
    assert sorted(bodies(whole.events())) == sorted(rooms)
    assert bodies(first.events()) == rooms[:1]
    assert sorted(bodies(rest.events())) == sorted(rooms[1:])


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"rooms": "*"}, 400, "M_BAD_JSON"),
        ({"rooms": ["#alias:example.org"]}, 400, "M_INVALID_PARAM"),
        ({"users": ["bob"]}, 400, "M_INVALID_PARAM"),
        ({"users": ["@" + "x" * 40_000]}, 413, "M_TOO_LARGE"),
        ([], 400, "M_BAD_JSON"),
    ],
)
def test_a_stream_is_of_rooms_and_users(alice: Client, body: Any, status: int, errcode: str) -> None:
    refused(alice.post(f"{V2}/streaming", body), status, errcode)


@pytest.mark.parametrize("token", ["", "s_abcdefgh", "v_short", "v_aaaaaaaaaaaaaaaa", "v_aaaaaaaaaaaaaaaa.é"])
def test_a_token_that_is_none_is_unknown(alice: Client, token: str) -> None:
    refused(alice.get(f"{V2}/eventStream", streaming=token, timeout=0), 404, "M_NOT_FOUND")
    refused(alice.get(f"{V2}/initialSync", streaming=token), 404, "M_NOT_FOUND")


def test_the_token_must_be_given(alice: Client) -> None:
    refused(alice.get(f"{V2}/eventStream", timeout=0), 400, "M_MISSING_PARAM")
    refused(
        alice.get(f"{V2}/eventStream", streaming=define_stream(alice), timeout="x"), 400, "M_INVALID_PARAM"
    )


def test_another_users_token_is_unknown(alice: Client, bob: Client, room_id: str) -> None:
    mine = Streaming(alice)
    mine.begin()
    for uri in (f"{V2}/eventStream", f"{V2}/initialSync", path(room_id, "scrollback", version=V2)):
        refused(bob.get(uri, streaming=mine.token), 404, "M_NOT_FOUND")
    refused(
        bob.post(
            path(room_id, "send", "m.room.message", version=V2),
            {"msgtype": "m.text", "body": "x"},
            streaming=mine.token,
        ),
        404,
        "M_NOT_FOUND",
    )
    body = {"room_id": room_id, "response": {"streaming": mine.token}}
    refused(bob.post(f"{V2}/join", body), 404, "M_NOT_FOUND")


def test_an_expired_place_says_so_and_goes_on_from_now(alice: Client, room_id: str) -> None:
    stream = Streaming(alice)
    stream.begin()
    send(alice, room_id, "lost")
    row = "s_" + stream.token.partition(".")[2]
    dynamodb.execute(dynamodb.delete(tokens.TABLE, tokens.token_key(UserId(alice.user_id), row)))
    answer = stream.go_on(timeout=LONG)
    assert (answer["expired"], answer["events"]) == (True, [])
    send(alice, room_id, "seen")
    assert bodies(stream.events()) == ["seen"]


def test_a_stream_in_use_lives_on(alice: Client) -> None:
    token = define_stream(alice)
    streaming_item = streamings.read(UserId(alice.user_id), token)
    assert streaming_item is not None
    soon = streaming_item.expires - streamings.LIFETIME_S + 100
    values = {":soon": soon}
    dynamodb.execute(
        dynamodb.update(streamings.TABLE, streaming_item.key, "SET expires = :soon", values=values)
    )
    event_stream(alice, token)
    renewed = streamings.read(UserId(alice.user_id), token)
    assert renewed is not None
    assert renewed.expires >= streaming_item.expires


# -- What comes ----------------------------------------------------------------------------------------------


def test_a_filter_says_which_events_come(bob: Client, alice: Client, room_id: str) -> None:
    stream = Streaming(bob)
    only = define_filter(bob, types=["m.room.message"], fields=["type", "content"])
    send(alice, room_id, "hello")
    set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
    assert stream.events(filter=only) == [
        {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "hello"}}
    ]
    refused(bob.get(f"{V2}/eventStream", streaming=stream.token, filter="e_x", timeout=0), 404, "M_NOT_FOUND")


def test_the_action_id_is_echoed_to_the_sending_client_alone(
    bob: Client, alice: Client, room_id: str, make_client: Make
) -> None:
    mine, his = Streaming(alice), Streaming(bob)
    ok(
        alice.put(
            path(room_id, "send", "m.room.message", "a1", version=V2), {"msgtype": "m.text", "body": "x"}
        )
    )
    [shown], [seen] = mine.events(), his.events()
    assert shown["action_id"] == "a1"
    assert "action_id" not in seen
    assert "transaction_id" not in seen["unsigned"]


def test_superseded_state_is_never_sent(bob: Client, alice: Client, room_id: str) -> None:
    stream = Streaming(bob)
    set_state(alice, room_id, "m.room.topic", {"topic": "one"})
    set_state(alice, room_id, "m.room.name", {"name": "lounge"})
    last = set_state(alice, room_id, "m.room.topic", {"topic": "two"})
    events = stream.events()
    assert [event["content"] for event in events] == [{"name": "lounge"}, {"topic": "two"}]
    assert event_ids(events)[-1] == last


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_whoever_keeps_the_last_state_sent_has_the_state(alice: Client, first: str) -> None:
    """Two servers set the topic without knowing of each other; which one counts isn't told by their order."""
    mirror = open_room(alice, admins=(BOB,))
    start, stream = mirror.newest(), Streaming(alice)
    late = mirror.topic(BOB, "theirs", after=start, learn=first == "theirs")
    if first == "theirs":
        assert mirror.kinds(late) == ["accepted"]
        mirror.send(mirror.topic(BOB, "theirs too", after=start))
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "ours"})
    told = stream.go_on()
    mirror.catch_up()
    mirror.learn(late)
    more = mirror.topic(BOB, "behind", after=start)
    mirror.send(late, more)
    again = stream.go_on()
    kept: dict[str, Any] = {}
    for answer in (told, again):
        for event in (*answer.get("state", ()), *answer["events"]):
            if event["type"] == "m.room.topic":
                kept = event["content"]
    current = ok(alice.get(path(mirror.room_id, "state", "m.room.topic")))
    assert kept == current


def test_deleted_state_has_no_content(bob: Client, alice: Client, room_id: str) -> None:
    set_state(alice, room_id, "org.example.x", {"n": 1})
    stream = Streaming(bob)
    ok(alice.delete(path(room_id, "state", "org.example.x", version=V2)))
    [event] = stream.events()
    assert "content" not in event
    assert event["unsigned"]["prev_content"] == {"n": 1}


def test_a_deleted_message_is_a_redaction(bob: Client, alice: Client, room_id: str) -> None:
    event_id = send(alice, room_id, "oh")
    stream = Streaming(bob)
    redact(alice, room_id, event_id)
    [event] = stream.events()
    assert (event["type"], event["redacts"]) == ("m.room.redaction", event_id)


def test_updates_come_by_themselves(bob: Client, alice: Client, room_id: str) -> None:
    parent = send(alice, room_id, "one")
    stream = Streaming(bob)
    update = send(alice, room_id, {"msgtype": "m.text", "body": "two", "updates": parent})
    assert event_ids(stream.events()) == [update]


def test_typing_receipts_and_presence_have_sections_of_their_own(
    bob: Client, alice: Client, room_id: str
) -> None:
    event_id = send(alice, room_id, "hello")
    stream = Streaming(bob, definition={"rooms": [room_id]})
    ok(alice.put(path(room_id, "typing", alice.user_id), {"typing": True, "timeout": 20_000}))
    ok(alice.post(path(room_id, "receipt", "m.read", event_id), {}))
    answer = stream.go_on()
    assert answer["events"] == []
    assert {event["type"] for event in answer["ephemeral"]} == {"m.typing", "m.receipt"}
    assert {event["room_id"] for event in answer["ephemeral"]} == {room_id}


def test_presence_is_that_of_the_streams_users_and_filtered_by_type(
    bob: Client, alice: Client, room_id: str
) -> None:
    both = Streaming(bob)
    nobody = Streaming(bob, definition={})
    only = define_filter(bob, types=["m.room.*"])
    event_stream(bob, both.token)  # he is there now
    ok(alice.put(f"/_matrix/client/v3/presence/{alice.user_id}/status", {"presence": "unavailable"}))
    telling.tell([item for item in [presence.read(UserId(alice.user_id))] if item])
    [told] = event_stream(bob, both.token)["presence"]
    assert (told["sender"], told["content"]["presence"]) == (alice.user_id, "unavailable")
    assert "presence" not in event_stream(bob, both.token, filter=only)
    assert "presence" not in nobody.go_on()


# -- No catching up ------------------------------------------------------------------------------------------


def test_of_too_much_the_newest_come_and_a_token_for_the_rest(
    bob: Client, alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain, "AT_ONCE", 3)
    stream = Streaming(bob)
    name = set_state(alice, room_id, "m.room.name", {"name": "lounge"})
    sent = [send(alice, room_id, str(number)) for number in range(5)]
    answer = stream.go_on()
    assert bodies(answer["events"]) == ["2", "3", "4"]
    assert event_ids(answer["state"]) == [name]
    rest = paginate(bob, room_id, token=answer["missed"][room_id], max=3)
    assert event_ids(rest["events"]) == [name, *sent[:2]]
    assert stream.go_on() == {"events": [], "streaming": stream.token}


def test_exactly_as_much_as_may_be_is_not_too_much(
    bob: Client, alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain, "AT_ONCE", 3)
    stream = Streaming(bob)
    for number in range(3):
        send(alice, room_id, str(number))
    answer = stream.go_on()
    assert bodies(answer["events"]) == ["0", "1", "2"]
    assert "missed" not in answer


# -- Rooms that come and go ----------------------------------------------------------------------------------


def test_after_a_join_the_server_says_where_the_room_begins(
    alice: Client, bob: Client, make_client: Make
) -> None:
    room_id = create_room(alice, preset="public_chat")
    earlier = send(alice, room_id, "earlier")
    stream = Streaming(bob)
    join(bob, room_id)
    send(alice, room_id, "later")
    first, own, later = stream.events()
    assert (first["type"], first["sender"], first["room_id"]) == (
        "m.homeserver.scrollback",
        "example.org",
        room_id,
    )
    assert own["state_key"] == bob.user_id
    assert later["content"]["body"] == "later"
    past = paginate(bob, room_id, token=first["content"]["token"], max=1)
    assert event_ids(past["events"]) == [earlier]


def test_a_room_that_the_client_makes_begins_too(alice: Client) -> None:
    stream = Streaming(alice)
    room_id = create_room(alice)
    events = stream.events()
    assert types(events)[:2] == ["m.homeserver.scrollback", "m.room.member"]
    past = paginate(alice, room_id, token=events[0]["content"]["token"])
    assert types(past["events"]) == ["m.room.create"]


def test_who_comes_back_is_told_where_the_room_begins_again(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    leave(bob, room_id)
    send(alice, room_id, "unseen by the stream")
    join(bob, room_id)
    events = stream.events()
    assert types(events) == ["m.homeserver.scrollback", "m.room.member"]
    assert events[1]["content"]["membership"] == "join"


def test_the_scrollback_event_is_filtered_like_others(alice: Client) -> None:
    stream = Streaming(alice)
    create_room(alice)
    only = define_filter(alice, types=["m.room.member"])
    assert set(types(stream.events(filter=only))) == {"m.room.member"}


def test_invites_come_with_what_they_say_of_the_room(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, name="lounge")
    stream = Streaming(bob)
    elsewhere = Streaming(bob, definition={"rooms": ["!elsewhere:example.org"]})
    invite(alice, room_id, bob)
    [event] = stream.events()
    assert (event["room_id"], event["state_key"]) == (room_id, bob.user_id)
    assert event["content"]["membership"] == "invite"
    assert "m.room.name" in types(event["invite_room_state"])
    assert elsewhere.events() == []
    rejected = bob.post(f"{V2}/invites/{segment(event['event_id'])}/reject", {})
    ok(rejected)
    [event] = stream.events()
    assert event["content"]["membership"] == "leave"


def test_leaving_ends_what_comes(alice: Client, bob: Client, room_id: str) -> None:
    stream = Streaming(bob)
    send(alice, room_id, "seen")
    leave(bob, room_id)
    send(alice, room_id, "unseen")
    events = stream.events()
    assert bodies(events) == ["seen"]
    assert events[-1]["content"]["membership"] == "leave"
    send(alice, room_id, "unseen")
    assert stream.events() == []


def test_who_came_and_went_between_looks_is_told_where_it_was(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="public_chat")
    stream = Streaming(bob)
    join(bob, room_id)
    seen = send(alice, room_id, "seen")
    leave(bob, room_id)
    send(alice, room_id, "unseen")
    answer = stream.go_on()
    assert [event["content"]["membership"] for event in answer["events"]] == ["leave"]
    past = paginate(bob, room_id, token=answer["missed"][room_id], max=1)
    assert event_ids(past["events"]) == [seen]


def test_history_that_is_hidden_stays_hidden(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="private_chat")
    set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    stream = Streaming(bob)
    invite(alice, room_id, bob)
    send(alice, room_id, "hidden")
    join(bob, room_id)
    send(alice, room_id, "shown")
    events = stream.events()
    assert bodies(events) == ["shown"]
    past = paginate(bob, room_id, token=events[0]["content"]["token"])
    assert "hidden" not in bodies(past["events"])


def test_ignored_users_stay_unheard(alice: Client, bob: Client, room_id: str) -> None:
    content: dict[str, Any] = {"ignored_users": {alice.user_id: {}}}
    ok(bob.put(f"/_matrix/client/v3/user/{segment(bob.user_id)}/account_data/m.ignored_user_list", content))
    stream = Streaming(bob)
    send(alice, room_id, "unheard")
    assert stream.events() == []


# -- Out of order --------------------------------------------------------------------------------------------


def test_events_out_of_order_come_only_where_asked_for(alice: Client) -> None:
    mirror = open_room(alice)
    room_id, [old] = mirror.room_id, mirror.newest()
    for number in range(domain.LATE + 5):
        send(alice, room_id, str(number))
    mirror.catch_up()
    plain, storing = Streaming(alice), Streaming(alice)
    late = mirror.message(BOB, "late", after=old)
    later = mirror.message(BOB, "later", after=late)
    assert mirror.kinds(late, later) == ["accepted"] * 2
    late_ids = [late.event_id, later.event_id]
    assert plain.events() == []
    assert [(event["event_id"], event["after"]) for event in storing.events(out_of_order="true")] == [
        (late.event_id, old),
        (later.event_id, late.event_id),
    ]
    newest = send(alice, room_id, "now")
    mirror.catch_up()
    again = mirror.message(BOB, "later still", after=[later.event_id, old])
    mirror.send(again)
    assert event_ids(plain.events()) == [newest]
    assert [(event["event_id"], event.get("after")) for event in storing.events(out_of_order="true")] == [
        (newest, None),
        (again.event_id, later.event_id),
    ]
    assert set(late_ids) <= set(event_ids(paginate(alice, room_id, max=5)["events"]))


def test_forks_of_the_moment_are_in_order(alice: Client) -> None:
    mirror = open_room(alice)
    [start], stream = mirror.newest(), Streaming(alice)
    ours = send(alice, mirror.room_id, "ours")
    theirs = mirror.message(BOB, "theirs", after=start)
    mirror.send(theirs)
    last = send(alice, mirror.room_id, "last")
    assert event_ids(stream.events()) == [ours, theirs.event_id, last]
