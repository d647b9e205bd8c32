"""Events by ID, whether they are stored in a room's log or outside of it.

An event is of one of four kinds:

- `accepted`: in the log; its item in the table `events` points there.
- `soft_failed`: valid at its position in the graph, but not by the room's state when it arrived. It is never
  shown in the timeline and local events never follow it; otherwise it is like any other.
- `rejected`: not allowed at its position; no state includes it, and it authorises nothing.
- `outlier`: stored without its position in the graph, such as the auth events of others.

All but the first have their JSON in the item of the table `events`; the second and third also `state_root`,
the state before them. A rejected event without `state_root` was an outlier. For each event with a
`state_root` there's an item `kept#<event ID>` in its room (table `rooms`) with the same `state_root`: it
shows which snapshots the room still needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.aws.reads import Read, fetch_all
from murmuration.protocol.events import Event
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_trie import NodeId
from murmuration.storage.rooms import event_places, room_items
from murmuration.storage.rooms.event_places import EVENTS, UNPLACED
from murmuration.storage.rooms.room_items import ROOMS, LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId

Kind = Literal["accepted", "soft_failed", "rejected", "outlier"]
_KEPT, _REDACTIONS, _GAP = "kept#", "redactions-of#", "gap#"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A stored event. `state_root` is the snapshot of the state before it, None if unknown.

    `undecided` means, for a soft-failed event, that the room's policy server had given no answer.
    """

    event: Event
    room_id: RoomId
    kind: Kind
    state_root: NodeId | None = None
    entry: LogEntry | None = None
    reason: str = ""
    undecided: bool = False

    @property
    def is_placed(self) -> bool:
        """Whether its place in the room's graph, and so the state before and after it, is known."""
        return self.state_root is not None


def read(event_ids: Collection[EventId], version: RoomVersion, room_id: RoomId) -> dict[EventId, StoredEvent]:
    """Return those of these events that are known in the room, by ID. Two round trips."""
    return complete(event_places.locate(event_ids, room_id), version)


def read_events(
    event_ids: Collection[EventId], version: RoomVersion, room_id: RoomId
) -> dict[EventId, Event]:
    """Return the known ones of a room's events by ID, wherever they are stored. Two round trips."""
    places = event_places.locate(event_ids, room_id)
    found = {
        event_id: Event.from_json(place["json"], version, event_id)
        for event_id, place in places.items()
        if "json" in place
    }
    logged = [(place["room_id"], place["ordinal"]) for place in places.values() if "ordinal" in place]
    entries = room_items.read_log_entries(logged, {room_id: version for room_id, _ in logged})
    return found | {entry.event.event_id: entry.event for entry in entries}


def read_events_of_rooms(
    wanted: Sequence[tuple[RoomId, RoomVersion, Collection[EventId]]],
) -> list[dict[EventId, Event]]:
    """Return, for each room, the known ones of these events. Two round trips for all rooms."""
    keys = [key for room_id, _, event_ids in wanted for key in event_places.place_keys(event_ids, room_id)]
    items = dynamodb.batch_get({EVENTS: keys})[EVENTS] if keys else []
    found: list[dict[EventId, Event]] = []
    logged: list[tuple[RoomId, int]] = []
    for room_id, version, event_ids in wanted:
        places = event_places.places_among(items, event_ids, room_id)
        own = {event_id: place for event_id, place in places.items() if place["room_id"] == room_id}
        logged += [(room_id, place["ordinal"]) for place in own.values() if "ordinal" in place]
        found.append(
            {
                event_id: Event.from_json(place["json"], version, event_id)
                for event_id, place in own.items()
                if "json" in place
            }
        )
    entries = room_items.read_log_entries(logged, {room_id: version for room_id, version, _ in wanted})
    by_place: dict[tuple[RoomId, EventId], Event]
    by_place = {(entry.room_id, entry.event.event_id): entry.event for entry in entries}
    for (room_id, _, event_ids), events in zip(wanted, found, strict=True):
        events |= {each: by_place[room_id, each] for each in event_ids if (room_id, each) in by_place}
    return found


def known_among(event_ids: Collection[EventId], room_id: RoomId) -> set[EventId]:
    """Return those events that are stored, in the log or outside of it. One round trip."""
    return set(event_places.locate(event_ids, room_id))


def placed_among(event_ids: Collection[EventId], room_id: RoomId) -> set[EventId]:
    """Return those of the events whose place in the room's graph is known. One round trip."""
    places = event_places.locate(event_ids, room_id)
    return {event_id for event_id, place in places.items() if "ordinal" in place or "state_root" in place}


