"""State snapshots in storage: their costs, and the collection of unreferenced ones only."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.clock import now_ms
from murmuration.protocol import state_trie
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.protocol.state_trie import NodeId
from murmuration.rooms.lifecycle import collection
from murmuration.rooms.room import Room
from murmuration.rooms.writing import changes
from murmuration.storage.rooms import event_store, room_items, snapshots
from murmuration.storage.rooms.event_store import StoredEvent
from murmuration.storage.rooms.snapshots import StoredNode, Stray
from tests.in_process import Client
from tests.rooms.other_servers import current_state
from tests.rooms.people import create_room, send, set_state
from tests.rooms.receiving.test_receiving import BOB, open_room, soft_failed_fork

Make = Callable[..., Client]
State = dict[tuple[str, str], EventId]
_numbers = itertools.count()


class Clock:
    """The time of all who write and collect, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0
        for module in ("rooms.lifecycle.collection", "rooms.writing.changes", "storage.rooms.snapshots"):
            monkeypatch.setattr(f"murmuration.{module}.now_ms", self.now_ms)

    def now_ms(self) -> int:
        return now_ms() + self.offset

    def pass_grace(self) -> None:
        self.offset += collection.GRACE_MS + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def room_state(size: int) -> State:
    """Return a state with so many members, and the same event IDs each time."""
    source = random.Random(size)
    return {
        ("m.room.member", f"@u{n}:example.org"): EventId(f"${source.randbytes(16).hex()}")
        for n in range(size)
    }


def stored_nodes(room_id: RoomId) -> set[NodeId]:
    return {node.node_id for page in snapshots.read_node_ids(room_id) for node in page}


def read_afresh(room_id: RoomId, root: NodeId) -> State:
    """Return a snapshot read from storage, with empty caches."""
    snapshots._nodes.clear()
    return state_trie.items(root, snapshots.fetch_from(room_id))


def _pick(nodes: Mapping[NodeId, bytes], wanted: Collection[NodeId]) -> Mapping[NodeId, bytes]:
    return {node_id: nodes[node_id] for node_id in wanted}


def strays_of(room_id: str) -> list[Stray]:
    return [stray for stray in snapshots.read_strays() if stray.room_id == room_id]


def store_stray(room_id: RoomId, size: int = 200) -> tuple[NodeId, dict[NodeId, bytes]]:
    """Store the nodes of a writer that stopped before its transaction, and return them."""
    root, nodes = state_trie.build(room_id, room_state(size))
    changes.store_nodes_first(room_id, root, nodes)
    return root, nodes


