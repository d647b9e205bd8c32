"""Keys, their backups, to-device messages: https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption"""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_plots_kept import BACKUP_KEY, device_keys, one_time_keys
from tests.fixtures_scene import cross_signing, key_pair

CASES = Cases("client_server", "friends_with_keys")

V3 = "/_matrix/client/v3"
ALICE, BOB = "@alice:example.org", "@bob:example.org"
PROOF = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": "wonderland",
}

UPLOAD = f"POST {V3}/keys/upload"
CASES.add(
    "keys/upload_keys/good",
    "Alice's phone publishes its keys for the first time.",
    UPLOAD,
    {
        "device_keys": device_keys("alice", "PHONE"),
        "one_time_keys": one_time_keys("alice", "PHONE", "AAAA", "AAAB"),
        "fallback_keys": one_time_keys("alice", "PHONE", "FALL", fallback=True),
    },
    by="alice",
    worlds="alice",
)
CASES.add(
    "keys/upload_keys/good_repeated",
    "The same keys again change nothing.",
    UPLOAD,
    {"device_keys": device_keys("alice", "PHONE"), "one_time_keys": one_time_keys("alice", "PHONE", "AAAA")},
    by="alice",
)
CASES.add(
    "keys/upload_keys/good_in_rooms",
    "Those who share a room with Bob learn of his new keys.",
    UPLOAD,
    {"device_keys": device_keys("bob", "LAPTOP")},
    by="bob",
    worlds="alice_and_bob_in_a_public_room",
)
CASES.add("keys/upload_keys/good_empty", "How many one-time keys are there?", UPLOAD, {}, by="alice")
CASES.add(
    "keys/upload_keys/another_device",
    "Keys of another device.",
    UPLOAD,
    {"device_keys": device_keys("alice", "TABLET")},
    by="alice",
    expect="400 M_INVALID_PARAM",
)

QUERY = f"POST {V3}/keys/query"
CASES.add(
    "keys/query_keys/good", "Bob looks up all of Alice's keys.", QUERY, {"device_keys": {ALICE: []}}, by="bob"
)
CASES.add(
    "keys/query_keys/good_own",
    "Alice looks up her own, one that isn't there included.",
    QUERY,
    {"device_keys": {ALICE: ["PHONE", "TOASTER"]}},
    by="alice",
)
CASES.add("keys/query_keys/missing", "Whose?", QUERY, {}, by="bob", expect="400 M_MISSING_PARAM")
CASES.add(
    "keys/query_keys/not_a_list",
    "Device IDs are in a list.",
    QUERY,
    {"device_keys": {ALICE: "PHONE"}},
    by="bob",
    expect="400 M_BAD_JSON",
)

CLAIM = f"POST {V3}/keys/claim"
WANTED = {"one_time_keys": {BOB: {"LAPTOP": "signed_curve25519"}}}
CASES.add("keys/claim_keys/good", "Alice takes Bob's last one-time key.", CLAIM, WANTED, by="alice")
CASES.add(
    "keys/claim_keys/good_fallback",
    "Only the fallback key is left; it is used, and stays.",
    CLAIM,
    WANTED,
    by="alice",
    worlds=("alice", "bob_with_a_fallback_key"),
)
CASES.add(
    "keys/claim_keys/good_none",
    "A device that isn't there has none.",
    CLAIM,
    {"one_time_keys": {BOB: {"TOASTER": "signed_curve25519"}}},
    by="alice",
)
CASES.add("keys/claim_keys/missing", "Which?", CLAIM, {}, by="alice", expect="400 M_MISSING_PARAM")

CHANGES = f"GET {V3}/keys/changes"
CASES.add(
    "keys/get_keys_changes/good",
    "Nobody's keys have changed since Alice synced.",
    f"{CHANGES}?from={{{{since}}}}&to={{{{since}}}}",
    by="alice",
    worlds="alice_has_synced",
)
CASES.add("keys/get_keys_changes/missing", "Since when?", CHANGES, by="alice", expect="400 M_MISSING_PARAM")

