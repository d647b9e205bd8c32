"""Every route with bad input over HTTP: the specification's errors, never a failure of the server."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud
from murmuration.endpoint import Auth, Function, Http, discover
from murmuration.endpoint.discovery import stores_body
from murmuration.endpoint.http import CORS_HEADERS
from tests import openapi
from tests.e2e.raw import V3, Raw, register, segment

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "list": b"[]",
    "string": b'"x"',
    "null": b"null",
    "cut short": b'{"a":',
    "not a number": b'{"a":NaN}',
    "endless digits": b'{"a":' + b"9" * 5000 + b',"a":1e999}',
    "half a surrogate pair": b'{"\\ud800":"\\udfff"}',
    "not UTF-8": b'{"a":"\xff\xfe"}',
    "NUL": b'{"\\u0000":"\\u0000"}',
    "deep lists": b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
}
"""Bodies that are no JSON, no object, or objects that no endpoint knows."""

REFUSES_ALL = {"client_server-refuse_phone_number": "no phone number is taken, so no body is read"}
"""Endpoints that refuse whatever they are asked, and why."""
PARTS: dict[str, str] = {
    "NUL": "%00",
    "not UTF-8": "%FF%FE",
    "half a surrogate pair": "%ED%A0%80",
    "slashes": "..%2F..%2F",
    "long ID": "!" + "x" * 1500 + ":example.org",
    "many bytes": quote("🦊" * 230),
    "sigils": "%40%21%23%24%20",
    "a line break": "a%0D%0Ab",
}
"""What may stand for each parameter of a path."""

WRONG: tuple[Any, ...] = (None, -1, 1.5, 2**70, True, "x", [None], {"a": {"b": None}})
"""Values that are of a wrong type for most fields."""

QUERIES = ("", "x", "-1", "9" * 40, "%00%FF", "{%22room%22:1}", "x" * 2000)


@dataclass(frozen=True)
class World:
    """Somebody on a server, and what paths may name there: {parameter: value}."""

    user: Raw
    names: dict[str, str]

    def path(self, function: Function, **replaced: str) -> str:
        """Return a path to a function that names real things, except for the parameters `replaced` (raw)."""
        assert isinstance(function.route, Http)
        names = {"version": (*function.route.versions, "v3")[0], **self.names}
        path = function.route.path
        for name in parameters(function):
            raw = replaced.get(name) or segment(names.get(name, "unknown"))
            path = path.replace(f"{{{name}}}", raw)
        return path

    def check(self, method: str, uri: str, body: bytes = b"") -> int:
        """Send a request, check that its answer is in order, and return the status."""
        answer = self.user.request(method, uri, body)
        shown = f"{method} {uri[:200]} {body[:80]!r} -> {answer.status} {answer.body[:200]!r}"
        assert answer.status < 500 or answer.error == (504, "M_NOT_YET_UPLOADED"), shown
        assert answer.headers.get("access-control-allow-origin") == "*", shown
        if answer.status >= 400:
            error = answer.json
            assert ("errcode" in error and isinstance(error["error"], str)) or "flows" in error, shown
        exchange = openapi.Exchange(method, uri, body, answer.status, answer.headers, answer.body)
        openapi.check(exchange, request=False)
        return answer.status


@pytest.fixture(scope="module")
def world(shared_cloud: LocalCloud) -> Iterator[World]:
    owner = register(shared_cloud, "owner-of-the-room")
    room_id = owner.create_room(preset="public_chat", room_alias_name="bad-input")
    event_id = owner.send(room_id, "hello")
    uploaded = owner.request("POST", "/_matrix/media/v3/upload", b"GIF89a", **{"Content-Type": "image/gif"})
    server_name, _, media_id = uploaded.json["content_uri"].removeprefix("mxc://").partition("/")
    names = {
        "roomId": room_id,
        "roomIdOrAlias": room_id,
        "roomAlias": f"#bad-input:{shared_cloud.server_name}",
        "eventId": event_id,
        "eventType": "m.room.message",
        "relType": "m.annotation",
        "stateKey": "",
        "receiptType": "m.read",
        "userId": owner.user_id,
        "deviceId": owner.device_id,
        "serverName": server_name,
        "mediaId": media_id,
        "kind": "override",
    }
    yield World(owner, names)
    owner.close()


@pytest.fixture(scope="module")
def strangers(world: World) -> list[World]:
    return []


@pytest.fixture
def stranger(world: World, strangers: list[World]) -> World:
    """Return the world of another user, who may lose the account or join many rooms during the test."""
    if strangers:
        rooms = strangers[-1].user.request("GET", f"{V3}/joined_rooms")
        if rooms.status == 200 and len(rooms.json["joined_rooms"]) < 5:
            return strangers[-1]
    user = register(world.user.cloud, f"stranger-{len(strangers)}")
    user.join(world.names["roomId"])
    names = {**world.names, "userId": user.user_id, "deviceId": user.device_id}
    strangers.append(World(user, names))
    return strangers[-1]


@functools.cache
def routes() -> list[Function]:
    """Every HTTP function but the fallback, and those that no client reaches but by the viewer function."""
    return [
        one
        for one in discover()
        if isinstance(one.route, Http) and one.route.method != "ANY" and not stores_body(one.route)
    ]


def parameters(function: Function) -> list[str]:
    parts = function.route.path.split("/")  # type: ignore[union-attr]
    return [part[1:-1] for part in parts if part.startswith("{")]


each_route = pytest.mark.parametrize("function", routes(), ids=lambda function: function.name)


@each_route
def test_bodies(stranger: World, function: Function) -> None:
    for body in BODIES.values():
        stranger.check(function.route.method, stranger.path(function), body)  # type: ignore[union-attr]


@each_route
def test_path_parameters(stranger: World, function: Function) -> None:
    method = function.route.method  # type: ignore[union-attr]
    for name in parameters(function):
        for raw in PARTS.values():
            stranger.check(method, stranger.path(function, **{name: raw}), b"{}")
    for length in (250, 800):
        every = dict.fromkeys(parameters(function), "x" * length)
        stranger.check(method, stranger.path(function, **{**every, "version": ""}), b"{}")


@each_route
def test_fields(stranger: World, function: Function) -> None:
    """Each field of the body that the specification names, with wrong values.

    This server doesn't federate. What other servers send to one that does is spoilt in tests/federation.
    """
    specification = openapi.required()
    route = function.route
    assert isinstance(route, Http)
    method, path = route.method, stranger.path(function)
    for operation in specification.find(method, path):
        schema = specification.request_schema(operation)
        if schema is not None:
            if operation.description["requestBody"].get("required"):
                refusals: tuple[int, ...] = (400, 401, 403) if function.name in REFUSES_ALL else (400, 401)
                refusals = (404,) if route.is_for_servers else refusals
                assert stranger.check(method, path, b'{"a":') in refusals
            for body in broken(schema, WRONG):
                stranger.check(method, path, json.dumps(body).encode())


@each_route
def test_query_parameters(stranger: World, function: Function) -> None:
    """Each query parameter that the specification names, with wrong values."""
    specification = openapi.required()
    method, path = function.route.method, stranger.path(function)  # type: ignore[union-attr]
    for operation in specification.find(method, path):
        for parameter in operation.description.get("parameters", ()):
            if parameter.get("in") == "query":
                for raw in QUERIES:
                    if parameter["name"] != "timeout" or len(raw) < 40:  # a long one is good, and is waited
                        stranger.check(method, f"{path}?{parameter['name']}={raw}", b"{}")


def broken(schema: Any, values: tuple[Any, ...]) -> Iterator[Any]:
    """Yield values that match a schema except for one part, which is one of `values`; fewer for
    deeper parts.
    """
    fewer: tuple[Any, ...] = (1.5, "x", [[]])
    match schema.get("type"):
        case "object":
            base = example(schema)
            fields = dict(schema.get("properties", {}))
            for inner in (schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()):
                if isinstance(inner, dict):
                    fields["@some:one"] = inner
            for name, inner in fields.items():
                yield from ({**base, name: value} for value in values)
                yield from ({**base, name: value} for value in broken(inner, fewer))
        case "array":
            yield from ([value] for value in fewer)
            yield from ([value] for value in broken(schema.get("items", {}), fewer))


def example(schema: Any) -> Any:
    """Return a value of a schema's type, with the required fields."""
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: example(properties.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return []
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return (schema.get("enum") or ["x"])[0]


@each_route
def test_tokens(world: World, function: Function) -> None:
    assert isinstance(function.route, Http)
    path = f"{world.path(function)}?dir=b&ts=1"
    tokens = {"": "M_MISSING_TOKEN", "nonsense": "M_UNKNOWN_TOKEN", cut(world.user.token): "M_UNKNOWN_TOKEN"}
    for token, errcode in tokens.items():
        answer = world.user.request(function.route.method, path, b"{}", token=token)
        assert answer.status < 500
        assert answer.headers["access-control-allow-origin"] == "*"
        if function.route.auth in (Auth.ACCESS_TOKEN, Auth.DEFERRED_ACCESS_TOKEN):
            assert answer.error == (401, errcode)


def cut(token: str) -> str:
    """Return a token with another end."""
    return token[:-1] + ("a" if token[-1] != "a" else "b")


@each_route
def test_preflights_and_other_methods(world: World, function: Function) -> None:
    path = world.path(function)
    preflight = world.user.request("OPTIONS", path, token="")
    assert preflight.status == 200
    for name, value in CORS_HEADERS.items():
        assert preflight.headers[name.lower()] == value
    patched = world.user.request("PATCH", path, b"{}")
    assert patched.error == (405, "M_UNRECOGNIZED")
    assert patched.headers["access-control-allow-origin"] == "*"


BODY_READERS = (
    ("POST", f"{V3}/createRoom"),
    ("POST", f"{V3}/login"),
    ("POST", f"{V3}/register"),
    ("POST", f"{V3}/keys/upload"),
    ("POST", f"{V3}/join/%21room"),
    ("PUT", f"{V3}/rooms/%21room/send/m.room.message/1"),
    ("PUT", f"{V3}/rooms/%21room/state/m.room.topic"),
)


@pytest.mark.parametrize(("method", "path"), BODY_READERS)
def test_a_body_that_is_no_json(world: World, method: str, path: str) -> None:
    for name in ("cut short", "not UTF-8", "not a number"):
        assert world.user.request(method, path, BODIES[name]).error == (400, "M_NOT_JSON"), name


@pytest.mark.parametrize(("method", "path"), BODY_READERS)
def test_a_body_that_is_no_object(world: World, method: str, path: str) -> None:
    """The body of a join is optional, and null stands for one that is absent."""
    for name in ("list", "string", "null"):
        absent = name == "null" and "/join/" in path
        expected = (404, "M_NOT_FOUND") if absent else (400, "M_BAD_JSON")
        assert world.user.request(method, path, BODIES[name]).error == expected, name


@pytest.mark.parametrize(
    "path",
    ["/_matrix", "/_matrix/client/v3/nothing", "/_matrix/client/v9/sync", "/_matrix/client/%00/sync"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_unknown_endpoints(world: World, method: str, path: str) -> None:
    answer = world.user.request(method, path, b"{}")
    expected = 405 if path.endswith("/sync") and method != "GET" else 404
    assert answer.error == (expected, "M_UNRECOGNIZED")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_events_that_are_too_large(world: World) -> None:
    path = f"{V3}/rooms/{segment(world.names['roomId'])}/send/m.room.message/large"
    body = json.dumps({"msgtype": "m.text", "body": "x" * 65_536}).encode()
    assert world.user.request("PUT", path, body).error == (413, "M_TOO_LARGE")
    assert world.user.request("PUT", f"{path}r", body[:64_000] + b'"}').status == 200


def test_requests_that_are_too_large(world: World) -> None:
    """The gateway refuses such requests with the same text and headers as the functions."""
    answer = world.user.request("POST", "/_matrix/media/v3/upload", bytes(11 * 1024 * 1024))
    assert answer.error == (413, "M_TOO_LARGE")
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = world.user.request("GET", f"{V3}/sync?filter={'x' * 11_000}")
    assert answer.status == 431
    assert answer.headers["access-control-allow-origin"] == "*"
