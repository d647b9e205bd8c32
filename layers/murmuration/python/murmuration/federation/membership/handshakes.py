"""Join, leave and knock through other servers, for local users and rooms that this server isn't in.

A server in the room makes a template of the event. This server checks, completes and signs it, and sends it
back. https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

import secrets
from typing import Any

from murmuration.clock import now_ms
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, Refused
from murmuration.protocol.encoding.shapes import Content, Untrusted
from murmuration.protocol.errors import MatrixError, UnsupportedRoomVersion
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId, is_valid_server_name, server_name_of
from murmuration.protocol.pdus.building import complete_event
from murmuration.protocol.room_versions import ROOM_VERSIONS, get_room_version
from murmuration.rooms.membership.operations import AUTHORISER
from murmuration.server_keys import signing_key
from murmuration.settings import settings

MAKE_SECONDS = 8.0
"""The time limit for a template: if a server is dead, the next one is asked soon."""
SEND_SECONDS = 25.0
JOIN_SECONDS = 240.0
"""The maximum size of the answer to a join."""
MAX_JOIN_BYTES = 150 * 1024 * 1024
MAX_TEMPLATE_BYTES = 256 * 1024
MOST_SERVERS = 10
_COPIED = ("type", "room_id", "sender", "state_key", "prev_events", "auth_events", "depth")


def candidates(room_id: RoomId, *groups: Any) -> list[ServerName]:
    """Return the servers, except this one, that may help with a room, each once, in the order of `groups`.

    The server in the room's ID comes last. Rooms of version 12 have none in their ID.
    """
    named = [server for group in groups for server in group if isinstance(server, str)]
    if (own := server_name_of(room_id)) is not None:
        named.append(own)
    mine = settings().server_name
    valid = [server for server in dict.fromkeys(named) if server != mine and is_valid_server_name(server)]
    return valid[:MOST_SERVERS]


def make(server: ServerName, membership: str, room_id: RoomId, user_id: UserId, content: Content) -> Event:
    """Return the event that `server` made a template of, with `content`, signed by this server.

    Raises RequestFailed; Malformed for a template that doesn't match the room, user and membership;
    Forbidden.
    """
    path = client.path("_matrix", "federation", "v1", f"make_{membership}", room_id, user_id)
    query = {"ver": list(ROOM_VERSIONS)} if membership != "leave" else None
    answer = client.request(
        server, "GET", path, query=query, seconds=MAKE_SECONDS, max_bytes=MAX_TEMPLATE_BYTES, for_user=True
    )
    template = answer.get("event")
    try:
        version = get_room_version(answer.get("room_version", "1"))
    except UnsupportedRoomVersion as error:
        raise Malformed(f"{server} answered with an unknown room version") from error
    proposed = template.get("content") if isinstance(template, dict) else None
    if not isinstance(template, dict) or not isinstance(proposed, dict):
        raise Malformed(f"{server} made no template")
    expected = {"type": MEMBER, "room_id": room_id, "sender": user_id, "state_key": user_id}
    if any(template.get(name) != value for name, value in expected.items()):
        raise Malformed(f"{server} made a template of another event")
    if proposed.get("membership") != membership:
        raise Malformed(f"{server} made a template of another membership")
    full = {**content, "membership": membership}
    if membership == "join" and AUTHORISER in proposed:
        full[AUTHORISER] = proposed[AUTHORISER]
    pdu = {name: template[name] for name in _COPIED if name in template}
    mine = settings().server_name
    pdu |= {"content": full, "origin": mine, "origin_server_ts": now_ms()}
    if version.server_assigned_event_ids:
        pdu["event_id"] = f"${secrets.token_urlsafe(18)}:{mine}"
    try:
        return complete_event(pdu, mine, signing_key(), version)
    except MatrixError as error:
        raise Malformed(f"{server} made a template that is no event: {error.message}") from error


def send(
    server: ServerName,
    membership: str,
    event: Event,
    *,
    seconds: float = SEND_SECONDS,
    max_bytes: int = 4 << 20,
) -> Untrusted:
    """Send the signed event to `server`, and return its answer. Uses version 1 of the API if it lacks version
    2.

    Raises RequestFailed, Forbidden.
    """
    parts = (f"send_{membership}", event.room_id, event.event_id)
    api = "v1" if membership == "knock" else "v2"
    try:
        return client.request(
            server, "PUT", client.path("_matrix", "federation", api, *parts), body=event.pdu,
            seconds=seconds, max_bytes=max_bytes, for_user=True,
        )  # fmt: skip
    except Refused as error:
        if api == "v1" or not error.is_unknown_endpoint:
            raise
    answer = client.request_value(
        server, "PUT", client.path("_matrix", "federation", "v1", *parts), body=event.pdu,
        seconds=seconds, max_bytes=max_bytes, for_user=True,
    )  # fmt: skip
    return listed_answer(server, answer)


def listed_answer(server: ServerName, answer: object) -> Untrusted:
    """Return the object in an answer of version 1, `[200, {…}]`. Raises Malformed."""
    if isinstance(answer, list) and len(answer) == 2 and isinstance(answer[1], dict):
        return dict(answer[1])
    raise Malformed(f"{server} gave no answer of version 1")
