"""The redaction algorithm. It keeps the parts of an event that its signatures and its ID's hash cover.

https://spec.matrix.org/v1.19/client-server-api/#redactions and the room versions' own lists.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from murmuration.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content, JsonObject

_TOP_LEVEL = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)
_TOP_LEVEL_BEFORE_V11 = _TOP_LEVEL | {"origin", "membership", "prev_state"}
_POWER_LEVELS = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)


def redact(pdu: JsonObject, version: RoomVersion) -> dict[str, Any]:
    """Return a redacted copy of `pdu`, without `unsigned`. The copy shares nested values with `pdu`.

    Content that isn't an object becomes an empty one.
    """
    top_level = _TOP_LEVEL if version.updated_redaction_rules else _TOP_LEVEL_BEFORE_V11
    redacted = {key: value for key, value in pdu.items() if key in top_level}
    if "content" in redacted:
        content = redacted["content"]
        redacted["content"] = (
            _redact_content(pdu.get("type"), content, version) if isinstance(content, dict) else {}
        )
    return redacted


def _redact_content(event_type: object, content: Content, version: RoomVersion) -> Content:
    if event_type == "m.room.create" and version.updated_redaction_rules:
        return content
    kept = _kept_content(version).get(event_type) if isinstance(event_type, str) else None
    if kept is None:
        return {}
    redacted = {key: value for key, value in content.items() if key in kept}
    if event_type == "m.room.member" and version.updated_redaction_rules:
        invite = content.get("third_party_invite")
        if isinstance(invite, dict):
            redacted["third_party_invite"] = {key: invite[key] for key in ("signed",) if key in invite}
    return redacted


@cache
def _kept_content(version: RoomVersion) -> dict[str, frozenset[str]]:
    """Return the content keys that are kept, by event type."""
    member = {"membership"}
    join_rules = {"join_rule"}
    if version.redaction_keeps_authorising_user:
        member.add("join_authorised_via_users_server")
    if version.redaction_keeps_join_rules_allow:
        join_rules.add("allow")
    power_levels = _POWER_LEVELS
    if version.updated_redaction_rules:
        power_levels |= {"invite"}
    kept = {
        "m.room.create": frozenset({"creator"}),
        "m.room.member": frozenset(member),
        "m.room.join_rules": frozenset(join_rules),
        "m.room.power_levels": power_levels,
        "m.room.history_visibility": frozenset({"history_visibility"}),
    }
    if version.redaction_keeps_aliases:
        kept["m.room.aliases"] = frozenset({"aliases"})
    if version.updated_redaction_rules:
        kept["m.room.redaction"] = frozenset({"redacts"})
    return kept
