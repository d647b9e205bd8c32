"""Decides which events of a room's log a user may see.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from murmuration.cache import LruCache
from murmuration.protocol import state_trie
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.room_versions import RoomVersion
from murmuration.protocol.visibility import may_see_event, visibility_of
from murmuration.rooms.reading.erasures import entry_copy, event_copy, hidden_senders
from murmuration.storage.rooms import event_places, event_store, room_items, snapshots
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, UserId

STILL_JOINED = 10**15
"""The `Viewer.joined_until` of a user who is in the room: greater than every ordinal."""

_WALK_LIMIT = 50
_memberships: LruCache[str, str] = LruCache(4096)
"""Cached memberships of member events, by event ID. Not even a redaction changes them."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A user who reads a room, and when they were in it, by ordinals of its log.

    `since` is the event with which they joined, if they are in the room now. `joined_until` is the event that
    ended their last stay, `STILL_JOINED`, or None if they were never in it. `no_past` says that they had no
    membership before `since`, or none at all, or have forgotten the room. `erasures` is the number of the
    room's erased users.
    """

    user_id: UserId
    device_id: DeviceId | Literal[""] = ""
    since: int | None = None
    joined_until: int | None = None
    no_past: bool = False
    ignored: frozenset[str] = frozenset()
    erasures: int = 0

    @property
    def is_joined(self) -> bool:
        return self.since is not None

    def ignores(self, entry: LogEntry) -> bool:
        """Return whether the event is hidden because the viewer ignores its sender. State is never hidden."""
        return entry.event.sender in self.ignored and not entry.event.is_state

    def hidden_senders(self, room_id: RoomId) -> frozenset[UserId]:
        """Return the erased users whose events are redacted for the viewer."""
        since = self.since if self.is_joined else None
        return hidden_senders(room_id, self.erasures, since=since, joined_until=self.joined_until)

    def event_copy(self, event: Event) -> Event:
        """Return the viewer's copy of a state event. Reads if the room has erased users."""
        return event_copy(event, self.hidden_senders(event.room_id)) if self.erasures else event

    def was_joined_throughout(self, ordinal: int, *, aside: bool) -> bool:
        """Return whether the user has been in the room since before the event with this ordinal.

        For an event that is `aside` (`LogEntry.is_aside`) the order of the log doesn't matter, so the answer
        is False.
        """
        return self.since is not None and ordinal > self.since and not aside

    def saw(self, entry: LogEntry) -> bool:
        """Return whether the user was in the room before the event, by the order of the log."""
        return self.was_joined_throughout(entry.ordinal, aside=entry.is_aside)


class Seen(NamedTuple):
    """An event that its viewer may see, with their membership at the event; None if they had none.

    The membership includes the effect of the event itself.
    """

    entry: LogEntry
    membership: str | None


def make_viewer(
    user_id: UserId,
    device_id: DeviceId,
    membership: Membership | None,
    version: RoomVersion,
    *,
    ignored: Iterable[str] = (),
    erasures: int = 0,
) -> Viewer:
    """Return the viewer for a user's membership. A membership of None means none, or a forgotten room.

    It reads only for users who have left the room and weren't joined right before their current membership:
    then it looks for their last stay.
    """
    others = frozenset(ignored) - {user_id}
    given: dict[str, Any] = {"ignored": others, "erasures": erasures}
    if membership is None or membership.since is None:
        return Viewer(user_id, device_id, no_past=True, **given)
    since = membership.since
    if membership.membership == "join":
        first = membership.previous is None
        return Viewer(user_id, device_id, since, STILL_JOINED, no_past=first, **given)
    if membership.previous == "join":
        return Viewer(user_id, device_id, None, since, **given)
    until = None if membership.previous is None else _end_of_last_stay(membership, version)
    return Viewer(user_id, device_id, None, until, **given)


def has_stayed(membership: Membership) -> bool:
    """Return whether a user who is out of a room was joined to it before, as far as the log goes back."""
    head = room_items.read_head(membership.room_id)
    return head is not None and _end_of_last_stay(membership, head.version) is not None


def _end_of_last_stay(membership: Membership, version: RoomVersion) -> int | None:
    """Return the ordinal of the event that ended the user's last stay, found by the member events before
    this one.
    """
    pair = (MEMBER, membership.user_id)
    ordinal = membership.since
    for _ in range(_WALK_LIMIT):
        if ordinal is None:
            return None
        entries = room_items.read_log_entries([(membership.room_id, ordinal)], {membership.room_id: version})
        if not entries:
            return None
        fetch = snapshots.fetch_from(membership.room_id)
        event_id = state_trie.get(entries[0].current_root, [pair], fetch).get(pair)
        if event_id is None:
            return None
        places = event_store.read_ordinals([event_id], membership.room_id)
        if _membership_by_id([event_id], version, membership.room_id).get(event_id) == "join":
            return ordinal
        ordinal = places.get(event_id)
    return None


