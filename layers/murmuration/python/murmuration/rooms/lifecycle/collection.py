"""Garbage collection: deletes the nodes of state snapshots to which nothing refers any more.

Only two things leave such nodes: a writer that stops after storing more nodes than its transaction holds, and
a purge of history. Both first mark the room as one that may have stray nodes, and only marked rooms are
checked. The log, the events outside it and the head refer to nodes; stored resolutions don't count. Only a
purge removes references.

A node is named by its content, so a writer may need a node again to which nothing referred a moment ago.
These rules keep it from losing the node:

1. A writer that needs a new node always stores it in full, which renews the time of its writing
(`written_ms`).

2. Nothing happens until GRACE_MS after a room was last marked: then every request that read a reference
before a purge has ended.

3. Then the room's resolutions are deleted, and GRACE_MS pass again: then every request that read one before
has ended.

4. Then all nodes that are referred to are found. Other nodes that were written before step 3 are deleted,
each on condition that it wasn't written since. A writer that uses a node without writing it has it from a
reference, so the node is found.

If the room was marked again meanwhile, nothing is deleted. Each step may be repeated, and stopping between
two steps does no harm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.protocol import state_trie
from murmuration.protocol.state_trie import NodeId
from murmuration.storage.rooms import event_store, room_items, snapshots
from murmuration.storage.rooms.snapshots import StoredNode, Stray

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

GRACE_MS = 24 * 60 * 60 * 1000
"""Much longer than a function can run."""


def collect(*, budget_ms: int) -> int:
    """Collect stray nodes, one step of each marked room after another, until the time is over.

    Returns the number of deleted nodes.
    """
    deadline = now_ms() + budget_ms
    rooms: dict[RoomId, list[Stray]] = {}
    for stray in snapshots.read_strays():
        rooms.setdefault(stray.room_id, []).append(stray)
    deleted = 0
    for room_id, strays in rooms.items():
        if now_ms() >= deadline:
            break
        deleted += collect_room(room_id, strays)
    return deleted


def collect_room(room_id: RoomId, strays: Sequence[Stray]) -> int:
    """Move one room one step further; `strays` are all marks that name it.

    Returns the number of deleted nodes.
    """
    now = now_ms()
    if now - max(stray.since_ms for stray in strays) < GRACE_MS:
        return 0
    forgotten = [stray.forgotten_ms for stray in strays if stray.forgotten_ms is not None]
    try:
        if len(forgotten) < len(strays):
            snapshots.forget_resolutions(room_id)
            for stray in strays:
                dynamodb.execute(snapshots.advance_write(stray, now))
        elif now - max(forgotten) >= GRACE_MS:
            return _sweep(room_id, strays, written_before=min(forgotten))
    except ConditionFailed:
        pass  # The room was marked again, so it starts from the first step.
    return 0


def _sweep(room_id: RoomId, strays: Sequence[Stray], *, written_before: int) -> int:
    """Delete the old nodes to which nothing refers. Returns their number."""
    marked = state_trie.reachable(_references(room_id), snapshots.fetch_from(room_id))
    if set(strays) != {stray for stray in snapshots.read_strays() if stray.room_id == room_id}:
        return 0
    deleted = 0
    for page in snapshots.read_node_ids(room_id):
        unneeded = [node for node in page if node.written_ms < written_before and node.node_id not in marked]
        deleted += sum(
            concurrency.parallel(*(functools.partial(_delete, room_id, node) for node in unneeded))
        )
    for stray in strays:
        dynamodb.execute(snapshots.done_write(stray))
    return deleted


def _references(room_id: RoomId) -> set[NodeId]:
    """Return the snapshots that the room needs."""
    head = room_items.read_head(room_id)
    at_head = {head.state_root} if head is not None else set()
    return room_items.read_log_roots(room_id) | event_store.read_kept_roots(room_id) | at_head


def _delete(room_id: RoomId, node: StoredNode) -> bool:
    return dynamodb.try_execute(snapshots.node_removal(room_id, node))
