"""A room's member index is correct after every change, and is built for rooms that lack it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.federation.inbound.backfilling import backfill
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.names import policy
from murmuration.protocol.errors import NotFound
from murmuration.protocol.identifiers import RoomId, ServerName, UserId, server_of
from murmuration.rooms.membership.restricted_joins import authorising_user
from murmuration.rooms.reading import servers
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, append
from murmuration.settings import settings
from murmuration.storage.rooms import empty_rooms, local_members, member_index, room_items
from murmuration.storage.rooms.room_items import ROOMS, RoomHead
from tests.budgets.meter import Meter
from tests.budgets.operations import forget
from tests.conftest import SERVER_NAME
from tests.in_process import Client
from tests.rooms.large_rooms import fill
from tests.rooms.other_servers import OTHER, Mirror
from tests.rooms.people import V3, create_room, invite, join, leave, ok, path, refused, send, set_state
from tests.rooms.receiving.test_receiving import BOB, CAROL, EVE, open_room

Make = Callable[..., Client]
ENCRYPTED = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


def check_index(room_id: RoomId) -> RoomHead:
    """Check that the index says what the member events say."""
    head = Room.load(room_id).head
    events = room_items.read_state_of_type(room_id, head.version, "m.room.member")
    present = {
        it.event.member_id: it.event.membership for it in events if it.event.membership in ("join", "invite")
    }
    joined = {user_id for user_id, membership in present.items() if membership == "join"}
    local = [kind for user_id, kind in present.items() if user_id.endswith(f":{SERVER_NAME}")]
    assert head.is_indexed
    assert set(member_index.read_present(head)) == joined
    assert set(member_index.read_present(head, memberships=("join", "invite"))) == set(present)
    assert (head.local_joined, head.local_invited) == (local.count("join"), local.count("invite"))
    counts = Counter(server_of(user_id) for user_id in joined)
    counts.pop(ServerName(SERVER_NAME), None)
    assert member_index.read_servers(head) == counts
    for server in [*counts, ServerName("nobody.example")]:
        assert member_index.is_server_joined(head, server) == (server in counts)
    return head


def unindex(room_id: RoomId) -> None:
    """Make the room one from before there was an index."""
    items = dynamodb.query(ROOMS, "room_id = :room", {":room": room_id}, attributes=("room_id", "sk"))
    gone = [item for item in items if item["sk"].startswith(("present#", "server#"))]
    dynamodb.batch_write([dynamodb.delete(ROOMS, item) for item in gone])
    dynamodb.execute(
        dynamodb.update(ROOMS, room_items.head_key(room_id), "REMOVE local_joined, local_invited, federated")
    )


def test_index_follows_every_change_of_membership(alice: Client, bob: Client, make_client: Make) -> None:
    carol = make_client("carol")
    mirror = open_room(alice)
    room_id = mirror.room_id
    check_index(room_id)
    invite(alice, room_id, carol)
    check_index(room_id)
    ok(carol.post(path(room_id, "leave")))
    join(bob, room_id)
    mirror.catch_up()
    mirror.send(mirror.member(CAROL, CAROL, "join"), mirror.member(EVE, EVE, "join"))
    check_index(room_id)
    ok(bob.put(f"{V3}/profile/{bob.user_id}/displayname", {"displayname": "Bobby"}))
    mirror.send(mirror.member(BOB, BOB, "leave"))
    ok(alice.post(path(room_id, "ban"), {"user_id": EVE}))
    head = check_index(room_id)
    assert member_index.read_servers(head) == {OTHER: 1}
    assert set(member_index.read_local(head)) == {alice.user_id, bob.user_id}
    ok(alice.post(path(room_id, "ban"), {"user_id": CAROL}))
    head = check_index(room_id)
    assert (member_index.read_servers(head), head.federated) == ({}, True)


def test_resolution_of_forks_is_indexed(alice: Client) -> None:
    mirror = open_room(alice, admins=(BOB,))
    base = mirror.newest()
    ban = mirror.member(BOB, CAROL, "ban", after=base)
    joins = [mirror.member(user_id, user_id, "join", after=base) for user_id in (CAROL, EVE)]
    mirror.send(*joins)
    check_index(mirror.room_id)
    mirror.send(ban)
    assert set(member_index.read_servers(check_index(mirror.room_id))) == {OTHER, "third.example"}


@pytest.mark.parametrize("version", ["1", "11"])
def test_old_room_gets_its_index_with_the_next_event(alice: Client, bob: Client, version: str) -> None:
    mirror = open_room(alice, version)
    invite(alice, mirror.room_id, bob)
    unindex(mirror.room_id)
    before = Room.load(RoomId(mirror.room_id)).head
    assert (before.is_indexed, before.is_empty, before.is_resident) == (False, False, True)
    assert member_index.read_local(before) == [alice.user_id]
    assert member_index.read_servers(before) == {OTHER: 1}
    assert local_members.members_at(RoomId(mirror.room_id), None) == (alice.user_id,)
    send(alice, mirror.room_id)
    assert check_index(mirror.room_id).federated
    join(bob, mirror.room_id)
    check_index(mirror.room_id)


def test_index_is_built_of_one_state(alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that builds it from an old state is refused, and its leftovers are deleted."""
    room_id = RoomId(create_room(alice, preset="public_chat"))
    join(bob, room_id)
    unindex(room_id)
    late = Room.load(room_id).head
    with monkeypatch.context() as patch:
        patch.setattr(room_items, "indexed_write", lambda *_, **__: room_items.unindexed_check(late))
        with pytest.raises(Exception, match=r".*"):
            member_index.build(late)  # stopped before it was done
    leave(bob, room_id)
    check_index(room_id)
    with pytest.raises(ConditionFailed):
        member_index.build(late)
    check_index(room_id)


