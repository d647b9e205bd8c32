"""Presence through the endpoints: who is what, who may know, who is told, and when it ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.presence.status import LAST_ACTIVE_STEP_MS, QUIET_MS, RENEWED_BELOW_MS, STAY_MS
from murmuration.presence.telling import SMALL_ROOM
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import streams
from murmuration.storage.users import presence
from tests.in_process import Client, segment
from tests.presence.conftest import Clock
from tests.rooms.people import V3, create_room, join, leave, ok, refused
from tests.sync.client import Syncing, has_nothing

OLD = "/_matrix/client/api/v1"
Make = Callable[..., Client]
Work = Callable[..., None]
Three = tuple[Client, Client, str]


def put(client: Client, state: str, base: str = V3, **body: Any) -> None:
    ok(client.put(f"{base}/presence/{segment(client.user_id)}/status", {"presence": state, **body}))


def get(client: Client, of: Client, base: str = V3) -> Any:
    return ok(client.get(f"{base}/presence/{segment(of.user_id)}/status"))


def told(answer: Any) -> dict[str, str]:
    """Return the state by user, from a sync's answer."""
    events = answer.get("presence", {}).get("events", [])
    return {event["sender"]: event["content"]["presence"] for event in events}


def change_list(client: Client, **lists: Any) -> None:
    ok(client.post(f"{OLD}/presence/list/{segment(client.user_id)}", lists))


def seq_of_room(room_id: RoomId) -> int:
    return streams.read_head(streams.room_stream(room_id))


@pytest.fixture
def pair(make_client: Make) -> Three:
    """Return Alice and Bob, and a room that both are in."""
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    return alice, bob, room_id


# -- What one is ---------------------------------------------------------------------------------------------


def test_who_never_was_there_is_offline(pair: Three) -> None:
    alice, bob, _ = pair
    assert get(alice, bob) == {"presence": "offline"}


def test_being_on_the_stream_makes_online_and_being_off_it_for_a_while_offline(
    pair: Three, clock: Clock
) -> None:
    alice, bob, _ = pair
    Syncing(bob).sync()
    assert get(alice, bob) == {"presence": "online", "last_active_ago": 0, "currently_active": True}
    clock.advance(STAY_MS - 1)
    assert get(alice, bob)["presence"] == "online"
    clock.advance(1)
    assert get(alice, bob) == {"presence": "offline", "last_active_ago": STAY_MS}


@pytest.mark.parametrize("state", ["unavailable", "offline"])
def test_a_sync_may_ask_for_another_state(pair: Three, clock: Clock, state: str) -> None:
    alice, bob, _ = pair
    syncing = Syncing(bob)
    syncing.sync(set_presence=state)
    assert get(alice, bob)["presence"] == state
    syncing.sync()
    assert get(alice, bob)["presence"] == "online"
    refused(bob.get(f"{V3}/sync", set_presence="hidden"), 400, "M_INVALID_PARAM")


def test_the_most_available_of_several_devices_counts(pair: Three, clock: Clock) -> None:
    from murmuration.presence.status import leave, note_visit

    alice, bob, _ = pair
    put(bob, "unavailable")
    assert (
        note_visit(UserId(bob.user_id), DeviceId("PHONE"), "online", presence.read(UserId(bob.user_id)))
        is False
    )
    assert get(alice, bob)["presence"] == "online"
    leave(UserId(bob.user_id), ["PHONE", "NOT-THERE"])
    assert get(alice, bob)["presence"] == "unavailable"


def test_the_founding_documents_states(pair: Three, clock: Clock) -> None:
    alice, bob, _ = pair
    put(bob, "free_for_chat", OLD, status_msg="come in")
    assert get(alice, bob, OLD)["presence"] == "free_for_chat"
    assert get(alice, bob) == {
        "presence": "online", "status_msg": "come in", "last_active_ago": 0, "currently_active": True,
    }  # fmt: skip
    put(bob, "hidden", OLD)
    Syncing(bob).sync()  # being on the stream doesn't uncover him
    assert get(alice, bob, OLD)["presence"] == "offline"
    assert get(bob, bob, OLD)["presence"] == "hidden"
    assert get(bob, bob)["presence"] == "offline"
    clock.advance(2 * STAY_MS)
    ok(bob.get(f"{OLD}/initialSync"))  # nor does coming back to it
    assert get(bob, bob, OLD)["presence"] == "hidden"


