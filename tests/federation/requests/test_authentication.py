"""A request is authenticated by a current key of its server, over the URI and body as they were sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from murmuration.endpoint import Auth, Http, Request, discover, endpoint
from murmuration.federation.keys import fetching
from murmuration.federation.requests import health
from murmuration.protocol.encoding import x_matrix
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.keys import VerifyKey
from murmuration.protocol.pdus.signing import SigningKey
from murmuration.settings import settings
from murmuration.storage.servers import destinations
from tests.conftest import SERVER_NAME
from tests.federation.conftest import Clock
from tests.federation.network import Network
from tests.federation.remote import HOUR_MS, Remote, encode
from tests.in_process import Client

SECRET = "the viewer side's"


@endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", auth=Auth.SERVER)
def tell(request: Request) -> Any:
    return {"origin": request.origin, "content": request.content}


@pytest.fixture(autouse=True)
def _viewer_secret(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret that the viewer side puts on requests."""
    from murmuration.aws import parameters

    monkeypatch.setenv("MURMURATION_VIEWER_SECRET_PARAMETER", "viewer-secret")
    monkeypatch.setattr(parameters, "read_secret", lambda _: SECRET)
    settings.cache_clear()


@pytest.fixture
def remote(network: Network, fresh_name: ServerName) -> Remote:
    made = Remote(fresh_name)
    made.serve(network)
    return made


