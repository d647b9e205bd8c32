"""The state trie against a plain dict, and the promises that storage builds on: form, sharing, costs."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murmuration.protocol import state_trie
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.protocol.state_trie import EMPTY, NodeId, StateKey

ROOM = RoomId("!room:example.org")


class Store:
    """The nodes a caller has put, counting its reads."""

    def __init__(self, *puts: Mapping[NodeId, bytes]) -> None:
        self.nodes: dict[NodeId, bytes] = {}
        self.levels: list[int] = []
        for put in puts:
            self.nodes |= put

    def fetch(self, node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
        assert len(set(node_ids)) == len(node_ids), "a node asked for twice in one level"
        self.levels.append(len(node_ids))
        return {node_id: self.nodes[node_id] for node_id in node_ids if node_id in self.nodes}

    def forget_reads(self) -> None:
        self.levels = []

    def build(self, state: Mapping[StateKey, EventId], room_id: RoomId = ROOM) -> NodeId:
        root, nodes = state_trie.build(room_id, state)
        self.nodes |= nodes
        return root

    def update(
        self, root: NodeId, changes: Mapping[StateKey, EventId | None]
    ) -> tuple[NodeId, dict[NodeId, bytes]]:
        new_root, nodes = state_trie.update(ROOM, root, changes, self.fetch)
        self.nodes |= nodes
        return new_root, nodes


def event_id(seed: object) -> EventId:
    return EventId("$" + urlsafe_b64encode(sha256(repr(seed).encode()).digest()).decode().rstrip("="))


def room_of(size: int) -> dict[StateKey, EventId]:
    keys = [
        ("m.room.create", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        *(("m.room.member", f"@user{number}:example.org") for number in range(size - 4)),
    ]
    return {key: event_id(key) for key in keys}


def after(
    state: Mapping[StateKey, EventId], changes: Mapping[StateKey, EventId | None]
) -> dict[StateKey, EventId]:
    changed = {**state, **changes}
    return {key: event for key, event in changed.items() if event is not None}


# Few names, so that changes hit, and strange ones.
state_keys = st.tuples(
    st.sampled_from(["m.room.member", "m.room.create", "t", ""]),
    st.one_of(
        st.integers(0, 120).map(lambda number: f"@u{number}:x"), st.text(max_size=4), st.just("\ud800")
    ),
)
event_ids = st.one_of(
    st.integers(0, 999).map(event_id),
    st.sampled_from(
        ["$1:example.org", "$" + "+/" * 21 + "A", "$" + "A" * 42 + "B", "$é" + "A" * 42, "$" + "." * 43]
    ),
)
states = st.dictionaries(state_keys, event_ids, max_size=200)
changes_of_state = st.dictionaries(state_keys, st.one_of(event_ids, st.none()), max_size=150)


class TestAgainstADict:
    @given(states)
    def test_what_is_built_can_be_read(self, state):
        store = Store()
        assert state_trie.items(store.build(state), store.fetch) == state

    @given(states, st.lists(changes_of_state, max_size=4))
    def test_updates_do_as_a_dict_does_and_keep_the_form(self, state, rounds):
        store = Store()
        root = store.build(state)
        for changes in rounds:
            state = after(state, changes)
            root, _ = store.update(root, changes)
            assert state_trie.items(root, store.fetch) == state
            assert root == Store().build(state)

    @given(states, st.lists(state_keys, max_size=20))
    def test_get_finds_what_is_there(self, state, keys):
        store = Store()
        root = store.build(state)
        keys += list(state)[:5]
        assert state_trie.get(root, keys, store.fetch) == {key: state[key] for key in keys if key in state}

    @given(states, st.lists(changes_of_state, min_size=1, max_size=3), st.booleans())
    def test_conflicts_are_the_keys_that_differ(self, state, branches, unrelated):
        store = Store()
        maps = [state, *(({} if unrelated else state) | after({}, changes) for changes in branches)]
        roots = [store.build(each) for each in maps]
        every = {key: tuple(each.get(key) for each in maps) for each in maps for key in each}
        expected = {key: events for key, events in every.items() if len(set(events)) > 1}
        assert state_trie.conflicts(roots, store.fetch) == expected
        pair = state_trie.diff(roots[0], roots[1], store.fetch)
        assert pair == {
            key: (state.get(key), maps[1].get(key))
            for key in {**state, **maps[1]}
            if state.get(key) != maps[1].get(key)
        }


class TestForm:
    @settings(max_examples=20)
    @given(st.integers(0, 2**32), st.sampled_from([33, 70, 2100]))
    def test_the_root_does_not_depend_on_the_order_of_changes(self, seed, size):
        """The trie grows in one order and shrinks in another, through the sizes at which nodes split and
        merge.
        """
        shuffle = random.Random(seed)
        state = room_of(size)
        keys = list(state)
        shuffle.shuffle(keys)
        extra = {
            ("m.room.member", f"@extra{number}:x"): event_id(number)
            for number in range(shuffle.randrange(60))
        }
        store = Store()
        root = EMPTY
        cut = shuffle.randrange(size)
        for part in (keys[:cut], keys[cut:]):
            root, _ = store.update(root, {key: state[key] for key in part})
        assert root == store.build(state)
        root, _ = store.update(root, extra)
        assert root == store.build({**state, **extra})
        root, _ = store.update(root, dict.fromkeys(extra))
        assert root == store.build(state)
        gone = keys[: shuffle.randrange(min(size, 60))]
        root, _ = store.update(root, dict.fromkeys(gone))
        assert root == store.build({key: state[key] for key in keys if key not in gone})

    @pytest.mark.parametrize("edge", [32, 2048])
    def test_a_map_can_cross_a_rank_one_entry_at_a_time(self, edge):
        store = Store()
        state = room_of(edge)
        root = small = store.build(state)
        more = [("m.room.member", f"@late{number}:x") for number in range(3)]
        for key in more:
            root, _ = store.update(root, {key: event_id(key)})
        assert root == store.build({**state, **{key: event_id(key) for key in more}})
        for key in more:
            root, _ = store.update(root, {key: None})
        assert root == small

    def test_the_empty_map_needs_no_node(self):
        store = Store()
        assert state_trie.build(ROOM, {}) == (EMPTY, {})
        assert state_trie.items(EMPTY, store.fetch) == {}
        assert state_trie.get(EMPTY, [("a", "")], store.fetch) == {}
        root = store.build(room_of(40))
        assert store.update(root, dict.fromkeys(room_of(40))) == (EMPTY, {})
        store.forget_reads()
        assert state_trie.conflicts([EMPTY, EMPTY], store.fetch) == {}
        assert state_trie.conflicts([], store.fetch) == {}
        assert store.levels == []

    def test_up_to_32_entries_are_one_node(self):
        assert len(state_trie.build(ROOM, room_of(32))[1]) == 1
        assert len(state_trie.build(ROOM, room_of(33))[1]) == 3

    def test_rooms_never_share_nodes(self):
        state = room_of(1000)
        _, here = state_trie.build(ROOM, state)
        _, there = state_trie.build(RoomId("!other:example.org"), state)
        assert not here.keys() & there.keys()

    def test_the_stored_form_does_not_change(self):
        """Roots are kept for the life of a room. If this fails, stored rooms can't be read or compared."""
        root, _ = state_trie.build(ROOM, room_of(100))
        assert root.hex() == "cad24ba5181fe3ebb83400e0e58d43a5c69bdbfd"
        root, _ = state_trie.build(ROOM, {("m.room.create", ""): EventId("$1:example.org")})
        assert root.hex() == "88b8bfb2824f3718a3013bb59135056b200bfbc7"
        stored = bytes.fromhex(
            "4cabc66b24f92ec4744c2d008ff165e9623a57b9f42f08e0e816b7d493a16b0144b46c63493bed6825b859a019ef368abb1a00bd47fed647cb64281fa351b5881d716dc839b243c065a118f8d420a475922c1e4bc318dfefabe70c9ee1b7a9a1e66bce1aede9b3474cdf6aa9b445fe8f1b7637c743c94bede0398ee4c678f54cf8e949976bd92e498df37497"
        )
        assert state_trie.items(b"x", lambda _: {b"x": stored}) == room_of(4)

    def test_type_and_state_key_are_not_confused(self):
        state = {("ab", "c"): event_id(1), ("a", "bc"): event_id(2), ("", "abc"): event_id(3)}
        store = Store()
        root = store.build(state)
        assert state_trie.get(root, state, store.fetch) == state
        assert state_trie.get(root, [("abc", "")], store.fetch) == {}


