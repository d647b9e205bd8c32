"""The answers of a search for messages.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from murmuration.protocol.encoding.json_types import ClientEvent


class ResultContext(TypedDict):
    """The events around one that was found. `start` and `end` are positions.

    `profile_info` has the display name and the avatar of each sender, as they were when the event was sent.
    """

    start: str
    end: str
    events_before: list[ClientEvent]
    events_after: list[ClientEvent]
    profile_info: NotRequired[dict[str, dict[str, str]]]


class SearchResult(TypedDict):
    """An event that was found. `rank` is between 0 and 1."""

    rank: float
    result: ClientEvent
    context: NotRequired[ResultContext]


class ResultGroup(TypedDict):
    """The IDs of the events of one room or sender. `order` is the group's position among all groups.

    `next_batch` is the token of the group's next page, if it may have one.
    """

    next_batch: NotRequired[str]
    order: int
    results: list[str]
