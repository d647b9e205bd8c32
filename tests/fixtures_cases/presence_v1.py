"""Presence as client API v1 has it."""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.presence import LIST, OLD_STATUS

CASES = Cases("client_v1/presence", "alice_and_bob_in_a_public_room")

CASES.add(
    "set_presence_status/good",
    "Alice is free for a chat.",
    f"PUT {OLD_STATUS}",
    {"presence": "free_for_chat"},
    by="alice",
)
CASES.add(
    "set_presence_status/no_state",
    "Which state?",
    f"PUT {OLD_STATUS}",
    {},
    by="alice",
    expect="400 M_MISSING_PARAM",
)
CASES.add("get_presence_status/good", "Bob shares a room with Alice.", f"GET {OLD_STATUS}", by="bob")
CASES.add(
    "get_presence_status/nobody",
    "There is no such user.",
    "GET /_matrix/client/api/v1/presence/@nobody:example.org/status",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add("get_presence_list/good", "Alice has nobody on her list yet.", f"GET {LIST}", by="alice")
CASES.add(
    "get_presence_list/another_users",
    "Bob can't see whom Alice wants to see.",
    f"GET {LIST}",
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "change_presence_list/good",
    "Alice asks to see Bob.",
    f"POST {LIST}",
    {"invite": ["{{bob}}"]},
    by="alice",
)
CASES.add(
    "change_presence_list/not_asked",
    "Bob has not asked to see Alice.",
    f"POST {LIST}",
    {"grant": ["{{bob}}"]},
    by="alice",
    expect="404 M_NOT_FOUND",
)
