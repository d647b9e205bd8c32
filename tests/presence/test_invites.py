"""Who asks to see one's presence shows in the event stream of client API v1, until they're answered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.delivery import wakes
from murmuration.protocol.identifiers import UserId
from murmuration.storage.live import listeners, streams
from tests.in_process import Client, segment
from tests.local_cloud.waiting import PATIENCE_S, until
from tests.presence.test_presence import OLD, change_list, put, told
from tests.rooms.people import V3, create_room, join, ok
from tests.sync.client import Syncing
from tests.sync.conftest import held, sqs
from tests.sync.test_waiting import LONG

__all__ = ["held", "sqs"]
Make = Callable[..., Client]


def events(client: Client, start: str, base: str = OLD, **query: Any) -> tuple[list[Any], str]:
    answer = ok(client.get(f"{base}/events", **{"from": start}, **query))
    return answer["chunk"], answer["end"]


def initial(client: Client, base: str = OLD) -> tuple[list[Any], str]:
    answer = ok(client.get(f"{base}/initialSync"))
    return answer["presence"], answer["end"]


def invite_by(client: Client) -> dict[str, Any]:
    content = {"user_id": client.user_id}
    return {"type": "m.presence_invite", "sender": client.user_id, "content": content}


def test_an_invite_comes_by_the_stream_and_is_granted(alice: Client, bob: Client) -> None:
    put(bob, "online")
    _, place = initial(bob)
    change_list(alice, invite=[bob.user_id])
    chunk, after = events(bob, place)
    assert chunk == [invite_by(alice)]
    assert events(bob, after)[0] == []
    assert events(bob, place)[0] == chunk, "the same token gives the same"
    change_list(bob, grant=[chunk[0]["sender"]])
    assert told(Syncing(alice).sync()) == {bob.user_id: "online"}
    assert events(bob, place)[0] == [], "it was answered"


def test_what_waits_for_an_answer_is_there_at_first(alice: Client, bob: Client, make_client: Make) -> None:
    carol = make_client("carol")
    for other in (alice, carol):
        change_list(other, invite=[bob.user_id])
    found, place = initial(bob)
    assert found == sorted([invite_by(alice), invite_by(carol)], key=lambda event: str(event["sender"]))
    assert events(bob, place)[0] == []
    change_list(bob, deny=[alice.user_id])
    assert initial(bob)[0] == [invite_by(carol)]


@pytest.mark.parametrize("answer", ["denied", "withdrawn", "granted by itself"])
def test_what_is_over_shows_no_more(alice: Client, bob: Client, answer: str) -> None:
    if answer == "granted by itself":
        change_list(bob, invite=[alice.user_id])
        change_list(alice, grant=[bob.user_id])
    _, place = initial(bob)
    change_list(alice, invite=[bob.user_id])
    if answer == "denied":
        change_list(bob, deny=[alice.user_id])
    elif answer == "withdrawn":
        change_list(alice, drop=[bob.user_id])
    chunk, place = events(bob, place)
    assert "m.presence_invite" not in [event["type"] for event in chunk]
    if answer == "denied":
        change_list(alice, invite=[bob.user_id])
        assert events(bob, place)[0] == [invite_by(alice)], "asked again"


def test_who_is_ignored_asks_in_vain(alice: Client, bob: Client) -> None:
    data = f"{V3}/user/{segment(bob.user_id)}/account_data/m.ignored_user_list"
    ok(bob.put(data, {"ignored_users": {alice.user_id: {}}}))
    _, place = initial(bob)
    change_list(alice, invite=[bob.user_id])
    assert events(bob, place)[0] == []
    assert initial(bob)[0] == []


def test_todays_clients_are_not_told_of_what_they_do_not_know(alice: Client, bob: Client) -> None:
    syncing = Syncing(bob)
    syncing.sync()
    _, place = initial(bob, V3)
    change_list(alice, invite=[bob.user_id])
    assert "m.presence_invite" not in str(syncing.sync())
    assert events(bob, place, V3)[0] == []
    assert "m.presence_invite" not in str(initial(bob, V3)[0])


def test_others_are_told_nothing(alice: Client, bob: Client, make_client: Make) -> None:
    carol = make_client("carol")
    room_id = create_room(bob, preset="public_chat")
    join(carol, room_id)
    _, place = initial(carol)
    change_list(alice, invite=[bob.user_id])
    assert events(carol, place)[0] == []


@pytest.mark.usefixtures("sqs", "held")
def test_who_waits_is_told_at_once(alice: Client, bob: Client) -> None:
    _, place = initial(bob)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(events, bob, place, timeout=LONG)
        until(lambda: list(listeners.waits_in(listeners.read_items([UserId(bob.user_id)]))))
        change_list(alice, invite=[bob.user_id])
        stream = streams.user_stream(UserId(bob.user_id))
        wakes.wake_for_stream_items(streams.read_after(stream, streams.read_head(stream) - 1))
        assert waiting.result(PATIENCE_S)[0] == [invite_by(alice)]