def test_only_raising_availability_counts_as_an_action(pair: Three, clock: Clock) -> None:
    alice, bob, _ = pair
    put(bob, "unavailable")
    clock.advance(1000)
    assert get(alice, bob)["last_active_ago"] == 1000
    put(bob, "online")
    clock.advance(500)
    put(bob, "unavailable")
    assert get(alice, bob)["last_active_ago"] == 500


def test_sending_counts_as_an_action_noted_once_a_minute(pair: Three, clock: Clock) -> None:
    from murmuration.presence import status

    alice, bob, _ = pair
    put(bob, "online")

    def send(at: int) -> None:
        event = f'{{"sender": "{bob.user_id}", "origin_server_ts": {at}}}'
        status.note_sending([{"device_id": bob.device_id, "json": event}, {"json": "of another server"}])

    def revision() -> int:
        item = presence.read(UserId(bob.user_id))
        assert item is not None
        return int(item["revision"])

    before = revision()
    clock.advance(LAST_ACTIVE_STEP_MS)
    send(clock.now)
    send(clock.now + 10)
    assert revision() == before + 1
    clock.advance(LAST_ACTIVE_STEP_MS - 1)
    send(clock.now)
    assert revision() == before + 1
    assert get(alice, bob)["last_active_ago"] == LAST_ACTIVE_STEP_MS - 1
    status.note_sending([{"device_id": "D", "json": f'{{"sender": "{bob.user_id}", "state_key": ""}}'}])


def test_logging_out_makes_offline_at_once(pair: Three) -> None:
    alice, bob, _ = pair
    Syncing(bob).sync()
    ok(bob.post(f"{V3}/logout"))
    assert get(alice, bob)["presence"] == "offline"


# -- Who may see whom ----------------------------------------------------------------------------------------


def test_only_those_who_share_a_room_or_are_let_may_see(make_client: Make, pair: Three) -> None:
    alice, bob, room_id = pair
    carol = make_client("carol")
    refused(carol.get(f"{V3}/presence/{segment(bob.user_id)}/status"), 403, "M_FORBIDDEN")
    get(carol, carol)
    leave(alice, room_id)
    refused(alice.get(f"{V3}/presence/{segment(bob.user_id)}/status"), 403, "M_FORBIDDEN")
    for nobody in ("@nobody:example.org", "@bob:elsewhere.example"):
        refused(alice.get(f"{V3}/presence/{segment(nobody)}/status"), 404, "M_NOT_FOUND")
    refused(alice.get(f"{V3}/presence/bob/status"), 400, "M_INVALID_PARAM")


def test_one_sets_only_ones_own(pair: Three) -> None:
    alice, bob, _ = pair
    theirs = f"{V3}/presence/{segment(bob.user_id)}/status"
    refused(alice.put(theirs, {"presence": "online"}), 403, "M_FORBIDDEN")
    own = f"{V3}/presence/{segment(alice.user_id)}/status"
    refused(alice.put(own, {}), 400, "M_MISSING_PARAM")
    for wrong in ("free_for_chat", "asleep", 5):
        refused(alice.put(own, {"presence": wrong}), 400, "M_BAD_JSON")
    refused(alice.put(own, {"presence": "online", "status_msg": "x" * 1001}), 400, "M_INVALID_PARAM")


