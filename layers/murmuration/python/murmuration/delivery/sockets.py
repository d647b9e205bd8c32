"""The WebSocket API: connections get updates in the form of /sync, and take simple requests.

https://github.com/matrix-org/matrix-spec/blob/main/attic/drafts/websockets.rst
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import sockets
from murmuration.clock import now_ms
from murmuration.delivery.socket_news import news_since
from murmuration.delivery.splitting import split
from murmuration.delivery.wakes import order_leaving, order_push
from murmuration.identity.authentication import authenticate
from murmuration.identity.budgets import charge_to
from murmuration.identity.moderation import refusing_suspended
from murmuration.identity.tokens import AccessToken, RememberedToken
from murmuration.presence import status
from murmuration.protocol.bodies import parse_json
from murmuration.protocol.errors import (
    BadJson,
    InvalidParam,
    MatrixError,
    MissingParam,
    TooLarge,
    Unrecognized,
)
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.storage.live import connections, listeners
from murmuration.storage.live.connections import Connection
from murmuration.storage.live.listeners import Socket
from murmuration.sync import account
from murmuration.sync.first_look import look
from murmuration.sync.narrow_look import is_long_ago

if TYPE_CHECKING:
    from murmuration.delivery.json_types import SentEvent, SocketResponse
    from murmuration.protocol.encoding.shapes import Content, JsonObject, Untrusted

PROTOCOL = "m.json"
ROUNDS = 20
OPENING_MS = 5_000
"""How long after its acceptance a connection may take to open."""
COMES_BACK_S = 30
"""How long a user still counts as online after their connection ended: many clients reconnect at once."""
REQUEST_BYTES = 100_000
ID_BYTES = 255


def connect(
    token: AccessToken,
    connection_id: str,
    *,
    since: str | None,
    filter_text: str | None,
    protocols: Sequence[str] = (),
) -> None:
    """Accept a connection that is to get the updates after the token `since`.

    Raises UnknownToken, InvalidParam for another subprotocol or an invalid token, BadJson, NotFound,
    LimitExceeded if there are too many connections.
    """
    if protocols and PROTOCOL not in protocols:
        raise InvalidParam(f"The only subprotocol is {PROTOCOL}")
    first = look(token, since, filter_text)
    account.acknowledge(first)
    now = now_ms()
    socket = Socket(token.user_id, token.device_id, connection_id)
    listeners.add_socket(socket, now // 1000 + connections.LIFETIME_S)
    connections.add(
        Connection(
            connection_id,
            token.user_id,
            token.device_id,
            token.secret_hash,
            now,
            since if first.base is not None else None,
            filter_text,
        )
    )
    status.stay(token.user_id, token.device_id, connection_id, now + connections.LIFETIME_S * 1000)
    order_push(connection_id)


def disconnect(connection_id: str) -> None:
    """Forget a connection."""
    connection = connections.read(connection_id)
    if connection is not None:
        forget(connection)


def forget(connection: Connection) -> None:
    listeners.remove_socket(connection.user_id, connection.connection_id)
    connections.remove(connection.connection_id)
    order_leaving(connection.user_id, connection.connection_id, delay_s=COMES_BACK_S)


def close(connection: Connection) -> None:
    """Close a connection from the server's side. Its client reconnects with the last token that it got."""
    sockets.close(connection.connection_id)
    forget(connection)


# -- Updates ---------------------------------------------------------------------------------------------


def push(connection_id: str, rooms: Collection[RoomId] = ()) -> None:
    """Send a connection its updates, each once and in order, even if other workers do the same at once.

    `rooms` are the only rooms with updates; empty if anything may have some. Each change that rings orders a
    push of its own, so one that is only about some rooms misses nothing.
    """
    for _ in range(ROUNDS):
        connection = connections.read(connection_id)
        if connection is None:
            return
        if connection.is_abandoned:
            close(connection)
            return
        following = _push_once(connection, rooms)
        if following is None:
            return
        rooms = following
    order_push(connection_id)


