"""New entries of rooms' logs, in the form in which the Streams worker gets them.

A worker needs only a few facts of each entry, and doesn't know the room's version, which `LogEntry` needs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable

from murmuration.aws.dynamodb import StoredItem
from murmuration.protocol.encoding.shapes import EventFields
from murmuration.protocol.event_types import REDACTION
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.state_trie import NodeId
from murmuration.storage.rooms.room_items import LogEntry, log_entry_from_item


class NewEntry:
    """An item of the table `room-log`. The event's JSON is decoded at most once."""

    def __init__(self, item: StoredItem) -> None:
        self._item = item

    @property
    def room_id(self) -> RoomId:
        return RoomId(str(self._item["room_id"]))

    @property
    def ordinal(self) -> int:
        return int(self._item["ordinal"])

    @property
    def root(self) -> NodeId | None:
        """The snapshot of the room's state when the event arrived.

        None if forks were resolved with it: after that all of the state may differ.
        """
        root: NodeId | None = self._item.get("room_root") or self._item["state_root"]
        return None if self.is_resolved else root

    @property
    def is_resolved(self) -> bool:
        """Whether the event changed more of the room's state than its own entry."""
        return bool(self._item.get("resolved"))

    @property
    def is_past(self) -> bool:
        """Whether the event was added as an old one that filled a gap: clients never get it as new."""
        return "filled_below" in self._item

    @property
    def is_withheld(self) -> bool:
        """Whether clients aren't shown the event."""
        return bool(self._item.get("withheld"))

    @property
    def is_relayed(self) -> bool:
        """Whether this server sends the event of another server's user to other servers."""
        return bool(self._item.get("relayed"))

    @property
    def is_distributed(self) -> bool:
        """Whether another server sends this event of a local user to other servers."""
        return bool(self._item.get("distributed"))

    @property
    def is_sent_here(self) -> bool:
        """Whether a local user's device sent the event."""
        return "device_id" in self._item

    @property
    def member(self) -> UserId | None:
        """The user whose membership the event changes; None for other events."""
        return self._item.get("member") or None

    @property
    def encoded(self) -> str | None:
        """The event as JSON text; None if the item has only its keys."""
        return self._item.get("json")

    @functools.cached_property
    def fields(self) -> EventFields:
        """The event's fields; empty if the item has only its keys."""
        decoded: EventFields = json.loads(self.encoded) if self.encoded else {}
        return decoded

    @property
    def sender(self) -> UserId | None:
        return self.fields.get("sender")

    @property
    def redacts(self) -> EventId | None:
        """The ID of the event that this one redacts; None if it isn't a redaction."""
        if self.fields.get("type") != REDACTION:
            return None
        found = self.fields.get("redacts", self.fields["content"].get("redacts"))
        return EventId(found) if isinstance(found, str) else None

    @property
    def new_membership(self) -> str | None:
        """The membership that the event gives its member."""
        found: str | None = self.fields["content"].get("membership")
        return found

    @property
    def membership_before(self) -> str | None:
        """The membership that the event replaced; None for a user's first."""
        replaced = self._item.get("replaced")
        found: str | None = json.loads(replaced)["content"].get("membership") if replaced else None
        return found

    def as_log_entry(self, version: RoomVersion) -> LogEntry:
        """Return the whole entry, for a room of this version."""
        return log_entry_from_item(self._item, version)


def new_entries(items: Iterable[StoredItem]) -> list[NewEntry]:
    """Return the entries for items of the table `room-log`, in their order."""
    return [NewEntry(item) for item in items]
