"""To-device messages for users of other servers, kept until the servers have them (table `destinations`).

    message#<place>  a message for a server: `edu`, the content of an `m.direct_to_device`
    messages         how many there are

A message's place begins with the time at which its request came, so places are in the order of sending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

TABLE = "destinations"
MESSAGE, COUNT = "message#", "messages"
MOST_WAITING = 2_000
"""How many messages may wait for one server that doesn't answer. Further ones are dropped."""
TRANSACTION_MESSAGES = 30
CLAIM_SECONDS = 86_400
_PLACES = 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits to be sent: its place, and the content of its EDU as JSON."""

    place: int
    edu: str


def _key(server_name: ServerName, sk: str = COUNT) -> dict[str, str]:
    return {"server_name": server_name, "sk": sk}


def _message_key(server_name: ServerName, place: int) -> dict[str, str]:
    return _key(server_name, f"{MESSAGE}{place:0{_PLACES}d}")


def put(server_name: ServerName, messages: Sequence[Outgoing], claim_id: str) -> bool:
    """Store up to TRANSACTION_MESSAGES messages, once for each claim. Returns False if too many wait
    already.
    """
    claim = dynamodb.put(
        "transient",
        {"id": claim_id, "expires": now_ms() // 1000 + CLAIM_SECONDS},
        condition="attribute_not_exists(id)",
    )
    count = dynamodb.update(
        TABLE,
        _key(server_name),
        "ADD waiting :number",
        values={":number": len(messages), ":most": MOST_WAITING},
        condition="attribute_not_exists(waiting) OR waiting < :most",
    )
    items = [
        dynamodb.put(TABLE, {**_message_key(server_name, message.place), "edu": message.edu})
        for message in messages
    ]
    try:
        dynamodb.transact([claim.named("claim"), count.named("count"), *items])
    except ConditionFailed as error:
        return error.refused("claim")
    return True


def read(server_name: ServerName, *, limit: int, most_bytes: int) -> tuple[list[Outgoing], bool]:
    """Return the next messages for a server, in order, and whether these are all."""
    page = dynamodb.query_page(
        TABLE,
        "server_name = :server AND begins_with(sk, :prefix)",
        {":server": server_name, ":prefix": MESSAGE},
        limit=limit + 1,
    )
    found, left = list[Outgoing](), most_bytes
    for item in page.items[:limit]:
        left -= len(item["edu"].encode())
        if found and left < 0:
            return found, False
        found.append(Outgoing(_place(item), item["edu"]))
    return found, len(page.items) <= limit and page.more is None


def read_some(server_name: ServerName, places: Sequence[int]) -> list[Outgoing]:
    """Return the unconfirmed messages at these places, in order."""
    keys = [_message_key(server_name, place) for place in places]
    items = dynamodb.batch_get({TABLE: keys})[TABLE] if keys else []
    return sorted((Outgoing(_place(item), item["edu"]) for item in items), key=lambda it: it.place)


def _place(item: Mapping[str, str]) -> int:
    return int(item["sk"].removeprefix(MESSAGE))


def remove(server_name: ServerName, places: Sequence[int]) -> None:
    """Delete messages that a server has. Missing messages are not an error."""
    size = dynamodb.TRANSACTION_LIMIT - 1
    for start in range(0, len(places), size):
        _remove(server_name, places[start : start + size])


def _remove(server_name: ServerName, places: Sequence[int]) -> None:
    left = list(places)
    while left:
        count = dynamodb.update(
            TABLE, _key(server_name), "ADD waiting :number", values={":number": -len(left)}
        )
        deletions = [
            dynamodb.delete(TABLE, _message_key(server_name, place), condition="attribute_exists(edu)").named(
                str(place)
            )
            for place in left
        ]
        try:
            dynamodb.transact([count, *deletions])
            return
        except ConditionFailed as error:
            gone = [place for place in left if error.refused(str(place))]
            if not gone:
                raise
            left = [place for place in left if place not in gone]


def remove_all(server_name: ServerName) -> None:
    """Delete all messages for a server."""
    while True:
        found, is_all = read(server_name, limit=100, most_bytes=4_000_000)
        remove(server_name, [message.place for message in found])
        if is_all:
            return