def test_servers_by_which_to_join(alice: Client) -> None:
    mirror = open_room(alice)
    mirror.send(mirror.member(CAROL, CAROL, "join"), mirror.member(EVE, EVE, "join"))
    room = Room.load(RoomId(mirror.room_id))
    assert servers.servers_in_room(room) == [OTHER, SERVER_NAME, "third.example"]
    assert servers.via(room) == [SERVER_NAME, OTHER, "third.example"]
    assert servers.via(room, limit=2) == [SERVER_NAME, OTHER]


def test_remote_user_who_leaves_one_of_two_shared_rooms_is_still_tracked(alice: Client) -> None:
    """`device_lists.left` depends on the rooms, since membership rows are kept for local users only."""
    first, second = (open_room(alice, initial_state=[ENCRYPTED]) for _ in range(2))
    since = ok(alice.get(f"{V3}/sync"))["next_batch"]
    first.send(first.member(BOB, BOB, "leave"))
    answer = ok(alice.get(f"{V3}/sync", since=since))
    assert answer.get("device_lists", {}).get("left", []) == []
    second.send(second.member(BOB, BOB, "leave"))
    answer = ok(alice.get(f"{V3}/sync", since=answer["next_batch"]))
    assert answer["device_lists"]["left"] == [BOB]