def ordinal_read(event_id: EventId, room_id: RoomId) -> Read[int | None]:
    """Return the read of an event's ordinal in a room's log; its value is None if it isn't there."""

    def parse(item: Item | None) -> int | None:
        is_there = item is not None and item["room_id"] == room_id and "ordinal" in item
        return int(item["ordinal"]) if item is not None and is_there else None

    return Read(EVENTS, {"event_id": event_places.place_key(event_id, room_id)}, parse)


def read_ordinals(event_ids: Collection[EventId], room_id: RoomId) -> dict[EventId, int]:
    """Return the ordinals of those events that are in the room's log. One round trip."""
    wanted = sorted(event_ids)
    ordinals = fetch_all([ordinal_read(event_id, room_id) for event_id in wanted])
    pairs = zip(wanted, ordinals, strict=True)
    return {event_id: ordinal for event_id, ordinal in pairs if ordinal is not None}


def read_with_awaited(
    event_ids: Collection[EventId], version: RoomVersion, room_id: RoomId, awaited_id: EventId
) -> tuple[dict[EventId, StoredEvent], Awaited]:
    """Return the known ones of a room's events, and the notes about one awaited event. Two round trips."""
    keys = {EVENTS: event_places.place_keys(event_ids, room_id), ROOMS: _awaited_keys(room_id, awaited_id)}
    found = dynamodb.batch_get(keys)
    places = event_places.places_among(found[EVENTS], event_ids, room_id)
    return complete(places, version), _awaited_from(found[ROOMS])


def complete(places: dict[EventId, Item], version: RoomVersion) -> dict[EventId, StoredEvent]:
    """Return the events for the places that `event_places.locate` found."""
    found = {
        event_id: StoredEvent(
            event=Event.from_json(place["json"], version, event_id),
            room_id=place["room_id"],
            kind=place["kind"],
            state_root=place.get("state_root"),
            reason=place.get("reason", ""),
            undecided=place.get("undecided", False),
        )
        for event_id, place in places.items()
        if "json" in place
    }
    logged = [(place["room_id"], place["ordinal"]) for place in places.values() if "ordinal" in place]
    for entry in room_items.read_log_entries(logged, {room_id: version for room_id, _ in logged}):
        event_id = entry.event.event_id
        found[event_id] = StoredEvent(
            entry.event, places[event_id]["room_id"], "accepted", entry.state_root, entry
        )
    return found


def keep_writes(stored: StoredEvent) -> list[Write]:
    """Return writes that store an event outside the log.

    They are refused if the event's place is known already; for an outlier, if the event is known at all.
    """
    event_id = stored.event.event_id
    note = event_places.room_note_writes(event_id, stored.room_id)
    item: Item = {
        "event_id": event_places.place_key(event_id, stored.room_id),
        "room_id": stored.room_id,
        "kind": stored.kind,
        "json": stored.event.to_json(),
    }
    if stored.reason:
        item["reason"] = stored.reason
    if stored.undecided:
        item["undecided"] = True
    if stored.state_root is None:
        return [dynamodb.put(EVENTS, item, condition="attribute_not_exists(event_id)"), *note]
    item["state_root"] = stored.state_root
    kept: Item = {"room_id": stored.room_id, "sk": _KEPT + event_id, "state_root": stored.state_root}
    names = {"#ordinal": "ordinal"}
    return [dynamodb.put(EVENTS, item, condition=UNPLACED, names=names), dynamodb.put(ROOMS, kept), *note]


def kept_removal(room_id: RoomId, event_id: EventId) -> Write:
    """Return the write that removes an event's `kept` item, because the event is in the log now."""
    return dynamodb.delete(ROOMS, {"room_id": room_id, "sk": _KEPT + event_id})


def redact_write(stored: StoredEvent) -> Write:
    """Return the write that replaces an event outside the log by its redacted form.

    It is refused if the event is in the log by now.
    """
    return dynamodb.update(
        EVENTS,
        {"event_id": event_places.place_key(stored.event.event_id, stored.room_id)},
        "SET #json = :json",
        names={"#json": "json"},
        values={":json": stored.event.redacted().to_json()},
        condition="attribute_exists(#json)",
    )


def read_kept_roots(room_id: RoomId) -> set[NodeId]:
    """Return the snapshots that a room's events outside the log need."""
    items = dynamodb.query(
        ROOMS, "room_id = :room AND begins_with(sk, :prefix)", {":room": room_id, ":prefix": _KEPT}
    )
    return {item["state_root"] for item in items}


