"""A sync's answer in the making."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from murmuration.protocol.sizes import LIST_BYTES, json_bytes
from murmuration.storage.live.positions import Positions
from murmuration.sync import waiting
from murmuration.sync.context import DeviceLists

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection
    from murmuration.sync.json_types import AnswerSections, RoomSection, SyncAnswer

RESERVED_BYTES = 400_000
"""What presence and device lists may have of an answer, for which they are read last."""
LEAST_ROOM_BYTES = 1_000_000
"""What the rooms may have in any case."""


def no_sections() -> AnswerSections:
    return {}


@dataclass
class Answer:
    """A sync's answer in the making, and where the client stands with it."""

    positions: Positions
    sections: AnswerSections = field(default_factory=no_sections)
    rooms: dict[str, dict[str, RoomSection]] = field(default_factory=dict)
    device_lists: DeviceLists = field(default_factory=DeviceLists)
    is_complete: bool = False
    """Whether nothing was left for the next look, but for what `again_ms` tells of."""
    again_ms: int = 0
    """When to look again at what was left for later without anybody who would ring; 0 for nothing."""

    @property
    def changes_ms(self) -> int:
        """When the next look may find something by the time alone; 0 for never."""
        ends = (self.again_ms, waiting.typing_end_ms(self.positions))
        return min((end for end in ends if end), default=0)

    def bytes_for_rooms(self) -> int:
        """Return how many bytes rooms may have in the answer, beside what is in it."""
        return max(LEAST_ROOM_BYTES, LIST_BYTES - RESERVED_BYTES - json_bytes(self.sections))

    @property
    def has_news(self) -> bool:
        return bool(self.sections or self.rooms or self.device_lists.changed or self.device_lists.left)

    def as_json(self, next_batch: str) -> SyncAnswer:
        """Return the answer; the client goes on from `next_batch`."""
        body = cast("SyncAnswer", {"next_batch": next_batch, **self.sections})
        if self.rooms:
            body["rooms"] = self.rooms
        if self.device_lists.changed or self.device_lists.left:
            body["device_lists"] = self.device_lists.as_json()
        body["device_one_time_keys_count"] = self.positions.one_time_keys
        body["device_unused_fallback_key_types"] = self.positions.fallback_keys
        return body

    def key_counts(self) -> KeyCountsSection:
        """Return what the answer says of the device's keys."""
        return {
            "device_one_time_keys_count": self.positions.one_time_keys,
            "device_unused_fallback_key_types": self.positions.fallback_keys,
        }
