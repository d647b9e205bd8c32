"""Version 2 of the client API: streams, and coming back. docs/drafts.md"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

V2 = "/_matrix/client/v2"
STREAM = "alice_with_a_stream"
READING = Cases("client_v2/sync", STREAM)
GIVING = Cases("client_v2/room_send", STREAM)

# -- Beginning a stream --------------------------------------------------------------------------------------

READING.add(
    "begin_stream/good",
    "Alice's client watches the lounge, and Bob's presence.",
    f"POST {V2}/streaming",
    {"rooms": ["{{lounge}}"], "users": ["@bob:example.org"]},
    by="alice",
)
READING.add(
    "begin_stream/bad_rooms",
    "A room is named by its ID.",
    f"POST {V2}/streaming",
    {"rooms": ["#lounge:example.org"]},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
READING.add(
    "begin_stream/unknown_token",
    "Who asks?",
    f"POST {V2}/streaming",
    {},
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)

# -- All rooms -----------------------------------------------------------------------------------------------

SYNC = f"GET {V2}/initialSync"
READING.add(
    "initial_sync/good",
    "The first time: Alice's rooms with three events each, and all state.",
    f"{SYNC}?streaming={{{{stream}}}}&max=3",
    by="alice",
)
READING.add(
    "initial_sync/good_incremental",
    "What Bob said since.",
    f"{SYNC}?streaming={{{{stream_read}}}}",
    by="alice",
)
READING.add(
    "initial_sync/good_too_much",
    "The same, if Alice's client has no room for it: a new page, of no events.",
    f"{SYNC}?streaming={{{{stream_read}}}}&max=0&compact=true",
    by="alice",
)
READING.add(
    "initial_sync/good_without_a_stream",
    "Everything, and a stream of everything begins.",
    f"{SYNC}?max=1&compact=true",
    by="bob",
)
READING.add(
    "initial_sync/another_users_stream",
    "Bob can't read what Alice reads.",
    f"{SYNC}?streaming={{{{stream}}}}",
    by="bob",
    expect="404 M_NOT_FOUND",
)
READING.add(
    "initial_sync/bad_max",
    "Not a number.",
    f"{SYNC}?max=all",
    by="alice",
    expect="400 M_INVALID_PARAM",
)

# -- The event stream ----------------------------------------------------------------------------------------

EVENTS = f"GET {V2}/eventStream"
READING.add(
    "get_events/good",
    "What Bob said since Alice's client read last.",
    f"{EVENTS}?streaming={{{{stream_read}}}}",
    by="alice",
)
READING.add(
    "get_events/good_nothing",
    "Nothing of the sort that is asked for, and no time to wait for it.",
    f"{EVENTS}?streaming={{{{stream_read}}}}&timeout=0&filter={{{{names_only}}}}",
    by="alice",
)
READING.add("get_events/no_stream", "Of which stream?", EVENTS, by="alice", expect="400 M_MISSING_PARAM")
READING.add(
    "get_events/unknown_stream",
    "There is no such stream.",
    f"{EVENTS}?streaming=v_aaaaaaaaaaaaaaaa",
    by="alice",
    expect="404 M_NOT_FOUND",
)

# -- One room ------------------------------------------------------------------------------------------------

LOUNGE = f"GET {V2}/rooms/{{{{lounge}}}}/scrollback"
READING.add("scroll_back/good", "Alice opens the lounge.", f"{LOUNGE}?max=2", by="alice")
READING.add(
    "scroll_back/good_incremental",
    "Her client has it all but what Bob said, and won't be told of that by the stream.",
    f"{LOUNGE}?streaming={{{{stream_read}}}}",
    by="alice",
)
READING.add(
    "scroll_back/not_in_the_room",
    "It isn't Carol's room.",
    f"GET {V2}/rooms/{{{{study}}}}/scrollback",
    by="carol",
    worlds=("alice_invited_to_bobs_room", "carol"),
    expect="403 M_FORBIDDEN",
)

# -- Answers instead of the stream ---------------------------------------------------------------------------

GIVING.add(
    "send_event/good_given",
    "Alice answers Bob; the event is in the answer, and needn't come down her stream.",
    f"POST {V2}/rooms/{{{{lounge}}}}/send/m.room.message?streaming={{{{stream_read}}}}",
    {"msgtype": "m.text", "body": "There is."},
    by="alice",
)
GIVING.add(
    "send_event/unknown_stream",
    "There is no such stream.",
    f"POST {V2}/rooms/{{{{lounge}}}}/send/m.room.message?streaming=v_aaaaaaaaaaaaaaaa",
    {"msgtype": "m.text", "body": "There is."},
    by="alice",
    expect="404 M_NOT_FOUND",
)

ENTERING = Cases("client_v2/room_membership", STREAM)
ENTERING.add(
    "join_room/good_given",
    "Alice joins the porch again; her stream needn't bring what the answer has.",
    f"POST {V2}/join",
    {"room_id": "{{porch}}", "response": {"max": 1, "streaming": "{{stream_read}}"}},
    by="alice",
    worlds=("alice_left_a_room", STREAM),
)
ENTERING.add(
    "join_room/unknown_stream",
    "There is no such stream, so nothing is joined.",
    f"POST {V2}/join",
    {"room_id": "{{porch}}", "response": {"streaming": "v_aaaaaaaaaaaaaaaa"}},
    by="alice",
    worlds=("alice_left_a_room", STREAM),
    expect="404 M_NOT_FOUND",
)

CASES = [*READING, *GIVING, *ENTERING]
