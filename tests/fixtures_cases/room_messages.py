"""https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room"""

from __future__ import annotations

from urllib.parse import quote

from tests.fixtures_cases import Cases

CASES = Cases("client_server/room_messages", "a_room_with_history")

ARCHIVE = "/_matrix/client/v3/rooms/{{archive}}"
ONLY_ALICE = quote('{"senders": ["@alice:example.org"], "types": ["m.room.message"]}')
WITH_CAROL = ("a_room_with_history", "carol")

CASES.add(
    "get_messages/good", "Bob reads the last five events.", f"GET {ARCHIVE}/messages?dir=b&limit=5", by="bob"
)
CASES.add(
    "get_messages/good_from_the_start",
    "Bob reads on from the beginning.",
    f"GET {ARCHIVE}/messages?dir=f&limit=3",
    by="bob",
)
CASES.add(
    "get_messages/good_filtered",
    "Only what Alice said.",
    f"GET {ARCHIVE}/messages?dir=b&filter={ONLY_ALICE}",
    by="bob",
)
CASES.add(
    "get_messages/missing_direction",
    "Which way?",
    f"GET {ARCHIVE}/messages",
    by="bob",
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "get_messages/bad_token",
    "Not a token of ours.",
    f"GET {ARCHIVE}/messages?dir=b&from=yesterday",
    by="bob",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "get_messages/not_in_the_room",
    "Carol isn't there.",
    f"GET {ARCHIVE}/messages?dir=b",
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "get_room_event/good",
    "What Bob began the thread with, and what came of it.",
    f"GET {ARCHIVE}/event/{{{{thread}}}}",
    by="alice",
)
CASES.add(
    "get_room_event/good_edited",
    "What was edited, with the edit.",
    f"GET {ARCHIVE}/event/{{{{typo}}}}",
    by="bob",
)
CASES.add(
    "get_room_event/good_redacted",
    "What was taken back is empty and says so.",
    f"GET {ARCHIVE}/event/{{{{redacted}}}}",
    by="alice",
)
CASES.add(
    "get_room_event/unknown",
    "There is no such event.",
    f"GET {ARCHIVE}/event/$nothing",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_room_event/not_in_the_room",
    "Carol isn't there, and isn't told whether it exists.",
    f"GET {ARCHIVE}/event/{{{{thread}}}}",
    by="carol",
    worlds=WITH_CAROL,
    expect="404 M_NOT_FOUND",
)

CASES.add(
    "get_event_context/good",
    "What was said around the thread's beginning.",
    f"GET {ARCHIVE}/context/{{{{thread}}}}?limit=4",
    by="bob",
)
CASES.add(
    "get_event_context/unknown",
    "There is no such event.",
    f"GET {ARCHIVE}/context/$nothing",
    by="bob",
    expect="404 M_NOT_FOUND",
)

AT = "GET /_matrix/client/v1/rooms/{{archive}}/timestamp_to_event"
CASES.add(
    "get_event_by_timestamp/good", "The first event after a time.", f"{AT}?ts=1750000006500&dir=f", by="bob"
)
CASES.add(
    "get_event_by_timestamp/good_backwards",
    "The last event before a time.",
    f"{AT}?ts=1750000006500&dir=b",
    by="bob",
)
CASES.add(
    "get_event_by_timestamp/none",
    "Nothing happened after.",
    f"{AT}?ts=1850000000000&dir=f",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add("get_event_by_timestamp/missing", "When?", f"{AT}?dir=f", by="bob", expect="400 M_MISSING_PARAM")
