"""Devices of other servers' users: looked up, tracked, and clients told when they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murmuration.aws import dynamodb
from murmuration.federation.devices import asking, lists, updates
from murmuration.federation.devices.meeting import note_members
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId
from murmuration.storage.keys import remote_devices
from murmuration.storage.keys.remote_devices import DeviceList, RemoteDevices
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.network import Reply
from tests.federation.peers import Worker
from tests.in_process import Client
from tests.keys.crypto import CrossSigning, KeyPair
from tests.logged_in import log_in
from tests.rooms.other_servers import Mirror
from tests.rooms.people import join, leave

QUERY, CLAIM = "/_matrix/client/v3/keys/query", "/_matrix/client/v3/keys/claim"
SYNC = "/_matrix/client/v3/sync"


def query(client: Client, *users: str, **more: Any) -> Any:
    answer = client.post(QUERY, {"device_keys": {user_id: [] for user_id in users}, **more})
    assert answer.status == 200, answer.json
    return answer.json


def devices(client: Client, user_id: str) -> set[str]:
    found = query(client, user_id)
    assert found["failures"] == {}
    return set(found["device_keys"].get(user_id, {}))


def newest_entry(room: Mirror) -> Any:
    """Return the newest item of the room's log."""
    return dynamodb.query("room-log", "room_id = :room", {":room": room.room_id})[-1]


class Told:
    """What syncs tell a client of devices that changed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._since = client.get(SYNC).json["next_batch"]

    def changed(self) -> set[str]:
        answer = self._client.get(SYNC, since=self._since).json
        self._since = answer["next_batch"]
        return set(answer.get("device_lists", {}).get("changed", []))


@pytest.fixture
def told(alice: Client, room: Mirror) -> Told:
    return Told(alice)


# -- Looking up ------------------------------------------------------------------------------------------


def test_devices_are_asked_for_once(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    elsewhere.log_in("PHONE", "Bob's phone")
    elsewhere.signing = {name: CrossSigning(elsewhere.bob).key(name) for name in ("master", "self_signing")}
    found = query(alice, elsewhere.bob)
    assert found == {
        "device_keys": {
            elsewhere.bob: {
                "PHONE": {**elsewhere.devices["PHONE"], "unsigned": {"device_display_name": "Bob's phone"}}
            }
        },
        "master_keys": {elsewhere.bob: elsewhere.signing["master"]},
        "self_signing_keys": {elsewhere.bob: elsewhere.signing["self_signing"]},
        "user_signing_keys": {},
        "failures": {},
    }
    assert query(alice, elsewhere.bob) == found
    assert elsewhere.asked == ["user", "query"]


def test_who_shares_no_room_is_asked_for_each_time(alice: Client, elsewhere: Elsewhere) -> None:
    elsewhere.log_in("PHONE")
    assert devices(alice, elsewhere.bob) == devices(alice, elsewhere.bob) == {"PHONE"}
    assert elsewhere.asked.count("query") == 2
    assert remote_devices.read_lists([UserId(elsewhere.bob)]) == {}


def test_a_server_that_fails_is_named_and_spoils_no_other(
    alice: Client, elsewhere: Elsewhere, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    dead = make_elsewhere()
    dead.silent = True
    elsewhere.log_in("PHONE")
    found = query(alice, elsewhere.bob, dead.bob, alice.user_id, "@x:nowhere.example", timeout=5000)
    assert set(found["device_keys"]) == {elsewhere.bob, alice.user_id}
    assert set(found["failures"]) == {dead.name, "nowhere.example"}
    assert found["failures"][dead.name]["errcode"] == "M_UNAVAILABLE"


def test_answers_of_many_servers_fill_no_more_than_the_memory_for_them(
    alice: Client,
    elsewhere: Elsewhere,
    make_elsewhere: Callable[[], Elsewhere],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server whose answer doesn't fit beside the others' is one that failed."""
    large = make_elsewhere()
    large.lies["user"] = Reply({"device_keys": {}, "padding": "x" * 100_000})
    elsewhere.log_in("PHONE")
    monkeypatch.setattr(asking, "MOST_BYTES", 50_000)
    found = query(alice, elsewhere.bob, large.bob)
    assert set(found["device_keys"][elsewhere.bob]) == {"PHONE"}
    assert set(found["failures"]) == {large.name}
    monkeypatch.setattr(asking, "MOST_BYTES", 200_000)
    assert query(alice, large.bob, elsewhere.bob)["failures"] == {}


