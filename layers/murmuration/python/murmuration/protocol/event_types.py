"""The types of events and of account data that the code uses by name.

A name that ends in `_KEY` is a (type, state key) pair with an empty state key, for state that a room has
once.
"""

from __future__ import annotations

from typing import Final

# State of rooms
CREATE: Final = "m.room.create"
MEMBER: Final = "m.room.member"
POWER_LEVELS: Final = "m.room.power_levels"
JOIN_RULES: Final = "m.room.join_rules"
HISTORY_VISIBILITY: Final = "m.room.history_visibility"
GUEST_ACCESS: Final = "m.room.guest_access"
THIRD_PARTY_INVITE: Final = "m.room.third_party_invite"
ENCRYPTION: Final = "m.room.encryption"
SERVER_ACL: Final = "m.room.server_acl"
POLICY: Final = "m.room.policy"
TOMBSTONE: Final = "m.room.tombstone"
NAME: Final = "m.room.name"
TOPIC: Final = "m.room.topic"
AVATAR: Final = "m.room.avatar"
CANONICAL_ALIAS: Final = "m.room.canonical_alias"
ALIASES: Final = "m.room.aliases"
PINNED_EVENTS: Final = "m.room.pinned_events"
RETENTION: Final = "m.room.retention"
SPACE_CHILD: Final = "m.space.child"

CREATE_KEY: Final = (CREATE, "")
POWER_LEVELS_KEY: Final = (POWER_LEVELS, "")
JOIN_RULES_KEY: Final = (JOIN_RULES, "")
HISTORY_VISIBILITY_KEY: Final = (HISTORY_VISIBILITY, "")
ENCRYPTION_KEY: Final = (ENCRYPTION, "")
SERVER_ACL_KEY: Final = (SERVER_ACL, "")
POLICY_KEY: Final = (POLICY, "")
TOMBSTONE_KEY: Final = (TOMBSTONE, "")
RETENTION_KEY: Final = (RETENTION, "")
NAME_KEY: Final = (NAME, "")
AVATAR_KEY: Final = (AVATAR, "")
CANONICAL_ALIAS_KEY: Final = (CANONICAL_ALIAS, "")

# Other events of rooms
MESSAGE: Final = "m.room.message"
ENCRYPTED: Final = "m.room.encrypted"
REDACTION: Final = "m.room.redaction"
CALL_INVITE: Final = "m.call.invite"

# Account data
DIRECT: Final = "m.direct"
FULLY_READ: Final = "m.fully_read"
"""A room's read marker."""
IGNORED_USERS: Final = "m.ignored_user_list"
INVITE_PERMISSION: Final = "m.invite_permission_config"
PUSH_RULES: Final = "m.push_rules"
TAG: Final = "m.tag"
