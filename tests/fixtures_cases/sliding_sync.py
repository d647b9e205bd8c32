"""https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("client_server/sync", "alice_has_a_window")

SLIDING = "POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
SINCE = f"{SLIDING}?pos={{{{pos}}}}"
STATE = [["m.room.name", ""], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"], ["m.space.child", "*"]]
WINDOW = {
    "conn_id": "room-list",
    "lists": {
        "all_rooms": {"ranges": [[0, 19]], "timeline_limit": 1, "required_state": STATE, "filters": {}}
    },
    "extensions": {
        "account_data": {"enabled": True},
        "typing": {"enabled": True},
        "receipts": {"enabled": True, "rooms": ["*"]},
    },
}
OPENED = {"timeline_limit": 20, "required_state": [*STATE, ["m.room.topic", ""]]}
ENCRYPTION = {
    "conn_id": "encryption",
    "extensions": {"to_device": {"enabled": True}, "e2ee": {"enabled": True}},
}
MERGED = {
    "conn_id": "main",
    "lists": {
        "top": {
            "range": [0, 9],
            "timeline_limit": 2,
            "required_state": {"include": [{"type": "m.room.topic"}], "lazy_members": True},
        }
    },
}

CASES.add(
    "sliding_sync/good_first_window",
    "The newest rooms, each with its last event.",
    SLIDING,
    WINDOW,
    by="alice",
)
CASES.add("sliding_sync/good_news", "What Bob said since.", SINCE, WINDOW, by="alice")
CASES.add(
    "sliding_sync/good_opened",
    "Alice opens the lounge: its timeline comes, also the part that she was shown.",
    SINCE,
    {**WINDOW, "room_subscriptions": {"{{lounge}}": OPENED}},
    by="alice",
)
CASES.add(
    "sliding_sync/good_encryption",
    "The connection for encryption: messages to the device, and counts of keys.",
    SLIDING,
    ENCRYPTION,
    by="alice",
    worlds="news_for_alice",
)
CASES.add(
    "sliding_sync/good_invited",
    "Bob has invited Alice to his study.",
    SLIDING,
    WINDOW,
    by="alice",
    worlds="an_invite_for_alice",
)
CASES.add(
    "sliding_sync/good_merged_form",
    "The form of the accepted proposal.",
    "POST /_matrix/client/v4/sync",
    MERGED,
    by="alice",
)
CASES.add(
    "sliding_sync/unknown_pos",
    "A place that was never given out.",
    f"{SLIDING}?pos=l0.0.abcdefghijkl",
    WINDOW,
    by="alice",
    expect="400 M_UNKNOWN_POS",
)
CASES.add(
    "sliding_sync/bad_range",
    "A range that ends before it begins.",
    SLIDING,
    {"lists": {"all_rooms": {"ranges": [[9, 0]], "timeline_limit": 1, "required_state": []}}},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "sliding_sync/unknown_token",
    "A token that was never given out.",
    SLIDING,
    WINDOW,
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)
