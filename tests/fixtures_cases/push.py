"""https://spec.matrix.org/v1.19/client-server-api/#push-notifications"""

from __future__ import annotations

from typing import Any

from tests.fixtures_cases import Cases

CASES = Cases("client_server/push", "alice_has_a_pusher")

V3 = "/_matrix/client/v3"
PUSHER: dict[str, Any] = {
    "app_id": "org.example.app",
    "pushkey": "another",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Tablet",
    "lang": "en",
    "data": {"url": "https://push.example.com/_matrix/push/v1/notify"},
}

CASES.add("get_pushers/good", "Alice has one.", f"GET {V3}/pushers", by="alice")
CASES.add("get_pushers/no_token", "Nobody asks.", f"GET {V3}/pushers", expect="401 M_MISSING_TOKEN")
CASES.add("post_pusher/another", "Alice adds another.", f"POST {V3}/pushers/set", PUSHER, by="alice")
CASES.add(
    "post_pusher/taken_over",
    "Bob has Alice's phone now: its push key is his, and no more hers.",
    f"POST {V3}/pushers/set",
    PUSHER | {"pushkey": "key"},
    by="bob",
)
CASES.add(
    "post_pusher/deleted",
    "Alice deletes hers.",
    f"POST {V3}/pushers/set",
    {"app_id": "org.example.app", "pushkey": "key", "kind": None},
    by="alice",
)
CASES.add(
    "post_pusher/wrong_path",
    "A push gateway has its path.",
    f"POST {V3}/pushers/set",
    PUSHER | {"data": {"url": "https://push.example.com/"}},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add("get_notifications/good", "What Bob said.", f"GET {V3}/notifications?limit=2", by="alice")
CASES.add(
    "get_notifications/unknown_token",
    "There is no such token.",
    f"GET {V3}/notifications?from=x",
    by="alice",
    expect="400 M_INVALID_PARAM",
)
