"""Other servers' users join, leave, knock, invite and are invited."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.fixtures_cases import Cases
from tests.fixtures_plots_federation import OTHER

V1, V2, UNSTABLE = (f"/_matrix/federation/{version}" for version in ("v1", "v2", "unstable"))
CASES = Cases("server_server", "erin_at_the_door")
WORKERS = Cases("workers/joins", "alice_waits_to_join")
VERSIONS = "ver=11&ver=12"


def pdu(name: str, **changes: Any) -> Callable[[Mapping[str, str]], Any]:
    """Return a body that makes the PDU with this name in the world."""
    return lambda names: {**json.loads(names[name]), **changes}


for what, membership, world, room, user in (
    ("joins", "join", "erin_at_the_door", "lounge", "erin"),
    ("knocks", "knock", "erin_before_the_club", "club", "erin"),
    ("leaving", "leave", "erin_at_the_door", "lounge", "dora"),
):
    name = f"{user}_{membership}"
    api = V1 if membership == "knock" else V2
    query = "" if membership == "leave" else f"?{VERSIONS}"
    CASES.add(
        f"{what}/make_{membership}/good",
        f"The template of a {membership}.",
        f"GET {V1}/make_{membership}/{{{{{room}}}}}/{{{{{user}}}}}{query}",
        server=OTHER,
        worlds=world,
    )
    CASES.add(
        f"{what}/make_{membership}/not_its_user",
        "Alice is a user of this server.",
        f"GET {V1}/make_{membership}/{{{{{room}}}}}/{{{{alice}}}}{query}",
        server=OTHER,
        worlds=world,
        expect="403 M_FORBIDDEN",
    )
    CASES.add(
        f"{what}/make_{membership}/unknown_room",
        "There is no such room here.",
        f"GET {V1}/make_{membership}/!nowhere:example.org/{{{{{user}}}}}{query}",
        server=OTHER,
        worlds=world,
        expect="404 M_NOT_FOUND",
    )
    CASES.add(
        f"{what}/send_{membership}/good",
        f"The {membership}, as the other server signed it.",
        f"PUT {api}/send_{membership}/{{{{{room}}}}}/{{{{{name}_id}}}}",
        pdu(name),
        server=OTHER,
        worlds=world,
    )
    CASES.add(
        f"{what}/send_{membership}/no_signature",
        "The other server has not signed the event.",
        f"PUT {api}/send_{membership}/{{{{{room}}}}}/{{{{{name}_id}}}}",
        pdu(name, signatures={}),
        server=OTHER,
        worlds=world,
        expect="400 M_INVALID_PARAM",
    )
CASES.add(
    "joins/make_join/version",
    "The other server doesn't know the lounge's room version.",
    f"GET {V1}/make_join/{{{{lounge}}}}/{{{{erin}}}}?ver=11",
    server=OTHER,
    expect="400 M_INCOMPATIBLE_ROOM_VERSION",
)
CASES.add(
    "joins/send_join/good_without_members",
    "Members are left out of the answer.",
    f"PUT {V2}/send_join/{{{{lounge}}}}/{{{{erin_join_id}}}}?omit_members=true",
    pdu("erin_join"),
    server=OTHER,
)
CASES.add(
    "joins/send_join/good_version_1",
    "The answer of old is a list.",
    f"PUT {V1}/send_join/{{{{lounge}}}}/{{{{erin_join_id}}}}",
    pdu("erin_join"),
    server=OTHER,
)


def den_invite(names: Mapping[str, str]) -> Any:
    state = [{"type": "m.room.name", "state_key": "", "sender": names["dora"], "content": {"name": "Den"}}]
    return {"room_version": "11", "event": json.loads(names["den_invite"]), "invite_room_state": state}


DEN = f"PUT {V2}/invite/{{{{den_invite_room}}}}/{{{{den_invite_id}}}}"
ATTIC = f"PUT {V1}/invite/{{{{attic_invite_room}}}}/{{{{attic_invite_id}}}}"
INVITED = "dora_invites_alice"
CASES.add(
    "invites/send_invite/good", "Alice is invited to the den.", DEN, den_invite, server=OTHER, worlds=INVITED
)
CASES.add(
    "invites/send_invite/no_event", "There is no event.", DEN, {"room_version": "11"},
    server=OTHER, worlds=INVITED, expect="400 M_MISSING_PARAM",
)  # fmt: skip
CASES.add(
    "invites/send_invite_v1/good", "Alice is invited to the attic.", ATTIC, pdu("attic_invite"),
    server=OTHER, worlds=INVITED,
)  # fmt: skip
CASES.add(
    "invites/send_invite_v1/no_signature", "The other server has not signed the event.", ATTIC,
    pdu("attic_invite", signatures={}), server=OTHER, worlds=INVITED, expect="400 M_INVALID_PARAM",
)  # fmt: skip
CASES.add(
    "query/query_directory/good",
    "The room of an alias.",
    f"GET {V1}/query/directory?room_alias=%23lounge:example.org",
    server=OTHER,
)
CASES.add(
    "query/query_directory/unknown",
    "There is no such alias.",
    f"GET {V1}/query/directory?room_alias=%23nothing:example.org",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "query/query_profile/good",
    "Alice's profile.",
    f"GET {V1}/query/profile?user_id={{{{alice}}}}",
    server=OTHER,
)
CASES.add(
    "query/query_profile/no_such_field",
    "Alice has no avatar.",
    f"GET {V1}/query/profile?user_id={{{{alice}}}}&field=avatar_url",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)

DIRECTORY = Cases("server_server/directory", "erin_at_the_door")
DIRECTORY.add("get_public_rooms/good", "The published rooms.", f"GET {V1}/publicRooms?limit=10", server=OTHER)
DIRECTORY.add(
    "get_public_rooms/wrong_token",
    "No page goes on there.",
    f"GET {V1}/publicRooms?since=x",
    server=OTHER,
    expect="400 M_INVALID_PARAM",
)
DIRECTORY.add(
    "query_public_rooms/good",
    "Rooms by a word.",
    f"POST {V1}/publicRooms",
    {"filter": {"generic_search_term": "lounge"}},
    server=OTHER,
)
DIRECTORY.add(
    "query_public_rooms/wrong_filter",
    "A filter is an object.",
    f"POST {V1}/publicRooms",
    {"filter": "lounge"},
    server=OTHER,
    expect="400 M_BAD_JSON",
)
DIRECTORY.add(
    "get_space_hierarchy/good",
    "The lounge is open to all, and no space.",
    f"GET {V1}/hierarchy/{{{{lounge}}}}",
    server=OTHER,
)
DIRECTORY.add(
    "get_space_hierarchy/unknown_room",
    "There is no such room here.",
    f"GET {V1}/hierarchy/!nowhere:example.org",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
DIRECTORY.add(
    "get_room_complexity/good",
    "The lounge is open to all, and small.",
    f"GET {UNSTABLE}/rooms/{{{{lounge}}}}/complexity",
    server=OTHER,
)
DIRECTORY.add(
    "get_room_complexity/unknown_room",
    "There is no such room here.",
    f"GET {UNSTABLE}/rooms/!nowhere:example.org/complexity",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
CASES += DIRECTORY


def salon_invite(names: Mapping[str, str]) -> Any:
    signed = json.loads(names["salon_signed"])
    third_party = {"display_name": "b…@example.com", "signed": signed}
    return {
        "type": "m.room.member",
        "room_id": names["salon"],
        "sender": names["alice"],
        "state_key": names["bob"],
        "content": {"membership": "invite", "third_party_invite": third_party},
    }


SALON = f"PUT {V1}/exchange_third_party_invite/{{{{salon}}}}"
CASES.add(
    "third_party_invite/exchange_third_party_invite/good",
    "The address is Bob's: he is invited.",
    SALON,
    salon_invite,
    server=OTHER,
    worlds="an_address_in_the_salon",
)
CASES.add(
    "third_party_invite/exchange_third_party_invite/no_proof",
    "Nobody says whose the address is.",
    SALON,
    lambda names: {**salon_invite(names), "content": {"membership": "invite"}},
    server=OTHER,
    worlds="an_address_in_the_salon",
    expect="400 M_MISSING_PARAM",
)


def bob_s_address(names: Mapping[str, str]) -> Any:
    invite = {
        "medium": "email",
        "address": "bob@example.com",
        "mxid": names["bob"],
        "room_id": names["salon"],
        "sender": names["alice"],
        "signed": json.loads(names["salon_signed"]),
    }
    return {"medium": "email", "address": "bob@example.com", "mxid": names["bob"], "invites": [invite]}


BINDING = f"PUT {V1}/3pid/onbind"
CASES.add(
    "third_party_invite/on_bind_third_party_identifier/good",
    "An identity server says that the address is Bob's: he is invited to the salon.",
    BINDING,
    bob_s_address,
    worlds="an_address_in_the_salon",
)
CASES.add(
    "third_party_invite/on_bind_third_party_identifier/of_another_user",
    "What is signed is not about the user that the request names.",
    BINDING,
    lambda names: {**bob_s_address(names), "mxid": names["alice"]},
    worlds="an_address_in_the_salon",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "third_party_invite/on_bind_third_party_identifier/nobody_here",
    "There is no such user.",
    BINDING,
    {"medium": "email", "address": "c@example.com", "mxid": f"@carol:{OTHER}", "invites": []},
    expect="404 M_NOT_FOUND",
)
CASES[:] = [replace(case, settings={"federation": "on"}) for case in CASES]

JOINING = {"user_id": "{{alice}}", "room_id": "{{den}}"}
WORKERS.add(
    "join_remote_room/denied",
    "The operator denies the only server: the join fails, and says so to who waits.",
    "QUEUE remote-joins",
    [JOINING],
    settings={"federation": "on", "federation_deny": OTHER},
)
WORKERS.add(
    "join_remote_room/no_such_job",
    "Nobody has begun such a join.",
    "QUEUE remote-joins",
    [{**JOINING, "room_id": "!other:other.example"}],
    settings={"federation": "on"},
)
WORKERS.add(
    "join_remote_room/left_meanwhile",
    "Alice has no invite to be left.",
    "QUEUE remote-joins",
    [{**JOINING, "leave": 1}],
    settings={"federation": "on"},
)
CASES += WORKERS
