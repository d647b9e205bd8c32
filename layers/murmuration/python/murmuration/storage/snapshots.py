"""State snapshots: the nodes of `protocol.state_trie` in the table `snapshots`.

A node never changes, so what a warm process has read it keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from murmuration.protocol import state_trie
from murmuration.protocol.state_trie import NodeId
from murmuration.storage import dynamodb
from murmuration.storage.cache import LruCache
from murmuration.storage.dynamodb import Write

TABLE = "snapshots"
_nodes: LruCache[tuple[str, NodeId], bytes] = LruCache(4096)


def fetch_from(room_id: str) -> state_trie.Fetch:
    """The fetch function for the tries of one room: one BatchGetItem for what isn't in memory."""

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
            keys = [{"room_id": room_id, "node_id": node_id} for node_id in missing]
            for item in dynamodb.batch_get({TABLE: keys})[TABLE]:
                found[item["node_id"]] = item["node"]
                remember(room_id, {item["node_id"]: item["node"]})
        return found

    return fetch


def remember(room_id: str, nodes: Mapping[NodeId, bytes]) -> None:
    """Keep nodes that were just written."""
    for node_id, node in nodes.items():
        _nodes.put((room_id, node_id), node)


def node_writes(room_id: str, nodes: Mapping[NodeId, bytes]) -> list[Write]:
    """The writes that store `nodes`; repeating them changes nothing."""
    return [
        dynamodb.put(TABLE, {"room_id": room_id, "node_id": node_id, "node": node})
        for node_id, node in nodes.items()
    ]
