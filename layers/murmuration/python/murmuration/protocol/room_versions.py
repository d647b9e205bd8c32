"""The room versions, as data: version N is version N-1 with the changed fields named.

Code checks a rule by its field (`version.knocking`), never by a version number. A field's comment names the
versions in which it is true, or the one that changed it. https://spec.matrix.org/v1.19/rooms/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Literal

from murmuration.protocol.errors import UnsupportedRoomVersion


class EventIDFormat(Enum):
    """How a room version makes the IDs of events."""

    SERVER_ASSIGNED = "server_assigned"
    """`$opaque:domain`, chosen by the sending server and carried in the PDU (1, 2)."""

    HASH_STANDARD_B64 = "hash_standard_b64"
    """`$` and the reference hash in unpadded standard Base64 (3)."""

    HASH_URLSAFE_B64 = "hash_urlsafe_b64"
    """`$` and the reference hash in unpadded URL-safe Base64 (4 and later)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RoomVersion:
    """One room version's rules. There is one object for each version, compared by identity."""

    id: str
    stable: bool = True

    # Event format
    event_id_format: EventIDFormat = EventIDFormat.SERVER_ASSIGNED
    strict_canonical_json: bool = False  # 6: integers in +-(2^53-1), no floats; limits `depth` likewise
    redacts_in_content: bool = False  # 11: m.room.redaction has `redacts` in its content
    create_event_is_room_id: bool = False
    """12: the room ID is `!` and the create event's hash. The create event has no `room_id`, and no event
    names it in `auth_events`: the `room_id` implies it."""

    # Signatures
    event_id_server_signature: bool = True  # 1, 2: the domain of `event_id` signs as well
    enforce_key_validity: bool = False  # 5: a key must be valid (`valid_until_ts`) at `origin_server_ts`

    # State resolution
    state_resolution: Literal["v1", "v2", "v2.1"] = "v1"  # 2: "v2"; 12: "v2.1"

    # Authorisation rules
    special_case_redaction_auth: bool = True  # 1, 2: rule 11, m.room.redaction needs the redact level
    special_case_aliases_auth: bool = True  # 1 to 5: rule 4, m.room.aliases needs the domain alone
    limit_notifications_power_levels: bool = False  # 6: changes of `notifications` are limited as `events` is
    knocking: bool = False  # 7: membership and join rule `knock`
    restricted_join_rule: bool = False  # 8: join rule `restricted`, `join_authorised_via_users_server`
    knock_restricted: bool = False  # 10: join rule `knock_restricted`
    integer_power_levels: bool = False  # 10: power levels are integers, not strings (or, 1 to 5, floats)
    implicit_room_creator: bool = False  # 11: the create event's sender, not its `creator`
    privileged_creators: bool = False  # 12: creators have infinite power and may not appear in power levels
    additional_creators: bool = False  # 12: `additional_creators` of the create event

    # Redaction: the fields that are kept
    redaction_keeps_aliases: bool = True  # 1 to 5: `aliases` of m.room.aliases
    redaction_keeps_join_rules_allow: bool = False  # 8: `allow` of m.room.join_rules
    redaction_keeps_authorising_user: bool = False  # 9: `join_authorised_via_users_server` of m.room.member
    updated_redaction_rules: bool = False
    """11: top-level `origin`, `membership` and `prev_state` are removed. The following is kept in addition:
    all content of m.room.create, `invite` of m.room.power_levels, `redacts` of m.room.redaction, and
    `third_party_invite.signed` of m.room.member."""

    @property
    def server_assigned_event_ids(self) -> bool:
        """Whether PDUs have an `event_id`, and refer to others by (ID, hashes) pairs (1, 2)."""
        return self.event_id_format is EventIDFormat.SERVER_ASSIGNED

    def __repr__(self) -> str:
        return f"RoomVersion({self.id!r})"


_V1 = RoomVersion(id="1")
_V2 = replace(_V1, id="2", state_resolution="v2")
_V3 = replace(
    _V2,
    id="3",
    event_id_format=EventIDFormat.HASH_STANDARD_B64,
    event_id_server_signature=False,
    special_case_redaction_auth=False,
)
_V4 = replace(_V3, id="4", event_id_format=EventIDFormat.HASH_URLSAFE_B64)
_V5 = replace(_V4, id="5", enforce_key_validity=True)
_V6 = replace(
    _V5,
    id="6",
    strict_canonical_json=True,
    special_case_aliases_auth=False,
    limit_notifications_power_levels=True,
    redaction_keeps_aliases=False,
)
_V7 = replace(_V6, id="7", knocking=True)
_V8 = replace(_V7, id="8", restricted_join_rule=True, redaction_keeps_join_rules_allow=True)
_V9 = replace(_V8, id="9", redaction_keeps_authorising_user=True)
_V10 = replace(_V9, id="10", knock_restricted=True, integer_power_levels=True)
_V11 = replace(
    _V10, id="11", redacts_in_content=True, implicit_room_creator=True, updated_redaction_rules=True
)
_V12 = replace(
    _V11,
    id="12",
    create_event_is_room_id=True,
    state_resolution="v2.1",
    privileged_creators=True,
    additional_creators=True,
)

ROOM_VERSIONS: Mapping[str, RoomVersion] = MappingProxyType(
    {version.id: version for version in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
DOMAIN_ROOM_VERSION = "11"
"""The newest version whose rooms have the server's name in their ID, as clients from before 2025 require."""


def get_room_version(version_id: object) -> RoomVersion:
    """Return the room version with this ID. Raises UnsupportedRoomVersion for any other value, of any
    type.
    """
    version = ROOM_VERSIONS.get(version_id) if isinstance(version_id, str) else None
    if version is None:
        raise UnsupportedRoomVersion("This homeserver does not support that room version")
    return version
