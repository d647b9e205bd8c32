"""Version 2 of the client API: accounts. docs/drafts.md"""

from __future__ import annotations

from typing import Any

from tests.fixtures_cases import Cases

V2 = "/_matrix/client/v2"

# -- Tokens --------------------------------------------------------------------------------------------------

TOKENS = Cases("client_v2/account", "alice_with_a_tablet")
TOKENS.add(
    "revoke_token/good",
    "Alice revokes her tablet's token from her phone.",
    f"POST {V2}/account/revokeToken",
    {"access_token": "{{alice_tablet_token}}"},
    by="alice",
)
TOKENS.add(
    "revoke_token/not_hers",
    "Bob can't, even if he has it.",
    f"POST {V2}/account/revokeToken",
    {"access_token": "{{alice_tablet_token}}"},
    by="bob",
    worlds=("alice_with_a_tablet", "bob"),
    expect="403 M_FORBIDDEN",
)

# -- Capabilities --------------------------------------------------------------------------------------------

ABLE = Cases("client_v2/capabilities", "alice_with_capabilities")
ALICES = f"GET {V2}/users/%40alice%3Aexample.org/capabilities"
VOIP: dict[str, Any] = {"capabilities": {"m.cap.voip.v1": {}}}
ABLE.add("get_server_hash/good", "What the server can do.", f"GET {V2}/capabilities", by="alice")
ABLE.add("get_server_hash/no_token", "Who asks?", f"GET {V2}/capabilities", expect="401 M_MISSING_TOKEN")
ABLE.add(
    "get_server_set/good", "The same in words.", f"GET {V2}/capabilities/{{{{server_hash}}}}", by="alice"
)
ABLE.add(
    "get_server_set/unknown",
    "Another hash.",
    f"GET {V2}/capabilities/x",
    by="alice",
    expect="404 M_NOT_FOUND",
)
ABLE.add(
    "announce/good",
    "Alice's phone says again what it can do.",
    f"PUT {V2}/clientCapabilities",
    {"sha256": "{{alice_hash}}"},
    by="alice",
)
ABLE.add(
    "announce/unknown",
    "Bob's laptop can do the same, but has never said what that is.",
    f"PUT {V2}/clientCapabilities",
    {"sha256": "{{alice_hash}}"},
    by="bob",
    worlds=("alice_with_capabilities", "bob"),
    expect="404 M_NOT_FOUND",
)
ABLE.add(
    "upload/good",
    "So it does.",
    f"POST {V2}/clientCapabilities",
    VOIP,
    by="bob",
    worlds=("alice_with_capabilities", "bob"),
)
ABLE.add(
    "upload/bad_capability",
    "A capability is an object.",
    f"POST {V2}/clientCapabilities",
    {"capabilities": {"m.cap.voip.v1": True}},
    by="alice",
    expect="400 M_BAD_JSON",
)
ABLE.add(
    "get_hashes/good",
    "Bob shares a room with Alice.",
    ALICES,
    by="bob",
    worlds=("alice_and_bob_in_a_public_room", "alice_with_capabilities"),
)
ABLE.add(
    "get_hashes/stranger",
    "Carol doesn't.",
    ALICES,
    by="carol",
    worlds=("alice_with_capabilities", "carol"),
    expect="403 M_FORBIDDEN",
)
ABLE.add("get_set/good", "Alice looks at what she said.", f"{ALICES}/{{{{alice_hash}}}}", by="alice")
ABLE.add("get_set/unknown", "Another hash.", f"{ALICES}/x", by="alice", expect="404 M_NOT_FOUND")

# -- Filters -------------------------------------------------------------------------------------------------

FILTERS = Cases("client_v2/filter", "alice")
FILTERS.add(
    "define_filter/good",
    "What Alice's client displays, with up to three comments.",
    f"POST {V2}/filter",
    {"types": ["m.room.message", "org.example.*"], "relates_to": 3},
    by="alice",
)
FILTERS.add(
    "define_filter/bad_types",
    "Types are a list.",
    f"POST {V2}/filter",
    {"types": "m.room.message"},
    by="alice",
    expect="400 M_BAD_JSON",
)

CASES = [*TOKENS, *ABLE, *FILTERS]
