"""Finding users and rooms: the user directory, spaces, rooms in common, bridges, support."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fixtures_cases import Case, Cases

WORLD = "alice_and_bob_in_a_public_room"
V1, V3 = "/_matrix/client/v1", "/_matrix/client/v3"

USERS = Cases("client_server/user_directory", "alice_and_bob_are_found")
USERS.add(
    "search_user_directory/good",
    "Alice looks for Bob.",
    f"POST {V3}/user_directory/search",
    {"search_term": "BO"},
    by="alice",
)
USERS.add(
    "search_user_directory/no_term",
    "Something must be looked for.",
    f"POST {V3}/user_directory/search",
    {},
    by="alice",
    expect="400 M_MISSING_PARAM",
)

SPACES = Cases("client_server/spaces", WORLD)
SPACES.add("get_space_hierarchy/good", "A room.", f"GET {V1}/rooms/{{{{lounge}}}}/hierarchy", by="alice")
SPACES.add(
    "get_space_hierarchy/unknown",
    "There is no such room.",
    f"GET {V1}/rooms/!unknown:example.org/hierarchy",
    by="alice",
    expect="403 M_FORBIDDEN",
)

MUTUAL = Cases("client_server/mutual_rooms", WORLD)
MUTUAL.add(
    "get_mutual_rooms/good",
    "Alice and Bob are in the lounge.",
    f"GET {V1}/mutual_rooms?user_id=@bob:example.org",
    by="alice",
)
MUTUAL.add(
    "get_mutual_rooms/oneself",
    "Alice asks for rooms in common with herself.",
    f"GET {V1}/mutual_rooms?user_id=@alice:example.org",
    by="alice",
    expect="400 M_INVALID_PARAM",
)

BRIDGES = Cases("client_server/third_party", "alice")
BRIDGES.add("get_protocols/good", "There are no bridges.", f"GET {V3}/thirdparty/protocols", by="alice")
BRIDGES.add(
    "get_protocols/no_token",
    "Nobody asks.",
    f"GET {V3}/thirdparty/protocols",
    expect="401 M_MISSING_TOKEN",
)
for name, path in (
    ("network", "protocol/irc"),
    ("rooms", "location/irc?channel=%23tea"),
    ("room", "location?alias=%23tea:example.org"),
    ("users", "user/irc"),
    ("user", "user?userid=@bob:example.org"),
):
    BRIDGES.add(
        f"look_up/no_{name}",
        "There are no bridges.",
        f"GET {V3}/thirdparty/{path}",
        by="alice",
        expect="404 M_NOT_FOUND",
    )
for name in ("location", "user"):
    BRIDGES.add(
        f"look_up/no_parameter_of_{name}",
        "The request doesn't say whom to look for.",
        f"GET {V3}/thirdparty/{name}",
        by="alice",
        expect="400 M_MISSING_PARAM",
    )

SUPPORT = Cases("client_server/well_known")
SUPPORT.add(
    "get_wellknown_support/good",
    "The operators are reached by two ways.",
    "GET /.well-known/matrix/support",
    settings={
        "SUPPORT_ADMIN": "@admin:example.org",
        "SUPPORT_SECURITY": "security@example.org",
        "SUPPORT_PAGE": "https://example.org/help",
    },
)
SUPPORT.add(
    "get_wellknown_support/not_said",
    "The deployment doesn't say.",
    "GET /.well-known/matrix/support",
    expect="404 M_NOT_FOUND",
)

SEARCH = Cases("client_server/search", WORLD)
SEARCH.add(
    "search/good",
    "Alice looks for Bob's greeting.",
    f"POST {V3}/search",
    {"search_categories": {"room_events": {"search_term": "hello"}}},
    by="alice",
)
SEARCH.add(
    "search/no_categories",
    "Something must be searched.",
    f"POST {V3}/search",
    {},
    by="alice",
    expect="400 M_MISSING_PARAM",
)

PHONES = Cases("client_server/threepids")
PHONES.add(
    "refuse_phone_number/for_an_account",
    "No phone number is taken.",
    f"POST {V3}/account/3pid/msisdn/requestToken",
    {"client_secret": "s", "country": "GB", "phone_number": "07700900001", "send_attempt": 1},
    expect="400 M_THREEPID_MEDIUM_NOT_SUPPORTED",
)
PHONES.add(
    "refuse_phone_number/for_an_account_that_is_made",
    "Nobody registers by a phone number.",
    f"POST {V3}/register/msisdn/requestToken",
    {"client_secret": "s", "country": "GB", "phone_number": "07700900001", "send_attempt": 1},
    expect="403 M_THREEPID_DENIED",
)


def _all() -> Iterator[Case]:
    for cases in (USERS, SPACES, MUTUAL, BRIDGES, SUPPORT, SEARCH, PHONES):
        yield from cases


CASES = list(_all())
