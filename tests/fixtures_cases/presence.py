"""https://spec.matrix.org/v1.19/client-server-api/#presence"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/presence", "alice_and_bob_in_a_public_room")

STATUS = "/_matrix/client/v3/presence/{{alice}}/status"
OLD_STATUS = "/_matrix/client/api/v1/presence/{{alice}}/status"
LIST = "/_matrix/client/api/v1/presence/list/{{alice}}"

CASES.add(
    "set_presence/good",
    "Alice is away.",
    f"PUT {STATUS}",
    {"presence": "unavailable", "status_msg": "At the croquet ground"},
    by="alice",
)
CASES.add(
    "set_presence/another_users",
    "Bob can't say where Alice is.",
    f"PUT {STATUS}",
    {"presence": "online"},
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "set_presence/unknown_state",
    "Only the founding documents know this state.",
    f"PUT {STATUS}",
    {"presence": "free_for_chat"},
    by="alice",
    expect="400 M_BAD_JSON",
)
CASES.add("get_presence/good", "Bob shares a room with Alice.", f"GET {STATUS}", by="bob")
CASES.add(
    "get_presence/nobody",
    "There is no such user.",
    "GET /_matrix/client/v3/presence/@nobody:example.org/status",
    by="alice",
    expect="404 M_NOT_FOUND",
)
