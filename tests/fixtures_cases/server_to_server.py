"""What other servers ask."""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("server_server")

CASES.add("version/get_server_version/good", "The software's name.", "GET /_matrix/federation/v1/version")
CASES.add(
    "well_known/get_server_wellknown/good",
    "Where the server's name leads to; the port must be there.",
    "GET /.well-known/matrix/server",
)
CASES.add("keys/get_server_keys/good", "The server's own keys.", "GET /_matrix/key/v2/server")
CASES.add(
    "keys/get_server_keys/good_key_id",
    "A key ID behind the path is ignored.",
    "GET /_matrix/key/v2/server/ed25519:old",
)
CASES.add(
    "keys/query_server_keys/good",
    "A notary has its own keys, too.",
    "GET /_matrix/key/v2/query/example.org",
)
CASES.add(
    "keys/query_server_keys/no_server_name",
    "What is no server name isn't asked.",
    "GET /_matrix/key/v2/query/not%20a%20name",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "keys/query_server_keys/no_number",
    "A time must be a number.",
    "GET /_matrix/key/v2/query/example.org?minimum_valid_until_ts=soon",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "keys/query_keys/good",
    "The keys of this server, asked for by ID.",
    "POST /_matrix/key/v2/query",
    {"server_keys": {"example.org": {"ed25519:fixed": {"minimum_valid_until_ts": 0}}}},
)
CASES.add(
    "keys/query_keys/good_none", "Nothing is asked for.", "POST /_matrix/key/v2/query", {"server_keys": {}}
)
CASES.add(
    "keys/query_keys/missing_keys",
    "It isn't said what is asked for.",
    "POST /_matrix/key/v2/query",
    {},
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "keys/query_keys/no_object",
    "The keys of a server must be an object.",
    "POST /_matrix/key/v2/query",
    {"server_keys": {"example.org": ["ed25519:fixed"]}},
    expect="400 M_BAD_JSON",
)
