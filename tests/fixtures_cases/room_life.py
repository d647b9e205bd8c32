"""Summaries, receipts and typing."""

from __future__ import annotations

from tests.fixtures_cases import Cases

PEOPLE = "alice_and_bob_in_a_public_room"
CASES = Cases("client_server", PEOPLE)

V3 = "/_matrix/client/v3"
LOUNGE = f"{V3}/rooms/{{{{lounge}}}}"

SUMMARY = "GET /_matrix/client/v1/room_summary"
CASES.add(
    "room_summary/get_room_summary/good",
    "Anyone may see what the lounge is.",
    f"{SUMMARY}/%23lounge%3Aexample.org",
)
CASES.add(
    "room_summary/get_room_summary/good_member",
    "Bob sees that he is in it.",
    f"{SUMMARY}/{{{{lounge}}}}",
    by="bob",
)
CASES.add(
    "room_summary/get_room_summary/hidden",
    "Carol may not know of Bob's study.",
    f"{SUMMARY}/{{{{study}}}}",
    by="carol",
    worlds=("alice_invited_to_bobs_room", "carol"),
    expect="404 M_NOT_FOUND",
)

CASES.add(
    "typing/set_typing/good",
    "Bob types.",
    f"PUT {LOUNGE}/typing/{{{{bob}}}}",
    {"typing": True, "timeout": 30000},
    by="bob",
)
CASES.add(
    "typing/set_typing/good_stopped",
    "Bob, who didn't type, stops: nothing happens.",
    f"PUT {LOUNGE}/typing/{{{{bob}}}}",
    {"typing": False},
    by="bob",
)
CASES.add(
    "typing/set_typing/anothers",
    "Bob can't type for Alice.",
    f"PUT {LOUNGE}/typing/{{{{alice}}}}",
    {"typing": True},
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "typing/set_typing/not_in_the_room",
    "Carol isn't there.",
    f"PUT {LOUNGE}/typing/{{{{carol}}}}",
    {"typing": True},
    by="carol",
    worlds=(PEOPLE, "carol"),
    expect="403 M_FORBIDDEN",
)

RECEIPT = f"POST {LOUNGE}/receipt"
CASES.add(
    "receipts/post_receipt/good",
    "Bob has read what Alice said.",
    f"{RECEIPT}/m.read/{{{{reply}}}}",
    {},
    by="bob",
)
CASES.add(
    "receipts/post_receipt/good_private",
    "Bob has read it, and nobody is to know.",
    f"{RECEIPT}/m.read.private/{{{{reply}}}}",
    {},
    by="bob",
)
CASES.add(
    "receipts/post_receipt/unknown_event",
    "There is no such event.",
    f"{RECEIPT}/m.read/$nothing",
    {},
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "receipts/post_receipt/unknown_type",
    "There are no such receipts.",
    f"{RECEIPT}/m.skimmed/{{{{reply}}}}",
    {},
    by="bob",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "receipts/post_receipt/not_in_the_room",
    "Carol isn't there.",
    f"{RECEIPT}/m.read/{{{{reply}}}}",
    {},
    by="carol",
    worlds=(PEOPLE, "carol"),
    expect="403 M_FORBIDDEN",
)

MARKERS = f"POST {LOUNGE}/read_markers"
CASES.add(
    "receipts/set_read_marker/good",
    "Bob has read to the end, and moves his read marker.",
    MARKERS,
    {"m.fully_read": "{{greeting}}", "m.read": "{{reply}}"},
    by="bob",
)
CASES.add(
    "receipts/set_read_marker/unknown_event",
    "There is no such event.",
    MARKERS,
    {"m.fully_read": "$nothing"},
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "receipts/set_read_marker/not_an_id",
    "That's no event ID.",
    MARKERS,
    {"m.fully_read": 7},
    by="bob",
    expect="400 M_INVALID_PARAM",
)