SIGNING = f"POST {V3}/keys/device_signing/upload"
CASES.add(
    "keys/upload_cross_signing_keys/good",
    "Bob's first cross-signing keys need no proof.",
    SIGNING,
    cross_signing("bob").body(),
    by="bob",
)
CASES.add(
    "keys/upload_cross_signing_keys/good_replaced",
    "Alice proves to be there and replaces hers.",
    SIGNING,
    {
        "master_key": {
            "user_id": ALICE,
            "usage": ["master"],
            "keys": {key_pair("alice anew").key_id: key_pair("alice anew").public},
        },
        "auth": PROOF,
    },
    by="alice",
)
CASES.add(
    "keys/upload_cross_signing_keys/needs_proof",
    "Who has keys is asked for the password.",
    SIGNING,
    {
        "master_key": {
            "user_id": ALICE,
            "usage": ["master"],
            "keys": {key_pair("alice anew").key_id: key_pair("alice anew").public},
        }
    },
    by="alice",
    expect="401",
)
CASES.add(
    "keys/upload_cross_signing_keys/bad_signature",
    "A self-signing key that the master key hasn't signed.",
    SIGNING,
    {
        **cross_signing("bob").body(),
        "self_signing_key": {
            **cross_signing("bob").key("self_signing"),
            "signatures": {BOB: {cross_signing("bob").master.key_id: "c2lnbmF0dXJl"}},
        },
    },
    by="bob",
    expect="400 M_INVALID_SIGNATURE",
)

SIGNATURES = f"POST {V3}/keys/signatures/upload"
SIGNED_PHONE = cross_signing("alice").self_signing.sign(ALICE, device_keys("alice", "PHONE"))
CASES.add(
    "keys/upload_cross_signing_signatures/good",
    "Alice signs her phone with her self-signing key.",
    SIGNATURES,
    {ALICE: {"PHONE": SIGNED_PHONE}},
    by="alice",
)
CASES.add(
    "keys/upload_cross_signing_signatures/good_with_failures",
    "A signature of a device that isn't there fails alone.",
    SIGNATURES,
    {ALICE: {"PHONE": SIGNED_PHONE, "TOASTER": device_keys("alice", "TOASTER")}},
    by="alice",
)
CASES.add(
    "keys/upload_cross_signing_signatures/not_objects",
    "Signed keys are objects.",
    SIGNATURES,
    {ALICE: "PHONE"},
    by="alice",
    expect="400 M_BAD_JSON",
)

SEND = f"PUT {V3}/sendToDevice/org.example.whisper/w1"
CASES.add(
    "to_device/send_to_device/good",
    "Bob whispers to all of Alice's devices.",
    SEND,
    {"messages": {ALICE: {"*": {"body": "psst"}}}},
    by="bob",
    worlds=("alice_with_a_tablet", "bob"),
)
CASES.add(
    "to_device/send_to_device/good_repeated",
    "Bob's client repeats itself: nothing new happens.",
    SEND,
    {"messages": {ALICE: {"PHONE": {"body": "psst"}}}},
    by="bob",
    worlds="news_for_alice",
)
CASES.add("to_device/send_to_device/missing", "To whom?", SEND, {}, by="bob", expect="400 M_MISSING_PARAM")

BACKUP = "alice_with_a_key_backup"
VERSION = f"{V3}/room_keys/version"
KEYS = f"{V3}/room_keys/keys"
ROOM, SESSION = "%21room%3Aexample.org", "session"
ABOUT = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "hijklmn"}}
BETTER = {**BACKUP_KEY, "first_message_index": 0}
WORSE = {**BACKUP_KEY, "first_message_index": 5}


def add(name: str, about: str, request: str, body: object = None, *, expect: str = "200") -> None:
    CASES.add(f"key_backup/{name}", about, request, body, by="alice", worlds=BACKUP, expect=expect)


