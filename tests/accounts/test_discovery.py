"""How the server describes itself, and its answers to requests that it doesn't serve."""

from __future__ import annotations

import pytest

from murmuration.endpoint.http import CORS_HEADERS
from murmuration.identity.tokens import Requester
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.server_discovery import get_capabilities
from tests.in_process import Client

pytestmark = pytest.mark.usefixtures("deployment")


def test_versions_need_no_token_and_take_any():
    for client in (Client(), Client("nonsense")):
        answer = client.get("/_matrix/client/versions")
        assert answer.status == 200
        assert {"r0.0.1", "r0.6.1", "v1.1", "v1.19"} <= set(answer.json["versions"])
        features = answer.json["unstable_features"]
        assert {name for name, served in features.items() if not served} == {"org.matrix.msc4143"}
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("feature", ["org.matrix.e2e_cross_signing", "org.matrix.msc3827.stable"])
def test_features_that_clients_look_for_by_no_version(feature: str) -> None:
    """Element in the browser verifies other users, and publishes spaces, by these names alone."""
    assert Client().get("/_matrix/client/versions").json["unstable_features"][feature] is True


def test_the_well_known_file(configure):
    path = "/.well-known/matrix/client"
    assert Client().get(path).json == {"m.homeserver": {"base_url": "https://example.org"}}
    configure(PUBLIC_URL="https://matrix.example.org/", IDENTITY_SERVER_URL="https://id.example.org")
    assert Client().get(path).json == {
        "m.homeserver": {"base_url": "https://matrix.example.org"},
        "m.identity_server": {"base_url": "https://id.example.org"},
    }


def test_capabilities(make_client):
    for version in ("r0", "v3"):
        answer = make_client().get(f"/_matrix/client/{version}/capabilities")
        assert answer.json == {
            "capabilities": {
                "m.change_password": {"enabled": True},
                "m.room_versions": {
                    "default": "12",
                    "available": {str(number): "stable" for number in range(1, 13)},
                },
                "m.set_displayname": {"enabled": True},
                "m.set_avatar_url": {"enabled": True},
                "m.3pid_changes": {"enabled": False},
                "m.get_login_token": {"enabled": True},
                "m.profile_fields": {"enabled": True},
                "m.forget_forced_upon_leave": {"enabled": False},
                "m.delayed_events": {"max_delay_ms": 86_400_000, "max_scheduled": 100},
                "org.matrix.msc4140.delayed_events": {"max_delay_ms": 86_400_000, "max_scheduled": 100},
            }
        }
    assert Client().get("/_matrix/client/v3/capabilities").status == 401


def test_guests_can_change_their_display_name_alone():
    found = get_capabilities(Requester(UserId("@g:example.org"), DeviceId("D"), is_guest=True))[
        "capabilities"
    ]
    assert found["m.profile_fields"] == {"enabled": True, "allowed": ["displayname"]}
    assert not found["m.change_password"]["enabled"]


# -- The fallback ----------------------------------------------------------------------------------------


def call(method, resource):
    from functions.client_server.fallback.answer_unrecognized import handler

    return handler(
        {
            "resource": resource,
            "path": "/_matrix/client/v3/login",
            "httpMethod": method,
            "headers": None,
            "queryStringParameters": None,
            "pathParameters": None,
            "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
            "body": None,
            "isBase64Encoded": False,
        }
    )


@pytest.mark.parametrize("resource", ["/{proxy+}", "/_matrix/client/{version}/login"])
def test_preflights(resource):
    answer = call("OPTIONS", resource)
    assert answer["statusCode"] == 200
    assert CORS_HEADERS.items() <= answer["headers"].items()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_unknown_paths_and_methods(method):
    unknown = call(method, "/{proxy+}")
    assert unknown["statusCode"] == 404
    assert '"M_UNRECOGNIZED"' in unknown["body"]
    wrong_method = call(method, "/_matrix/client/{version}/login")
    assert wrong_method["statusCode"] == 405
    assert '"M_UNRECOGNIZED"' in wrong_method["body"]
    assert CORS_HEADERS.items() <= wrong_method["headers"].items()


def test_the_fallback_serves_what_nothing_else_does():
    answer = Client().get("/_matrix/client/v3/no_such_endpoint")
    assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")


@pytest.mark.parametrize(
    ("registration", "words"),
    [
        ("open", "Anybody may make an account"),
        ("token", "registration token"),
        ("closed", "Only whoever runs"),
    ],
)
def test_the_servers_address_shows_a_page(configure, registration, words):
    configure(REGISTRATION=registration, PUBLIC_URL="https://matrix.example.org")
    answer = Client().get("/")
    text = answer.body.decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for expected in ("example.org", "https://matrix.example.org", "Murmuration", words):
        assert expected in text
