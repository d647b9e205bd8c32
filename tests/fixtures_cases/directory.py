"""https://spec.matrix.org/v1.19/client-server-api/#room-aliases and #published-room-directory"""

from __future__ import annotations

from tests.fixtures_cases import Cases

PEOPLE = "alice_and_bob_in_a_public_room"
CASES = Cases("client_server/directory", PEOPLE)

V3 = "/_matrix/client/v3"
ALIAS = f"{V3}/directory/room/%23lounge%3Aexample.org"
NEW = f"PUT {V3}/directory/room/%23parlour%3Aexample.org"
LOUNGE = {"room_id": "{{lounge}}"}

CASES.add("get_room_id_by_alias/good", "Which room #lounge is.", f"GET {ALIAS}")
CASES.add(
    "get_room_id_by_alias/unknown",
    "There is no #attic.",
    f"GET {V3}/directory/room/%23attic%3Aexample.org",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_room_id_by_alias/bad_alias",
    "That's no alias.",
    f"GET {V3}/directory/room/lounge",
    expect="400 M_INVALID_PARAM",
)
CASES.add("set_room_alias/good", "Bob gives the lounge another alias.", NEW, LOUNGE, by="bob")
CASES.add(
    "set_room_alias/taken", "#lounge is taken.", f"PUT {ALIAS}", LOUNGE, by="bob", expect="409 M_UNKNOWN"
)
CASES.add(
    "set_room_alias/another_server",
    "An alias of another server.",
    f"PUT {V3}/directory/room/%23lounge%3Aelsewhere.org",
    LOUNGE,
    by="bob",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "delete_room_alias/good",
    "Alice deletes the alias, which the room then doesn't name any more.",
    f"DELETE {ALIAS}",
    by="alice",
)
CASES.add(
    "delete_room_alias/not_his",
    "Bob neither made it nor is a moderator.",
    f"DELETE {ALIAS}",
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "delete_room_alias/unknown",
    "There is no #attic.",
    f"DELETE {V3}/directory/room/%23attic%3Aexample.org",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_local_aliases/good", "The lounge's aliases.", f"GET {V3}/rooms/{{{{lounge}}}}/aliases", by="bob"
)
CASES.add(
    "get_local_aliases/not_in_the_room",
    "Carol isn't there.",
    f"GET {V3}/rooms/{{{{study}}}}/aliases",
    by="carol",
    worlds=("alice_invited_to_bobs_room", "carol"),
    expect="403 M_FORBIDDEN",
)
CASES.add("get_public_rooms/good", "Anyone may see what is published.", f"GET {V3}/publicRooms")
CASES.add(
    "get_public_rooms/bad_token",
    "Not a token of ours.",
    f"GET {V3}/publicRooms?since=yesterday",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "query_public_rooms/good",
    "Alice looks for tea.",
    f"POST {V3}/publicRooms",
    {"filter": {"generic_search_term": "TEA"}, "limit": 10},
    by="alice",
)
CASES.add(
    "query_public_rooms/good_none",
    "Alice looks for coffee.",
    f"POST {V3}/publicRooms",
    {"filter": {"generic_search_term": "coffee"}},
    by="alice",
)
CASES.add(
    "query_public_rooms/missing_token",
    "Nobody asks.",
    f"POST {V3}/publicRooms",
    {},
    expect="401 M_MISSING_TOKEN",
)
LISTED = f"{V3}/directory/list/room/{{{{lounge}}}}"
CASES.add("get_room_visibility_on_directory/good", "The lounge is published.", f"GET {LISTED}")
CASES.add(
    "get_room_visibility_on_directory/unknown",
    "There is no such room.",
    f"GET {V3}/directory/list/room/!nowhere:example.org",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "set_room_visibility_on_directory/good",
    "Alice withdraws the lounge.",
    f"PUT {LISTED}",
    {"visibility": "private"},
    by="alice",
)
CASES.add(
    "set_room_visibility_on_directory/not_a_moderator",
    "Bob may not.",
    f"PUT {LISTED}",
    {"visibility": "private"},
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "set_room_visibility_on_directory/bad_visibility",
    "There is no such visibility.",
    f"PUT {LISTED}",
    {"visibility": "dim"},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
