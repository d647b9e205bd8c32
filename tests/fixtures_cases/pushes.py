"""The worker that calls push gateways. https://spec.matrix.org/v1.19/push-gateway-api/"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("workers/pushes", "alice_has_a_pusher")

CASES.add(
    "call_gateways/not_reached",
    "Nothing answers at the gateway's address: it is to be tried again.",
    "QUEUE gateway-pushes",
    [
        {
            "user_id": "@alice:example.org",
            "note": {
                "room_id": "{{lounge}}",
                "ordinal": 8,
                "thread": "main",
                "tweaks": {"sound": "default"},
                "prio": "high",
            },
        }
    ],
)
CASES.add(
    "call_gateways/nothing_unread",
    "Alice has read what nobody told her of: no number changes.",
    "QUEUE gateway-pushes",
    [{"user_id": "@alice:example.org", "read": {"room_id": "{{lounge}}", "up_to": {"": 8}}}],
)
