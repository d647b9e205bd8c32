"""https://spec.matrix.org/v1.19/client-server-api/#room-membership"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/room_membership")

V3 = "/_matrix/client/v3"
LOUNGE = f"{V3}/rooms/{{{{lounge}}}}"
PEOPLE = "alice_and_bob_in_a_public_room"
WITH_CAROL = (PEOPLE, "carol")
CAROL = {"user_id": "@carol:example.org"}
BOB = {"user_id": "@bob:example.org"}

JOIN = f"POST {V3}/join"
CASES.add(
    "join_room/good",
    "Carol joins the lounge by its alias.",
    f"{JOIN}/%23lounge:example.org",
    {},
    by="carol",
    worlds=WITH_CAROL,
)
CASES.add(
    "join_room/good_by_id",
    "Carol joins the lounge by its ID and says why.",
    f"{JOIN}/{{{{lounge}}}}",
    {"reason": "Tea"},
    by="carol",
    worlds=WITH_CAROL,
)
CASES.add(
    "join_room/good_joined_already",
    "Bob is there: nothing happens.",
    f"{JOIN}/{{{{lounge}}}}",
    {},
    by="bob",
    worlds=PEOPLE,
)
CASES.add(
    "join_room/good_invited",
    "Alice accepts Bob's invitation.",
    f"{JOIN}/{{{{study}}}}",
    {},
    by="alice",
    worlds="alice_invited_to_bobs_room",
)
CASES.add(
    "join_room/banned",
    "Bob is banned.",
    f"{JOIN}/{{{{gallery}}}}",
    {},
    by="bob",
    worlds="bob_banned_from_a_room",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "join_room/no_such_alias",
    "There is no such alias.",
    f"{JOIN}/%23attic:example.org",
    {},
    by="alice",
    worlds="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "join_room/not_a_room",
    "Neither an ID nor an alias.",
    f"{JOIN}/lounge",
    {},
    by="alice",
    worlds="alice",
    expect="400 M_INVALID_PARAM",
)

CASES.add(
    "join_room_by_id/good",
    "Carol joins the lounge.",
    f"POST {LOUNGE}/join",
    {},
    by="carol",
    worlds=WITH_CAROL,
)
CASES.add(
    "join_room_by_id/not_invited",
    "Carol isn't invited to Bob's study.",
    f"POST {V3}/rooms/{{{{study}}}}/join",
    {},
    by="carol",
    worlds=("alice_invited_to_bobs_room", "carol"),
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "invite_user/good",
    "Alice invites Carol.",
    f"POST {LOUNGE}/invite",
    {**CAROL, "reason": "Tea?"},
    by="alice",
    worlds=WITH_CAROL,
)
CASES.add(
    "invite_user/joined_already",
    "Bob is there already.",
    f"POST {LOUNGE}/invite",
    BOB,
    by="alice",
    worlds=PEOPLE,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "invite_user/too_little_power",
    "In a public room Bob may not invite.",
    f"POST {LOUNGE}/invite",
    CAROL,
    by="bob",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "invite_user/address",
    "Whose an address is only identity servers know, and none is asked.",
    f"POST {LOUNGE}/invite",
    {"id_server": "id.example.org", "medium": "email", "address": "carol@mail.example"},
    by="alice",
    worlds=PEOPLE,
    expect="400 M_SERVER_NOT_TRUSTED",
)
CASES.add(
    "invite_user/missing_user",
    "Nobody is named.",
    f"POST {LOUNGE}/invite",
    {},
    by="alice",
    worlds=PEOPLE,
    expect="400 M_MISSING_PARAM",
)

CLUB = "a_room_to_knock_on"
CASES.add(
    "knock_room/good",
    "Alice knocks on the club.",
    f"POST {V3}/knock/{{{{club}}}}",
    {"reason": "Let me in"},
    by="alice",
    worlds=CLUB,
)
CASES.add(
    "knock_room/not_by_knocking",
    "The study is by invitation only.",
    f"POST {V3}/knock/{{{{study}}}}",
    {},
    by="carol",
    worlds=("alice_invited_to_bobs_room", "carol"),
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "kick/good",
    "Alice shows Bob out.",
    f"POST {LOUNGE}/kick",
    {**BOB, "reason": "Spilt tea"},
    by="alice",
    worlds=PEOPLE,
)
CASES.add(
    "kick/too_little_power",
    "Bob can't do that to Alice.",
    f"POST {LOUNGE}/kick",
    {"user_id": "{{alice}}"},
    by="bob",
    worlds=PEOPLE,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "kick/not_there",
    "Carol isn't there.",
    f"POST {LOUNGE}/kick",
    CAROL,
    by="alice",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)

CASES.add("ban/good", "Alice bans Bob.", f"POST {LOUNGE}/ban", BOB, by="alice", worlds=PEOPLE)
CASES.add(
    "ban/good_absent",
    "Alice bans Carol, who never was there.",
    f"POST {LOUNGE}/ban",
    CAROL,
    by="alice",
    worlds=WITH_CAROL,
)
CASES.add(
    "ban/too_little_power",
    "Bob can't ban Alice.",
    f"POST {LOUNGE}/ban",
    {"user_id": "{{alice}}"},
    by="bob",
    worlds=PEOPLE,
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "unban/good",
    "Alice forgives Bob.",
    f"POST {V3}/rooms/{{{{gallery}}}}/unban",
    BOB,
    by="alice",
    worlds="bob_banned_from_a_room",
)
CASES.add(
    "unban/not_banned",
    "Bob isn't banned from the lounge.",
    f"POST {LOUNGE}/unban",
    BOB,
    by="alice",
    worlds=PEOPLE,
    expect="403 M_BAD_STATE",
)

CASES.add("leave_room/good", "Bob leaves.", f"POST {LOUNGE}/leave", {}, by="bob", worlds=PEOPLE)
CASES.add(
    "leave_room/good_invited_elsewhere",
    "Alice rejects an invite of another server's room, which can't be reached: it ends all the same.",
    f"POST {V3}/rooms/{{{{den_invite_room}}}}/leave",
    {"reason": "No time"},
    by="alice",
    worlds="alice_invited_to_the_den",
)
CASES.add(
    "leave_room/good_reject_invite",
    "Alice rejects Bob's invitation.",
    f"POST {V3}/rooms/{{{{study}}}}/leave",
    {"reason": "Busy"},
    by="alice",
    worlds="alice_invited_to_bobs_room",
)
CASES.add(
    "leave_room/never_there",
    "Carol never was there.",
    f"POST {LOUNGE}/leave",
    {},
    by="carol",
    worlds=WITH_CAROL,
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "forget_room/good",
    "Alice forgets the porch, which she left.",
    f"POST {V3}/rooms/{{{{porch}}}}/forget",
    {},
    by="alice",
    worlds="alice_left_a_room",
)
CASES.add(
    "forget_room/still_there",
    "One has to leave first.",
    f"POST {LOUNGE}/forget",
    {},
    by="bob",
    worlds=PEOPLE,
    expect="400 M_UNKNOWN",
)

CASES.add(
    "get_joined_rooms/good",
    "The rooms that Alice is in, not those that she left or is invited to.",
    f"GET {V3}/joined_rooms",
    by="alice",
    worlds=(PEOPLE, "alice_left_a_room", "alice_invited_to_bobs_room"),
)
CASES.add(
    "get_joined_rooms/missing_token", "Nobody asks.", f"GET {V3}/joined_rooms", expect="401 M_MISSING_TOKEN"
)
