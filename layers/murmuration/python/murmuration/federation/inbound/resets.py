"""State resets: an event of a fork replaces state, on which all newest events of a room agreed, by older
state.

A resolution may correctly change such state: a ban undoes what the banned user did meanwhile. It is a reset
only if the fork brought no event that revokes anything. Resets happen if servers disagree about the order of
events, mostly because one of them sent an outdated state.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from murmuration.aws import queues
from murmuration.federation.inbound.forks import Forks
from murmuration.protocol import state_trie
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.state_resolution.v2 import is_power_event
from murmuration.rooms.writing.changes import Differences
from murmuration.storage import notices
from murmuration.storage.rooms.room_items import RoomHead

if TYPE_CHECKING:
    from murmuration.federation.shapes import ResetNotice
    from murmuration.protocol.identifiers import EventId, RoomId

Reset = Mapping[StateKey, tuple[Event, Event | None]]
DEAD_LETTERS = "dead-letters"
QUIET_MS = 3_600_000
"""For how long after a report about a room its further resets are only logged."""
MOST_TOLD = 20


def find_reset(forks: Forks, head: RoomHead, event: Event, differences: Differences) -> Reset:
    """Return the state that an event of a fork resets, each with the events before and after; mostly empty.

    It reads from the database only if the differences look like a reset.
    """
    if is_power_event(event):
        return {}
    suspects = {
        pair: (before, after)
        for pair, (before, after) in differences.items()
        if before is not None and pair != event.state_pair and _is_older(forks, before, after)
    }
    if not suspects or _is_revoked(forks, differences):
        return {}
    roots = forks.after_all(head.extremities)
    states = [state_trie.get(root, list(suspects), forks.fetch) for root in roots]
    return {
        pair: change
        for pair, change in suspects.items()
        if all(state.get(pair) == change[0].event_id for state in states)
    }


def _is_older(forks: Forks, before: Event, after: Event | None) -> bool:
    """Return whether the state is gone or was replaced by an earlier event, by the log's order or else by
    depth.
    """
    if after is None:
        return True
    known = forks.stored([before.event_id, after.event_id])
    now, then = (known[it.event_id].entry if it.event_id in known else None for it in (before, after))
    if now is not None and then is not None:
        return then.ordinal < now.ordinal
    return (after.depth, after.origin_server_ts) < (before.depth, before.origin_server_ts)


def _is_revoked(forks: Forks, differences: Differences) -> bool:
    """Return whether the new state has a power event, such as a ban, that only now reached this server."""
    new = [
        after.event_id
        for before, after in differences.values()
        if after is not None
        and is_power_event(after)
        and (before is None or not _is_older(forks, before, after))
    ]
    return any(stored.entry is None for stored in forks.stored(new).values())


def tell(room_id: RoomId, event_id: EventId, reset: Reset) -> None:
    """Report the reset to the operator: in the log, and at most once an hour for a room by a dead letter,
    which alarms.
    """
    changed = [
        {"type": pair[0][:255], "state_key": pair[1][:255], "before": before.event_id, "after": _id(after)}
        for pair, (before, after) in list(reset.items())[:MOST_TOLD]
    ]
    told: ResetNotice = {"room_id": room_id, "event_id": event_id, "entries": len(reset)}
    logging.getLogger("murmuration.federation").error(
        "state reset: %s", json.dumps({**told, "changed": changed}, separators=(",", ":"))
    )
    if notices.claim(f"state-reset#{room_id}", QUIET_MS):
        queues.put(DEAD_LETTERS, {"state_reset": told, "changed": changed})


def _id(event: Event | None) -> str | None:
    return event.event_id if event is not None else None
