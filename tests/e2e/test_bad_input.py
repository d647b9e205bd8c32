"""Every route with bad input over HTTP: the specification's errors, never a failure of the server."""

from __future__ import annotations

import functools
import http.client
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.testing import LocalCloud
from murmuration.endpoint import Auth, Function, Http, discover
from tests import openapi
from tests.e2e.people import PASSWORD

_numbers = itertools.count(1)
V3 = "/_matrix/client/v3"
ORIGIN = {"Origin": "https://client.example"}

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "list": b"[]",
    "string": b'"x"',
    "null": b"null",
    "number": b"1e999",
    "cut short": b'{"a":',
    "not a number": b'{"a":NaN}',
    "endless digits": b'{"a":' + b"9" * 5000 + b"}",
    "half a surrogate pair": b'{"\\ud800":"\\udfff"}',
    "not UTF-8": b'{"a":"\xff\xfe"}',
    "NUL": b'{"\\u0000":"\\u0000"}',
    "deep lists": b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "the same key twice": b'{"a":1,"a":2}',
}
"""Bodies that are no JSON, no object, or objects that no endpoint knows."""

PARTS: dict[str, str] = {
    "NUL": "%00",
    "not UTF-8": "%FF%FE",
    "half a surrogate pair": "%ED%A0%80",
    "no percent-encoding": "%zz",
    "cut-short percent-encoding": "%4",
    "a percent sign": "%25",
    "slashes": "..%2F..%2F",
    "very long": "x" * 3000,
    "long ID": "!" + "x" * 1500 + ":example.org",
    "many bytes": quote("🦊" * 250),
    "blank": "%20",
    "sigils": "%40%21%23%24",
    "a line break": "a%0D%0Ab",
}
"""What may stand for each parameter of a path."""

WRONG: tuple[Any, ...] = (None, 0, -1, 1.5, 2**70, True, "", "x", [], [None], {}, {"a": {"b": None}})
"""Values that are of a wrong type for most fields."""

QUERIES = ("", "x", "-1", "9" * 40, "%00", "%FF", "{", "[]", "null", "{%22room%22:1}", "x" * 2000)


