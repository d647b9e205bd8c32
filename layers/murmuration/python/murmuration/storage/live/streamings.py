"""The stored configurations of streaming tokens: items `v_<name>` of the table `sync-tokens`.

An item also has marks of the newest events that actions returned, so that the stream needn't repeat them. The
marks are in two sets. New ones are added to the newer set. When that has `MANY` marks, the other set is
emptied and becomes the newer one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, Write
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

TABLE = "sync-tokens"
LIFETIME_S = 30 * 86_400
MANY = 128
_SETS = ("given_0", "given_1")


@dataclass(frozen=True, slots=True)
class Streaming:
    """The rooms (None: all) and users of a stream, and the row of positions with which it began.

    `given` are marks of events that actions returned. Rooms that are new to the stream are shown after
    `entering_until_ms`.
    """

    user_id: UserId
    name: str
    rooms: Sequence[str] | None
    users: Sequence[str]
    start: str
    expires: int
    given: tuple[frozenset[str], frozenset[str]] = field(default=(frozenset(), frozenset()))
    newer: int = 0
    entering_until_ms: int = 0

    @property
    def key(self) -> dict[str, str]:
        return _key(self.user_id, self.name)


def _key(user_id: UserId, name: str) -> dict[str, str]:
    return {"user_id": user_id, "token": name}


def create(user_id: UserId, rooms: Sequence[str] | None, users: Sequence[str], start: str) -> Streaming:
    """Store a new streaming. It is kept for a month after its last use."""
    name = f"v_{secrets.token_urlsafe(12)}"
    expires = now_ms() // 1000 + LIFETIME_S
    config = json.dumps({"rooms": rooms, "users": users}, separators=(",", ":"))
    item = {**_key(user_id, name), "config": config, "start": start, "expires": expires}
    dynamodb.execute(dynamodb.put(TABLE, item))
    return Streaming(user_id, name, rooms, users, start, expires)


def read(user_id: UserId, name: str) -> Streaming | None:
    """Return a streaming; None if it is unknown or expired."""
    item = dynamodb.get(TABLE, _key(user_id, name))
    if item is None or "config" not in item or item["expires"] <= now_ms() // 1000:
        return None
    return _from_item(item)


def _from_item(item: Item) -> Streaming:
    config = json.loads(item["config"])
    first, second = (frozenset(item.get(name, ())) for name in _SETS)
    return Streaming(
        user_id=item["user_id"],
        name=item["token"],
        rooms=config["rooms"],
        users=config["users"],
        start=item["start"],
        expires=item["expires"],
        given=(first, second),
        newer=item.get("newer", 0),
        entering_until_ms=item.get("entering_until_ms", 0),
    )


def renew(streaming: Streaming) -> None:
    """Extend a streaming for another month, if half of the last one is over."""
    now = now_ms() // 1000
    if streaming.expires < now + LIFETIME_S // 2:
        values = {":expires": now + LIFETIME_S}
        dynamodb.execute(dynamodb.update(TABLE, streaming.key, "SET expires = :expires", values=values))


def note_given(streaming: Streaming, marks: Collection[str]) -> Write:
    """Return the write that records events as given, and ends the entering of rooms.

    Of two concurrent writes one may lose its marks: then an event is shown twice.
    """
    full = len(streaming.given[streaming.newer]) >= MANY
    chosen = 1 - streaming.newer if full else streaming.newer
    values = {":expires": streaming.expires}
    expression = "SET expires = if_not_exists(expires, :expires)"
    if not marks:
        return dynamodb.update(TABLE, streaming.key, f"{expression} REMOVE entering_until_ms", values=values)
    more = {":marks": frozenset(marks)}
    if full:
        expression += f", {_SETS[chosen]} = :marks, newer = :newer REMOVE entering_until_ms"
        more[":newer"] = chosen  # type: ignore[assignment]
    else:
        expression += f" REMOVE entering_until_ms ADD {_SETS[chosen]} :marks"
    return dynamodb.update(TABLE, streaming.key, expression, values={**values, **more})


def note_entering(streaming: Streaming, until_ms: int) -> None:
    """Make rooms that are new to the stream be shown only after this time."""
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            streaming.key,
            "SET entering_until_ms = :until, expires = if_not_exists(expires, :expires)",
            values={":until": until_ms, ":expires": streaming.expires},
        )
    )
