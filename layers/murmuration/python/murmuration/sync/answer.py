"""The answer to a sync while it is being built."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from murmuration.identity import patience
from murmuration.protocol.sizes import LIST_BYTES, json_bytes
from murmuration.storage.live.positions import Positions
from murmuration.sync import waiting
from murmuration.sync.context import DeviceLists

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection
    from murmuration.sync.readers.json_types import AnswerSections, RoomSection, SyncAnswer

RESERVED_BYTES = 400_000
"""How much of an answer is reserved for presence and device lists, which are read last."""
LEAST_ROOM_BYTES = 1_000_000
"""The part of an answer that the rooms may take in any case."""
ALL_ROOMS_BYTES = 16_000_000
"""How much the rooms may take of an answer that has all of them at least by name."""
MAKING_S = 12
"""How long sections of rooms are built for one answer; API Gateway gives up after 29 s."""


def no_sections() -> AnswerSections:
    return {}


@dataclass
class Answer:
    """An answer that is being built, and the client's positions after it."""

    positions: Positions
    names_all: bool = False
    """Whether the answer has only the membership of rooms that don't fit."""
    began_s: float = field(default_factory=time.monotonic)
    sections: AnswerSections = field(default_factory=no_sections)
    rooms: dict[str, dict[str, RoomSection]] = field(default_factory=dict)
    device_lists: DeviceLists = field(default_factory=DeviceLists)
    is_complete: bool = False
    """Whether nothing was left for the next look, except the updates that `again_ms` is for."""
    again_ms: int = 0
    """When to look again at updates for which nothing rings; 0 for none."""

    @property
    def changes_ms(self) -> int:
        """When something may change merely because time passes (milliseconds); 0 for never."""
        ends = (self.again_ms, waiting.typing_end_ms(self.positions))
        return min((end for end in ends if end), default=0)

    def bytes_for_rooms(self) -> int:
        """Return how many bytes rooms may take in the answer, in addition to its present content."""
        if self.names_all:
            return ALL_ROOMS_BYTES
        return max(LEAST_ROOM_BYTES, LIST_BYTES - RESERVED_BYTES - json_bytes(self.sections))

    @property
    def is_late(self) -> bool:
        """Whether building sections took so long that the others have to wait for the next answer."""
        return bool(self.rooms) and time.monotonic() - self.began_s > MAKING_S

    def go_on(self) -> None:
        """Check whether to continue building the answer, once that takes long. Raises LimitExceeded.

        The time before, for which the request waited for updates, doesn't count.
        """
        if time.monotonic() - self.began_s > patience.Work.quick_s:
            patience.go_on()

    @property
    def has_news(self) -> bool:
        return bool(self.sections or self.rooms or self.device_lists.changed or self.device_lists.left)

    def as_json(self, next_batch: str) -> SyncAnswer:
        """Return the answer as JSON; `next_batch` is the token for the client's next request."""
        body = cast("SyncAnswer", {"next_batch": next_batch, **self.sections})
        if self.rooms:
            body["rooms"] = self.rooms
        if self.device_lists.changed or self.device_lists.left:
            body["device_lists"] = self.device_lists.as_json()
        return {**body, **self.key_counts()}

    def key_counts(self) -> KeyCountsSection:
        """Return the device's key counts, which every answer has."""
        return {
            "device_one_time_keys_count": self.positions.one_time_keys,
            "device_unused_fallback_key_types": self.positions.fallback_keys,
        }