class TestResidency:
    def test_nothing_is_accepted_into_a_room_that_all_of_ours_left(self, alice: Client) -> None:
        mirror = open_room(alice)
        leave(alice, mirror.room_id)
        mirror.catch_up()
        before = Room.load(RoomId(mirror.room_id)).head
        said = mirror.message(BOB, "unheard")
        with pytest.raises(NotFound):
            receive(RoomId(mirror.room_id), said.pdu, mirror)
        with pytest.raises(NotFound):
            backfill(RoomId(mirror.room_id), [said.pdu], mirror)
        assert Room.load(RoomId(mirror.room_id)).head == before
        assert not before.is_resident

    def test_no_local_join_on_stale_state(
        self, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With federation off no other server can help, and nothing is written."""
        monkeypatch.setattr(policy, "settings", lambda: replace(settings(), federation=False))
        mirror = open_room(alice)
        leave(alice, mirror.room_id)
        before = Room.load(RoomId(mirror.room_id)).head
        refused(bob.post(path(mirror.room_id, "join")), 403, "M_FORBIDDEN")
        refused(alice.post(f"{V3}/knock/{mirror.room_id}"), 403, "M_FORBIDDEN")
        assert Room.load(RoomId(mirror.room_id)).head == before

    def test_room_of_local_users_alone_may_be_joined_again(self, alice: Client, bob: Client) -> None:
        room_id = RoomId(create_room(alice, preset="public_chat"))
        leave(alice, room_id)
        join(bob, room_id)
        assert check_index(room_id).is_resident

    def test_an_invite_to_a_room_left_by_ours_can_be_rejected(self, alice: Client, bob: Client) -> None:
        mirror = open_room(alice)
        invite(alice, mirror.room_id, bob)
        leave(alice, mirror.room_id)
        assert not Room.load(RoomId(mirror.room_id)).head.is_empty
        leave(bob, mirror.room_id)
        assert Room.load(RoomId(mirror.room_id)).head.is_empty

    def test_room_without_ours_is_empty_however_many_others_there_are(self, alice: Client) -> None:
        mirror = open_room(alice)
        leave(alice, mirror.room_id)
        (mark,) = [room for room in empty_rooms.read_all() if room.room_id == mirror.room_id]
        assert Room.load(RoomId(mirror.room_id)).head.joined == 1
        empty_rooms.bury(mark, 1)
        assert room_items.read_head(RoomId(mirror.room_id)) is None


@pytest.fixture
def large(alice: Client) -> Mirror:
    """Return a room of Alice's with 10,000 members of 800 other servers, which no process remembers."""
    mirror = open_room(alice, join_rule="public")
    fill(mirror.room_id, 10_000)
    forget()
    return mirror


def costs(work: Callable[[], object]) -> tuple[int, float, float]:
    forget()
    with Meter() as meter:
        work()
    return meter.spent.round_trips, meter.spent.read_units, meter.spent.write_units


def test_nothing_reads_all_members_of_a_large_room(alice: Client, large: Mirror, bob: Client) -> None:
    room_id = RoomId(large.room_id)
    since = ok(alice.get(f"{V3}/sync"))["next_batch"]
    head = Room.load(room_id).head
    assert costs(lambda: local_members.members_at(room_id, head.state_root))[1] <= 3
    assert costs(lambda: member_index.is_server_joined(head, ServerName("s7.example")))[1] <= 1
    assert member_index.is_server_joined(head, ServerName("s7.example"))
    assert costs(lambda: member_index.read_servers(head))[1] <= 25
    assert len(member_index.read_servers(head)) == 801
    set_state(alice, room_id, "m.room.join_rules", {"join_rule": "restricted", "allow": []})
    other = create_room(alice, preset="public_chat")
    join(bob, other)
    allow = [{"type": "m.room_membership", "room_id": other}]
    set_state(alice, room_id, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    found: list[str | None] = []

    def authorise() -> None:
        append(room_id, lambda batch: found.append(_authorise(batch, UserId(bob.user_id))))

    assert costs(authorise)[1] <= 20
    assert found == [alice.user_id]
    set_state(alice, room_id, "m.room.policy", {"via": "s7.example", "public_key": "A" * 43})
    large.catch_up()
    lazy = '{"room": {"state": {"lazy_load_members": true}}}'
    assert costs(lambda: ok(alice.get(f"{V3}/sync", filter=lazy)))[1] <= 100
    assert costs(lambda: ok(alice.get(f"{V3}/sync", since=since, filter=lazy)))[1] <= 60


def _authorise(batch: Append, user_id: UserId) -> str | None:
    return authorising_user(batch, user_id)


def test_budget_of_a_received_message(large: Mirror) -> None:
    large.send(large.message(BOB, "x" * 500))
    said = large.message(BOB, "x" * 500)
    with Meter() as meter:
        assert receive(RoomId(large.room_id), said.pdu, large).kind == "accepted"
    spent = meter.spent
    assert (spent.round_trips <= 5, spent.read_units <= 12, spent.write_units <= 8) == (True,) * 3, str(spent)


def test_budget_of_a_received_join(large: Mirror) -> None:
    large.send(large.message(BOB, "first"))
    joined = large.member(UserId("@new:s5.example"), "@new:s5.example", "join")
    with Meter() as meter:
        assert receive(RoomId(large.room_id), joined.pdu, large).kind == "accepted"
    spent = meter.spent
    assert (spent.round_trips <= 8, spent.read_units <= 25, spent.write_units <= 20) == (True,) * 3, str(
        spent
    )
    assert member_index.read_servers(Room.load(RoomId(large.room_id)).head)[ServerName("s5.example")] == 14
