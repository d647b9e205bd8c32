"""https://spec.matrix.org/v1.19/client-server-api/#creation"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/rooms", "alice")

CREATE = "POST /_matrix/client/v3/createRoom"

CASES.add("create_room/good", "A private room.", CREATE, {}, by="alice")
CASES.add(
    "create_room/good_with_everything",
    "A published room with alias, name, topic, state, guests and other powers.",
    CREATE,
    {
        "preset": "public_chat",
        "visibility": "public",
        "room_alias_name": "tea",
        "name": "Tea",
        "topic": "Leaves only",
        "invite": ["@bob:example.org"],
        "initial_state": [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
        "creation_content": {"m.federate": False},
        "power_level_content_override": {"events_default": 10},
    },
    by="alice",
    worlds=("alice", "bob"),
)
CASES.add(
    "create_room/good_direct",
    "A direct chat with Bob, of an old room version.",
    CREATE,
    {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "invite": ["@bob:example.org"],
        "room_version": "10",
    },
    by="alice",
    worlds=("alice", "bob"),
)
CASES.add(
    "create_room/alias_taken",
    "The alias is another room's.",
    CREATE,
    {"room_alias_name": "lounge"},
    by="alice",
    worlds="alice_and_bob_in_a_public_room",
    expect="400 M_ROOM_IN_USE",
)
CASES.add(
    "create_room/unsupported_version",
    "A room version that isn't known.",
    CREATE,
    {"room_version": "twelve"},
    by="alice",
    expect="400 M_UNSUPPORTED_ROOM_VERSION",
)
CASES.add(
    "create_room/impossible_powers",
    "Powers that don't make a valid room.",
    CREATE,
    {"power_level_content_override": {"users": {"@alice:example.org": "much"}}},
    by="alice",
    expect="400 M_INVALID_ROOM_STATE",
)
CASES.add(
    "create_room/invited_address",
    "Whose an address is only identity servers know, and none is asked: no room is made without its guest.",
    CREATE,
    {"invite_3pid": [{"id_server": "id.example.org", "medium": "email", "address": "carol@mail.example"}]},
    by="alice",
    expect="400 M_SERVER_NOT_TRUSTED",
)
CASES.add(
    "create_room/bad_preset",
    "A preset that isn't known.",
    CREATE,
    {"preset": "party"},
    by="alice",
    expect="400 M_BAD_JSON",
)

UPGRADE = "POST /_matrix/client/v3/rooms/{{lounge}}/upgrade"
PEOPLE = "alice_and_bob_in_a_public_room"
CASES.add(
    "upgrade_room/good",
    "Alice replaces the lounge by a room of version 11.",
    UPGRADE,
    {"new_version": "11"},
    by="alice",
    worlds=PEOPLE,
)
CASES.add(
    "upgrade_room/good_same_version",
    "Or by one of the same version.",
    UPGRADE,
    {"new_version": "12"},
    by="alice",
    worlds=PEOPLE,
)
CASES.add(
    "upgrade_room/too_little_power",
    "Bob may not.",
    UPGRADE,
    {"new_version": "12"},
    by="bob",
    worlds=PEOPLE,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "upgrade_room/unsupported_version",
    "A room version that isn't known.",
    UPGRADE,
    {"new_version": "twelve"},
    by="alice",
    worlds=PEOPLE,
    expect="400 M_UNSUPPORTED_ROOM_VERSION",
)
CASES.add(
    "upgrade_room/missing_version",
    "To which version?",
    UPGRADE,
    {},
    by="alice",
    worlds=PEOPLE,
    expect="400 M_MISSING_PARAM",
)