def test_what_was_known_is_given_while_a_server_is_away(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    assert devices(alice, elsewhere.bob) == {"PHONE"}
    remote_devices.mark_stale(UserId(elsewhere.bob))
    elsewhere.silent = True
    found = query(alice, elsewhere.bob)
    assert set(found["device_keys"][elsewhere.bob]) == {"PHONE"}
    assert set(found["failures"]) == {elsewhere.name}


@pytest.mark.parametrize(
    "lie",
    [
        Reply({"errcode": "M_FORBIDDEN", "error": "no"}, 403),
        Reply(b"not JSON"),
        [],
        {},
        {"device_keys": []},
        {"device_keys": {"@bob": 1}, "master_keys": 5},
    ],
)
def test_answers_that_make_no_sense(alice: Client, elsewhere: Elsewhere, lie: Any) -> None:
    elsewhere.lies["user"] = lie
    found = query(alice, elsewhere.bob)
    assert not any(found["device_keys"].values())
    assert found["master_keys"] == {}


def test_only_what_is_the_users_own_counts(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    elsewhere.log_in("PHONE")
    other = f"@mallory:{elsewhere.name}"
    elsewhere.devices["BAD"] = {**elsewhere.devices["PHONE"], "device_id": "ANOTHER"}
    elsewhere.devices["HUGE"] = {**elsewhere.devices["PHONE"], "device_id": "HUGE", "x": "x" * 10_000}
    wrong: dict[str, dict[str, Any]] = {
        "KEY": {"keys": {"ed25519:KEY": 5}},
        "ALGORITHM": {"algorithms": [5]},
        "SIGNATURE": {"signatures": {elsewhere.bob: {"ed25519:SIGNATURE": 5}}},
        "SIGNATURES": {"signatures": {elsewhere.bob: None}},
    }
    for name, change in wrong.items():
        elsewhere.devices[name] = {**elsewhere.devices["PHONE"], "device_id": name, **change}
    elsewhere.signing = {"master": {**CrossSigning(other).key("master")}}
    found = query(alice, elsewhere.bob)
    assert set(found["device_keys"][elsewhere.bob]) == {"PHONE"}
    assert found["master_keys"] == {}


def test_keys_are_claimed_elsewhere(
    alice: Client, elsewhere: Elsewhere, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    dead = make_elsewhere()
    dead.silent = True
    key = {"signed_curve25519:AA": {"key": "abc", "signatures": {}}}
    bad = {"signed_curve25519:AA": {"key": "abc", "signatures": {elsewhere.bob: {"ed25519:BAD": None}}}}
    elsewhere.one_time = {"PHONE": key, "ODD": {"curve25519:A": "not what was asked for"}, "BAD": bad}
    wanted = {
        elsewhere.bob: {
            "PHONE": "signed_curve25519",
            "NONE": "signed_curve25519",
            "ODD": "signed_curve25519",
            "BAD": "signed_curve25519",
        },
        dead.bob: {"PHONE": "signed_curve25519"},
    }
    answer = alice.post(CLAIM, {"one_time_keys": wanted, "timeout": 5000}).json
    assert answer["one_time_keys"] == {elsewhere.bob: {"PHONE": key}}
    assert set(answer["failures"]) == {dead.name}


def test_a_timeout_must_be_a_number(alice: Client) -> None:
    for path, name in ((QUERY, "device_keys"), (CLAIM, "one_time_keys")):
        assert alice.post(path, {name: {}, "timeout": "soon"}).json["errcode"] == "M_BAD_JSON"


# -- Being told ------------------------------------------------------------------------------------------


def test_updates_that_follow_are_applied(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    remote_devices.begin(UserId(elsewhere.bob))
    worker.run()
    assert devices(alice, elsewhere.bob) == {"PHONE"}
    # The first update after a question has no known one before it: all is asked for.
    assert elsewhere.tell(elsewhere.log_in("TABLET")).status == 200
    worker.run()
    assert elsewhere.asked.count("devices") == 1
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET"}
    first, second = elsewhere.log_in("LAPTOP", "Bob's laptop"), elsewhere.log_out("PHONE")
    assert elsewhere.tell(first, second).status == 200
    assert worker.run() == 0
    assert told.changed() == {elsewhere.bob}
    found = query(alice, elsewhere.bob)["device_keys"][elsewhere.bob]
    assert set(found) == {"TABLET", "LAPTOP"}
    assert found["LAPTOP"]["unsigned"] == {"device_display_name": "Bob's laptop"}
    elsewhere.tell(first, second)
    assert (worker.run(), told.changed()) == (0, set()), "a repetition says nothing new"
    assert elsewhere.asked.count("devices") == 1


def test_a_restored_server_uses_ids_again(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    elsewhere.tell(elsewhere.log_in("TABLET"))  # all is asked for, so this ID is known
    worker.run()
    elsewhere.tell(elsewhere.log_in("LOST"))
    assert worker.run() == 0
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET", "LOST"}
    del elsewhere.devices["LOST"]
    elsewhere.stream_id -= 1
    elsewhere.tell(elsewhere.log_in("LAPTOP"))
    assert worker.run() == 1
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET", "LAPTOP"}


def test_some_servers_only_say_that_something_changed(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    """As servers of Conduit's family do: always the same update, of a device that doesn't exist."""
    elsewhere.stream_id = 1
    hint = {"user_id": elsewhere.bob, "device_id": "placeholder", "stream_id": 1, "prev_id": []}
    known: set[str] = set()
    for device_id in "ABC":
        elsewhere.log_in(device_id)
        elsewhere.stream_id = 1
        if not known:
            devices(alice, elsewhere.bob)
        known.add(device_id)
        elsewhere.tell(hint)
        assert worker.run() == 1
        assert told.changed() == (set() if device_id == "A" else {elsewhere.bob})
        assert devices(alice, elsewhere.bob) == known


def test_what_doesnt_follow_has_all_asked_for(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    elsewhere.log_in("LOST")
    elsewhere.silent = True
    elsewhere.tell(elsewhere.log_in("TABLET"))
    assert worker.run() == 1
    assert told.changed() == set()
    elsewhere.silent = False
    assert worker.retry() == 0, "not before its time"
    elsewhere.tell(elsewhere.log_in("LAPTOP"))
    assert worker.run() == 1
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "LOST", "TABLET", "LAPTOP"}
    assert elsewhere.asked.count("query") == 1


def test_a_parked_list_is_asked_for_again(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration import clock
    from murmuration.federation.requests import health
    from murmuration.storage import parked
    from murmuration.storage.servers import parked_device_lists

    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    elsewhere.silent = True
    elsewhere.tell({**elsewhere.log_in("TABLET"), "prev_id": []})
    worker.run()
    elsewhere.silent = False
    health.well(ServerName(elsewhere.name))
    for module in (parked_device_lists, parked):
        monkeypatch.setattr(module, "now_ms", lambda: clock.now_ms() + 120_000)
    assert worker.retry() == 1
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET"}
    assert worker.retry() == 0


@pytest.mark.parametrize("kind", ["m.signing_key_update", "org.matrix.signing_key_update"])
def test_signing_keys(alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker, kind: str) -> None:
    elsewhere.log_in("PHONE")
    elsewhere.signing = {name: CrossSigning(elsewhere.bob).key(name) for name in ("master", "self_signing")}
    query(alice, elsewhere.bob)
    keys = CrossSigning(elsewhere.bob)
    elsewhere.tell({"user_id": elsewhere.bob, "master_key": keys.key("master")}, kind=kind)
    assert told.changed() == {elsewhere.bob}
    found = query(alice, elsewhere.bob)
    assert found["master_keys"] == {elsewhere.bob: keys.key("master")}
    assert found["self_signing_keys"] == {}, "the old master key had signed it"
    elsewhere.tell({"user_id": elsewhere.bob, "self_signing_key": keys.key("self_signing")}, kind=kind)
    assert told.changed() == {elsewhere.bob}
    assert query(alice, elsewhere.bob)["self_signing_keys"] == {elsewhere.bob: keys.key("self_signing")}
    assert worker.run() == 0


def test_nobody_speaks_for_another_servers_user(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    update = elsewhere.log_in("TABLET")
    assert make_elsewhere().tell(update, {"user_id": 5}, {}).status == 200
    assert (worker.run(), told.changed()) == (0, set())


def test_whom_nobody_tracks_costs_nothing(elsewhere: Elsewhere, room: Mirror, worker: Worker) -> None:
    elsewhere.tell(elsewhere.log_in("PHONE"))
    assert worker.run() == 0
    assert remote_devices.read_lists([UserId(elsewhere.bob)]) == {}


def test_an_update_while_a_server_is_asked_is_not_lost(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    old = elsewhere._answer("user", ["keys", "query"], {}, {"device_keys": {elsewhere.bob: []}})

    def update_first() -> Any:
        del elsewhere.lies["user"]
        elsewhere.tell(elsewhere.log_in("TABLET"))
        return old

    elsewhere.lies["user"] = update_first
    assert devices(alice, elsewhere.bob) == {"PHONE"}
    worker.run()
    assert told.changed() == {elsewhere.bob}
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET"}


def test_each_who_asked_is_told_and_stays_told_of(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker, fresh_user_id: Callable[[str], str]
) -> None:
    carol = log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))
    dora = log_in(UserId(fresh_user_id("dora")), DeviceId("DORA"))
    for client in (carol, dora):
        join(client, room.room_id)
    people = [Told(client) for client in (alice, carol, dora)]
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    devices(carol, elsewhere.bob)
    for device_id in ("A", "B"):
        elsewhere.tell(elsewhere.log_in(device_id))
        worker.run()
        assert [who.changed() for who in people] == [{elsewhere.bob}, {elsewhere.bob}, set()]
        devices(alice, elsewhere.bob)
        devices(carol, elsewhere.bob)
    elsewhere.tell(elsewhere.log_in("C"))
    devices(carol, elsewhere.bob)
    elsewhere.tell(elsewhere.log_in("D"))
    assert [who.changed() for who in people] == [{elsewhere.bob}, {elsewhere.bob}, set()]
    assert devices(alice, elsewhere.bob) == {"PHONE", "A", "B", "C", "D"}


def test_who_stopped_before_telling_is_made_up_for(
    alice: Client, elsewhere: Elsewhere, told: Told, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    remote_devices.mark_stale(UserId(elsewhere.bob))
    elsewhere.tell(elsewhere.log_in("TABLET"))
    worker.run()
    devices(alice, elsewhere.bob)
    told.changed()
    update = elsewhere.log_in("LAPTOP")
    with monkeypatch.context() as patch:
        patch.setattr(lists, "record_private_change", lambda *_: (_ for _ in ()).throw(TimeoutError))
        assert elsewhere.tell(update).status == 500
    assert told.changed() == set()
    assert elsewhere.tell(update).status == 200
    assert told.changed() == {elsewhere.bob}


def test_who_comes_and_goes_is_asked_for_anew(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker
) -> None:
    elsewhere.log_in("PHONE")
    devices(alice, elsewhere.bob)
    elsewhere.send(room.member(elsewhere.bob, elsewhere.bob, "leave"))
    worker.run()
    note_members([newest_entry(room)])
    assert worker.run() == 1
    assert remote_devices.read_lists([UserId(elsewhere.bob)]) == {}, "nobody shares a room with Bob"
    elsewhere.log_in("TABLET")
    elsewhere.send(room.member(elsewhere.bob, elsewhere.bob, "join"))
    worker.run()
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET"}
    leave(alice, room.room_id)


def test_who_was_in_our_last_room_is_asked_for_anew(
    alice: Client, elsewhere: Elsewhere, room: Mirror, worker: Worker, fresh_user_id: Callable[[str], str]
) -> None:
    """Bob's server doesn't tell us of changes while we share no room with him. So the known devices may be
    wrong.
    """
    carol = log_in(UserId(fresh_user_id("carol")), DeviceId("CAROL"))
    join(carol, room.room_id)
    elsewhere.log_in("PHONE")
    assert devices(alice, elsewhere.bob) == {"PHONE"}
    leave(carol, room.room_id)
    note_members([newest_entry(room)])
    assert worker.run() == 0, "alice is there still"
    leave(alice, room.room_id)
    note_members([newest_entry(room)])
    elsewhere.log_in("TABLET")
    assert devices(alice, elsewhere.bob) == {"PHONE", "TABLET"}
    assert worker.run() == 1
    assert remote_devices.read_lists([UserId(elsewhere.bob)]) == {}


def test_signatures_on_another_servers_user(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    own, bobs = CrossSigning(alice.user_id), CrossSigning(elsewhere.bob)
    assert alice.post("/_matrix/client/v3/keys/device_signing/upload", own.body()).status == 200
    elsewhere.log_in("PHONE")
    elsewhere.signing = {"master": bobs.key("master")}
    query(alice, elsewhere.bob)
    signed = own.user_signing.sign(alice.user_id, bobs.key("master"))
    body = {elsewhere.bob: {bobs.master.public: signed}}
    assert alice.post("/_matrix/client/v3/keys/signatures/upload", body).json == {"failures": {}}
    found = query(alice, elsewhere.bob)["master_keys"][elsewhere.bob]
    assert found["signatures"][alice.user_id] == signed["signatures"][alice.user_id]


# -- The chain of updates --------------------------------------------------------------------------------

DEVICES = st.sampled_from(["A", "B", "C"])


@given(st.lists(st.tuples(DEVICES, st.booleans()), max_size=20), st.data())
@settings(max_examples=60)
def test_whatever_is_lost_is_noticed(changes: list[tuple[str, bool]], data: st.DataObject) -> None:
    """Updates in order result in the sender's devices. A gap is always noticed."""
    bob = UserId("@bob:elsewhere.example")
    pairs = {name: KeyPair(name) for name in "ABC"}
    theirs: dict[str, Any] = {}
    known = RemoteDevices(), [1]
    is_whole = True
    for stream_id, (device_id, is_there) in enumerate(changes, start=2):
        update: dict[str, Any] = {
            "user_id": bob,
            "device_id": device_id,
            "stream_id": stream_id,
            "prev_id": [stream_id - 1],
        }
        if is_there:
            keys = pairs[device_id].sign(
                bob, {"user_id": bob, "device_id": device_id, "algorithms": [], "keys": {"n": str(stream_id)}}
            )
            theirs[device_id] = update["keys"] = keys
        else:
            theirs.pop(device_id, None)
            update["deleted"] = True
        if data.draw(st.integers(0, 9)) == 0:
            is_whole = False
            continue
        found = DeviceList(bob, 1, True, tuple(known[1]), known[0].encode(), 0, False)
        after = updates._after(found, [update, update], updates._with_update)
        assert (after is not None) == is_whole
        if after is None:
            return
        known = after
        assert known[0].devices == theirs