@dataclass
class World:
    """A server with a user, their room and what else paths may name."""

    cloud: LocalCloud
    connection: http.client.HTTPConnection
    names: dict[str, str]
    token: str

    def request(
        self, method: str, uri: str, body: bytes = b"", *, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        sent = {"Content-Type": "application/json", **ORIGIN, **headers}
        if token != "":
            sent["Authorization"] = f"Bearer {token or self.token}"
        self.connection.request(method, uri, body, sent)
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def json(self, method: str, uri: str, body: Any = None, *, token: str | None = None) -> Any:
        status, _, answer = self.request(method, uri, json.dumps(body or {}).encode(), token=token)
        assert status == 200, answer
        return json.loads(answer)

    def register(self, name: str) -> dict[str, str]:
        """A new user, who joins the room: {user_id, device_id, access_token}."""
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        found: dict[str, str] = self.json("POST", f"{V3}/register", body, token="")
        if "roomId" in self.names:
            self.json(
                "POST", f"{V3}/join/{quote(self.names['roomId'], safe='')}", token=found["access_token"]
            )
        return found

    def path(self, function: Function, **replaced: str) -> str:
        """A path to a function that names real things, except for the parameters `replaced` (raw)."""
        assert isinstance(function.route, Http)
        names = {"version": (*function.route.versions, "v3")[0], **self.names}
        path = function.route.path
        for name in parameters(function):
            raw = replaced.get(name) or quote(names.get(name, "unknown"), safe="")
            path = path.replace(f"{{{name}}}", raw)
        return path

    def check(self, method: str, uri: str, body: bytes = b"", *, token: str | None = None) -> int:
        """Send a request; its answer, whatever it is, must be in order. The status."""
        status, headers, answer = self.request(method, uri, body, token=token)
        shown = f"{method} {uri[:200]} {body[:80]!r} -> {status} {answer[:200]!r}"
        assert status < 500 or (status == 504 and b"M_NOT_YET_UPLOADED" in answer), shown
        assert headers.get("access-control-allow-origin") == "*", shown
        if status >= 400:
            error = json.loads(answer)
            assert ("errcode" in error and isinstance(error["error"], str)) or "flows" in error, shown
        if "%" not in uri or status < 400:
            openapi.check(openapi.Exchange(method, uri, body, status, headers, answer), request=False)
        return status


@pytest.fixture(scope="module")
def world(shared_cloud: LocalCloud) -> Iterator[World]:
    connection = http.client.HTTPConnection("127.0.0.1", shared_cloud.port, timeout=30)
    found = World(shared_cloud, connection, {}, "")
    owner = found.register("owner-of-the-room")
    found.token = owner["access_token"]
    room = {"preset": "public_chat", "room_alias_name": "bad-input"}
    room_id = found.json("POST", f"{V3}/createRoom", room)["room_id"]
    sent = found.json("PUT", f"{V3}/rooms/{quote(room_id)}/send/m.room.message/1", {"body": "x"})
    _, _, answer = found.request(
        "POST", "/_matrix/media/v3/upload", b"GIF89a", **{"Content-Type": "image/gif"}
    )
    server_name, _, media_id = json.loads(answer)["content_uri"].removeprefix("mxc://").partition("/")
    found.names = {
        "roomId": room_id,
        "roomIdOrAlias": room_id,
        "roomAlias": f"#bad-input:{shared_cloud.server_name}",
        "eventId": sent["event_id"],
        "eventType": "m.room.message",
        "relType": "m.annotation",
        "stateKey": "",
        "receiptType": "m.read",
        "userId": owner["user_id"],
        "deviceId": owner["device_id"],
        "serverName": server_name,
        "mediaId": media_id,
        "kind": "override",
        "scope": "global",
    }
    yield found
    connection.close()


@pytest.fixture(scope="module")
def strangers(world: World) -> list[World]:
    return []


@pytest.fixture
def stranger(world: World, strangers: list[World]) -> World:
    """The world as somebody sees it who may lose their account, or be logged out, in the course of it."""
    if strangers and strangers[-1].request("GET", f"{V3}/account/whoami")[0] == 200:
        return strangers[-1]
    user = world.register(f"stranger-{next(_numbers)}")
    names = {**world.names, "userId": user["user_id"], "deviceId": user["device_id"]}
    strangers.append(World(world.cloud, world.connection, names, user["access_token"]))
    return strangers[-1]


@functools.cache
def routes() -> list[Function]:
    """Every HTTP function but the fallback."""
    return [one for one in discover() if isinstance(one.route, Http) and one.route.method != "ANY"]


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
    """Each field of the body that the specification names, with wrong values."""
    specification = openapi.required()
    method, path = function.route.method, stranger.path(function)  # type: ignore[union-attr]
    for operation in specification.find(method, path):
        schema = specification.request_schema(operation)
        if schema is not None:
            if operation.description["requestBody"].get("required"):
                assert stranger.check(method, path, b'{"a":') in (400, 401)
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
                    stranger.check(method, f"{path}?{parameter['name']}={raw}", b"{}")


def broken(schema: Any, values: tuple[Any, ...]) -> Iterator[Any]:
    """Values that keep a schema but for one thing in them, which is one of `values`; fewer further inside."""
    fewer = (None, 1.5, "x", [[]])
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
    """A value of a schema's type, with what it requires."""
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
    method, path = function.route.method, f"{world.path(function)}?dir=b&ts=1"
    for token, errcode in (
        ("", "M_MISSING_TOKEN"),
        ("nonsense", "M_UNKNOWN_TOKEN"),
        (cut(world.token), "M_UNKNOWN_TOKEN"),
    ):
        status, headers, answer = world.request(method, path, b"{}", token=token)
        assert status < 500
        assert headers["access-control-allow-origin"] == "*"
        if function.route.auth in (Auth.ACCESS_TOKEN, Auth.DEFERRED_ACCESS_TOKEN):
            assert (status, json.loads(answer)["errcode"]) == (401, errcode), answer


def cut(token: str) -> str:
    """A token that ends otherwise."""
    return token[:-1] + ("a" if token[-1] != "a" else "b")


@each_route
def test_preflights_and_other_methods(world: World, function: Function) -> None:
    path = world.path(function)
    status, headers, _ = world.request("OPTIONS", path, token="")
    assert status == 200
    allowed = {name: headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")}
    assert allowed == {
        "origin": "*",
        "methods": "GET, POST, PUT, DELETE, OPTIONS",
        "headers": "X-Requested-With, Content-Type, Authorization",
    }
    status, headers, answer = world.request("PATCH", path, b"{}")
    assert (status, json.loads(answer)["errcode"]) == (405, "M_UNRECOGNIZED")
    assert headers["access-control-allow-origin"] == "*"


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
        status, _, answer = world.request(method, path, BODIES[name])
        assert (status, json.loads(answer)["errcode"]) == (400, "M_NOT_JSON"), name


@pytest.mark.parametrize(("method", "path"), BODY_READERS)
def test_a_body_that_is_no_object(world: World, method: str, path: str) -> None:
    for name in ("list", "string", "null"):
        status, _, answer = world.request(method, path, BODIES[name])
        assert (status, json.loads(answer)["errcode"]) == (400, "M_BAD_JSON"), name


@pytest.mark.parametrize(
    "path",
    ["/", "/_matrix", "/_matrix/client/v3/nothing", "/_matrix/client/v9/sync", "/_matrix/client/%00/sync"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_unknown_endpoints(world: World, method: str, path: str) -> None:
    status, headers, answer = world.request(method, path, b"{}")
    assert (status, json.loads(answer)["errcode"]) in ((404, "M_UNRECOGNIZED"), (405, "M_UNRECOGNIZED"))
    assert headers["access-control-allow-origin"] == "*"
