"""Other servers' requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.fixtures_cases import Cases
from tests.fixtures_plots_federation import OTHER

ALICE, BOB = "@alice:example.org", "@bob:example.org"

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


# -- Rooms ---------------------------------------------------------------------------------------------------

ROOMS = Cases("server_server", "dora_in_the_lounge")
S2S = "/_matrix/federation/v1"


def transaction(names: Mapping[str, str]) -> dict[str, Any]:
    """Return a transaction with Dora's message, a broken event and an EDU of an unknown type."""
    return {
        "origin": OTHER,
        "origin_server_ts": 1_750_000_000_000,
        "pdus": [json.loads(names["dora_pdu"]), {"room_id": names["lounge"]}],
        "edus": [{"edu_type": "org.example.unknown", "content": {}}],
    }


ROOMS.add(
    "transactions/send_transaction/good",
    "Dora's message is queued for the lounge. What is broken doesn't matter.",
    f"PUT {S2S}/send/t1",
    transaction,
    server=OTHER,
)
ROOMS.add(
    "transactions/send_transaction/not_signed",
    "Nobody has signed the request.",
    f"PUT {S2S}/send/t1",
    {"pdus": []},
    expect="401 M_UNAUTHORIZED",
)
ROOMS.add(
    "transactions/send_transaction/too_many",
    "A transaction has at most 50 events.",
    f"PUT {S2S}/send/t1",
    {"pdus": [{}] * 51},
    server=OTHER,
    expect="400 M_BAD_JSON",
)
ROOMS.add("events/get_event/good", "One event.", f"GET {S2S}/event/{{{{reply}}}}", server=OTHER)
ROOMS.add(
    "events/get_event/unknown",
    "There is no such event.",
    f"GET {S2S}/event/%24unknown",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
ROOMS.add(
    "events/get_event/not_in_the_room",
    "The server isn't in Alice's room.",
    f"GET {S2S}/event/{{{{reply}}}}",
    worlds=("alice_and_bob_in_a_public_room", "another_server"),
    server=OTHER,
    expect="403 M_FORBIDDEN",
)
for what, operation in (("state", "get_room_state"), ("state_ids", "get_room_state_ids")):
    ROOMS.add(
        f"events/{operation}/good",
        "The state of the lounge before Alice's reply.",
        f"GET {S2S}/{what}/{{{{lounge}}}}?event_id={{{{reply}}}}",
        server=OTHER,
    )
    ROOMS.add(
        f"events/{operation}/missing_event_id",
        "It isn't said before which event.",
        f"GET {S2S}/{what}/{{{{lounge}}}}",
        server=OTHER,
        expect="400 M_MISSING_PARAM",
    )
ROOMS.add(
    "events/get_event_by_timestamp/good",
    "The newest event before the end of time.",
    f"GET {S2S}/timestamp_to_event/{{{{lounge}}}}?ts=9000000000000&dir=b",
    server=OTHER,
)
ROOMS.add(
    "events/get_event_by_timestamp/none",
    "There is nothing before the beginning.",
    f"GET {S2S}/timestamp_to_event/{{{{lounge}}}}?ts=0&dir=b",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
ROOMS.add(
    "event_auth/get_event_auth/good",
    "What authorises Alice's reply.",
    f"GET {S2S}/event_auth/{{{{lounge}}}}/{{{{reply}}}}",
    server=OTHER,
)
ROOMS.add(
    "event_auth/get_event_auth/unknown_room",
    "There is no such room.",
    f"GET {S2S}/event_auth/%21unknown%3Aexample.org/{{{{reply}}}}",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
ROOMS.add(
    "backfill/backfill_room/good",
    "Alice's reply, and the two events before it.",
    f"GET {S2S}/backfill/{{{{lounge}}}}?v={{{{reply}}}}&limit=3",
    server=OTHER,
)
ROOMS.add(
    "backfill/backfill_room/missing_events",
    "It isn't said before which events.",
    f"GET {S2S}/backfill/{{{{lounge}}}}?limit=3",
    server=OTHER,
    expect="400 M_MISSING_PARAM",
)
ROOMS.add(
    "backfill/get_missing_events/good",
    "The events before Alice's reply.",
    f"POST {S2S}/get_missing_events/{{{{lounge}}}}",
    {"earliest_events": [], "latest_events": ["{{reply}}"], "limit": 2},
    server=OTHER,
)
ROOMS.add(
    "backfill/get_missing_events/no_list",
    "The latest events must be a list.",
    f"POST {S2S}/get_missing_events/{{{{lounge}}}}",
    {"earliest_events": [], "latest_events": "{{reply}}"},
    server=OTHER,
    expect="400 M_BAD_JSON",
)
DEVICES = ("dora_in_the_lounge", "alice_with_keys", "bob_with_keys")
ROOMS.add(
    "user_devices/get_user_devices/good",
    "Alice's devices, for Dora's server.",
    f"GET {S2S}/user/devices/{ALICE}",
    worlds=DEVICES,
    server=OTHER,
)
ROOMS.add(
    "user_devices/get_user_devices/not_in_a_room",
    "Dora's server shares no room with Alice.",
    f"GET {S2S}/user/devices/{ALICE}",
    worlds=("another_server", "alice_with_keys"),
    server=OTHER,
    expect="403 M_FORBIDDEN",
)
ROOMS.add(
    "user_devices/get_user_devices/of_another_server",
    "Dora is no user of this server.",
    f"GET {S2S}/user/devices/@dora:{OTHER}",
    server=OTHER,
    expect="404 M_NOT_FOUND",
)
ROOMS.add(
    "user_keys/query_user_encryption_keys/good",
    "Alice's keys, without those that only she sees.",
    f"POST {S2S}/user/keys/query",
    {"device_keys": {ALICE: [], f"@dora:{OTHER}": []}},
    worlds=DEVICES,
    server=OTHER,
)
ROOMS.add(
    "user_keys/query_user_encryption_keys/missing",
    "Whose?",
    f"POST {S2S}/user/keys/query",
    {},
    server=OTHER,
    expect="400 M_MISSING_PARAM",
)
ROOMS.add(
    "user_keys/claim_user_encryption_keys/good",
    "Dora's server takes Bob's last one-time key.",
    f"POST {S2S}/user/keys/claim",
    {"one_time_keys": {BOB: {"LAPTOP": "signed_curve25519"}}},
    worlds=DEVICES,
    server=OTHER,
)
ROOMS.add(
    "user_keys/claim_user_encryption_keys/no_algorithm",
    "An algorithm must be a string.",
    f"POST {S2S}/user/keys/claim",
    {"one_time_keys": {BOB: {"DEVICE": 5}}},
    server=OTHER,
    expect="400 M_BAD_JSON",
)
USERINFO = f"GET {S2S}/openid/userinfo"
ROOMS.add(
    "openid/exchange_open_id_token/good",
    "Whose Alice's token is.",
    f"{USERINFO}?access_token={{{{openid_token}}}}",
    worlds="alice_with_an_openid_token",
)
ROOMS.add(
    "openid/exchange_open_id_token/unknown",
    "A token that nobody was given.",
    f"{USERINFO}?access_token=nonsense",
    worlds="alice_with_an_openid_token",
    expect="401 M_UNKNOWN_TOKEN",
)
ROOMS.add(
    "transactions/send_transaction/good_to_device",
    "Dora's message comes to Alice's device.",
    f"PUT {S2S}/send/t1",
    {
        "origin": OTHER,
        "origin_server_ts": 1_750_000_000_000,
        "pdus": [],
        "edus": [
            {
                "edu_type": "m.direct_to_device",
                "content": {
                    "sender": f"@dora:{OTHER}",
                    "type": "m.room_key",
                    "message_id": "one",
                    "messages": {ALICE: {"*": {"n": 1}}},
                },
            }
        ],
    },
    worlds=DEVICES,
    server=OTHER,
)
CASES += [replace(case, settings={"federation": "on"}) for case in ROOMS]
