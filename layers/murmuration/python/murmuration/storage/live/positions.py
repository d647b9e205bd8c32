"""Positions: everything that a client has been shown, room by room and stream by stream.

A sync token names one stored row of positions. Rooms have a short hash in it, which keeps the row of a
hundred rooms within one write unit.
"""

from __future__ import annotations

import functools
import json
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId
    from murmuration.storage.json_types import UnreadCounts

Counts = dict[str, tuple[int, int]]
"""Unread counts (notifications, highlights) by thread: its root's event ID, or MAIN."""
MAIN = "main"
MARK_LENGTH = 8


@dataclass(frozen=True, slots=True)
class RoomPosition:
    """A client's position in a joined room: its log up to `ordinal`, its stream up to `seq`, the unread
    counts.

    `members` are marks of the members whose events were sent to a client that loads them lazily.
    """

    ordinal: int
    seq: int
    unread: Counts = field(default_factory=dict)
    members: tuple[str, ...] = ()


def unbroken(position: RoomPosition | None, since: int | None) -> RoomPosition | None:
    """Return the position of a member who joined at the ordinal `since`; None if they joined after the
    position.

    In the latter case there may be events in between that they may not see.
    """
    return None if position is not None and (since or 0) > position.ordinal else position


@dataclass(slots=True)
class Positions:
    """What a client has been shown. The position in a stream that it never read is 0.

    `rooms` are the joined ones; `others` is the user's membership in other rooms as it was last shown; both
    by room hash. `typing_until_ms` is when the last shown typing notification ends, by room hash.
    `unacknowledged`: the answer had to-device messages, which the next request acknowledges.
    `blocks_invites`: the user wants no invites. `present` are users who were shown as online: until when that
    is valid, the room through which they may be seen (empty: the presence list), and their state.
    `counted_by` are digests of the rules by which unread events were counted (`rule_digests`); None if
    unknown.
    """

    rooms: dict[str, RoomPosition] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    user: int = 0
    device: int = 0
    one_time_keys: dict[str, int] = field(default_factory=dict)
    fallback_keys: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    typing_until_ms: dict[str, int] = field(default_factory=dict)
    unacknowledged: bool = False
    blocks_invites: bool = False
    present: dict[UserId, tuple[int, str, str]] = field(default_factory=dict)
    counted_by: dict[str, str] | None = None

    def copy(self) -> Positions:
        """Return a copy that can be changed without changing this one."""
        return Positions(
            dict(self.rooms),
            dict(self.others),
            self.user,
            self.device,
            dict(self.one_time_keys),
            list(self.fallback_keys),
            list(self.ignored),
            dict(self.typing_until_ms),
            self.unacknowledged,
            self.blocks_invites,
            dict(self.present),
            self.counted_by,
        )

    def dump(self) -> bytes:
        """Return the compact form to store."""
        return zlib.compress(json.dumps(self.as_fields(), separators=(",", ":")).encode())

    def as_fields(self) -> list[Any]:
        """Return the positions as JSON values, for storage."""
        rooms = [
            [
                room,
                position.ordinal,
                position.seq,
                [[thread, *pair] for thread, pair in position.unread.items()],
                "".join(position.members),
            ]
            for room, position in self.rooms.items()
        ]
        return [
            rooms,
            self.others,
            self.user,
            self.device,
            self.one_time_keys,
            self.fallback_keys,
            self.ignored,
            self.typing_until_ms,
            self.unacknowledged,
            self.blocks_invites,
            [[user_id, *entry] for user_id, entry in self.present.items()],
            self.counted_by,
        ]

    @classmethod
    def load(cls, data: bytes) -> Positions:
        """Return the positions that `dump` encoded."""
        return cls.from_fields(json.loads(zlib.decompress(data)))

    @classmethod
    def from_fields(cls, values: Sequence[Any]) -> Positions:
        """Return the positions that `as_fields` encoded."""
        rooms, *others = values
        fields, present, counted_by = others[:9], others[9], others[10] if len(others) > 10 else None
        positions = cls(
            {
                room: RoomPosition(ordinal, seq, {thread: (n, h) for thread, n, h in unread}, split(members))
                for room, ordinal, seq, unread, members in rooms
            },
            *fields,
        )
        positions.present = {user_id: (until, via, state) for user_id, until, via, state in present}
        positions.counted_by = counted_by
        return positions


@functools.lru_cache(4096)
def room_hash(user_id: UserId, room_id: RoomId) -> str:
    """Return the name of a room in the user's positions: a hash of 64 bits."""
    digest = blake2b(room_id.encode(), digest_size=8, key=user_id.encode()[:64]).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def mark(identifier: str) -> str:
    """Return eight characters that identify an event or a user among the few of one room."""
    return urlsafe_b64encode(blake2b(identifier.encode(), digest_size=6).digest()).decode()


def split(marks: str) -> tuple[str, ...]:
    """Return the marks in a text."""
    return tuple(marks[start : start + MARK_LENGTH] for start in range(0, len(marks), MARK_LENGTH))


def total(unread: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Return the unread counts of all threads together."""
    return sum(pair[0] for pair in unread.values()), sum(pair[1] for pair in unread.values())


def as_counts(pair: Sequence[int]) -> UnreadCounts:
    """Return unread counts in the form of /sync."""
    return {"notification_count": pair[0], "highlight_count": pair[1]}
