"""Redactions: whether they take effect. https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.protocol.event_types import CREATE_KEY, POWER_LEVELS_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.power_levels import PowerLevels

REDACTION_STATE = (CREATE_KEY, POWER_LEVELS_KEY)
"""The (type, state key) pairs of the state that decides whether a redaction takes effect."""


def takes_effect(redaction: Event, target: Event, state: Mapping[StateKey, Event]) -> bool:
    """Return whether an allowed redaction takes effect: its sender has the power, or both senders share a
    server.

    `state` is the state before the redaction.
    """
    return redaction.sender_server == target.sender_server or has_power(redaction, state)


def has_power(redaction: Event, state: Mapping[StateKey, Event]) -> bool:
    """Return whether the redaction's sender has the power to redact any user's events."""
    version = redaction.room_version
    power = PowerLevels.from_state(state.get(CREATE_KEY), state.get(POWER_LEVELS_KEY), version)
    return power.can_redact(redaction.sender)
