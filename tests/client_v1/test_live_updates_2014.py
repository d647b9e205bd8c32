"""The first specification's section "Receiving live updates on a client", in its own words."""

from __future__ import annotations

from typing import Any

from tests.client_v1.people import V1, create, memberships, post, room, texts
from tests.in_process import Client, segment
from tests.rooms.people import V3, ok


def test_the_event_stream_goes_on_from_the_end_token(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    ok(bob.post(f"{V1}/join/{segment(room_id)}", {}))
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    post(alice, room_id, "one")
    first = ok(bob.get(f"{V1}/events", **{"from": end}))
    assert (first["start"], texts(first["chunk"])) == (end, ["one"])
    post(alice, room_id, "two")
    second = ok(bob.get(f"{V1}/events", **{"from": first["end"]}))
    assert texts(second["chunk"]) == ["two"]
    assert ok(bob.get(f"{V1}/events", **{"from": second["end"]}))["chunk"] == []
    assert texts(ok(bob.get(f"{V1}/events", **{"from": end}))["chunk"]) == ["one", "two"]


def test_all_events_which_the_client_may_view_appear_in_the_event_stream(alice: Client, bob: Client) -> None:
    """More than an answer holds: the stream goes on, without a gap, in order."""
    room_id = create(alice)
    ok(bob.post(room(room_id, "join"), {}))
    token = ok(bob.get(f"{V1}/initialSync"))["end"]
    sent = [str(number) for number in range(230)]
    for text in sent:
        post(alice, room_id, text)
    found: list[str] = []
    for _ in range(3):
        page = ok(bob.get(f"{V1}/events", **{"from": token}))
        found += texts(page["chunk"])
        token = page["end"]
    assert found == sent


def drain(client: Client, token: str) -> list[Any]:
    """Return what the event stream has from a token on, by as many answers as it takes."""
    found: list[Any] = []
    while chunk := (page := ok(client.get(f"{V1}/events", **{"from": token})))["chunk"]:
        found += chunk
        token = page["end"]
    return found


def test_the_event_stream_has_no_gap_before_a_leaving_or_after_a_joining(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    post(alice, room_id, "before")
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    ok(bob.post(room(room_id, "join"), {}))
    sent = [str(number) for number in range(230)]
    for text in sent[:115]:
        post(alice, room_id, text)
    found = drain(bob, end)
    assert (found[0]["state_key"], texts(found)) == (bob.user_id, sent[:115])
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    for text in sent[115:]:
        post(alice, room_id, text)
    ok(bob.post(room(room_id, "leave"), {}))
    post(alice, room_id, "after")
    found = drain(bob, end)
    assert texts(found) == sent[115:]
    assert memberships(found) == {bob.user_id: "leave"}
    assert found[-1]["type"] == "m.room.member"


def test_the_event_stream_shows_a_short_stay_from_the_joining_on(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    post(alice, room_id, "before")
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    ok(bob.post(room(room_id, "join"), {}))
    ok(bob.put(f"{V1}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Bobby"}))
    post(alice, room_id, "meanwhile")
    ok(bob.post(room(room_id, "leave"), {}))
    changes = [event["content"] for event in drain(bob, end) if "state_key" in event]
    assert [each["membership"] for each in changes] == ["join", "join", "leave"]


def test_the_event_stream_shows_an_invitation_and_what_follows(alice: Client, bob: Client) -> None:
    room_id = create(alice, name="The pub")
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    ok(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}))
    page = ok(bob.get(f"{V1}/events", **{"from": end}))
    (event,) = page["chunk"]
    assert (event["room_id"], event["user_id"], event["state_key"]) == (room_id, alice.user_id, bob.user_id)
    assert event["content"]["membership"] == "invite"
    assert "m.room.name" in {each["type"] for each in event["invite_room_state"]}
    ok(bob.post(room(room_id, "join"), {}))
    page = ok(bob.get(f"{V1}/events", **{"from": page["end"]}))
    assert memberships(page["chunk"]) == {bob.user_id: "join"}
    ok(bob.post(room(room_id, "leave"), {}))
    page = ok(bob.get(f"{V1}/events", **{"from": page["end"]}))
    assert memberships(page["chunk"]) == {bob.user_id: "leave"}


def test_the_event_stream_of_v1_takes_no_to_device_messages(alice: Client, bob: Client) -> None:
    since = ok(bob.get(f"{V3}/sync"))["next_batch"]
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    messages = {bob.user_id: {bob.device_id: {"n": 1}}}
    ok(alice.put(f"{V3}/sendToDevice/m.test/{alice.device_id}", {"messages": messages}))
    for _ in range(2):
        end = ok(bob.get(f"{V1}/events", **{"from": end}))["end"]
    assert ok(bob.get(f"{V3}/sync", since=since))["to_device"]["events"][0]["content"] == {"n": 1}
