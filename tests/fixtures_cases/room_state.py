"""https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/room_state", "alice_and_bob_in_a_public_room")

LOUNGE = "/_matrix/client/v3/rooms/{{lounge}}"
PORCH = "/_matrix/client/v3/rooms/{{porch}}"
WITH_CAROL = ("alice_and_bob_in_a_public_room", "carol")

CASES.add("get_room_state/good", "Bob reads the whole state.", f"GET {LOUNGE}/state", by="bob")
CASES.add(
    "get_room_state/good_as_left",
    "Alice reads the state as it was when she left.",
    f"GET {PORCH}/state",
    by="alice",
    worlds="alice_left_a_room",
)
CASES.add(
    "get_room_state/not_in_the_room",
    "Carol isn't there.",
    f"GET {LOUNGE}/state",
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
CASES.add("get_room_state_by_type/good", "The room's topic.", f"GET {LOUNGE}/state/m.room.topic", by="bob")
CASES.add(
    "get_room_state_by_type/good_event",
    "The whole event that set it.",
    f"GET {LOUNGE}/state/m.room.topic?format=event",
    by="bob",
)
CASES.add(
    "get_room_state_by_type/not_set",
    "The room has no avatar.",
    f"GET {LOUNGE}/state/m.room.avatar",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_room_state_by_type/not_in_the_room",
    "Carol isn't there.",
    f"GET {LOUNGE}/state/m.room.topic",
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "get_room_state_with_key/good",
    "Alice's membership.",
    f"GET {LOUNGE}/state/m.room.member/%40alice%3Aexample.org",
    by="bob",
)
CASES.add(
    "get_room_state_with_key/not_set",
    "Carol has none.",
    f"GET {LOUNGE}/state/m.room.member/%40carol%3Aexample.org",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add("get_members_by_room/good", "Every membership event.", f"GET {LOUNGE}/members", by="bob")
CASES.add(
    "get_members_by_room/good_filtered",
    "Who is gone from the porch, as Bob sees it.",
    f"GET {PORCH}/members?not_membership=join",
    by="bob",
    worlds="alice_left_a_room",
)
CASES.add(
    "get_members_by_room/bad_membership",
    "No such membership.",
    f"GET {LOUNGE}/members?membership=sleep",
    by="bob",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "get_members_by_room/not_in_the_room",
    "Carol isn't there.",
    f"GET {LOUNGE}/members",
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
CASES.add("get_joined_members_by_room/good", "Who is there.", f"GET {LOUNGE}/joined_members", by="bob")
CASES.add(
    "get_joined_members_by_room/left",
    "Alice has left the porch.",
    f"GET {PORCH}/joined_members",
    by="alice",
    worlds="alice_left_a_room",
    expect="403 M_FORBIDDEN",
)
