"""Version 2 of the client API: accounts. docs/drafts.md"""

from __future__ import annotations

from tests.fixtures_cases import Cases

V2 = "/_matrix/client/v2"

CASES = Cases("client_v2/account", "alice_with_a_tablet")
CASES.add(
    "revoke_token/good",
    "Alice revokes her tablet's token from her phone.",
    f"POST {V2}/account/revokeToken",
    {"access_token": "{{alice_tablet_token}}"},
    by="alice",
)
CASES.add(
    "revoke_token/not_hers",
    "Bob can't, even if he has it.",
    f"POST {V2}/account/revokeToken",
    {"access_token": "{{alice_tablet_token}}"},
    by="bob",
    worlds=("alice_with_a_tablet", "bob"),
    expect="403 M_FORBIDDEN",
)
