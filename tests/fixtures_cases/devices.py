"""https://spec.matrix.org/v1.19/client-server-api/#device-management"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("client_server/devices", "alice_with_a_tablet")

V3 = "/_matrix/client/v3"
PROOF = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": "wonderland",
}

CASES.add("get_devices/good", "Alice's devices.", f"GET {V3}/devices", by="alice")
CASES.add(
    "get_devices/unknown_token",
    "A token that was never given out.",
    f"GET {V3}/devices",
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add("get_device/good", "Alice looks at her tablet.", f"GET {V3}/devices/TABLET", by="alice")
CASES.add(
    "get_device/not_there",
    "Alice has no such device.",
    f"GET {V3}/devices/TOASTER",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "update_device/good",
    "Alice renames her tablet.",
    f"PUT {V3}/devices/TABLET",
    {"display_name": "The slab"},
    by="alice",
)
CASES.add(
    "update_device/not_there",
    "Alice has no such device.",
    f"PUT {V3}/devices/TOASTER",
    {"display_name": "Toast"},
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "update_device/not_a_string",
    "A name has to be text.",
    f"PUT {V3}/devices/TABLET",
    {"display_name": 7},
    by="alice",
    expect="400 M_BAD_JSON",
)
CASES.add(
    "delete_device/good",
    "Alice proves to be there and deletes her tablet.",
    f"DELETE {V3}/devices/TABLET",
    {"auth": PROOF},
    by="alice",
)
CASES.add(
    "delete_device/needs_proof",
    "Alice is asked for her password first.",
    f"DELETE {V3}/devices/TABLET",
    by="alice",
    expect="401",
)
CASES.add(
    "delete_devices/good",
    "Alice proves to be there and deletes her tablet, and one that is gone already.",
    f"POST {V3}/delete_devices",
    {"devices": ["TABLET", "TOASTER"], "auth": PROOF},
    by="alice",
)
CASES.add(
    "delete_devices/needs_proof",
    "Alice is asked for her password first.",
    f"POST {V3}/delete_devices",
    {"devices": ["TABLET"]},
    by="alice",
    expect="401",
)
