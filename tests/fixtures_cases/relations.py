"""https://spec.matrix.org/v1.19/client-server-api/#relationships-api"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/relations", "a_room_with_history")

ROOM = "GET /_matrix/client/v1/rooms/{{archive}}"
TYPO, THREAD = f"{ROOM}/relations/{{{{typo}}}}", f"{ROOM}/relations/{{{{thread}}}}"

CASES.add("get_relating_events/good", "The edit and the reaction.", TYPO, by="bob")
CASES.add(
    "get_relating_events/unknown",
    "There is no such event.",
    f"{ROOM}/relations/$nothing",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_relating_events_with_rel_type/good",
    "The thread, one event at a time.",
    f"{THREAD}/m.thread?limit=1&dir=f",
    by="bob",
)
CASES.add(
    "get_relating_events_with_rel_type/unknown",
    "There is no such event.",
    f"{ROOM}/relations/$nothing/m.thread",
    by="bob",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_relating_events_with_rel_type_and_event_type/good",
    "The reactions.",
    f"{TYPO}/m.annotation/m.reaction",
    by="bob",
)
CASES.add(
    "get_relating_events_with_rel_type_and_event_type/good_none",
    "No annotations that are messages.",
    f"{TYPO}/m.annotation/m.room.message",
    by="bob",
)
CASES.add(
    "get_relating_events_with_rel_type_and_event_type/bad_direction",
    "No such direction.",
    f"{TYPO}/m.annotation/m.reaction?dir=up",
    by="bob",
    expect="400 M_INVALID_PARAM",
)
CASES.add("get_thread_roots/good", "The one thread.", f"{ROOM}/threads", by="alice")
CASES.add(
    "get_thread_roots/good_participated",
    "Both have taken part in it.",
    f"{ROOM}/threads?include=participated",
    by="bob",
)
CASES.add(
    "get_thread_roots/not_in_the_room",
    "Carol isn't there.",
    f"{ROOM}/threads",
    by="carol",
    worlds=("a_room_with_history", "carol"),
    expect="403 M_FORBIDDEN",
)
