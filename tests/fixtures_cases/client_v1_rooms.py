"""Client API v1: rooms, their history, and the event stream. docs/drafts.md"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

V1 = "/_matrix/client/api/v1"
PEOPLE, HISTORY, INVITED, SYNCED = (
    "alice_and_bob_in_a_public_room",
    "a_room_with_history",
    "alice_invited_to_bobs_room",
    "alice_has_synced",
)
WITH_CAROL = (PEOPLE, "carol")
LOUNGE = f"{V1}/rooms/{{{{lounge}}}}"
TEXT = {"msgtype": "m.text", "body": "Tea?"}

MAKING = Cases("client_v1/rooms", PEOPLE)
MAKING.add(
    "create_room/good", "A room is public by default.", f"POST {V1}/createRoom", {"name": "Pub"}, by="alice"
)
MAKING.add(
    "create_room/good_once",
    "The same, once for a transaction ID, with an alias.",
    f"PUT {V1}/createRoom/1",
    {"room_alias_name": "the-pub"},
    by="alice",
)
MAKING.add(
    "create_room/bad_visibility",
    "There is no such visibility.",
    f"POST {V1}/createRoom",
    {"visibility": "secret"},
    by="alice",
    expect="400 M_BAD_JSON",
)

JOINING = Cases("client_v1/room_membership", *WITH_CAROL)
for name, path in (("join_room", f"{V1}/join/{{{{lounge}}}}"), ("join_room_by_id", f"{LOUNGE}/join")):
    JOINING.add(f"{name}/good", "Carol comes to the lounge.", f"POST {path}", {}, by="carol")
    JOINING.add(f"{name}/good_once", "The same, once.", f"PUT {path}/j1", {}, by="carol")
    JOINING.add(
        f"{name}/not_an_object", "No JSON object.", f"POST {path}", [], by="carol", expect="400 M_BAD_JSON"
    )

SENDING = Cases("client_v1/room_send", PEOPLE)
SENDING.add("post_message/good", "Bob says something.", f"POST {LOUNGE}/send/m.room.message", TEXT, by="bob")
SENDING.add(
    "post_message/not_in_the_room",
    "Carol isn't there.",
    f"POST {LOUNGE}/send/m.room.message",
    TEXT,
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
SENDING.add(
    "post_redaction/good",
    "Bob takes back what he said.",
    f"POST {LOUNGE}/redact/{{{{greeting}}}}",
    {"reason": "typo"},
    by="bob",
)
SENDING.add(
    "post_redaction/no_such_event",
    "There is nothing to take back.",
    f"POST {LOUNGE}/redact/$nothing",
    {},
    by="bob",
    expect="404 M_NOT_FOUND",
)

STATE = Cases("client_v1/room_state", PEOPLE)
STATE.add("get_room_state/good", "All of the lounge's state.", f"GET {LOUNGE}/state", by="bob")
STATE.add(
    "get_room_state/not_in_the_room",
    "Carol isn't there.",
    f"GET {LOUNGE}/state",
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)

PAST = Cases("client_v1/history", PEOPLE)
PAST.add("get_messages/good", "The newest two.", f"GET {LOUNGE}/messages?limit=2", by="bob")
PAST.add(
    "get_messages/bad_direction",
    "There are two directions.",
    f"GET {LOUNGE}/messages?dir=sideways",
    by="bob",
    expect="400 M_BAD_PAGINATION",
)
PAST.add("get_members/good", "Who is in the lounge.", f"GET {LOUNGE}/members", by="bob")
PAST.add(
    "get_members/bad_token",
    "That's no token.",
    f"GET {LOUNGE}/members?from=now",
    by="bob",
    expect="400 M_BAD_PAGINATION",
)


def _syncing(module: str, base: str) -> Cases:
    cases = Cases(module, SYNCED)
    room = f"{base}/rooms/{{{{lounge}}}}"
    cases.add("initial_sync/good", "All that Alice sees.", f"GET {base}/initialSync?limit=2", by="alice")
    cases.add(
        "initial_sync/good_asked_for_presence",
        "Bob asks to see Alice's presence, which is v1's alone.",
        f"GET {base}/initialSync",
        by="alice",
        worlds="bob_asks_to_see_alice",
    )
    cases.add(
        "initial_sync/bad_limit",
        "That's no number.",
        f"GET {base}/initialSync?limit=few",
        by="alice",
        expect="400 M_BAD_PAGINATION",
    )
    cases.add("room_initial_sync/good", "The lounge.", f"GET {room}/initialSync?limit=2", by="alice")
    cases.add(
        "room_initial_sync/not_in_the_room",
        "Carol isn't there.",
        f"GET {room}/initialSync",
        by="carol",
        worlds=WITH_CAROL,
        expect="403 M_FORBIDDEN",
    )
    cases.add(
        "get_events/good",
        "What Bob did since.",
        f"GET {base}/events?from={{{{since}}}}",
        by="alice",
        worlds="news_for_alice",
    )
    cases.add(
        "get_events/bad_token",
        "That's no token.",
        f"GET {base}/events?from=now",
        by="alice",
        expect="400 M_BAD_PAGINATION",
    )
    cases.add("get_one_event/good", "Bob's reply.", f"GET {base}/events/{{{{reply}}}}", by="alice")
    cases.add(
        "get_one_event/logged_out",
        "Nobody knows this token.",
        f"GET {base}/events/{{{{reply}}}}",
        headers={"Authorization": f"Bearer {UNKNOWN_TOKEN}"},
        expect="401 M_UNKNOWN_TOKEN",
    )
    return cases


CASES = [
    *MAKING,
    *JOINING,
    *SENDING,
    *STATE,
    *PAST,
    *_syncing("client_v1/old_sync", V1),
    *_syncing("client_server/old_sync", "/_matrix/client/v3"),
]