# -- Notes about events that haven't arrived ------------------------------------------------------------


class Follower(NamedTuple):
    """The lowest event of the log that follows a missing event.

    `ordinal` is its place. `below` is the ordinal of the event that arrived as a new one: this event itself,
    or the one below which this event filled a gap. The missing event belongs right before `ordinal`.
    """

    ordinal: int
    below: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """A room's notes about an event that it doesn't have yet.

    `redactions` are the IDs of redactions of it. `is_followed` says that an accepted event follows it, so it
    can't become a forward extremity; `follower` is that event's place, None in old items.
    """

    redactions: Sequence[EventId] = ()
    is_followed: bool = False
    follower: Follower | None = None


def read_awaited(room_id: RoomId, event_ids: Iterable[EventId]) -> dict[str, Awaited]:
    """Return the notes about each of these events. One round trip for fifty events."""
    keys = {event_id: _awaited_keys(room_id, event_id) for event_id in event_ids}
    wanted = [key for pair in keys.values() for key in pair]
    items = {item["sk"]: item for item in dynamodb.batch_get({ROOMS: wanted})[ROOMS]} if wanted else {}
    return {
        event_id: _awaited_from([items[key["sk"]] for key in pair if key["sk"] in items])
        for event_id, pair in keys.items()
    }


def _awaited_keys(room_id: RoomId, event_id: EventId) -> list[dict[str, str]]:
    """Return the keys, in the table `rooms`, of the notes about an event."""
    return [{"room_id": room_id, "sk": prefix + event_id} for prefix in (_REDACTIONS, _GAP)]


def _awaited_from(items: Collection[Item]) -> Awaited:
    """Return the notes in the items at `_awaited_keys`."""
    redactions = [event_id for item in items for event_id in item.get("redactions", ())]
    gaps = [item for item in items if item["sk"].startswith(_GAP)]
    places = [Follower(item["ordinal"], item["below"]) for item in gaps if "ordinal" in item]
    return Awaited(sorted(redactions), bool(gaps), min(places, default=None))


def hold_redaction_write(room_id: RoomId, target_id: str, redaction_id: str) -> Write:
    """Return the write that stores a redaction until its target arrives."""
    return dynamodb.update(
        ROOMS,
        {"room_id": room_id, "sk": _REDACTIONS + target_id},
        "ADD redactions :redaction",
        values={":redaction": {redaction_id}},
    )


def gap_write(room_id: RoomId, event_id: EventId, follower: Follower) -> Write:
    """Return the write that records that an accepted event follows this missing one.

    It doesn't replace an earlier note, because new events are above all earlier ones. For events that fill
    gaps, which may be lower, use `gap_replacement`.
    """
    return dynamodb.update(
        ROOMS,
        {"room_id": room_id, "sk": _GAP + event_id},
        "SET #ordinal = if_not_exists(#ordinal, :ordinal), below = if_not_exists(below, :below)",
        names={"#ordinal": "ordinal"},
        values={":ordinal": follower.ordinal, ":below": follower.below},
    )


def gap_replacement(room_id: RoomId, event_id: EventId, follower: Follower) -> Write:
    """Return the write that records the lowest event which follows a missing one."""
    place = {"ordinal": follower.ordinal, "below": follower.below}
    return dynamodb.put(ROOMS, {"room_id": room_id, "sk": _GAP + event_id, **place})


def read_followers(room_id: RoomId, event_ids: Collection[EventId]) -> dict[EventId, Follower]:
    """Return, by event ID, the followers of those events that were followed before they arrived."""
    keys = [{"room_id": room_id, "sk": _GAP + event_id} for event_id in dict.fromkeys(event_ids)]
    items = dynamodb.batch_get({ROOMS: keys})[ROOMS] if keys else []
    return {
        item["sk"].removeprefix(_GAP): Follower(item["ordinal"], item["below"])
        for item in items
        if "ordinal" in item
    }


def read_gaps(room_id: RoomId, *, limit: int) -> dict[EventId, Follower]:
    """Return up to `limit` events that a room misses, each with the lowest event that follows it."""
    items = dynamodb.query(
        ROOMS,
        "room_id = :room AND begins_with(sk, :prefix)",
        {":room": room_id, ":prefix": _GAP},
        limit=limit,
    )
    return {
        item["sk"].removeprefix(_GAP): Follower(item["ordinal"], item["below"])
        for item in items
        if "ordinal" in item
    }
