"""Sending to other servers: what the workers do where nothing can be sent. No request leaves a replay."""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("workers/sending", "another_server_is_behind")
FEDERATION = {"federation": "on"}
NEW = {"room_id": "{{lounge}}", "ordinals": [2], "servers": ["behind.example"], "made_ms": 1_700_000_000_000}

CASES.add(
    "send_transactions/still_behind",
    "The server is behind with the lounge already: a new event costs no write.",
    "QUEUE outbound",
    [NEW],
    settings=FEDERATION,
    after=5_000,
)
CASES.add(
    "send_transactions/left_alone",
    "It is too early to ask the server again: it is put off until then.",
    "QUEUE outbound",
    [{"server": "behind.example"}],
    settings=FEDERATION,
    after=5_000,
)
CASES.add(
    "send_transactions/up_to_date",
    "A server to which nothing is owed.",
    "QUEUE outbound",
    [{"server": "other.example"}],
    settings=FEDERATION,
)
CASES.add(
    "retry_destinations/none_behind",
    "No server is behind: nothing is read but that.",
    "SCHEDULE",
    worlds="alice_and_bob_in_a_public_room",
    settings=FEDERATION,
)
CASES.add(
    "retry_destinations/too_early",
    "The server's time hasn't come.",
    "SCHEDULE",
    settings=FEDERATION,
    after=5_000,
)
CASES.add(
    "retry_destinations/due",
    "The server's time has come: a worker is called.",
    "SCHEDULE",
    settings=FEDERATION,
    after=700_000,
)