class TestCosts:
    @pytest.mark.parametrize(
        ("size", "levels"), [(8, 1), (32, 1), (33, 2), (1000, 2), (2048, 2), (10_000, 3)]
    )
    def test_levels_by_size(self, size, levels):
        store = Store()
        root = store.build(room_of(size))
        state_trie.get(root, [("m.room.create", ""), ("m.room.member", "@user1:example.org")], store.fetch)
        assert len(store.levels) == levels
        store.forget_reads()
        state_trie.items(root, store.fetch)
        assert len(store.levels) == levels

    def test_a_change_at_10_000_entries_writes_a_path(self):
        store = Store()
        state = room_of(10_000)
        root = store.build(state)
        for number in range(50):
            key = ("m.room.member", f"@user{number * 151}:example.org")
            store.forget_reads()
            changed, new_nodes = store.update(root, {key: event_id(number)})
            assert len(new_nodes) == 3
            assert sum(map(len, new_nodes.values())) < 7000
            assert store.levels == [1, 1, 1]
            assert changed != root

    def test_an_insertion_or_deletion_at_10_000_entries_writes_little_more(self):
        store = Store()
        state = room_of(10_000)
        root = store.build(state)
        for number in range(200):
            key = ("m.room.member", f"@new{number}:example.org")
            grown, added = store.update(root, {key: event_id(number)})
            assert len(added) <= 4
            shrunk, readded = store.update(grown, {key: None})
            assert shrunk == root
            assert len(readded) <= 4
        for number in range(200):
            store.forget_reads()
            _, added = store.update(root, {("m.room.member", f"@user{number}:example.org"): None})
            assert len(added) <= 3
            assert len(store.levels) <= 4

    def test_a_change_that_changes_nothing_writes_nothing(self):
        store = Store()
        state = room_of(1000)
        root = store.build(state)
        key = ("m.room.create", "")
        assert store.update(root, {key: state[key], ("absent", ""): None}) == (root, {})
        store.forget_reads()
        assert store.update(root, {}) == (root, {})
        assert store.levels == []

    def test_leaves_are_well_filled_at_any_size(self):
        """The costs of reading the whole state are the number of nodes."""
        for size in (500, 2_000, 3_000, 10_000):
            assert len(state_trie.build(ROOM, room_of(size))[1]) < size / 18

    def test_many_queries_share_their_fetches(self):
        store = Store()
        first = store.build(room_of(1000))
        second, _ = store.update(first, {("m.room.name", ""): event_id("name")})
        other = store.build(room_of(20), room_id=RoomId("!other:example.org"))
        store.forget_reads()
        found = state_trie.get_many(
            [
                (first, [("m.room.name", ""), ("m.room.create", "")]),
                (second, [("m.room.name", "")]),
                (other, [("m.room.create", "")]),
                (first, []),
                (EMPTY, [("m.room.create", "")]),
            ],
            store.fetch,
        )
        create = {("m.room.create", ""): event_id(("m.room.create", ""))}
        assert found == [create, {("m.room.name", ""): event_id("name")}, create, {}, {}]
        assert len(store.levels) == 2
        assert store.levels[0] == 3

    @pytest.mark.parametrize("size", [1000, 2048, 10_000])
    def test_conflicts_read_only_what_differs(self, size):
        store = Store()
        root = store.build(room_of(size))
        topic, power = ("m.room.topic", ""), ("m.room.power_levels", "")
        left, _ = store.update(root, {topic: event_id("left")})
        right, _ = store.update(root, {topic: event_id("right"), power: event_id("p")})
        store.forget_reads()
        assert state_trie.conflicts([left, right, root], store.fetch) == {
            topic: (event_id("left"), event_id("right"), None),
            power: (event_id(power), event_id("p"), event_id(power)),
        }
        assert len(store.levels) <= 4
        assert sum(store.levels) <= 20

    def test_equal_maps_conflict_without_a_read(self):
        store = Store()
        root = store.build(room_of(1000))
        store.forget_reads()
        assert state_trie.conflicts([root, root, root], store.fetch) == {}
        assert state_trie.diff(root, root, store.fetch) == {}
        assert store.levels == []


