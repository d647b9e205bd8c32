"""https://spec.matrix.org/v1.19/client-server-api/#profiles"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/profile", "alice_with_a_profile")

PROFILE = "/_matrix/client/v3/profile/{{alice}}"

CASES.add("get_user_profile/good", "Anyone may read Alice's profile.", f"GET {PROFILE}")
CASES.add(
    "get_user_profile/nobody",
    "There is no such user.",
    "GET /_matrix/client/v3/profile/@nobody:example.org",
    expect="404 M_NOT_FOUND",
)
CASES.add("get_profile_field/good", "Alice's name.", f"GET {PROFILE}/displayname")
CASES.add("get_profile_field/good_custom", "Alice's time zone.", f"GET {PROFILE}/m.tz")
CASES.add(
    "get_profile_field/not_set",
    "Alice has no such field.",
    f"GET {PROFILE}/org.example.pet",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "set_profile_field/good",
    "Alice takes another name.",
    f"PUT {PROFILE}/displayname",
    {"displayname": "Queen Alice"},
    by="alice",
)
CASES.add(
    "set_profile_field/good_in_rooms",
    "Alice's rooms learn her new name.",
    f"PUT {PROFILE}/displayname",
    {"displayname": "Queen Alice"},
    by="alice",
    worlds="alice_and_bob_in_a_public_room",
)
CASES.add(
    "set_profile_field/good_custom",
    "A field of Alice's own.",
    f"PUT {PROFILE}/org.example.pet",
    {"org.example.pet": {"cat": "Dinah"}},
    by="alice",
)
CASES.add(
    "set_profile_field/another_users",
    "Bob can't name Alice.",
    f"PUT {PROFILE}/displayname",
    {"displayname": "Al"},
    by="bob",
    worlds=("alice_with_a_profile", "bob"),
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "set_profile_field/missing",
    "The body lacks the field of the path.",
    f"PUT {PROFILE}/displayname",
    {"name": "Al"},
    by="alice",
    expect="400 M_MISSING_PARAM",
)
CASES.add("delete_profile_field/good", "Alice deletes her time zone.", f"DELETE {PROFILE}/m.tz", by="alice")
CASES.add(
    "delete_profile_field/another_users",
    "Bob can't delete it.",
    f"DELETE {PROFILE}/m.tz",
    by="bob",
    worlds=("alice_with_a_profile", "bob"),
    expect="403 M_FORBIDDEN",
)
