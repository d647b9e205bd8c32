"""The updates for a WebSocket connection, in the form of /sync."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.identity.tokens import AccessToken
from murmuration.protocol.identifiers import RoomId
from murmuration.storage.live import sync_tokens as tokens
from murmuration.sync import narrow_look, presence
from murmuration.sync.answer import Answer
from murmuration.sync.engine import SyncRequest, assemble
from murmuration.sync.first_look import FirstLook, look

if TYPE_CHECKING:
    from murmuration.sync.readers.json_types import SyncAnswer


@dataclass(frozen=True, slots=True)
class News:
    """A sync's answer. At `ends_ms` (milliseconds; 0: never) something shown in it ends without an event.

    `is_complete` says that nothing was left for the next look.
    """

    body: SyncAnswer
    ends_ms: int
    is_complete: bool


def news_since(
    token: AccessToken, since: str | None, filter_text: str | None, rooms: Collection[RoomId] = ()
) -> News | None:
    """Return the updates after the token `since`, with a new token; None if there are none. Deletes no
    messages.

    `rooms` are the only rooms with updates; empty if anything may have some. Raises UnknownToken,
    InvalidParam, BadJson.
    """
    request = SyncRequest(token, since, filter_text)
    found = _look_at(request, rooms)
    if found is None:
        first = look(token, since, filter_text)
        found = first, assemble(request, first)
    first, answer = found
    if first.base is not None and not answer.has_news:
        return None
    body = answer.as_json(tokens.write(token.user_id, token.device_id, answer.positions))
    ends = [answer.changes_ms]
    if "presence" in answer.sections:
        ends.append(presence.next_end_ms(answer.positions))
    return News(body, min((end for end in ends if end), default=0), answer.is_complete)


def _look_at(request: SyncRequest, rooms: Collection[RoomId]) -> tuple[FirstLook, Answer] | None:
    """Look at the only rooms with updates. Returns None if that isn't possible. Three round trips."""
    if not rooms or request.since is None:
        return None
    known = narrow_look.recognise(request.token, request.since)
    first = narrow_look.look_at_rooms(request.token, known, sorted(rooms), request.filter)
    if first is None:
        return None
    answer = assemble(request, first)
    return (first, answer) if answer.is_complete else None