class TestReachable:
    @pytest.mark.parametrize("size", [1, 33, 3000])
    def test_it_is_all_nodes_of_the_roots_and_no_other(self, size):
        root, nodes = state_trie.build(ROOM, room_of(size))
        topic: dict[StateKey, EventId | None] = {("m.room.topic", ""): event_id(1)}
        changed, added = state_trie.update(ROOM, root, topic, Store(nodes).fetch)
        store = Store(nodes, added)
        assert state_trie.reachable([root], store.fetch) == nodes.keys()
        both = state_trie.reachable([root, changed, EMPTY], store.fetch)
        assert both == nodes.keys() | added.keys()
        only_changed = state_trie.reachable([changed], store.fetch)
        kept = Store({node_id: store.nodes[node_id] for node_id in only_changed})
        assert state_trie.items(changed, kept.fetch) == after(room_of(size), topic)

    def test_leaves_are_not_read(self):
        store = Store()
        root = store.build(room_of(2000))
        state_trie.reachable([root], store.fetch)
        assert store.levels == [1]


@pytest.mark.parametrize("size", [0, 1, 32, 33, 2048, 2049])
def test_entries_are_counted_by_the_root_alone(size: int) -> None:
    store = Store()
    root = store.build({("m.x", str(number)): event_id(number) for number in range(size)})
    store.forget_reads()
    assert state_trie.count(root, store.fetch) == size
    assert store.levels == ([1] if size else [])


def test_a_missing_node_is_named():
    root, nodes = state_trie.build(ROOM, room_of(100))
    with pytest.raises(state_trie.MissingNodes) as raised:
        state_trie.items(root, Store({root: nodes[root]}).fetch)
    assert set(raised.value.node_ids) == nodes.keys() - {root}


def test_an_unknown_kind_of_node_is_refused():
    _, nodes = state_trie.build(ROOM, room_of(4))
    (node,) = nodes.values()
    with pytest.raises(ValueError, match="unknown kind"):
        state_trie.items(b"x", lambda _: {b"x": b"?" + node[1:]})
