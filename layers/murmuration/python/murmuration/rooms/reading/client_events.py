"""Events in the form for clients. https://spec.matrix.org/v1.19/client-server-api/#room-event-format"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from murmuration.clock import now_ms
from murmuration.protocol.events import Event
from murmuration.protocol.filters import EventFormat
from murmuration.protocol.sizes import RawJson
from murmuration.rooms.reading.visibility import Seen, Viewer
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import BundledRelations, ClientEvent, UnsignedData
    from murmuration.protocol.pdus.shapes import Pdu

Aggregations: TypeAlias = "Mapping[str, BundledRelations]"
"""Bundled aggregations (`m.relations`) by the ID of the event that they belong to."""


def client_events(
    seen: Sequence[Seen],
    viewer: Viewer,
    *,
    aggregations: Aggregations | None = None,
    with_room_id: bool = True,
    event_format: EventFormat = "client",
) -> list[ClientEvent]:
    """Return the events that a viewer sees, in the format for their client."""
    return [
        client_event(
            entry,
            viewer,
            membership=membership or "leave",
            relations=(aggregations or {}).get(entry.event.event_id),
            with_room_id=with_room_id,
            event_format=event_format,
        )
        for entry, membership in seen
    ]


def client_event(
    entry: LogEntry,
    viewer: Viewer,
    *,
    membership: str | None = None,
    relations: BundledRelations | None = None,
    with_room_id: bool = True,
    event_format: EventFormat = "client",
) -> ClientEvent:
    """Return an event in the format for one user's client, with its `unsigned`. Reads nothing.

    `membership` is the viewer's membership at the event (`Seen.membership`); None leaves it out. `relations`
    are the event's bundled aggregations. Pass `with_room_id=False` if the response names the room elsewhere.
    The format "federation" is the PDU with this `unsigned`, and with the ID by which clients know the event.
    """
    event = entry.event
    if event_format == "federation":
        rendered = cast("ClientEvent", {**event.pdu, "event_id": event.event_id})
    else:
        rendered = bare_event(event, with_room_id=with_room_id)
    unsigned: UnsignedData = {"age": now_ms() - event.origin_server_ts}
    if membership is not None:
        unsigned["membership"] = membership
    if entry.txn_id is not None and (viewer.user_id, viewer.device_id) == (event.sender, entry.device_id):
        unsigned["transaction_id"] = entry.txn_id
    if entry.delay_id is not None and viewer.user_id == event.sender:
        unsigned["delay_id"] = unsigned["org.matrix.msc4140.delay_id"] = entry.delay_id
    if entry.replaced is not None:
        unsigned["replaces_state"] = entry.replaced["event_id"]
        unsigned["prev_sender"] = entry.replaced["sender"]
        unsigned["prev_content"] = entry.replaced["content"]
    if entry.redacted_because is not None:
        redaction = Event(cast("Pdu", dict(entry.redacted_because)), event.room_version)
        unsigned["redacted_because"] = {
            **bare_event(redaction, with_room_id=with_room_id),
            "unsigned": {"age": now_ms() - redaction.origin_server_ts},
        }
    if relations:
        unsigned["m.relations"] = {**relations}
    rendered["unsigned"] = unsigned
    return rendered


def bare_event(event: Event, *, with_room_id: bool = True) -> ClientEvent:
    """Return an event's own properties in the format for clients, without `unsigned`."""
    rendered: ClientEvent = {
        "type": event.type,
        "event_id": event.event_id,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
        "content": event.content,
    }
    if event.is_state:
        rendered["state_key"] = event.state_key
    if with_room_id:
        rendered["room_id"] = event.room_id
    if event.redacts is not None:
        # In both places in every version: old clients know one, new clients the other.
        # https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
        rendered["redacts"] = event.redacts
        rendered["content"] = {**event.content, "redacts": event.redacts}
    return rendered


def state_event(event: Event, viewer: Viewer, *, with_room_id: bool = True) -> ClientEvent:
    """Return a state event in the format for clients, without the properties that only its log entry has."""
    entry = LogEntry(ordinal=0, event=viewer.event_copy(event), state_root=b"", visibility="shared")
    return client_event(entry, viewer, with_room_id=with_room_id)


def state_texts(events: Iterable[Event], viewer: Viewer, *, with_room_id: bool = True) -> RawJson:
    """Return state events of one room as one JSON list, each event as `state_event` returns it.

    The constant part is rendered once and cached with the event: state is read far more often than it
    changes.
    """
    now, room = now_ms(), ""
    texts = []
    for event in events:
        copy = viewer.event_copy(event) if viewer.erasures else event
        if with_room_id and not room:
            room = f',"room_id":{json.dumps(copy.room_id)}'
        if copy.rendered is None:
            bare = bare_event(copy, with_room_id=False)
            copy.rendered = json.dumps(bare, separators=(",", ":"), ensure_ascii=False)[:-1]
        texts.append(f'{copy.rendered}{room},"unsigned":{{"age":{now - copy.origin_server_ts}}}}}')
    return RawJson(f"[{','.join(texts)}]")