add("post_room_keys_version/good", "Alice begins another backup.", f"POST {VERSION}", ABOUT)
add(
    "post_room_keys_version/missing",
    "By which algorithm?",
    f"POST {VERSION}",
    {"auth_data": {}},
    expect="400 M_MISSING_PARAM",
)
add("get_room_keys_version_current/good", "Alice's latest backup.", f"GET {VERSION}")
CASES.add(
    "key_backup/get_room_keys_version_current/none",
    "Bob has none.",
    f"GET {VERSION}",
    by="bob",
    expect="404 M_NOT_FOUND",
)
add("get_room_keys_version/good", "Her first backup.", f"GET {VERSION}/1")
add("get_room_keys_version/unknown", "She has no second.", f"GET {VERSION}/2", expect="404 M_NOT_FOUND")
add("put_room_keys_version/good", "Alice changes its key.", f"PUT {VERSION}/1", {**ABOUT, "version": "1"})
add(
    "put_room_keys_version/another_algorithm",
    "Its algorithm stays.",
    f"PUT {VERSION}/1",
    {**ABOUT, "algorithm": "rot13"},
    expect="400 M_INVALID_PARAM",
)
add(
    "put_room_keys_version/unknown", "She has no second.", f"PUT {VERSION}/2", ABOUT, expect="404 M_NOT_FOUND"
)
add("delete_room_keys_version/good", "Alice deletes the backup and all in it.", f"DELETE {VERSION}/1")
add("delete_room_keys_version/unknown", "She has no second.", f"DELETE {VERSION}/2", expect="404 M_NOT_FOUND")
add(
    "put_room_keys/good",
    "One key more, in another room.",
    f"PUT {KEYS}?version=1",
    {"rooms": {"!other:example.org": {"sessions": {"other": BACKUP_KEY}}}},
)
add(
    "put_room_keys/wrong_version",
    "Only the latest backup takes keys.",
    f"PUT {KEYS}?version=0",
    {"rooms": {}},
    expect="403 M_WRONG_ROOM_KEYS_VERSION",
)
add(
    "put_room_keys_by_room_id/good",
    "One key more in the room.",
    f"PUT {KEYS}/{ROOM}?version=1",
    {"sessions": {"second": BACKUP_KEY}},
)
add(
    "put_room_keys_by_room_id/missing_version",
    "To which backup?",
    f"PUT {KEYS}/{ROOM}",
    {"sessions": {}},
    expect="400 M_MISSING_PARAM",
)
add(
    "put_room_key_by_session_id/good",
    "A better key replaces the one that is there.",
    f"PUT {KEYS}/{ROOM}/{SESSION}?version=1",
    BETTER,
)
add(
    "put_room_key_by_session_id/good_worse",
    "A worse one doesn't.",
    f"PUT {KEYS}/{ROOM}/{SESSION}?version=1",
    WORSE,
)
add(
    "put_room_key_by_session_id/not_a_number",
    "An index is a number.",
    f"PUT {KEYS}/{ROOM}/{SESSION}?version=1",
    {**BETTER, "first_message_index": "first"},
    expect="400 M_BAD_JSON",
)
add("get_room_keys/good", "All of Alice's keys.", f"GET {KEYS}?version=1")
add(
    "get_room_keys/unknown_version",
    "She has no second backup.",
    f"GET {KEYS}?version=2",
    expect="404 M_NOT_FOUND",
)
add("get_room_keys_by_room_id/good", "Those of the room.", f"GET {KEYS}/{ROOM}?version=1")
add(
    "get_room_keys_by_room_id/unknown_version",
    "She has no second backup.",
    f"GET {KEYS}/{ROOM}?version=2",
    expect="404 M_NOT_FOUND",
)
add("get_room_key_by_session_id/good", "That of the session.", f"GET {KEYS}/{ROOM}/{SESSION}?version=1")
add(
    "get_room_key_by_session_id/unknown",
    "There is no such session.",
    f"GET {KEYS}/{ROOM}/none?version=1",
    expect="404 M_NOT_FOUND",
)
add("delete_room_keys/good", "Alice empties the backup.", f"DELETE {KEYS}?version=1")
add("delete_room_keys/missing_version", "Which backup?", f"DELETE {KEYS}", expect="400 M_MISSING_PARAM")
add("delete_room_keys_by_room_id/good", "Alice deletes the room's keys.", f"DELETE {KEYS}/{ROOM}?version=1")
add(
    "delete_room_keys_by_room_id/unknown_version",
    "She has no second backup.",
    f"DELETE {KEYS}/{ROOM}?version=2",
    expect="404 M_NOT_FOUND",
)
add(
    "delete_room_key_by_session_id/good",
    "Alice deletes the session's key.",
    f"DELETE {KEYS}/{ROOM}/{SESSION}?version=1",
)
add(
    "delete_room_key_by_session_id/unknown_version",
    "She has no second backup.",
    f"DELETE {KEYS}/{ROOM}/{SESSION}?version=2",
    expect="404 M_NOT_FOUND",
)