def _push_once(connection: Connection, rooms: Collection[RoomId]) -> Collection[RoomId] | None:
    """Send one update. Return the rooms to look at next, empty for everything; None if there is no more."""
    now_s = now_ms() // 1000
    narrow = () if is_long_ago(connection.looked_s) else rooms
    try:
        news = news_since(_token(connection), connection.since, connection.filter, narrow)
    except MatrixError:
        close(connection)  # logged out; the client learns why when it connects again
        return None
    if news is None:
        return None
    if not connections.claim(connection):
        # Another worker is sending to it. If that one is still at work, it will look again; otherwise start
        # over.
        return None if connections.call_again(connection.connection_id) else rooms
    try:
        for part in split(news.body, connection.since):
            _post(connection, part)
    except sockets.Gone:
        forget(connection)
        return None
    if news.ends_ms:
        delay = (news.ends_ms - now_ms()) // 1000 + 1
        order_push(connection.connection_id, delay_s=min(900, max(1, delay)))
    looked_s = connection.looked_s if narrow else now_s
    is_alone = connections.move(connection.connection_id, news.body["next_batch"], looked_s)
    return None if is_alone and news.is_complete else ()


def _post(connection: Connection, message: JsonObject) -> None:
    """Send a message. A connection that was just accepted may not be open yet, so this may try again. Raises
    Gone.
    """
    data = encode(message)
    while True:
        try:
            sockets.post(connection.connection_id, data)
        except sockets.Gone:
            if now_ms() > connection.opened_ms + OPENING_MS:
                raise
            time.sleep(0.02)
        else:
            return


def encode(message: JsonObject) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _token(connection: Connection) -> RememberedToken:
    user_id, device_id = UserId(connection.user_id), DeviceId(connection.device_id)
    return RememberedToken(user_id, device_id, "", connection.access_hash)


# -- Requests --------------------------------------------------------------------------------------------


def take_request(connection_id: str, text: str) -> None:
    """Carry out a client's request and send the response. Requests of unknown connections are ignored."""
    connection = connections.read(connection_id)
    if connection is None:
        return
    response: SocketResponse = {"id": None}
    try:
        charge_to(connection.user_id)
        request = _parse(text)
        response["id"] = request["id"]
        with refusing_suspended():
            response["result"] = _carry_out(connection, request)
    except MatrixError as error:
        response["error"] = error.body()
    try:
        _post(connection, response)
    except sockets.Gone:
        forget(connection)


def _parse(text: str) -> JsonObject:
    if len(text) > REQUEST_BYTES:
        raise TooLarge("The request is too large")
    request = parse_json(text)
    if not isinstance(request, dict):
        raise BadJson("A request must be a JSON object")
    if not isinstance(request.get("id"), str) or not request["id"]:
        raise MissingParam("A request must have an id, a string")
    if len(request["id"].encode()) > ID_BYTES:
        raise TooLarge(f"The id of a request has at most {ID_BYTES} bytes")
    return request


def _carry_out(connection: Connection, request: JsonObject) -> SentEvent:
    # Imported here: pushing updates needs none of these modules.
    from murmuration.rooms.writing.sending import send_message, set_state

    method = request.get("method")
    params = request.get("params", request.get("param", {}))
    if not isinstance(params, dict):
        raise BadJson("params must be an object")
    token = _token(connection)
    match method:
        case "ping":
            return {}
        case "send":
            room_id, event_type = _room_id(params), _text(params, "event_type")
            content = _content(params)
            return {"event_id": send_message(token, room_id, event_type, request["id"], content)}
        case "state":
            room_id = _room_id(params)
            event_type, state_key = (_text(params, name) for name in ("event_type", "state_key"))
            requester = authenticate(token)
            return {"event_id": set_state(requester, room_id, event_type, state_key, _content(params))}
        case _:
            raise Unrecognized("The method must be one of ping, send, state")


def _room_id(params: Untrusted) -> RoomId:
    from murmuration.rooms.lookup import fits_id
    from murmuration.rooms.opening import unknown_room

    room_id = RoomId(_text(params, "room_id"))
    if not fits_id(room_id):
        raise unknown_room(room_id)
    return room_id


def _text(params: Untrusted, name: str) -> str:
    value = params.get(name)
    if value is None:
        raise MissingParam(f"Missing parameter: {name}")
    if not isinstance(value, str):
        raise BadJson(f"{name} must be a string")
    return value


def _content(params: Untrusted) -> Content:
    content = params.get("content")
    if content is None:
        raise MissingParam("Missing parameter: content")
    if not isinstance(content, dict):
        raise BadJson("content must be an object")
    return content
