"""The list of notifications, computed from the rooms' logs by the user's push rules when it is requested.

So it also works for users without a pusher, and costs nothing when an event is written.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from murmuration.aws.reads import Batch
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer, JsonObject
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.event_types import (
    CREATE_KEY,
    IGNORED_USERS,
    INVITE_PERMISSION,
    MEMBER,
    POWER_LEVELS_KEY,
    PUSH_RULES,
)
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules import ruleset
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import CompiledRuleset, Outcome, compile_ruleset, evaluate
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.push import outside_invites
from murmuration.rooms.membership.invitees import blocks_invites
from murmuration.rooms.reading.client_events import bare_event, client_event
from murmuration.rooms.reading.threads import thread_of
from murmuration.rooms.reading.visibility import Seen, Viewer, ignored_users
from murmuration.rooms.room import Room
from murmuration.search.newest_first import AT_END, NewestFirst
from murmuration.storage import scan_places
from murmuration.storage.live.receipts import Receipt, read_own
from murmuration.storage.users import account_data, memberships
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import RoomId, UserId

PURPOSE = "notifications"
DEFAULT, MOST = 20, 100
OLDEST_MS = 30 * 24 * 3_600_000
"""How far the list goes back: 30 days."""
HIGHLIGHT = "highlight"
STATE = (CREATE_KEY, POWER_LEVELS_KEY)


def get_notifications(requester: Requester, *, start: str | None, limit: int, only: str | None) -> Answer:
    """Return the requester's notifications of the last 30 days, the newest first.

    `start` is an earlier answer's `next_token`. The scan for a page is bounded, so a page may be short or
    empty and still have a `next_token`. With a limit of 0 it is empty, and the token is `start`. Raises
    InvalidParam for an unknown token, LimitExceeded.
    """
    if limit == 0:
        return {"notifications": [], **({"next_token": start} if start else {})}
    rate_limits.check("notifications", requester.user_id)
    places = _read_places(requester, start)
    wishes = _Wishes.read(requester.user_id)
    rows = [row for row in memberships.read_memberships(requester.user_id) if wishes.admits(row)]
    if places is not None:
        rows = [row for row in rows if row.room_id in places]
    invites = [row for row in rows if row.membership == "invite"]
    page = _Page(requester.user_id, wishes, limit, only, invites)
    joined = [row for row in rows if row.membership == "join"]
    scan = NewestFirst(requester.user_id, requester.device_id, joined, places)
    for room, viewer, seen in scan:
        page.take_invites(since=seen.entry.event.origin_server_ts)
        if page.is_full:
            scan.give_back(seen)
            break
        if seen.entry.event.origin_server_ts < page.oldest:
            scan.end_room(room.room_id)
        else:
            page.take(room, viewer, seen)
            if page.is_full:
                break
    left = scan.places_left()
    if not left:
        page.take_invites(since=page.oldest)
    left |= {row.room_id: AT_END for row in page.invites}
    token = scan_places.write(requester.user_id, PURPOSE, left) if left else None
    return {"notifications": page.found, **({"next_token": token} if token else {})}


def _read_places(requester: Requester, start: str | None) -> Mapping[str, int] | None:
    if start is None:
        return None
    places = scan_places.read(requester.user_id, PURPOSE, start)
    if places is None:
        raise InvalidParam("from is not a token of this list, or has expired")
    return places


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the user wants to be notified of: their push rules, ignored users, and whether they want
    invites.
    """

    rules: CompiledRuleset
    ignored: frozenset[str]
    blocks_invites: bool

    @classmethod
    def read(cls, user_id: UserId) -> _Wishes:
        batch = Batch()
        rules, ignored, permission = (
            batch.add(account_data.content_read(user_id, "", name))
            for name in (PUSH_RULES, IGNORED_USERS, INVITE_PERMISSION)
        )
        batch.fetch()
        changes = cast("ruleset.Changes", rules.value or {})
        return cls(
            compile_ruleset(ruleset.ruleset_of(user_id, changes)),
            ignored_users(ignored.value),
            blocks_invites(permission.value or {}),
        )

    def admits(self, row: Membership) -> bool:
        """Return whether the user may be notified of events in a room."""
        if row.membership == "invite":
            return not self.blocks_invites and row.sender not in self.ignored
        return row.membership == "join"


