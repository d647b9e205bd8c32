"""https://spec.matrix.org/v1.19/client-server-api/#server-administration"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/admin", "alice_is_an_administrator")
V1 = "/_matrix/client/v1/admin"

CASES.add(
    "get_who_is/good",
    "Alice looks at her own devices.",
    "GET /_matrix/client/v3/admin/whois/@alice:example.org",
    by="alice",
)
CASES.add(
    "get_who_is/another",
    "Bob is no administrator.",
    "GET /_matrix/client/v3/admin/whois/@alice:example.org",
    by="bob",
    expect="403 M_FORBIDDEN",
)
for word, name in (("lock", "locked"), ("suspend", "suspended")):
    CASES.add(f"get_admin_{word}_user/good", "Bob isn't.", f"GET {V1}/{word}/@bob:example.org", by="alice")
    CASES.add(
        f"get_admin_{word}_user/nobodys",
        "There is nobody of that name.",
        f"GET {V1}/{word}/@nobody:example.org",
        by="alice",
        expect="404 M_NOT_FOUND",
    )
    CASES.add(
        f"set_admin_{word}_user/good",
        "Bob is from now on.",
        f"PUT {V1}/{word}/@bob:example.org",
        {name: True},
        by="alice",
    )
    CASES.add(
        f"set_admin_{word}_user/by_a_user",
        "Bob is no administrator.",
        f"PUT {V1}/{word}/@alice:example.org",
        {name: True},
        by="bob",
        expect="403 M_FORBIDDEN",
    )
