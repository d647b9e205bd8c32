"""Positions: all that a client has been shown, room by room and stream by stream.

A stream token names one stored row of these. Rooms go by a short hash, which keeps the row within one
write unit for a hundred rooms.
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
    from murmuration.storage.json_types import UnreadCounts

Counts = dict[str, tuple[int, int]]
"""Unread (notifications, highlights) by thread: its root's event ID, or MAIN."""
MAIN = "main"
MARK_LENGTH = 8


@dataclass(frozen=True, slots=True)
class RoomPosition:
    """What was shown of a joined room: its log up to `ordinal`, its stream up to `seq`; what was unread.

    `members` are marks of the members whose events a client that loads them lazily was sent.
    """

    ordinal: int
    seq: int
    unread: Counts = field(default_factory=dict)
    members: tuple[str, ...] = ()


def unbroken(position: RoomPosition | None, since: int | None) -> RoomPosition | None:
    """The position of one in the room `since` an ordinal; None if that is later, as there may be a hole."""
    return None if position is not None and (since or 0) > position.ordinal else position


@dataclass(slots=True)
class Positions:
    """What a client has been shown. Streams that it never read stand at 0.

    `rooms` are the joined ones, `others` what was last shown of the user's part in further rooms, both by
    room hash. `typing_until_ms` is when the last typing notification that was shown ends, by room hash.
    `unacknowledged` says that the answer brought to-device messages, which the next request acknowledges.
    `blocks_invites` says that the user wants none.
    `present` are users who were shown as there: until when that is good, the room by which they may be known
    (empty: the presence list), and their state. `counted_by` are digests of the rules by which the unread
    counts were counted (`rule_digests`); None where that isn't known.
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
    present: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    counted_by: dict[str, str] | None = None

    def copy(self) -> Positions:
        """A copy that may be moved without moving this one."""
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
        """The compact stored form."""
        return zlib.compress(json.dumps(self.as_fields(), separators=(",", ":")).encode())

    def as_fields(self) -> list[Any]:
        """What is stored, as JSON values."""
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
        """The positions that `dump` wrote."""
        return cls.from_fields(json.loads(zlib.decompress(data)))

    @classmethod
    def from_fields(cls, values: Sequence[Any]) -> Positions:
        """The positions that `as_fields` made these values of."""
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
def room_hash(user_id: str, room_id: str) -> str:
    """The name that a room goes by in the user's positions: 64 bits, no two alike but by 2**64 attempts."""
    digest = blake2b(room_id.encode(), digest_size=8, key=user_id.encode()[:64]).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def mark(identifier: str) -> str:
    """Eight characters to remember an event or user by, among the few of one room."""
    return urlsafe_b64encode(blake2b(identifier.encode(), digest_size=6).digest()).decode()


def split(marks: str) -> tuple[str, ...]:
    """The marks that a text of them has."""
    return tuple(marks[start : start + MARK_LENGTH] for start in range(0, len(marks), MARK_LENGTH))


def total(unread: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """All threads' unread counts together."""
    return sum(pair[0] for pair in unread.values()), sum(pair[1] for pair in unread.values())


def as_counts(pair: Sequence[int]) -> UnreadCounts:
    """Unread counts as sync shows them."""
    return {"notification_count": pair[0], "highlight_count": pair[1]}
