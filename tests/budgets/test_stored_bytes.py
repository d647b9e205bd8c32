"""A message leaves a bounded number of bytes behind for good, which decides the bill of an old server."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed
from operators.costs.usage import ASSUMPTIONS
from tests.budgets.operations import MESSAGE, V3, create, ok, people
from tests.in_process import Client

OVERHEAD = 100
"""What DynamoDB adds to each item, as it bills storage."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ENCRYPTED = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "ciphertext": "".join(random.Random(1).choices(LETTERS, k=600)),
    "session_id": "".join(random.Random(2).choices(LETTERS, k=43)),
    "sender_key": "".join(random.Random(3).choices(LETTERS, k=43)),
    "device_id": "ABCDEFGHIJ",
}


def size(value: Any) -> int:
    """Return the bytes of an attribute value, as DynamoDB counts them."""
    ((kind, stored),) = value.items()
    match kind:
        case "S":
            return len(stored.encode())
        case "N":
            return (len(stored) + 1) // 2 + 1
        case "B":
            return len(stored) if isinstance(stored, bytes) else len(stored) * 3 // 4
        case "L":
            return 3 + sum(1 + size(each) for each in stored)
        case "M":
            return 3 + sum(1 + len(name) + size(each) for name, each in stored.items())
        case _:
            return 1


@pytest.mark.parametrize(
    ("event_type", "content", "most"),
    [
        ("m.room.message", {"msgtype": "m.text", "body": "Shall we meet at nine?"}, 1_150),
        ("m.room.message", MESSAGE, 1_150),
        ("m.room.encrypted", ENCRYPTED, 1_500),
    ],
    ids=["short", "long", "encrypted"],
)
def test_what_a_message_stores(
    event_type: str, content: dict[str, Any], most: int, make_client: Callable[..., Client]
) -> None:
    """Counts the tables whose items don't expire: the log's entry, and the items that point to it."""
    alice, bob = people(make_client, "alice", "bob")
    room = create(alice, preset="public_chat", name="Budgets")
    ok(bob, "POST", f"{V3}/rooms/{room}/join", {})
    stored: dict[str, int] = {}

    def weigh(call: Call, proceed: Proceed) -> Answer:
        for write in call.parameters.get("TransactItems", ()):
            item = write.get("Put", {}).get("Item")
            if item is not None and "expires" not in item:
                table = write["Put"]["TableName"].rpartition("test-")[2]
                stored[table] = OVERHEAD + sum(len(name) + size(value) for name, value in item.items())
        return proceed(call)

    calls.intercept(weigh)
    try:
        ok(alice, "PUT", f"{V3}/rooms/{room}/send/{event_type}/stored", content)
    finally:
        calls.release(weigh)
    assert stored.keys() == {"room-log", "events"}
    assert sum(stored.values()) <= most, stored
    assert sum(stored.values()) <= ASSUMPTIONS.message_kb_stored * 1024