def test_asking_and_granting(make_client: Make, clock: Clock, work: Work) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    status = f"{V3}/presence/{segment(bob.user_id)}/status"
    put(bob, "online")
    change_list(alice, invite=[bob.user_id])
    refused(alice.get(status), 403, "M_FORBIDDEN")
    listed = f"{OLD}/presence/list/"
    assert ok(bob.get(listed + segment(bob.user_id))) == [{"user_id": alice.user_id, "asking": True}]
    assert ok(alice.get(listed + segment(alice.user_id))) == [{"user_id": bob.user_id, "accepted": False}]
    change_list(bob, grant=[alice.user_id])
    assert ok(alice.get(status))["presence"] == "online"
    assert ok(bob.get(listed + segment(bob.user_id))) == [{"user_id": alice.user_id, "observing": True}]
    (entry,) = ok(alice.get(listed + segment(alice.user_id)))
    assert (entry["user_id"], entry["accepted"], entry["presence"]) == (bob.user_id, True, "online")
    assert told(Syncing(alice).sync()) == {bob.user_id: "online"}
    refused(bob.get(f"{V3}/presence/{segment(alice.user_id)}/status"), 403, "M_FORBIDDEN")
    change_list(bob, deny=[alice.user_id])
    refused(alice.get(status), 403, "M_FORBIDDEN")
    assert ok(alice.get(listed + segment(alice.user_id))) == []


