"""State snapshots: the nodes of `protocol.state_trie` in the table `snapshots`.

A node never changes, so a warm process caches the nodes that it read. A room's partition also has
`resolution` items, which store to which snapshot some others were resolved. The partition `strays` names
rooms that may have nodes to which nothing refers; `rooms.lifecycle.collection` explains how these are found
and deleted.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.protocol import state_trie
from murmuration.protocol.events import StateKey
from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.state_trie import NodeId

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


TABLE = "snapshots"
STRAYS = "strays"
_RESOLUTION = b"resolution:"
_NODE_ID_BYTES = 20
_nodes: LruCache[tuple[str, NodeId], bytes] = LruCache(4096)


def fetch_from(room_id: RoomId) -> state_trie.Fetch:
    """Return the function that fetches nodes of one room: one BatchGetItem for those that aren't cached."""

    def fetch(node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
        found: dict[NodeId, bytes] = {}
        missing: list[NodeId] = []
        for node_id in node_ids:
            node = _nodes.get((room_id, node_id))
            if node is None:
                missing.append(node_id)
            else:
                found[node_id] = node
        if missing:
            keys = [_key(room_id, node_id) for node_id in missing]
            for item in dynamodb.batch_get({TABLE: keys})[TABLE]:
                found[item["node_id"]] = item["node"]
                remember(room_id, {item["node_id"]: item["node"]})
        return found

    return fetch


def get_of_rooms(
    queries: Sequence[tuple[RoomId, NodeId, Collection[StateKey]]],
) -> list[dict[StateKey, EventId]]:
    """Return the event IDs that these (type, state key) pairs have in a snapshot of each room.

    It takes one round trip for each level of the tries, whatever the number of rooms. Raises MissingNodes.
    """
    nodes: dict[tuple[RoomId, NodeId], bytes | None] = {}

    def find(room_id: RoomId, node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
        known = {each: nodes.get((room_id, each)) or _nodes.get((room_id, each)) for each in node_ids}
        return {node_id: node for node_id, node in known.items() if node is not None}

    while True:
        found: list[dict[StateKey, EventId]] = []
        missing: list[tuple[RoomId, NodeId]] = []
        for room_id, root, pairs in queries:
            try:
                found.append(state_trie.get(root, pairs, functools.partial(find, room_id)))
            except state_trie.MissingNodes as error:
                missing += [(room_id, node_id) for node_id in error.node_ids]
                if nodes.keys() >= set(missing):
                    raise
        if not missing:
            return found
        nodes |= dict.fromkeys(missing)
        for item in dynamodb.batch_get({TABLE: [_key(*each) for each in missing]})[TABLE]:
            nodes[item["room_id"], item["node_id"]] = item["node"]
            remember(item["room_id"], {item["node_id"]: item["node"]})


def remember(room_id: RoomId, nodes: Mapping[NodeId, bytes]) -> None:
    """Put nodes that were just written into the cache."""
    for node_id, node in nodes.items():
        _nodes.put((room_id, node_id), node)


def node_writes(room_id: RoomId, nodes: Mapping[NodeId, bytes]) -> list[Write]:
    """Return writes that store `nodes`. Repeating them only renews the time of writing."""
    written_ms = now_ms()
    return [
        dynamodb.put(TABLE, {**_key(room_id, node_id), "node": node, "written_ms": written_ms})
        for node_id, node in nodes.items()
    ]


def _key(room_id: RoomId, node_id: bytes) -> dict[str, str | bytes]:
    return {"room_id": room_id, "node_id": node_id}


# -- Resolutions -----------------------------------------------------------------------------------------


def _resolution_id(roots: Collection[NodeId]) -> bytes:
    return _RESOLUTION + blake2b(b"".join(sorted(roots)), digest_size=_NODE_ID_BYTES).digest()


def read_resolution(room_id: RoomId, roots: Collection[NodeId]) -> NodeId | None:
    """Return the snapshot to which these (without duplicates) were resolved before; None if unknown."""
    item = dynamodb.get(TABLE, _key(room_id, _resolution_id(roots)))
    return item["root"] if item else None


def resolution_write(room_id: RoomId, roots: Collection[NodeId], root: NodeId) -> Write:
    """Return the write that stores the snapshot to which `roots` resolve. Write it with the nodes of `root`,
    or after them.
    """
    return dynamodb.put(TABLE, {**_key(room_id, _resolution_id(roots)), "root": root})


# -- Rooms with stray nodes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stray:
    """A room that may have stray nodes: since when, and since when its resolutions are deleted."""

    room_id: RoomId
    mark: bytes
    since_ms: int
    forgotten_ms: int | None = None

    @property
    def key(self) -> dict[str, str | bytes]:
        return _key(RoomId(STRAYS), self.room_id.encode() + b"\0" + self.mark)


def stray_write(stray: Stray) -> Write:
    """Return the write that makes the room be checked a day later. A check in progress starts again."""
    return dynamodb.put(TABLE, {**stray.key, "since_ms": stray.since_ms})


def stray_removal(stray: Stray) -> Write:
    return dynamodb.delete(TABLE, stray.key)


def advance_write(stray: Stray, forgotten_ms: int) -> Write:
    """Return the write that records that the room's resolutions were deleted. It is refused if the room was
    marked again.
    """
    return dynamodb.update(
        TABLE,
        stray.key,
        "SET forgotten_ms = :now",
        values={":now": forgotten_ms, ":since": stray.since_ms},
        condition="since_ms = :since",
    )


def done_write(stray: Stray) -> Write:
    """Return the write that deletes the mark of a checked room. It is refused if the room was marked
    again.
    """
    return dynamodb.delete(TABLE, stray.key, condition="since_ms = :since", values={":since": stray.since_ms})


def read_strays() -> list[Stray]:
    """Return the rooms that may have stray nodes."""
    items = dynamodb.query(TABLE, "room_id = :strays", {":strays": STRAYS})
    return [_stray(item) for item in items]


def _stray(item: Item) -> Stray:
    room_id, _, mark = item["node_id"].partition(b"\0")
    return Stray(room_id.decode(), mark, item["since_ms"], item.get("forgotten_ms"))


# -- Deleting stray nodes --------------------------------------------------------------------------------


def forget_resolutions(room_id: RoomId) -> None:
    """Delete the stored resolutions of a room, so that the snapshots they name may be deleted."""
    items = dynamodb.query(
        TABLE,
        "room_id = :room AND begins_with(node_id, :prefix)",
        {":room": room_id, ":prefix": _RESOLUTION},
        attributes=("room_id", "node_id"),
    )
    dynamodb.batch_write([dynamodb.delete(TABLE, _key(room_id, item["node_id"])) for item in items])


@dataclass(frozen=True, slots=True)
class StoredNode:
    """A node's ID, and when it was last written."""

    node_id: NodeId
    written_ms: int


def read_node_ids(room_id: RoomId) -> Iterator[list[StoredNode]]:
    """Yield all nodes of a room, a page at a time."""
    wanted = ("node_id", "written_ms")
    for page in dynamodb.query_pages(TABLE, "room_id = :room", {":room": room_id}, attributes=wanted):
        yield [StoredNode(it["node_id"], it["written_ms"]) for it in page.items if "written_ms" in it]


def node_removal(room_id: RoomId, node: StoredNode) -> Write:
    """Return the write that deletes a node, unless it was written again."""
    return dynamodb.delete(
        TABLE,
        _key(room_id, node.node_id),
        condition="written_ms = :written",
        values={":written": node.written_ms},
    )
