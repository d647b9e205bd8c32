"""Streaming tokens. Each names a stored configuration (the rooms and users that a client wants) and a
position.

`v_<name>` is the token that a client creates; it stands for the stream's beginning. `v_<name>.<row>` stands
for a row of positions, like a sync token. Neither ever changes, so a request with a token can be repeated.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Write
from murmuration.clock import now_ms
from murmuration.drafts.v2.filters import Filter
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.bodies import Fields, limit_size
from murmuration.protocol.errors import InvalidParam, NotFound
from murmuration.storage.live import streamings
from murmuration.storage.live.positions import mark

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body, JsonObject
    from murmuration.protocol.identifiers import EventId, RoomId, UserId

MAX_BYTES = 32_768
ENTERING_MS = 15_000
"""How long a room that is new to a stream may wait for the answer that shows it: the maximum duration of a
request."""
MOST_GIVEN = 256
EVERYTHING: JsonObject = {"rooms": ["*"], "users": ["*"]}
_NOTHING: JsonObject = {"types": []}
_TOKEN = re.compile(r"(v_[\w-]{16})(?:\.([\w-]{8,32}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamingToken:
    """A token in a request. `row` is its position; None if nothing has been read with the token yet."""

    streaming: streamings.Streaming
    row: str | None

    def at(self, row: str) -> str:
        """Return the token of another position in the same stream."""
        return f"{self.streaming.name}.{row.removeprefix('s_')}"

    @property
    def text(self) -> str:
        return self.streaming.name if self.row is None else self.at(self.row)

    def is_about(self, room_id: RoomId) -> bool:
        """Return whether the stream includes the room's events while the user is in the room."""
        return self.streaming.rooms is None or room_id in self.streaming.rooms

    def sync_filter(self, wanted: Filter, *, of_presence: bool) -> str:
        """Return the filter for a sync: the rooms and users that both the stream and `wanted` include.

        With `of_presence`, the types in `wanted` apply to presence too.
        """
        types = {} if wanted.events.types is None else {"types": wanted.events.types}
        types |= {"not_types": wanted.events.not_types} if wanted.events.not_types else {}
        room: dict[str, Any] = dict.fromkeys(("timeline", "state", "account_data"), _NOTHING)
        room |= {"ephemeral": types, "not_rooms": wanted.events.not_rooms}
        rooms = _both(self.streaming.rooms, wanted.events.rooms)
        if rooms is not None:
            room["rooms"] = rooms
        users = _both(_unless_all(self.streaming.users), _unless_all(wanted.users))
        senders = {} if users is None else {"senders": users}
        kinds = types if of_presence else {}
        presence = {**kinds, **senders} if users is None or users else _NOTHING
        return json.dumps({"room": room, "presence": presence, "account_data": _NOTHING})


def _unless_all(users: Sequence[str] | None) -> Sequence[str] | None:
    return None if users is None or "*" in users else users


def _both(one: Sequence[str] | None, other: Sequence[str] | None) -> list[str] | None:
    """Return what is in both lists; None stands for all."""
    if one is None or other is None:
        both = one if other is None else other
        return None if both is None else list(both)
    return [each for each in one if each in other]


def define(token: AccessToken, definition: Body) -> str:
    """Begin a stream and return its token. `rooms` (default all) and `users` (default none) are IDs, or "*"
    for all.

    The stream has the presence of those `users` who share one of the rooms or are on the presence list.
    Raises UnknownToken, BadJson, InvalidParam, TooLarge.
    """
    return create(token, definition).text


def create(token: AccessToken, definition: Body) -> StreamingToken:
    """Begin a stream and return its token as an object. Raises what `define` raises."""
    from murmuration.sync import engine

    limit_size(definition, "A stream's configuration", MAX_BYTES)
    body = Fields(definition)
    rooms = _ids(body, "rooms", "!") if "rooms" in definition else ["*"]
    users = _ids(body, "users", "@") if "users" in definition else []
    wanted = None if "*" in rooms else rooms
    room = {} if wanted is None else {"rooms": wanted}
    start = engine.begin(token, json.dumps({"room": room}))
    return StreamingToken(streamings.create(token.user_id, wanted, users, start), None)


def _ids(body: Fields, name: str, sigil: str) -> list[str]:
    found = body.strings(name)
    for each in found:
        if each != "*" and not each.startswith(sigil):
            raise InvalidParam(f"{name} are IDs that begin with {sigil}, or *")
    return list(dict.fromkeys(found))


def parse(user_id: UserId, text: str) -> StreamingToken:
    """Return a user's streaming token. One read. Raises NotFound if it is another user's or has expired."""
    match = _TOKEN.fullmatch(text)
    streaming = streamings.read(user_id, match[1]) if match else None
    if match is None or streaming is None:
        raise NotFound("There is no such stream")
    return StreamingToken(streaming, f"s_{match[2]}" if match[2] else None)


def parse_optional(user_id: UserId, text: str | None) -> StreamingToken | None:
    """Return the same as `parse`; None for no token."""
    return None if text is None else parse(user_id, text)


def giving(streaming: StreamingToken, event_ids: Collection[EventId]) -> Write:
    """Return the write that makes the stream leave out the events of an answer."""
    newest = list(dict.fromkeys(event_ids))[-MOST_GIVEN:]
    return streamings.note_given(streaming.streaming, {mark(event_id) for event_id in newest})


@contextmanager
def entering(streaming: StreamingToken | None) -> Iterator[list[EventId]]:
    """Make the stream leave out a room while the user enters it and the answer shows it.

    Yields a list, to be filled with the IDs of the events in the answer. After that, the stream has all other
    events.
    """
    shown: list[EventId] = []
    if streaming is None:
        yield shown
        return
    streamings.note_entering(streaming.streaming, now_ms() + ENTERING_MS)
    try:
        yield shown
    finally:
        dynamodb.execute(giving(streaming, shown))
