"""https://spec.matrix.org/v1.19/client-server-api/#syncing"""

from __future__ import annotations

from urllib.parse import quote

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("client_server/sync", "news_for_alice")

SYNC = "GET /_matrix/client/v3/sync"
SINCE = f"{SYNC}?since={{{{since}}}}"
FILTER = quote('{"room": {"timeline": {"limit": 1}}}')

CASES.add(
    "sync/good_initial",
    "Alice's first sync: all of the lounge, her push rules.",
    SYNC,
    by="alice",
    worlds="alice_and_bob_in_a_public_room",
)
CASES.add("sync/good_news", "What Alice hasn't seen yet.", SINCE, by="alice")
CASES.add(
    "sync/good_limited",
    "Only the last event of it, with the state in between.",
    f"{SINCE}&filter={FILTER}",
    by="alice",
)
CASES.add(
    "sync/good_state_after",
    "The state as it is after the timeline.",
    f"{SINCE}&filter={FILTER}&use_state_after=true",
    by="alice",
)
CASES.add(
    "sync/good_nothing_new",
    "Nothing: the token stays the same.",
    f"{SINCE}&timeout=0",
    by="alice",
    worlds="alice_has_synced",
)
CASES.add(
    "sync/good_invited", "Alice learns of Bob's invitation.", SINCE, by="alice", worlds="an_invite_for_alice"
)
CASES.add(
    "sync/good_kept_data",
    "A first sync with account data and tags.",
    SYNC,
    by="alice",
    worlds="alice_with_account_data",
)
CASES.add(
    "sync/good_parked",
    "Nothing yet: the deployment's queue holds the wait, under the token that the answer names.",
    f"{SINCE}&timeout=30000",
    by="alice",
    worlds="alice_has_synced",
    settings={"waiting": "parked"},
)
CASES.add(
    "sync/unknown_token",
    "A token that was never given out.",
    SYNC,
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add(
    "sync/bad_since",
    "Not a token of ours.",
    f"{SYNC}?since=yesterday",
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "sync/unknown_filter",
    "Alice has no such filter.",
    f"{SYNC}?filter=none",
    by="alice",
    expect="400 M_INVALID_PARAM",
)