class _Page:
    """A page of notifications that is being filled, the newest first.

    `invites` are those that may still be added, the newest first. They come from the memberships: this server
    may not be in their rooms, and invited users see nothing of most rooms' logs.
    """

    def __init__(
        self, user_id: UserId, wishes: _Wishes, limit: int, only: str | None, invites: Iterable[Membership]
    ) -> None:
        self.found: list[JsonObject] = []
        self.oldest = now_ms() - OLDEST_MS
        recent = [row for row in invites if (row.changed_ms or 0) >= self.oldest]
        self.invites = sorted(recent, key=lambda row: row.changed_ms or 0, reverse=True)
        self._user_id, self._wishes, self._limit, self._only = user_id, wishes, limit, only
        self._budget = Budget(LIST_BYTES)
        self._contexts: dict[RoomId, _Context] = {}
        self._own: dict[RoomId, dict[str, int]] = {}

    @property
    def is_full(self) -> bool:
        return len(self.found) >= self._limit or self._budget.left < LIST_BYTES // 4

    def take_invites(self, *, since: int) -> None:
        """Add the invites that came since a time, as many as fit."""
        while self.invites and (self.invites[0].changed_ms or 0) >= since and not self.is_full:
            row = self.invites.pop(0)
            context = PushContext(self._user_id, None, 0, 0)
            outcome = evaluate(self._wishes.rules, outside_invites.event_of(row), context)
            self._add(outcome, outside_invites.listed_event(row), row.room_id, is_read=False)

    def take(self, room: Room, viewer: Viewer, seen: Seen) -> None:
        """Add an event if the user is notified of it."""
        event, ordinal = seen.entry.event, seen.entry.ordinal
        thread = thread_of(event)
        if event.sender == self._user_id and event.type != MEMBER:
            self._own.setdefault(room.room_id, {}).setdefault(thread, ordinal)
            return
        if seen.entry.redacted_because is not None or event.sender in self._wishes.ignored:
            return
        context = self._contexts.setdefault(room.room_id, _Context(room, self._user_id))
        outcome = evaluate(self._wishes.rules, bare_event(event), context.of(event.sender))
        if not self._concerns(outcome):
            return
        said_later = self._own.get(room.room_id, {}).get(thread, 0)
        is_read = ordinal <= said_later or context.has_read(ordinal, thread)
        self._add(outcome, _shown(viewer, seen), room.room_id, is_read=is_read)

    def _concerns(self, outcome: Outcome) -> bool:
        return outcome.notify and (self._only != HIGHLIGHT or outcome.highlight)

    def _add(self, outcome: Outcome, event: ClientEvent, room_id: RoomId, *, is_read: bool) -> None:
        if not self._concerns(outcome):
            return
        notification: JsonObject = {
            "actions": outcome.actions,
            "event": event,
            "read": is_read,
            "room_id": room_id,
            "ts": event["origin_server_ts"],
        }
        self._budget.spend(json_bytes(notification))
        self.found.append(notification)


def _shown(viewer: Viewer, seen: Seen) -> ClientEvent:
    return client_event(seen.entry, viewer, membership=seen.membership, with_room_id=False)


class _Context:
    """The facts about a room that push rules need, and the events that its user has read. Read when first
    needed.
    """

    def __init__(self, room: Room, user_id: UserId) -> None:
        self._room = room
        self._user_id = user_id
        self._levels: PowerLevels | None = None
        self._name: str | None = None
        self._read: dict[str | None, int] = {}

    def of(self, sender: UserId) -> PushContext:
        if self._levels is None:
            member = (MEMBER, self._user_id)
            state = self._room.events([*STATE, member])
            self._levels = PowerLevels.from_state(
                state.get(STATE[0]), state.get(STATE[1]), self._room.version
            )
            name = state[member].content.get("displayname") if member in state else None
            self._name = name if isinstance(name, str) else None
        return PushContext(
            self._user_id,
            self._name,
            self._room.head.joined,
            self._levels.user_level(sender),
            self._levels.entry_levels("notifications"),
        )

    def has_read(self, ordinal: int, thread: str) -> bool:
        """Return whether a receipt of the user says that an event in a thread was read."""
        if unknown := [each for each in (None, thread) if each not in self._read]:
            self._read |= dict.fromkeys(unknown, 0)
            self._note(read_own(self._user_id, self._room.room_id, unknown))
        return ordinal <= max(self._read[None], self._read[thread])

    def _note(self, receipts: Iterable[Receipt]) -> None:
        for receipt in receipts:
            thread = receipt.thread_id
            self._read[thread] = max(self._read.get(thread, 0), receipt.ordinal)
