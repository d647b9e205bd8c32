"""HEAD returns the status and headers of GET without the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.endpoint import Auth, Http, Response, endpoint
from tests.in_process import Client
from tests.rooms.people import V3

Make = Callable[..., Client]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/_matrix/client/versions",
        "/.well-known/matrix/client",
        "/.well-known/matrix/server",
        f"{V3}/login",
        f"{V3}/publicRooms",
        f"{V3}/profile/@nobody:example.org",
        "/_matrix/key/v2/server",
        "/_matrix/media/v3/download/example.org/nothing",
    ],
)
def test_what_anybody_may_read(deployment: None, path: str) -> None:
    client = Client()
    got, headed = client.get(path), client.request("HEAD", path)
    assert (headed.status, headed.headers.get("Content-Type")) == (got.status, got.headers["Content-Type"])
    assert headed.body == b""
    assert got.body


def test_what_a_token_is_needed_for(make_client: Make) -> None:
    alice = make_client("alice")
    assert alice.request("HEAD", f"{V3}/account/whoami").status == 200
    assert Client().request("HEAD", f"{V3}/account/whoami").status == 401


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("DELETE", 405), ("OPTIONS", 200)])
@pytest.mark.parametrize("path", ["/", "/_matrix/client/versions", f"{V3}/sync", f"{V3}/account/whoami"])
def test_other_methods_of_what_is_read(deployment: None, path: str, method: str, status: int) -> None:
    answer = Client().request(method, path)
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert status == 200 or answer.json["errcode"] == "M_UNRECOGNIZED"


def test_head_of_what_is_only_written(deployment: None) -> None:
    assert Client().request("HEAD", f"{V3}/createRoom").status == 405
    assert Client().request("HEAD", "/nowhere").status == 404


def test_a_body_of_any_size_is_not_made() -> None:
    @endpoint("GET", "/large", auth=Auth.NONE)
    def handler(_request: Any) -> Any:
        return Response({"text": "x" * 7_000_000}, 200, {"X-Extra": "yes"})

    answer: Any = handler({"httpMethod": "HEAD", "path": "/large", "resource": "/large", "headers": {}})
    assert (answer["statusCode"], answer["body"], answer["headers"]["X-Extra"]) == (200, "", "yes")


def test_an_older_route_has_its_own_method() -> None:
    route = Http("GET", "/a", also=(("PUT", "/b"),))
    assert route.serves("HEAD", "/a")
    assert not route.serves("PUT", "/a")
    assert route.serves("PUT", "/b")
    assert not route.serves("HEAD", "/b")
