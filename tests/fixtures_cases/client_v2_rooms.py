"""Version 2 of the client API: what is done in rooms. docs/drafts.md"""

from __future__ import annotations

from tests.fixtures_cases import Cases

V2 = "/_matrix/client/v2"
PEOPLE, HISTORY, INVITED = (
    "alice_and_bob_in_a_public_room",
    "a_room_with_history",
    "alice_invited_to_bobs_room",
)
WITH_CAROL = (PEOPLE, "carol")
LOUNGE, ARCHIVE = f"{V2}/rooms/{{{{lounge}}}}", f"{V2}/rooms/{{{{archive}}}}"
TEXT = {"msgtype": "m.text", "body": "Tea?"}
BOB, CAROL = {"user_id": "@bob:example.org"}, {"user_id": "@carol:example.org"}

# -- Sending -------------------------------------------------------------------------------------------------

SENDING = Cases("client_v2/room_send", PEOPLE)
SEND = f"POST {LOUNGE}/send"
SENDING.add("send_event/good", "Bob says something.", f"{SEND}/m.room.message?action_id=a1", TEXT, by="bob")
SENDING.add(
    "send_event/good_compact",
    "Bob's client knows what he said, and wants to know the rest.",
    f"PUT {LOUNGE}/send/m.room.message/a1?compact=true",
    TEXT,
    by="bob",
)
SENDING.add(
    "send_event/not_in_the_room",
    "Carol isn't there.",
    f"{SEND}/m.room.message",
    TEXT,
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
BATCH = [
    {"type": "m.room.message", "content": TEXT, "action_id": "a1"},
    {"type": "m.room.topic", "state_key": "", "content": {"topic": "Tea"}, "action_id": "a2"},
]
SENDING.add("send_events/good", "Alice speaks and sets the topic.", SEND, {"events": BATCH}, by="alice")
SENDING.add(
    "send_events/too_little_power",
    "Bob may not set the topic: nothing is sent.",
    SEND,
    {"events": BATCH},
    by="bob",
    expect="403 M_FORBIDDEN",
)
SENDING.add(
    "send_events/empty", "A batch of nothing.", SEND, {"events": []}, by="bob", expect="400 M_BAD_JSON"
)
SENDING.add(
    "set_state/good",
    "Alice changes the topic.",
    f"PUT {LOUNGE}/state/m.room.topic?action_id=a1",
    {"topic": "Coffee"},
    by="alice",
)
SENDING.add(
    "set_state/bad_membership",
    "No such membership.",
    f"PUT {LOUNGE}/state/m.room.member/%40bob%3Aexample.org",
    {"membership": "sleep"},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
SENDING.add(
    "delete_state/good", "Alice deletes the topic.", f"DELETE {LOUNGE}/state/m.room.topic", by="alice"
)
SENDING.add(
    "delete_state/none",
    "There is no such state.",
    f"DELETE {LOUNGE}/state/org.example.mood/today",
    by="alice",
    expect="404 M_NOT_FOUND",
)
SENDING.add(
    "patch_power_levels/good",
    "Alice makes Bob a moderator.",
    f"PUT {LOUNGE}/powerLevels",
    {"key": ["users", "@bob:example.org"], "value": 50},
    by="alice",
)
SENDING.add(
    "patch_power_levels/too_little_power",
    "Bob would like to be one.",
    f"PUT {LOUNGE}/powerLevels",
    {"key": ["users", "@bob:example.org"], "value": 50},
    by="bob",
    expect="403 M_FORBIDDEN",
)

# -- Memberships ---------------------------------------------------------------------------------------------

MEMBERSHIP = Cases("client_v2/room_membership", PEOPLE)
MEMBERSHIP.add(
    "invite_user/good",
    "Alice invites Carol, and is told her name.",
    f"POST {LOUNGE}/invite?action_id=a1",
    CAROL,
    by="alice",
    worlds=WITH_CAROL,
)
MEMBERSHIP.add(
    "invite_user/there_already",
    "Alice is there.",
    f"POST {LOUNGE}/invite",
    {"user_id": "@alice:example.org"},
    by="bob",
    expect="403 M_FORBIDDEN",
)
for name, about in (("kick", "shows Bob out"), ("ban", "bans Bob")):
    MEMBERSHIP.add(f"{name}/good", f"Alice {about}.", f"POST {LOUNGE}/{name}?action_id=a1", BOB, by="alice")
    MEMBERSHIP.add(
        f"{name}/too_little_power",
        "Bob would do it to Alice.",
        f"POST {LOUNGE}/{name}",
        {"user_id": "@alice:example.org"},
        by="bob",
        expect="403 M_FORBIDDEN",
    )
MEMBERSHIP.add(
    "unban/good",
    "Alice forgives Bob.",
    f"POST {V2}/rooms/{{{{gallery}}}}/unban?action_id=a1",
    BOB,
    by="alice",
    worlds="bob_banned_from_a_room",
)
MEMBERSHIP.add(
    "unban/not_banned", "Bob isn't banned.", f"POST {LOUNGE}/unban", BOB, by="alice", expect="403 M_BAD_STATE"
)
MEMBERSHIP.add("leave_room/good", "Bob leaves.", f"POST {LOUNGE}/leave?action_id=a1", {}, by="bob")
MEMBERSHIP.add(
    "leave_room/not_in_the_room",
    "Carol isn't there.",
    f"POST {LOUNGE}/leave",
    {},
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
MEMBERSHIP.add(
    "join_room/good",
    "Carol joins by the alias, and is shown the last two events and the room's name.",
    f"POST {V2}/join",
    {"alias": "#lounge:example.org", "response": {"max": 2}},
    by="carol",
    worlds=WITH_CAROL,
)
MEMBERSHIP.add(
    "join_room/no_name",
    "Which room?",
    f"POST {V2}/join",
    {},
    by="carol",
    worlds=WITH_CAROL,
    expect="400 M_MISSING_PARAM",
)
MEMBERSHIP.add(
    "join_room/no_invite",
    "There is no such invite.",
    f"POST {V2}/join",
    {"invite": "$nothing"},
    by="carol",
    worlds=WITH_CAROL,
    expect="404 M_NOT_FOUND",
)
MEMBERSHIP.add(
    "reject_invite/not_hers",
    "What Bob said is no invite.",
    f"POST {V2}/invites/{{{{greeting}}}}/reject",
    {},
    by="alice",
    expect="404 M_NOT_FOUND",
)
MEMBERSHIP.add(
    "reject_invite/good",
    "Alice doesn't want to see the study.",
    f"POST {V2}/invites/{{{{study_invite}}}}/reject?action_id=a1",
    {},
    by="alice",
    worlds=INVITED,
)

# -- Rooms ---------------------------------------------------------------------------------------------------

ROOMS = Cases("client_v2/rooms", "alice")
ROOMS.add(
    "create_room/good",
    "Alice makes a room, and is shown its last two events.",
    f"POST {V2}/createRoom?action_id=a1",
    {"name": "The parlour", "published": True, "response": {"max": 2}},
    by="alice",
)
ROOMS.add(
    "create_room/bad_response",
    "What is she to be shown?",
    f"POST {V2}/createRoom",
    {"response": "everything"},
    by="alice",
    expect="400 M_BAD_JSON",
)

# -- History -------------------------------------------------------------------------------------------------

READING = Cases("client_v2/history", HISTORY)
THREAD = f"GET {V2}/events/{{{{thread}}}}"
READING.add("paginate/good", "The last three events.", f"GET {ARCHIVE}/paginate?max=3", by="bob")
READING.add(
    "paginate/good_with_what_relates",
    "Edits come inside of what they edit, and the newest reply inside of the thread's root.",
    f"GET {ARCHIVE}/paginate?max=9&replies=1",
    by="bob",
)
READING.add(
    "paginate/bad_token",
    "No such token.",
    f"GET {ARCHIVE}/paginate?token=x",
    by="bob",
    expect="400 M_INVALID_PARAM",
)
READING.add("get_pages/good", "Pages of five.", f"GET {ARCHIVE}/pages?max=5", by="bob")
READING.add(
    "get_pages/not_in_the_room",
    "Carol isn't there.",
    f"GET {ARCHIVE}/pages",
    by="carol",
    worlds=(HISTORY, "carol"),
    expect="403 M_FORBIDDEN",
)
READING.add("get_window/good", "What came before and after.", f"{THREAD}/context?max=2", by="bob")
READING.add(
    "get_window/unknown",
    "There is no such event.",
    f"GET {V2}/events/$nothing/context",
    by="bob",
    expect="404 M_NOT_FOUND",
)
READING.add("get_replies/good", "The newest of the thread.", f"{THREAD}/replies?max=1", by="bob")
READING.add(
    "get_replies/unknown",
    "There is no such event.",
    f"GET {V2}/events/$nothing/replies",
    by="bob",
    expect="404 M_NOT_FOUND",
)

# -- Directory and markers -----------------------------------------------------------------------------------

DIRECTORY = Cases("client_v2/directory", PEOPLE)
DIRECTORY.add(
    "find_published_rooms/good", "Rooms to talk in.", f"GET {V2}/publishedRooms?search=TALK", by="bob"
)
DIRECTORY.add(
    "find_published_rooms/bad_token",
    "Nothing was found that this is a page of.",
    f"GET {V2}/publishedRooms?token=x",
    by="bob",
    expect="400 M_INVALID_PARAM",
)
DIRECTORY.add(
    "name_room/good",
    "Bob gives the lounge another alias.",
    f"POST {LOUNGE}/aliases",
    {"localpart": "parlour"},
    by="bob",
)
DIRECTORY.add(
    "name_room/taken",
    "#lounge is taken.",
    f"POST {LOUNGE}/aliases",
    {"localpart": "lounge"},
    by="bob",
    expect="409 M_UNKNOWN",
)

MARKERS = Cases("client_v2/receipts", PEOPLE)
MARKER = f"PUT {LOUNGE}/markers"
UP_TO = {"event_id": "{{reply}}"}
MARKERS.add("set_marker/good", "Bob has read it all.", f"{MARKER}/m.room.marker.read", UP_TO, by="bob")
MARKERS.add("set_marker/good_delivered", "It arrived.", f"{MARKER}/m.room.marker.delivered", UP_TO, by="bob")
MARKERS.add(
    "set_marker/unknown", "No such marker.", f"{MARKER}/m.seen", UP_TO, by="bob", expect="400 M_INVALID_PARAM"
)

CASES = [*SENDING, *MEMBERSHIP, *ROOMS, *READING, *DIRECTORY, *MARKERS]
