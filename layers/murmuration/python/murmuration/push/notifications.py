"""The list of notifications, computed from the rooms' logs by the user's push rules when it is requested.

So it also works for users without a pusher, and costs nothing when an event is written.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from murmuration import push_rules
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer, JsonObject
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.event_types import CREATE_KEY, MEMBER, POWER_LEVELS_KEY
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.evaluation import compile_ruleset, evaluate
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.reading.client_events import bare_event, client_event
from murmuration.rooms.reading.threads import thread_of
from murmuration.rooms.reading.visibility import Seen, Viewer
from murmuration.rooms.room import Room
from murmuration.search.newest_first import NewestFirst
from murmuration.storage import scan_places
from murmuration.storage.live.receipts import Receipt, read_own
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.encoding.json_types import ClientEvent
    from murmuration.protocol.identifiers import UserId

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
    scan = _scan(requester, start)
    rules = compile_ruleset(push_rules.ruleset_for(requester.user_id))
    contexts: dict[str, _Context] = {}
    budget, oldest = Budget(LIST_BYTES), now_ms() - OLDEST_MS
    found: list[JsonObject] = []
    own: dict[str, dict[str, int]] = {}
    for room, viewer, seen in scan:
        event = seen.entry.event
        if event.origin_server_ts < oldest:
            scan.end_room(room.room_id)
            continue
        thread = thread_of(event)
        if event.sender == requester.user_id and event.type != MEMBER:
            mine = own.setdefault(room.room_id, {})
            mine.setdefault(thread, seen.entry.ordinal)
            continue
        if seen.entry.redacted_because is not None:
            continue
        context = contexts.setdefault(room.room_id, _Context(room, requester.user_id))
        outcome = evaluate(rules, bare_event(event), context.of(event.sender))
        if not outcome.notify or (only == HIGHLIGHT and not outcome.highlight):
            continue
        shown = {
            "actions": outcome.actions,
            "event": _shown(viewer, seen),
            "read": seen.entry.ordinal <= own.get(room.room_id, {}).get(thread, 0)
            or context.has_read(seen.entry.ordinal, thread),
            "room_id": room.room_id,
            "ts": event.origin_server_ts,
        }
        budget.spend(json_bytes(shown))
        found.append(shown)
        if len(found) >= limit or budget.left < LIST_BYTES // 4:
            break
    left = scan.places_left()
    token = scan_places.write(requester.user_id, PURPOSE, left) if left else None
    return {"notifications": found, **({"next_token": token} if token else {})}


def _shown(viewer: Viewer, seen: Seen) -> ClientEvent:
    return client_event(seen.entry, viewer, membership=seen.membership, with_room_id=False)


def _scan(requester: Requester, start: str | None) -> NewestFirst:
    places: Mapping[str, int] | None = None
    if start is not None:
        places = scan_places.read(requester.user_id, PURPOSE, start)
        if places is None:
            raise InvalidParam("from is not a token of this list, or has expired")
    all_rooms = memberships.read_memberships(requester.user_id)
    joined = [each for each in all_rooms if each.membership in ("join", "invite")]
    return NewestFirst(requester.user_id, requester.device_id, joined, places)


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
