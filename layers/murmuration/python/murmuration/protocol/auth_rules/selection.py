"""Selects the state events that authorise an event.

https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.event_types import CREATE, JOIN_RULES, MEMBER, POWER_LEVELS, THIRD_PARTY_INVITE
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


def auth_event_types(
    version: RoomVersion, event_type: str, sender: UserId, state_key: str | None, content: Content
) -> list[StateKey]:
    """Return the (type, state key) pairs of the state events to name in an event's `auth_events`, if they
    exist.

    From room version 12 on the create event isn't among them, though `check_auth` needs it too; it is in
    `auth_state_types`.
    """
    if event_type == CREATE:
        return []
    pairs = [] if version.create_event_is_room_id else [(CREATE, "")]
    pairs += [(POWER_LEVELS, ""), (MEMBER, sender)]
    if event_type == MEMBER and state_key is not None:
        pairs += _for_membership(version, state_key, content)
    return list(dict.fromkeys(pairs))


def auth_state_types(
    version: RoomVersion, event_type: str, sender: UserId, state_key: str | None, content: Content
) -> list[StateKey]:
    """Return the pairs of the state events that `check_auth` needs: `auth_event_types` and the create
    event.
    """
    pairs = auth_event_types(version, event_type, sender, state_key, content)
    return [(CREATE, ""), *pairs] if version.create_event_is_room_id else pairs


def auth_event_types_of(event: Event) -> list[StateKey]:
    """Return `auth_event_types` for an event that exists already."""
    return auth_event_types(event.room_version, event.type, event.sender, event.state_key, event.content)


def auth_state_types_of(event: Event) -> list[StateKey]:
    """Return `auth_state_types` for an event that exists already."""
    return auth_state_types(event.room_version, event.type, event.sender, event.state_key, event.content)


def third_party_token(content: Content) -> str | None:
    """Return `third_party_invite.signed.token` of a membership event's content, if it is there and a
    string.
    """
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None


def _for_membership(version: RoomVersion, target: str, content: Content) -> list[StateKey]:
    pairs = [(MEMBER, target)]
    membership = content.get("membership")
    if membership in ("join", "invite", "knock"):
        pairs.append((JOIN_RULES, ""))
    if membership == "invite" and (token := third_party_token(content)) is not None:
        pairs.append((THIRD_PARTY_INVITE, token))
    if membership == "join" and version.restricted_join_rule:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            pairs.append((MEMBER, authoriser))
    return pairs
