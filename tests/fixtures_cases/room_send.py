"""https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/room_send", "alice_and_bob_in_a_public_room")

LOUNGE = "/_matrix/client/v3/rooms/{{lounge}}"
TEXT = {"msgtype": "m.text", "body": "Tea?"}

SEND = f"PUT {LOUNGE}/send/m.room.message"
CASES.add("send_message/good", "Bob says something.", f"{SEND}/t1", TEXT, by="bob")
CASES.add(
    "send_message/good_repeated",
    "Bob's client sends again what it has sent: nothing new happens.",
    f"{SEND}/greeting",
    {"msgtype": "m.text", "body": "Hello Alice!"},
    by="bob",
)
CASES.add(
    "send_message/good_reaction",
    "Bob reacts to what Alice said.",
    f"PUT {LOUNGE}/send/m.reaction/t2",
    {"m.relates_to": {"rel_type": "m.annotation", "event_id": "{{reply}}", "key": "👍"}},
    by="bob",
)
CASES.add(
    "send_message/not_in_the_room",
    "Carol isn't there.",
    f"{SEND}/t1",
    TEXT,
    by="carol",
    worlds=("alice_and_bob_in_a_public_room", "carol"),
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "send_message/unknown_room",
    "No such room: answered as one that Bob isn't in.",
    "PUT /_matrix/client/v3/rooms/!nowhere:example.org/send/m.room.message/t1",
    TEXT,
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "send_message/too_large",
    "More than an event may have.",
    f"{SEND}/t1",
    {**TEXT, "body": "x" * 66_000},
    by="bob",
    expect="413 M_TOO_LARGE",
)
CASES.add(
    "send_message/a_fraction",
    "Events have no fractions.",
    f"{SEND}/t1",
    {**TEXT, "cups": 0.5},
    by="bob",
    expect="400 M_BAD_JSON",
)
CASES.add(
    "send_message/not_an_object",
    "A content is an object.",
    f"{SEND}/t1",
    ["tea"],
    by="bob",
    expect="400 M_BAD_JSON",
)

CASES.add(
    "set_room_state/good",
    "Alice changes the topic.",
    f"PUT {LOUNGE}/state/m.room.topic",
    {"topic": "Coffee"},
    by="alice",
)
CASES.add(
    "set_room_state/good_same_again",
    "The topic is that already: nothing new happens.",
    f"PUT {LOUNGE}/state/m.room.name",
    {"name": "The lounge"},
    by="alice",
)
CASES.add(
    "set_room_state/too_little_power",
    "Bob may not name the room.",
    f"PUT {LOUNGE}/state/m.room.name",
    {"name": "Bob's"},
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "set_room_state/anothers_alias",
    "An alias that doesn't lead here.",
    f"PUT {LOUNGE}/state/m.room.canonical_alias",
    {"alias": "#attic:example.org"},
    by="alice",
    expect="400 M_BAD_ALIAS",
)

STATE_WITH_KEY = f"PUT {LOUNGE}/state/m.room.member/%40bob%3Aexample.org"
CASES.add(
    "set_room_state_with_key/good",
    "Alice shows Bob out by his membership event.",
    STATE_WITH_KEY,
    {"membership": "leave"},
    by="alice",
)
CASES.add(
    "set_room_state/good_trailing_slash",
    "An empty state key, with the slash before it.",
    f"PUT {LOUNGE}/state/m.room.topic/",
    {"topic": "Coffee"},
    by="alice",
)
CASES.add(
    "set_room_state_with_key/anothers_key",
    "State keys that are user IDs are theirs.",
    f"PUT {LOUNGE}/state/org.example.mood/%40alice%3Aexample.org",
    {"mood": "merry"},
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "set_room_state_with_key/bad_membership",
    "No such membership.",
    STATE_WITH_KEY,
    {"membership": "sleep"},
    by="alice",
    expect="400 M_INVALID_PARAM",
)

REDACT = f"PUT {LOUNGE}/redact"
CASES.add(
    "redact_event/good",
    "Bob takes back what he said.",
    f"{REDACT}/{{{{greeting}}}}/r1",
    {"reason": "Typo"},
    by="bob",
)
CASES.add(
    "redact_event/good_by_power",
    "Alice takes back what Bob said.",
    f"{REDACT}/{{{{greeting}}}}/r1",
    {},
    by="alice",
)
CASES.add(
    "redact_event/unknown_event",
    "There is no such event.",
    f"{REDACT}/$nothing/r1",
    {},
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "redact_event/not_in_the_room",
    "Carol isn't there.",
    f"{REDACT}/{{{{greeting}}}}/r1",
    {},
    by="carol",
    worlds=("alice_and_bob_in_a_public_room", "carol"),
    expect="403 M_FORBIDDEN",
)
