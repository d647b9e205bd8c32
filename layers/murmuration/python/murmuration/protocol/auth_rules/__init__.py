"""The authorisation rules: which events a room allows, by its version.

`auth_event_types` selects the state that authorises an event. `check_auth_events` checks the event's own
selection. `check_auth` checks the event by any state: that of its auth events, that before it, or the current
one. The rules are in `rules` and the modules that it imports; `table` numbers them.

https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules, and the pages of the room versions.
"""

from __future__ import annotations

from murmuration.protocol.auth_rules.rules import check_auth, check_auth_events, create_event_id
from murmuration.protocol.auth_rules.selection import (
    auth_event_types,
    auth_event_types_of,
    auth_state_types,
    auth_state_types_of,
)
from murmuration.protocol.auth_rules.table import AuthRuleViolation

__all__ = [
    "AuthRuleViolation",
    "auth_event_types",
    "auth_event_types_of",
    "auth_state_types",
    "auth_state_types_of",
    "check_auth",
    "check_auth_events",
    "create_event_id",
]