def seen_by(viewer: Viewer, entries: Sequence[LogEntry]) -> list[Seen]:
    """Return those of `entries` (of one room's log) that the viewer may see, in their order.

    The state before each event decides. It follows from the order of the log, except for events of forks and
    for old events that were added later.

    It reads nothing for events during the viewer's stay, nor for a viewer in their first stay while history
    is shared. Otherwise it takes three to five round trips for all entries together.
    """
    before = _memberships_before(viewer, [entry for entry in entries if not viewer.saw(entry)])
    until = viewer.joined_until
    seen = []
    for entry in entries:
        if viewer.ignores(entry) or entry.withheld:
            continue
        membership = before.get(entry.ordinal)
        if viewer.saw(entry):
            membership = "join"
        elif not may_see_event(
            entry.event.pdu,
            viewer.user_id,
            visibility_before=visibility_of({"history_visibility": entry.visibility}),
            membership_before=membership,
            joined_later=until is not None and entry.ordinal <= until,
        ):
            continue
        own = entry.event.state_pair == (MEMBER, viewer.user_id)
        seen.append(Seen(entry, entry.event.membership if own else membership))
    return _without_erased(viewer, seen)


def _without_erased(viewer: Viewer, seen: list[Seen]) -> list[Seen]:
    """Return the entries with events of erased users redacted, except from times when the viewer was in the
    room.
    """
    if not viewer.erasures or all(membership == "join" for _, membership in seen):
        return seen
    hidden = viewer.hidden_senders(seen[0].entry.room_id)
    return [one if one.membership == "join" else Seen(entry_copy(one.entry, hidden), one[1]) for one in seen]


def _memberships_before(viewer: Viewer, entries: Sequence[LogEntry]) -> dict[int, str | None]:
    """Return the viewer's membership right before each of `entries`, by ordinal.

    If what they may see depends on it, it is the membership in the state before the event. Otherwise it is
    that of the log, in which only the viewer's own member events change it: one look at the state for each
    run of entries.
    """
    if viewer.no_past:
        # Only an event of a fork, or one that filled a gap, may have a state in which they had a membership.
        since = viewer.since
        entries = [it for it in entries if it.is_aside and since is not None and it.ordinal > since]
    if not entries:
        return {}
    ordered = sorted(entries, key=lambda entry: entry.ordinal)
    known = {entry.ordinal for entry in ordered if not entry.is_aside}
    asked = [
        entry
        for entry in ordered
        if entry.visibility in ("invited", "joined") or entry.is_aside or entry.ordinal - 1 not in known
    ]
    by_root = _memberships_in(viewer.user_id, asked)
    looked_up = {entry.ordinal for entry in asked}
    before: dict[int, str | None] = {}
    current: str | None = None
    for entry in ordered:
        if entry.ordinal in looked_up:
            current = by_root[entry.state_root]
        before[entry.ordinal] = current
        if entry.event.state_pair == (MEMBER, viewer.user_id):
            current = entry.event.membership
    return before


def _memberships_in(user_id: UserId, entries: Iterable[LogEntry]) -> Mapping[state_trie.NodeId, str | None]:
    """Return the user's membership in the state before each entry, by the state's root."""
    by_root = {entry.state_root: entry for entry in entries}
    some = next(iter(by_root.values()))
    pair = (MEMBER, user_id)
    roots = list(by_root)
    maps = state_trie.get_many([(root, [pair]) for root in roots], snapshots.fetch_from(some.room_id))
    event_ids = [found.get(pair) for found in maps]
    says = _membership_by_id(filter(None, event_ids), some.event.room_version, some.room_id)
    return {
        root: says.get(event_id) if event_id else None
        for root, event_id in zip(roots, event_ids, strict=True)
    }


def _membership_by_id(event_ids: Iterable[EventId], version: RoomVersion, room_id: RoomId) -> dict[str, str]:
    """Return the memberships in a room's member events, by event ID."""
    found: dict[str, str] = {}
    missing = []
    for event_id in dict.fromkeys(event_ids):
        said = _memberships.get(event_places.place_key(event_id, room_id))
        if said is None:
            missing.append(event_id)
        else:
            found[event_id] = said
    for event_id, event in event_store.read_events(missing, version, room_id).items():
        found[event_id] = event.membership or "leave"
        _memberships.put(event_places.place_key(event_id, room_id), found[event_id])
    return found


def ignored_users(content: Content | None) -> frozenset[str]:
    """Return the users that an m.ignored_user_list names.

    https://spec.matrix.org/v1.19/client-server-api/#mignored_user_list
    """
    users = (content or {}).get("ignored_users")
    return frozenset(users) if isinstance(users, dict) else frozenset()