def send(
    authorization: str | list[str],
    uri: str,
    body: bytes = b"",
    method: str = "PUT",
    *,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Send a request by the viewer's side, and return the status and body of the answer."""
    import json

    path, _, query = uri.partition("?")
    every = [authorization] if isinstance(authorization, str) else authorization
    single = {"x-murmuration-uri": uri, "x-murmuration-viewer-secret": SECRET} if headers is None else headers
    event = {
        "httpMethod": method,
        "path": path,
        "headers": {**single, **({"Authorization": every[-1]} if every else {})},
        "multiValueHeaders": {"Authorization": every} if every else {},
        "queryStringParameters": {"q": query} if query else None,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
        "requestContext": {"identity": {"sourceIp": "198.51.100.1"}},
    }
    answer: Any = tell(event)
    return answer["statusCode"], json.loads(answer["body"])


URIS = [
    "/_matrix/federation/v1/send/1",
    "/_matrix/federation/v1/send/%21a%2Fb",
    "/_matrix/federation/v1/send/!a",
    "/_matrix/federation/v1/send/a+b",
    "/_matrix/federation/v1/send/a/",
    "/_matrix/federation/v1/send/1?",
    "/_matrix/federation/v1/send/1?b=2&a=1&a=%20+",
    "/_matrix/federation/v1/send/%c3%a4?x",
]


@pytest.mark.parametrize("uri", URIS)
def test_the_uri_is_taken_as_it_was_sent(remote: Remote, uri: str) -> None:
    assert send(remote.authorization("PUT", uri), uri) == (200, {"origin": remote.name, "content": None})
    changed = (
        uri.replace("!", "%21") if "!" in uri else uri.replace("%2F", "/") if "%2F" in uri else uri + "x"
    )
    assert send(remote.authorization("PUT", uri), changed)[0] == 401


def test_a_question_mark_that_a_proxy_dropped(remote: Remote) -> None:
    signed = remote.authorization("PUT", "/_matrix/federation/v1/send/1?")
    assert send(signed, "/_matrix/federation/v1/send/1")[0] == 200


CONTENTS: list[Any] = [
    {},
    {"a": 1},
    [],
    None,
    "x",
    1.5,
    {"f": 1e300, "n": 2**60, "z": -0.0},
    {"ü": "\U0001f600"},
]


@pytest.mark.parametrize("content", CONTENTS)
def test_the_body_is_part_of_it(remote: Remote, content: Any) -> None:
    uri = URIS[0]
    signed = remote.authorization("PUT", uri, content)
    assert send(signed, uri, encode(content)) == (200, {"origin": remote.name, "content": content})
    assert send(signed, uri, encode({"other": 1}))[0] == 401
    assert send(signed, uri, b"")[0] == 401
    assert send(remote.authorization("PUT", uri), uri, encode(content))[0] == 401


@pytest.mark.parametrize(
    "body", [b'{"a":1e2}', b'{"a":1,"a":2}', b'{"n":1.50}', b'{"b":1,"a":100000000000000000000}']
)
def test_a_body_that_was_signed_as_it_was_sent(remote: Remote, body: bytes) -> None:
    """Servers that write numbers differently from Python, or write names twice, signed exactly these
    bytes.
    """
    message = x_matrix.signed_bytes_as_sent(
        "PUT", URIS[0], ServerName(remote.name), ServerName(SERVER_NAME), body
    )
    signature = base64.b64encode(remote.key.sign(message)).decode().rstrip("=")
    header = f'X-Matrix origin="{remote.name}",destination="{SERVER_NAME}",key="ed25519:r1",sig="{signature}"'
    assert send(header, URIS[0], body)[0] == 200


@pytest.mark.parametrize(
    ("body", "errcode"),
    [(b"{", "M_NOT_JSON"), (b"\xff", "M_NOT_JSON"), (b'{"a":NaN}', "M_NOT_JSON"),
     (b'"\\ud800"', "M_BAD_JSON"), (b"[" * 100_000, "M_NOT_JSON")],
)  # fmt: skip
def test_a_body_that_is_not_json(remote: Remote, body: bytes, errcode: str) -> None:
    status, answer = send(remote.authorization("PUT", URIS[0], {}), URIS[0], body)
    assert (status, answer["errcode"]) == (400, errcode)


def test_another_servers_valid_signature_says_nothing(network: Network, remote: Remote) -> None:
    other = Remote(ServerName(f"other-{remote.name}"), SigningKey(b"o" * 32, "r1"))
    other.serve(network)
    theirs = other.authorization("PUT", URIS[0])
    assert send(theirs, URIS[0])[0] == 200
    forged = theirs.replace(f'origin="{other.name}"', f'origin="{remote.name}"')
    claimed = replace(other, name=remote.name).authorization("PUT", URIS[0])
    mine = remote.authorization("PUT", URIS[0])
    for headers in (forged, claimed, [claimed, theirs], [mine, theirs], [theirs, mine], [mine, claimed]):
        status, answer = send(headers, URIS[0])
        assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def test_several_signatures_of_one_server(remote: Remote) -> None:
    """A signature with an unknown key is ignored. A wrong signature makes the request fail."""
    good = remote.authorization("PUT", URIS[0])
    unknown = replace(remote, key=SigningKey(b"u" * 32, "unknown")).authorization("PUT", URIS[0])
    assert send([unknown, good], URIS[0])[0] == 200
    assert send([good, unknown], URIS[0])[0] == 200
    assert send([unknown], URIS[0])[0] == 401
    assert send([good, remote.authorization("PUT", URIS[1])], URIS[0])[0] == 401


@pytest.mark.parametrize("destination", ["other.example", "EXAMPLE.ORG", ""])
def test_a_request_for_another_server(remote: Remote, destination: ServerName) -> None:
    assert send(remote.authorization("PUT", URIS[0], destination=destination), URIS[0])[0] == 401


def test_a_request_without_a_destination(remote: Remote) -> None:
    header = remote.authorization("PUT", URIS[0]).replace(f'destination="{SERVER_NAME}",', "")
    assert send(header, URIS[0])[0] == 200


@pytest.mark.parametrize("origin", [SERVER_NAME, "not a name", "a/b", "nobody.example"])
def test_an_origin_that_has_no_keys(network: Network, origin: ServerName) -> None:
    signed = Remote(origin).authorization("PUT", URIS[0])
    status, answer = send(signed, URIS[0])
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def test_no_authorization(network: Network) -> None:
    assert send([], URIS[0])[0] == 401
    assert send("Bearer token", URIS[0])[0] == 401


OPEN = {
    "/.well-known/matrix/server", "/_matrix/federation/v1/openid/userinfo", "/_matrix/federation/v1/version",
    "/_matrix/key/v2/query", "/_matrix/key/v2/query/{serverName}", "/_matrix/key/v2/server",
    "/_matrix/key/v2/query/{serverName}/{keyId}", "/_matrix/key/v2/server/{keyId}",
}  # fmt: skip
"""What anybody may ask."""


def _signed_endpoints() -> list[tuple[str, str]]:
    routes = [it.route for it in discover() if it.group.startswith("server_server")]
    return [each for route in routes if isinstance(route, Http) for each in route.all if each[1] not in OPEN]


@pytest.mark.parametrize(("method", "route"), _signed_endpoints())
def test_each_endpoint_wants_a_signature(remote: Remote, method: str, route: str) -> None:
    """Joins, leaves and invites need one too, in each version. A signature for another path doesn't count."""
    where = re.sub(r"\{[^}]+\}", "x", route)
    body: Any = {} if method in ("POST", "PUT") else None
    for headers in ({}, {"Authorization": remote.authorization(method, f"{where}/y", body)}):
        answer = Client().request(method, where, body, headers=headers)
        assert (answer.status, answer.json["errcode"]) == (401, "M_UNAUTHORIZED")


def test_a_former_key_signs_no_requests(network: Network, fresh_name: ServerName) -> None:
    former = SigningKey(b"f" * 32, "f1")
    remote = Remote(fresh_name, old=[VerifyKey(former.key_id, former.public_key, expired_ts=1)])
    remote.serve(network)
    assert send(replace(remote, key=former).authorization("PUT", URIS[0]), URIS[0])[0] == 401
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200


def test_an_expired_key_is_fetched_anew(remote: Remote, moving_clock: Clock) -> None:
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
    moving_clock.advance(25 * 3600)
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 401, "its document says that it expired"
    remote.valid_ms = 60 * HOUR_MS
    moving_clock.advance(61)
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200


def test_a_rotated_key_is_found_within_a_minute(remote: Remote, moving_clock: Clock) -> None:
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
    remote.key = SigningKey(b"n" * 32, "n1")
    moving_clock.advance(61)
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200


def test_keys_are_fetched_once(remote: Remote) -> None:
    for _ in range(3):
        assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
        fetching.forget()  # another function
    assert remote.server is not None
    assert len(remote.server.received) == 1


def test_a_flood_of_unknown_keys_asks_once_a_minute(remote: Remote) -> None:
    for number in range(5):
        unknown = replace(remote, key=SigningKey(b"u" * 32, f"u{number}"))
        assert send(unknown.authorization("PUT", URIS[0]), URIS[0])[0] == 401
    assert remote.server is not None
    assert len(remote.server.received) == 1


def test_the_uri_header_counts_only_with_the_viewer_secret(remote: Remote) -> None:
    """Without it, the request's own path counts, and the original form of a query isn't known."""
    uri = URIS[0]
    signed = remote.authorization("PUT", uri)
    claimed = {"x-murmuration-uri": uri}
    assert send(signed, uri, headers={})[0] == 200
    assert send(signed, f"{uri}9", headers=claimed)[0] == 401
    assert send(signed, f"{uri}9", headers={**claimed, "x-murmuration-viewer-secret": "guessed"})[0] == 401
    assert send(remote.authorization("PUT", f"{uri}?a=b"), f"{uri}?a=b", headers={})[0] == 401


@pytest.mark.parametrize(
    "variables",
    [{"FEDERATION_DENY": "server-*"}, {"FEDERATION_ALLOW": "friends.example"},
     {"FEDERATION_ALLOW": "*", "FEDERATION_DENY": "*.EXAMPLE"}],
)  # fmt: skip
def test_servers_that_the_operator_excludes(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MURMURATION_{name}", value)
    settings.cache_clear()
    status, answer = send(remote.authorization("PUT", URIS[0]), URIS[0])
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert remote.server is not None
    assert remote.server.received == []


def test_a_valid_request_ends_a_backoff(remote: Remote) -> None:
    destinations.write_failure(ServerName(remote.name), destinations.Health(1, 1, 2**50, 600_000), 5)
    health.forget()
    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
    assert destinations.read(ServerName(remote.name)) == destinations.Health()


def test_what_it_costs(remote: Remote) -> None:
    """It costs two reads in a process that doesn't know the server, and none in one that does."""
    from murmuration.aws import calls

    made: list[str] = []

    def count(call: calls.Call, proceed: Any) -> Any:
        made.append(call.operation)
        return proceed(call)

    assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
    fetching.forget()
    health.forget()
    calls.intercept(count)
    try:
        assert send(remote.authorization("PUT", URIS[0]), URIS[0])[0] == 200
        assert made == ["BatchGetItem", "GetItem"]
        assert send(remote.authorization("PUT", URIS[1]), URIS[1])[0] == 200
        assert made == ["BatchGetItem", "GetItem"]
    finally:
        calls.release(count)
