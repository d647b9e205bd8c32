"""The raw events of cases, made by the local gateway as AWS makes them, the same each time."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import secrets
import time
import uuid
from typing import Any
from unittest import mock
from urllib.parse import quote

from local_cloud.aws.sqs_queue import Message
from local_cloud.gateway import events
from local_cloud.gateway.clock import Clock
from local_cloud.gateway.routes import Match, Routes
from local_cloud.names import REGION, stream_arn
from local_cloud.pollers import schedules
from local_cloud.pollers.stream_source import sequence_number
from local_cloud.provision import physical_queue
from murmuration.endpoint import Queue, discover, http_routes
from murmuration.endpoint.discovery import function_name
from murmuration.protocol.identifiers import ServerName
from replay.deployment import PREFIX, VIEWER_SECRET
from replay.fixtures import fill
from replay.worlds import World, key_names
from tests.fixtures_cases import SOCKET, Case
from tests.fixtures_stage import SERVER_NAME, fixed_randomness
from tests.queue_records import queue_record

CLIENT_ADDRESS = "203.0.113.7"


@functools.cache
def routes() -> Routes:
    """Return the resource tree of all HTTP functions."""
    return Routes(http_routes(discover()))


class _At:
    """The module `time`, stopped."""

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def time(self) -> float:
        return self._now_ms / 1000

    def time_ns(self) -> int:
        return self._now_ms * 1_000_000


def clock_of(case: Case, world: World) -> int:
    """Return the time of the event. Worlds without a clock have the time of the first one."""
    from tests.fixtures_scene import START

    return (world.clock or START) + case.after


def module_of(case: Case) -> str:
    """Return the module of the function that the case is for."""
    return ".".join(("functions", *case.name.split("/")[:-1]))


def make_event(case: Case, world: World) -> Any:
    """Return the raw event. Raises LookupError for a request that no function serves."""
    kind, _, rest = case.request.partition(" ")
    stopped = _At(clock_of(case, world))
    with (
        mock.patch.object(events, "time", stopped),
        mock.patch.object(events, "_clock", Clock(stopped.time_ns)),
        fixed_randomness(case.name),
    ):
        match kind:
            case "WS":
                return _socket_event(case, rest, world)
            case "QUEUE":
                return _queue_event(case, rest, world)
            case "STREAM":
                return _stream_event(case, rest, world)
            case "SCHEDULE":
                return _scheduled_event(case, world)
            case _:
                return _http_event(case, kind, rest, world)


def _http_event(case: Case, method: str, uri: str, world: World) -> Any:
    path, query = _filled_uri(uri, world)
    body = _body(case, world)
    request = events.HttpRequest(method, path, query, _headers(case, world, body), CLIENT_ADDRESS, "HTTP/1.1")
    if case.server is not None:
        signed = _signed_header(case.server, method, f"{path}?{query}" if query else path, body)
        request = request._replace(headers=[*request.headers, signed])
    match = routes().match(path, method)
    if match is None or match.function is None:
        raise LookupError(f"no function serves {case.request}")
    if module_of(case) != getattr(match.function, "module", None):
        raise LookupError(f"{case.name}: {case.request} is served by {match.function.name}")
    return events.http_event(request, _with_lasting_id(match), body, VIEWER_SECRET)


def _filled_uri(uri: str, world: World) -> tuple[str, str]:
    encoded = {name: quote(value, safe="") for name, value in world.names.items()}
    path, _, query = str(fill(uri, encoded)).partition("?")
    return path, query


def _socket_event(case: Case, uri: str, world: World) -> Any:
    route, query = _filled_uri(uri, world)
    headers = _headers(case, world, b"")
    request = events.HttpRequest("GET", "/ws", query, headers, CLIENT_ADDRESS, "HTTP/1.1")
    opened = clock_of(case, world) - (0 if route == "$connect" else 30_000)

    def context(kind: str, **fields: Any) -> Any:
        return events.websocket_context(request, SOCKET, opened, route, kind, **fields)

    match route:
        case "$connect":
            return events.connect_event(request, context("CONNECT"), VIEWER_SECRET)
        case "$disconnect":
            ended = {"disconnectStatusCode": 1000, "disconnectReason": ""}
            return events.disconnect_event(context("DISCONNECT", **ended))
        case _:
            message = context("MESSAGE", messageId=secrets.token_urlsafe(11) + "=")
            return events.message_event(message, _body(case, world).decode())


def _queue_event(case: Case, name: str, world: World) -> Any:
    sent = clock_of(case, world) / 1000
    records = []
    fifo = name in _fifo_queues()
    group = "group-of-the-fixtures" if fifo else None
    for number, body in enumerate(case.body(world.names) if callable(case.body) else case.body):
        text = json.dumps(fill(body, world.names), separators=(",", ":"), ensure_ascii=False)
        message = Message(text, {}, {}, group, group, number, sent, first_received=sent, receive_count=1)
        message.id, message.receipt = str(uuid.uuid4()), secrets.token_urlsafe(24)
        records.append(queue_record(message, physical_queue(name, fifo=fifo, prefix=PREFIX)))
    return {"Records": records}


@functools.cache
def _fifo_queues() -> frozenset[str]:
    """Return the queues that keep an order."""
    routes_of = [function.route for function in discover()]
    return frozenset(route.name for route in routes_of if isinstance(route, Queue) and route.fifo)


def _signed_header(server: ServerName, method: str, uri: str, body: bytes) -> tuple[bytes, bytes]:
    """Return the Authorization header of a request that another server signs."""
    from murmuration.protocol.encoding import x_matrix
    from tests.rooms.other_servers import key_of

    content = json.loads(body) if body else x_matrix.ABSENT
    value = x_matrix.authorization(key_of(server), method, uri, server, ServerName(SERVER_NAME), content)
    return b"authorization", value.encode()


def _scheduled_event(case: Case, world: World) -> Any:
    with mock.patch.object(schedules, "time", _At(clock_of(case, world))):
        return schedules.scheduled_event(function_name(module_of(case)))


def _stream_event(case: Case, table: str, world: World) -> Any:
    """Return the records of a table's stream for some of the world's items."""
    return {"Records": [_stream_record(case, table, world, number, fill(some, world.names))
                        for number, some in enumerate(case.body, start=1)]}  # fmt: skip


def _stream_record(case: Case, table: str, world: World, number: int, some: dict[str, Any]) -> Any:
    """Return a record as `pollers.stream_source` makes it from what dynoxide stores."""
    items = [item for item in world.contents[table].values() if some.items() <= _plain(item).items()]
    if len(items) != 1:
        raise LookupError(f"{case.name}: {len(items)} items in {table} are like {some}")
    image = _attributes(items[0])
    keys = {name: image[name] for name in key_names(table)}
    return {
        "eventID": secrets.token_hex(16),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": float(clock_of(case, world) // 1000),
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": sequence_number(number),
            "SizeBytes": len(json.dumps(keys)) + len(json.dumps(image)),
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": stream_arn(f"{PREFIX}-{table}", "2025-06-15T15:06:40.000"),
    }


def _plain(item: dict[str, Any]) -> Any:
    """Return the attributes whose values can be compared."""
    return {name: value for name, value in item.items() if isinstance(value, (str, int))}


def _attributes(item: dict[str, Any]) -> Any:
    """Return an item as a stream's record has it: bytes as base64."""
    from murmuration.aws.attributes import to_attributes

    def jsonable(value: Any) -> Any:
        match value:
            case bytes():
                return base64.b64encode(value).decode()
            case dict():
                return {name: jsonable(inner) for name, inner in value.items()}
            case list():
                return [jsonable(inner) for inner in value]
            case _:
                return value

    found: dict[str, Any] = jsonable(to_attributes(dict(sorted(item.items()))))
    return found


def _body(case: Case, world: World) -> bytes:
    if case.body is None or isinstance(case.body, bytes):
        return case.body or b""
    made = case.body(world.names) if callable(case.body) else case.body
    return json.dumps(fill(made, world.names), ensure_ascii=False).encode()


def _headers(case: Case, world: World, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = {"accept": "*/*", "user-agent": "fixtures/1.0"}
    if body:
        headers["content-type"] = "application/json"
    if case.by is not None:
        headers["authorization"] = f"Bearer {world.names.get(f'{case.by}_token', case.by)}"
    headers |= {name.lower(): fill(value, world.names) for name, value in case.headers.items()}
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _with_lasting_id(match: Match) -> Match:
    """Replace the resource ID by one that doesn't change when other resources are added."""
    digest = hashlib.blake2b(match.resource.path.encode(), digest_size=4).hexdigest()
    return match._replace(resource=dataclasses.replace(match.resource, id=digest[:6]))
