"""Presence: combines the presence of a user's devices, and decides which state others see.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

ONLINE, UNAVAILABLE, OFFLINE = "online", "unavailable", "offline"
FREE_FOR_CHAT, HIDDEN = "free_for_chat", "hidden"
STATES = (ONLINE, UNAVAILABLE, OFFLINE, FREE_FOR_CHAT, HIDDEN)
"""The founding documents' states. Today's specification has only the first three."""
TODAYS = (ONLINE, UNAVAILABLE, OFFLINE)
_AVAILABILITY = {OFFLINE: 0, HIDDEN: 0, UNAVAILABLE: 1, ONLINE: 2, FREE_FOR_CHAT: 3}
CURRENTLY_ACTIVE_MS = 60_000
"""How long a user counts as active after their last action, in milliseconds."""


class PresenceContent(TypedDict):
    """The content of an `m.presence` event without the profile. `last_active_ago` is in milliseconds."""

    presence: str
    last_active_ago: NotRequired[int]
    currently_active: NotRequired[bool]
    status_msg: NotRequired[str]
    capabilities: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class Device:
    """The presence that one device sets, and until when it is valid (milliseconds since the epoch)."""

    presence: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Presence:
    """A user's presence. `changed_ms` is when the presence that others see last changed.

    `capabilities` are the hashes of devices' capabilities (version 2 of the client API), by device. `came_ms`
    is when the user last opened an event stream. `away_ms` is when their previous stream ended, 0 if there
    was none.
    """

    devices: Mapping[str, Device] = field(default_factory=dict)
    status_msg: str | None = None
    last_active_ms: int = 0
    changed_ms: int = 0
    came_ms: int = 0
    away_ms: int = 0
    capabilities: Mapping[str, str] = field(default_factory=dict)

    def _live(self, now_ms: int) -> list[Device]:
        return [device for device in self.devices.values() if device.until_ms > now_ms]

    def own(self, now_ms: int) -> str:
        """Return the state that the user themselves sees: hidden if any device asks for that, else the most
        available one.
        """
        states = [device.presence for device in self._live(now_ms)]
        if HIDDEN in states:
            return HIDDEN
        return max(states, key=availability, default=OFFLINE)

    def shown(self, now_ms: int) -> str:
        """Return the state that others see."""
        own = self.own(now_ms)
        return OFFLINE if own == HIDDEN else own

    def watches(self, now_ms: int) -> bool:
        """Return whether the user has an event stream open, whatever state others see."""
        return bool(self._live(now_ms))

    def watched(self, at_ms: int) -> bool:
        """Return whether the user had an event stream open at a time in the past, or has opened one since."""
        return self.watches(at_ms) or self.away_ms > at_ms

    def ends_ms(self, now_ms: int) -> int:
        """Return when the state that others see will change by itself; 0 if it won't."""
        shown = self.shown(now_ms)
        if shown == OFFLINE:
            return 0
        return max(device.until_ms for device in self._live(now_ms) if device.presence == shown)

    def content(self, state: str, now_ms: int) -> PresenceContent:
        """Return the content of an `m.presence` event with the state `state`, without the profile."""
        content: PresenceContent = {"presence": state}
        if self.last_active_ms:
            ago = max(0, now_ms - self.last_active_ms)
            content["last_active_ago"] = ago
            if state in (ONLINE, FREE_FOR_CHAT):
                content["currently_active"] = ago < CURRENTLY_ACTIVE_MS
        if self.status_msg is not None:
            content["status_msg"] = self.status_msg
        if self.capabilities:
            content["capabilities"] = sorted(set(self.capabilities.values()))
        return content


def availability(state: str) -> int:
    """Return a state's rank of availability. Raising the rank is an action of the user, lowering it isn't."""
    return _AVAILABILITY[state]


def as_today(state: str) -> str:
    """Return the state of today's specification that corresponds to `state`."""
    return {FREE_FOR_CHAT: ONLINE, HIDDEN: OFFLINE}.get(state, state)
