"""Other lists that are too long for one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.keys import upload
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.rooms.writing import append
from murmuration.storage.keys import identity_keys
from tests.in_process import Client, segment
from tests.limits.test_sync import LONG, long_messages
from tests.rooms.people import (
    V1,
    V3,
    bodies,
    create_room,
    join,
    messages,
    ok,
    path,
    refused,
    relate,
    send,
    set_state,
)

Make = Callable[..., Client]


@pytest.mark.parametrize("direction", ["b", "f"])
def test_messages_go_on_where_the_bytes_end(alice: Client, room_id: str, direction: str) -> None:
    texts = long_messages(alice, room_id, 100)
    found: list[str] = []
    token = None
    while True:
        page = messages(alice, room_id, direction, **({"from": token} if token else {}), limit=250)
        found += bodies(page["chunk"])
        if "end" not in page or not page["chunk"]:
            break
        token = page["end"]
    assert found == (texts if direction == "f" else texts[::-1])


def test_context_keeps_the_event_and_its_neighbours(alice: Client, room_id: str) -> None:
    texts = long_messages(alice, room_id, 30)
    centre = send(alice, room_id, "centre")
    texts_after = long_messages(alice, room_id, 30, mark="n")
    found = ok(alice.get(path(room_id, "context", centre), limit=200))
    assert found["event"]["event_id"] == centre
    before, after = bodies(found["events_before"])[::-1], bodies(found["events_after"])
    assert 5 < len(before) < 30
    assert before == texts[-len(before) :]
    assert after == texts_after[: len(after)]
    earlier = messages(alice, room_id, "b", **{"from": found["start"]}, limit=1)["chunk"]
    assert bodies(earlier) == [texts[-len(before) - 1]]
    later = messages(alice, room_id, "f", **{"from": found["end"]}, limit=1)["chunk"]
    assert bodies(later) == [texts_after[len(after)]]


def test_relations_go_on_where_the_bytes_end(
    alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.rooms.reading.relations.LIST_BYTES", 300_000)
    root = send(alice, room_id, "root")
    sent = [relate(alice, room_id, root, "m.thread", body=f"{number} {LONG}") for number in range(12)]
    found: list[str] = []
    token = None
    while True:
        query: dict[str, Any] = {"limit": 100, "dir": "f"} | ({"from": token} if token else {})
        page = ok(alice.get(path(room_id, "relations", root, version=V1), **query))
        assert page["chunk"]
        found += [event["event_id"] for event in page["chunk"]]
        token = page.get("next_batch")
        if token is None:
            break
    assert found == sent


def test_threads_go_on_where_the_bytes_end(
    alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.rooms.reading.relations.LIST_BYTES", 300_000)
    roots = []
    for number in range(12):
        roots.append(send(alice, room_id, f"{number} {LONG}"))
        relate(alice, room_id, roots[-1], "m.thread", body="reply")
    found: list[str] = []
    token = None
    while True:
        query: dict[str, Any] = {"limit": 100} | ({"from": token} if token else {})
        page = ok(alice.get(path(room_id, "threads", version=V1), **query))
        found += [event["event_id"] for event in page["chunk"]]
        token = page.get("next_batch")
        if token is None:
            break
    assert found == roots[::-1]


def test_bundles_that_do_not_fit_are_left_out(
    alice: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("murmuration.rooms.reading.timeline.LIST_BYTES", 1_400_000)
    for number in range(10):
        parent = send(alice, room_id, f"{number} {LONG}")
        relate(alice, room_id, parent, "m.thread", body=LONG)
    chunk = messages(alice, room_id, "b", limit=100)["chunk"]
    sent = [event for event in chunk if event["type"] == "m.room.message"]
    roots = [event for event in sent if "m.relates_to" not in event["content"]]
    bundled = ["m.relations" in event["unsigned"] for event in roots]
    assert len(roots) == 10
    assert any(bundled)
    assert not all(bundled)


def test_the_directory_shortens_long_names_and_topics(make_client: Make) -> None:
    alice = make_client("alice")
    room_id = create_room(
        alice, preset="public_chat", visibility="public", name="long" * 4_000, topic="t" * 15_000
    )
    found = ok(alice.post(f"{V3}/publicRooms", {"filter": {"generic_search_term": "longlonglong"}}))["chunk"]
    (listed,) = [room for room in found if room["room_id"] == room_id]
    assert listed["name"].startswith("longlong")
    assert len(listed["name"]) == 255
    assert len(listed["topic"]) == 2_000


@pytest.mark.parametrize("backward", [False, True])
def test_the_directory_goes_on_where_the_bytes_end(
    make_client: Make, monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    monkeypatch.setattr("murmuration.rooms.lifecycle.public_rooms.LIST_BYTES", 7_000)
    alice = make_client("alice")
    mine = {
        create_room(
            alice, preset="public_chat", visibility="public", name=f"find-{backward}", topic="t" * 3_000
        )
        for _ in range(6)
    }
    body: dict[str, Any] = {"filter": {"generic_search_term": f"find-{backward}"}, "limit": 100}
    pages = [ok(alice.post(f"{V3}/publicRooms", body))]
    while token := pages[-1].get("next_batch"):
        pages.append(ok(alice.post(f"{V3}/publicRooms", body | {"since": token})))
    if backward:
        pages = [pages[-1]]
        while token := pages[-1].get("prev_batch"):
            pages.append(ok(alice.post(f"{V3}/publicRooms", body | {"since": token})))
    found = [room["room_id"] for page in pages for room in page["chunk"]]
    assert len(pages) > 1
    assert len(found) == len(set(found))
    assert set(found) == mine


def test_device_keys_have_a_limit_that_real_ones_are_far_from(make_client: Make) -> None:
    alice = make_client("alice")
    keys: dict[str, Any] = {
        "user_id": alice.user_id,
        "device_id": alice.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"curve25519:{alice.device_id}": "A" * 43, f"ed25519:{alice.device_id}": "B" * 43},
        "signatures": {alice.user_id: {f"ed25519:{alice.device_id}": "C" * 86}},
    }
    ok(alice.post(f"{V3}/keys/upload", {"device_keys": keys}))
    keys["padding"] = "x" * upload.MAX_DEVICE_KEYS_BYTES
    refused(alice.post(f"{V3}/keys/upload", {"device_keys": keys}), 413, "M_TOO_LARGE")


def test_device_keys_from_before_the_limit_can_still_be_queried(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    for number in range(110):
        device = DeviceId(f"D{number}")
        key = {"user_id": alice.user_id, "device_id": device, "algorithms": [], "keys": {}}
        key |= {"signatures": {}, "padding": "x" * 63_000}
        dynamodb.execute(
            dynamodb.put("users", {"user_id": alice.user_id, "sk": f"device#{device}", "access_hash": "x"})
        )
        identity_keys.write_device(UserId(alice.user_id), device, key)
    found = ok(bob.post(f"{V3}/keys/query", {"device_keys": {alice.user_id: []}}))
    assert len(found["device_keys"][alice.user_id]) == 110


def test_a_backup_of_more_than_an_answer_comes_whole(make_client: Make) -> None:
    alice = make_client("alice")
    body = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
    version = ok(alice.post(f"{V3}/room_keys/version", body))["version"]
    key = {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": False,
        "session_data": {"ciphertext": "y" * 9_000},
    }
    rooms = {
        f"!{room}:example.org": {"sessions": {f"s{number}": key for number in range(300)}}
        for room in ("a", "a#b", "c")
    }
    for room_id, room in rooms.items():
        ok(alice.put(f"{V3}/room_keys/keys", {"rooms": {room_id: room}}, version=version))
    for headers in ({}, {"Accept-Encoding": "gzip"}):
        answer = alice.request("GET", f"{V3}/room_keys/keys", version=version, headers=headers)
        assert ok(answer) == {"rooms": rooms}
    found = alice.get(f"{V3}/room_keys/keys/{segment('!a:example.org')}", version=version)
    assert ok(found) == rooms["!a:example.org"]


# -- A room's state ------------------------------------------------------------------------------------------


def fill(client: Client, room_id: str) -> int:
    """Send state of 58 kB each until it is refused, and return the number of events."""
    for number in range(120):
        answer = client.put(path(room_id, "state", "x.bomb", str(number)), {"text": LONG})
        if answer.status != 200:
            refused(answer, 413, "M_TOO_LARGE")
            return number
    raise AssertionError("nothing was refused")


def test_a_rooms_state_is_bounded_and_the_room_can_still_be_ruled(
    alice: Client, bob: Client, room_id: str
) -> None:
    count = fill(alice, room_id)
    assert 30 < count <= append.MAX_STATE_BYTES // 58_000
    join_rules = {"join_rule": "invite"}
    set_state(alice, room_id, "m.room.join_rules", join_rules)
    set_state(alice, room_id, "x.bomb", {}, "0")  # less is never refused
    set_state(alice, room_id, "x.other", {"text": LONG})
    refused(alice.put(path(room_id, "state", "x.bomb", "0"), {"text": LONG}), 413, "M_TOO_LARGE")
    assert len(ok(bob.get(path(room_id, "state")))) > count
    assert room_id in ok(bob.get(f"{V3}/sync"))["rooms"]["join"]


def test_redacting_state_makes_room(alice: Client, room_id: str) -> None:
    count = fill(alice, room_id)
    event = ok(alice.get(path(room_id, "state", "x.bomb", "0"), format="event"))
    ok(alice.put(path(room_id, "redact", event["event_id"], "r1"), {}))
    set_state(alice, room_id, "x.bomb", {"text": LONG}, str(count))


def test_a_room_from_before_the_limit_can_be_read_and_counts_from_then_on(
    alice: Client, bob: Client, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(append, "MAX_STATE_BYTES", 20_000_000)
        for number in range(118):
            set_state(alice, room_id, "x.bomb", {"text": LONG}, str(number))
    dynamodb.execute(dynamodb.update("rooms", {"room_id": room_id, "sk": "head"}, "REMOVE state_bytes"))
    for headers in ({}, {"Accept-Encoding": "gzip"}):
        for name in ("state", "initialSync"):
            answer = ok(bob.request("GET", path(room_id, name), headers=headers))
            state = answer if isinstance(answer, list) else answer["state"]
            assert sum(event["type"] == "x.bomb" for event in state) == 118
        for url in (f"{V3}/sync", f"{V3}/initialSync", path(room_id, "members")):
            ok(bob.request("GET", url, headers=headers))
    refused(alice.put(path(room_id, "state", "x.bomb", "new"), {"text": "x"}), 413, "M_TOO_LARGE")
    send(alice, room_id, "goes on")


def test_a_membership_of_many_bytes_is_refused(alice: Client, room_id: str) -> None:
    content = {"membership": "join", "x.padding": "x" * append.MAX_MEMBER_BYTES}
    answer = alice.put(path(room_id, "state", "m.room.member", alice.user_id), content)
    refused(answer, 413, "M_TOO_LARGE")


def test_state_that_joins_of_long_memberships_would_fill_is_counted_apart(
    make_client: Make, alice: Client, room_id: str
) -> None:
    head = dynamodb.get("rooms", {"room_id": room_id, "sk": "head"})
    assert head is not None
    before = head["state_bytes"]
    join(make_client("carol"), room_id)
    head = dynamodb.get("rooms", {"room_id": room_id, "sk": "head"})
    assert head is not None
    assert head["state_bytes"] == before > 0