def test_granting_back_is_automatic(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    change_list(alice, invite=[bob.user_id])
    change_list(bob, grant=[alice.user_id])
    change_list(bob, invite=[alice.user_id])
    get(bob, alice)
    change_list(bob, drop=[alice.user_id], invite=[])
    refused(bob.get(f"{V3}/presence/{segment(alice.user_id)}/status"), 403, "M_FORBIDDEN")


def test_asking_again_takes_nothing_back(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even if the first request is answered in between."""
    from murmuration.aws import dynamodb
    from murmuration.presence import lists

    alice, bob = make_client("alice"), make_client("bob")
    change_list(alice, invite=[bob.user_id])
    transact = dynamodb.transact

    def granted_first(writes: Any) -> None:
        monkeypatch.setattr(dynamodb, "transact", transact)
        change_list(bob, grant=[alice.user_id])
        transact(writes)

    monkeypatch.setattr(dynamodb, "transact", granted_first)
    lists.change_list(UserId(alice.user_id), invite=[UserId(bob.user_id)])
    get(alice, bob)


def test_lists_refuse_what_makes_no_sense(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    own = f"{OLD}/presence/list/{segment(alice.user_id)}"
    refused(alice.post(own, {"grant": [bob.user_id]}), 404, "M_NOT_FOUND")
    refused(alice.post(own, {"invite": ["@nobody:example.org"]}), 404, "M_NOT_FOUND")
    refused(alice.post(own, {"invite": ["bob"]}), 400, "M_INVALID_PARAM")
    refused(alice.post(own, {"invite": bob.user_id}), 400, "M_BAD_JSON")
    refused(alice.post(own, {"drop": [bob.user_id] * 51}), 400, "M_INVALID_PARAM")
    for change in ("drop", "deny"):
        refused(alice.post(own, {change: [f"@{'b' * 2000}:example.org"]}), 400, "M_INVALID_PARAM")
    theirs = f"{OLD}/presence/list/{segment(bob.user_id)}"
    refused(alice.post(theirs, {}), 403, "M_FORBIDDEN")
    refused(alice.get(theirs), 403, "M_FORBIDDEN")


# -- Who is told ---------------------------------------------------------------------------------------------


def test_a_change_reaches_those_on_the_stream_and_its_end_too(pair: Three, clock: Clock, work: Work) -> None:
    alice, bob, _ = pair
    watching = Syncing(alice)
    watching.sync()
    put(bob, "unavailable", status_msg="busy")
    work(bob)
    answer = watching.sync()
    (event,) = answer["presence"]["events"]
    assert event == {
        "type": "m.presence",
        "sender": bob.user_id,
        "content": {
            "presence": "unavailable", "status_msg": "busy", "last_active_ago": 0,
            "displayname": "bob",
        },
    }  # fmt: skip
    assert has_nothing(watching.peek())
    clock.advance(STAY_MS)
    assert told(watching.sync()) == {bob.user_id: "offline"}
    assert has_nothing(watching.peek())


def test_who_stays_is_looked_up_again_without_being_told(pair: Three, clock: Clock, work: Work) -> None:
    alice, bob, _ = pair
    watching, theirs = Syncing(alice), Syncing(bob)
    theirs.sync()
    watching.sync()
    work(bob, alice)
    assert told(watching.sync()) == {bob.user_id: "online"}
    clock.advance(STAY_MS - RENEWED_BELOW_MS + 1)
    theirs.sync()
    clock.advance(RENEWED_BELOW_MS)
    assert told(watching.sync()) == {}
    clock.advance(STAY_MS)
    assert told(watching.sync()) == {bob.user_id: "offline"}


def test_who_comes_back_learns_what_they_missed(pair: Three, clock: Clock, work: Work) -> None:
    alice, bob, room_id = pair
    watching = Syncing(alice)
    watching.sync()
    work(alice)
    clock.advance(2 * STAY_MS)
    before = seq_of_room(RoomId(room_id))
    put(bob, "online")
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before, "nobody is there to be told"
    watching.sync()
    work(alice)
    assert told(watching.sync()) == {bob.user_id: "online"}


def test_a_first_sync_shows_who_is_there(pair: Three, work: Work) -> None:
    alice, bob, _ = pair
    Syncing(alice).sync()
    Syncing(bob).sync()
    work(alice, bob)
    assert told(Syncing(alice).sync()) == {bob.user_id: "online"}


@pytest.mark.parametrize("state", ["hidden", "offline"])
def test_nobody_is_told_of_one_who_comes_unseen(pair: Three, clock: Clock, work: Work, state: str) -> None:
    alice, bob, room_id = pair
    put(alice, "online")
    before = seq_of_room(RoomId(room_id))
    put(bob, state, OLD)
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before
    assert told(Syncing(bob).sync(set_presence="offline")) == {alice.user_id: "online"}


def test_what_a_hidden_user_does_is_not_noted(pair: Three, clock: Clock, work: Work) -> None:
    from murmuration.presence.status import note_action

    alice, bob, room_id = pair
    put(alice, "online")
    put(bob, "hidden", OLD)
    before = seq_of_room(RoomId(room_id))
    clock.advance(QUIET_MS + 1)
    note_action(UserId(bob.user_id), clock.now)
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before
    assert get(alice, bob) == {"presence": "offline"}


def test_who_comes_and_changes_at_once_learns_what_they_missed(pair: Three, clock: Clock) -> None:
    from murmuration.presence.telling import tell

    alice, bob, _ = pair
    put(bob, "online")
    clock.advance(1)
    watching = Syncing(alice)
    watching.sync()
    came = presence.read(UserId(alice.user_id))
    clock.advance(1)
    put(alice, "online", status_msg="back")
    changed = presence.read(UserId(alice.user_id))
    assert came is not None
    assert changed is not None
    tell([came, changed])
    assert told(watching.sync())[bob.user_id] == "online"


def test_a_large_room_is_marked_without_asking_who_is_there(
    make_client: Make, pair: Three, work: Work
) -> None:
    _, bob, room_id = pair
    for number in range(SMALL_ROOM - 1):
        join(make_client(f"member-{number}"), room_id)
    before = seq_of_room(RoomId(room_id))
    put(bob, "online")
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before + 1


def test_few_people_in_many_rooms_are_told_in_their_own_streams(
    make_client: Make, pair: Three, clock: Clock, work: Work
) -> None:
    alice, bob, first = pair
    rooms = [first, *(RoomId(create_room(alice, preset="public_chat")) for _ in range(3))]
    for room_id in rooms[1:]:
        join(bob, room_id)
    stranger = make_client("mallory")
    syncings = [Syncing(client) for client in (alice, stranger)]
    for syncing in syncings:
        syncing.sync()
    work(alice, stranger)
    before = [seq_of_room(RoomId(room_id)) for room_id in rooms]
    put(bob, "unavailable")
    work(bob)
    assert [seq_of_room(RoomId(room_id)) for room_id in rooms] == before
    assert told(syncings[0].sync()) == {bob.user_id: "unavailable"}
    assert told(syncings[1].sync()) == {}


def test_who_left_the_room_that_a_marker_names_is_not_told(
    make_client: Make, pair: Three, clock: Clock, work: Work
) -> None:
    alice, bob, first = pair
    second = create_room(alice, preset="public_chat")
    join(bob, second)
    syncing = Syncing(alice)
    syncing.sync()
    work(alice)
    put(bob, "unavailable")
    work(bob)
    for room_id in (first, second):
        leave(alice, room_id)
    assert told(syncing.sync()) == {}


def test_telling_twice_does_no_harm_and_renewing_tells_nobody(pair: Three, clock: Clock, work: Work) -> None:
    alice, bob, room_id = pair
    watching, theirs = Syncing(alice), Syncing(bob)
    watching.sync()
    theirs.sync()
    work(bob)
    work(bob)
    assert told(watching.sync()) == {bob.user_id: "online"}
    before = seq_of_room(RoomId(room_id))
    clock.advance(STAY_MS - RENEWED_BELOW_MS + 1)
    theirs.sync()
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before


def test_a_profile_change_is_told(pair: Three, work: Work) -> None:
    alice, bob, _ = pair
    watching = Syncing(alice)
    watching.sync()
    put(bob, "online")
    work(bob)
    watching.sync()
    ok(bob.put(f"{V3}/profile/{segment(bob.user_id)}/displayname", {"displayname": "Robert"}))
    work(bob)
    (event,) = watching.sync()["presence"]["events"]
    assert event["content"]["displayname"] == "Robert"


def test_filters_and_ignoring(pair: Three, work: Work) -> None:
    alice, bob, _ = pair
    watching = Syncing(alice)
    watching.sync()
    put(bob, "online")
    work(bob)
    without = Syncing(alice, watching.since, {"presence": {"types": []}})
    assert told(without.peek()) == {}
    assert told(Syncing(alice, watching.since, {"presence": {"senders": [bob.user_id]}}).peek()) != {}
    data = f"{V3}/user/{segment(alice.user_id)}/account_data/m.ignored_user_list"
    ok(alice.put(data, {"ignored_users": {bob.user_id: {}}}))
    assert told(watching.peek()) == {}


def test_who_left_the_room_is_not_told(pair: Three, work: Work) -> None:
    alice, bob, room_id = pair
    watching = Syncing(alice)
    watching.sync()
    put(bob, "online")
    work(bob)
    leave(alice, room_id)
    assert told(watching.sync()) == {}


def test_a_quiet_users_action_is_told(pair: Three, clock: Clock, work: Work) -> None:
    from murmuration.presence.status import note_action

    alice, bob, room_id = pair
    watching = Syncing(alice)
    watching.sync()
    put(bob, "online")
    clock.advance(QUIET_MS + 1)
    before = seq_of_room(RoomId(room_id))
    note_action(UserId(bob.user_id), clock.now)
    work(bob)
    assert seq_of_room(RoomId(room_id)) == before + 1


def test_many_devices_at_once_lose_nothing(pair: Three) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from murmuration.presence.status import set_status

    _, bob, _ = pair
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: set_status(UserId(bob.user_id), DeviceId(f"D{n}"), "online", None), range(8)))
    item = presence.read(UserId(bob.user_id))
    assert item is not None
    assert set(item["devices"]) == {f"D{n}" for n in range(8)}


def test_ones_own_change_is_shown_to_oneself(pair: Three, work: Work) -> None:
    _, bob, _ = pair
    theirs = Syncing(bob)
    theirs.sync()
    put(bob, "hidden", OLD)
    work(bob)
    assert told(theirs.sync()) == {bob.user_id: "offline"}
    put(bob, "unavailable")
    work(bob)
    assert told(theirs.sync(set_presence="unavailable")) == {bob.user_id: "unavailable"}