class TestCosts:
    def test_state_of_a_large_room_takes_two_round_trips(self, deployment: None) -> None:
        room_id = RoomId("!large:example.org")
        state = room_state(1000)
        root, nodes = state_trie.build(room_id, state)
        dynamodb.batch_write(snapshots.node_writes(room_id, nodes))
        snapshots._nodes.clear()
        fetch, asked = snapshots.fetch_from(room_id), []

        def counting(node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
            asked.append(len(node_ids))
            return fetch(node_ids)

        assert state_trie.items(root, counting) == state
        assert len(asked) == 2
        assert max(asked) <= dynamodb.BATCH_GET_LIMIT, "one request each"

    def test_what_a_change_adds_does_not_grow_with_the_room(self) -> None:
        added = {}
        for size in (100, 1_000, 10_000):
            room_id = RoomId(f"!large-{size}:example.org")
            root, nodes = state_trie.build(room_id, room_state(size))
            change: dict[tuple[str, str], EventId | None] = {("m.room.topic", ""): EventId("$" + "A" * 43)}
            known = dict(nodes)
            _, new = state_trie.update(room_id, root, change, functools.partial(_pick, known))
            writes = snapshots.node_writes(room_id, new)
            added[size] = sum(len(node) for node in new.values()), len(writes)
        assert added[10_000][1] <= 3
        assert added[10_000][0] < 6_000
        assert added[10_000][0] < 2.5 * added[1_000][0]

    def test_message_adds_no_node(self, alice: Client) -> None:
        room_id = RoomId(create_room(alice))
        before = stored_nodes(room_id)
        send(alice, room_id)
        assert stored_nodes(room_id) == before


class TestCollecting:
    def test_room_without_strays_is_not_even_looked_at(self, alice: Client, clock: Clock) -> None:
        room_id = create_room(alice)
        set_state(alice, room_id, "m.room.topic", {"topic": "x"})
        assert strays_of(room_id) == []

    def test_what_a_stopped_writer_left_goes_in_three_steps(self, alice: Client, clock: Clock) -> None:
        room_id = RoomId(create_room(alice))
        needed = stored_nodes(room_id)
        _, left = store_stray(room_id)
        assert len(stored_nodes(room_id)) == len(needed) + len(left)
        for deleted in (0, 0, len(left)):
            assert collection.collect_room(room_id, strays_of(room_id)) == deleted
            # Time alone takes it further: a repetition does nothing.
            assert strays_of(room_id) == [] or collection.collect_room(room_id, strays_of(room_id)) == 0
            clock.pass_grace()
        assert stored_nodes(room_id) == needed
        assert strays_of(room_id) == []

    def test_all_that_is_referred_to_stays(self, alice: Client, clock: Clock) -> None:
        mirror, ban, topic = soft_failed_fork(alice)
        refused = mirror.topic(BOB, "after the ban", after=ban)
        mirror.send(ban, topic, refused)
        for number in range(3):
            set_state(alice, mirror.room_id, "m.room.name", {"name": str(number)})
        roots = room_items.read_log_roots(RoomId(mirror.room_id)) | event_store.read_kept_roots(
            RoomId(mirror.room_id)
        )
        assert len(event_store.read_kept_roots(RoomId(mirror.room_id))) == 2
        states = {root: read_afresh(mirror.room_id, root) for root in roots}
        store_stray(mirror.room_id)
        for _ in range(3):
            collection.collect_room(RoomId(mirror.room_id), strays_of(mirror.room_id))
            clock.pass_grace()
        assert {root: read_afresh(mirror.room_id, root) for root in roots} == states
        current_state(mirror.room_id)

    def test_purged_history_frees_its_snapshots(self, alice: Client, clock: Clock) -> None:
        room_id = RoomId(create_room(alice))
        for number in range(6):
            set_state(alice, room_id, "m.room.topic", {"topic": str(number)})
        head = Room.load(room_id).head
        before = stored_nodes(room_id)
        dynamodb.execute(snapshots.stray_write(Stray(room_id, b"purge", now_ms())))
        keys = [room_items.log_key(room_id, ordinal) for ordinal in range(1, head.ordinal)]
        dynamodb.batch_write([dynamodb.delete(room_items.LOG, key) for key in keys])
        for _ in range(3):
            collection.collect_room(room_id, strays_of(room_id))
            clock.pass_grace()
        after = stored_nodes(room_id)
        assert len(after) < len(before)
        assert current_state(room_id) == read_afresh(room_id, head.state_root)
        send(alice, room_id, "and on")

    def test_resolutions_are_forgotten_not_followed(self, alice: Client, clock: Clock) -> None:
        room_id = RoomId(create_room(alice))
        root, _ = store_stray(room_id)
        dynamodb.execute(snapshots.resolution_write(room_id, [b"a", b"b"], root))
        for _ in range(3):
            collection.collect_room(room_id, strays_of(room_id))
            clock.pass_grace()
        assert snapshots.read_resolution(room_id, [b"b", b"a"]) is None
        assert root not in stored_nodes(room_id)

    def test_being_named_anew_begins_anew(self, alice: Client, clock: Clock) -> None:
        room_id = RoomId(create_room(alice))
        store_stray(room_id)
        clock.pass_grace()
        seen = strays_of(room_id)
        collection.collect_room(room_id, seen)
        clock.pass_grace()
        ripe = strays_of(room_id)
        dynamodb.execute(snapshots.stray_write(Stray(room_id, b"purge", clock.now_ms())))
        assert collection.collect_room(room_id, ripe) == 0
        assert len(strays_of(room_id)) == 2
        assert collection.collect_room(room_id, strays_of(room_id)) == 0

    def test_every_room_gets_its_turn(self, alice: Client, clock: Clock) -> None:
        rooms = [RoomId(create_room(alice)) for _ in range(3)]
        left = [len(store_stray(room_id)[1]) for room_id in rooms]
        totals = []
        for _ in range(3):
            totals.append(collection.collect(budget_ms=3_600_000))
            clock.pass_grace()
        assert totals[-1] >= sum(left)
        assert all(strays_of(room_id) == [] for room_id in rooms)


def test_node_written_again_while_it_is_swept_stays(
    alice: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers need exactly the snapshots that are being deleted. None of them loses a node."""
    room_id = RoomId(create_room(alice))
    orphans = [store_stray(room_id, size) for size in range(40, 100, 3)]
    clock.pass_grace()
    collection.collect_room(room_id, strays_of(room_id))
    clock.pass_grace()
    strays, begun = strays_of(room_id), threading.Barrier(5)
    chosen = orphans[::2]

    def write(part: int) -> None:
        begun.wait()
        for root, nodes in chosen[part::4]:
            event = StoredEvent(_any_event(room_id), room_id, "rejected", root)
            dynamodb.transact([*event_store.keep_writes(event), *snapshots.node_writes(room_id, nodes)])

    def list_then_race(room_id: RoomId) -> Iterator[list[StoredNode]]:
        """Let all be listed for deletion before any of it is written again."""
        pages = list(read_node_ids(room_id))
        begun.wait()
        yield from pages

    read_node_ids = snapshots.read_node_ids
    monkeypatch.setattr(snapshots, "read_node_ids", list_then_race)

    def sweep() -> int:
        return collection.collect_room(room_id, strays)

    with ThreadPoolExecutor(5) as threads:
        sweeping = threads.submit(sweep)
        list(threads.map(write, range(4)))
        sweeping.result()
    monkeypatch.undo()
    for root, nodes in chosen:
        assert nodes.keys() <= stored_nodes(room_id)
        assert read_afresh(room_id, root)
    others = {node_id for _, nodes in orphans[1::2] for node_id in nodes}
    needed = {node_id for _, nodes in chosen for node_id in nodes}
    assert not (others - needed) & stored_nodes(room_id)


def _any_event(room_id: str) -> Event:
    pdu: Any = {"type": "x", "room_id": room_id}
    return Event(pdu, ROOM_VERSIONS[RoomId("12")], EventId(f"$collected{next(_numbers)}-{room_id}"))


def test_schedule(alice: Client, clock: Clock) -> None:
    from functions.workers.schedules.collect_snapshots import handler

    mirror = open_room(alice)
    store_stray(mirror.room_id)
    clock.pass_grace()
    handler({"source": "aws.events"}, None)
    assert all(stray.forgotten_ms is not None for stray in strays_of(mirror.room_id))
