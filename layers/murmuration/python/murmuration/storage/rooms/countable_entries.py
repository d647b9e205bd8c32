"""The entries of a room's log by which unread events are counted.

Only a part of each entry is read, and other users' membership events are left out if they can't count. In a
large room these are most of the events since a user joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item
from murmuration.protocol.room_versions import RoomVersion
from murmuration.storage.rooms.room_items import LOG, LogEntry, log_entry_from_item, log_range

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId

_READ = ("ordinal", "event_id", "json", "redacted_because", "filled_below")
"""The attributes that are read, with the values for the other fields of an entry."""
_NOT_READ = {"state_root": b"", "visibility": ""}


def read(
    room_id: RoomId, version: RoomVersion, *, after: int, before: int, most: int, members_but: str | None
) -> list[LogEntry]:
    """Return the newest `most` entries with `after` < ordinal < `before`, in order.

    They have only the fields that counting needs. With `members_but` the membership events of all other users
    are left out.
    """
    arguments = log_range(room_id, after, before)
    if arguments is None:
        return []
    condition, values = arguments
    names = {"#ordinal": "ordinal"}
    left_out = None
    if members_but is not None:
        left_out = "attribute_not_exists(#member) OR #member = :member"
        names["#member"] = "member"
        values = {**values, ":member": members_but}
    found: list[Item] = []
    page, looked_at = None, 0
    while looked_at < most and (page is None or page.more is not None):
        page = dynamodb.query_page(
            LOG,
            condition,
            values,
            names=names,
            filter_expression=left_out,
            attributes=_READ,
            limit=most - looked_at,
            forward=False,
            after=page.more if page is not None else None,
        )
        found += page.items
        looked_at += page.looked_at
    return [log_entry_from_item({**_NOT_READ, **item}, version) for item in reversed(found)]
