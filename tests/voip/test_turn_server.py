"""TURN credentials match those that the TURN server computes. Without a TURN server there are none."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from murmuration import voip
from murmuration.aws import parameters
from murmuration.settings import settings
from tests.aws import mocked_aws
from tests.logged_in import log_in

PATH = "/_matrix/client/v3/voip/turnServer"
URIS = ["turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:443?transport=tcp"]


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


def test_without_a_turn_server_there_is_nothing_to_tell(alice):
    answer = alice.get(PATH)
    assert (answer.status, answer.json) == (200, {})


def test_credentials_end_at_the_time_they_name(alice, monkeypatch):
    monkeypatch.setattr(voip, "now_ms", lambda: 1_700_000_000_500)
    with mocked_aws(MURMURATION_TURN_URIS=",".join(URIS), MURMURATION_TURN_TTL="600"):
        parameters.client().put_parameter(
            Name=settings().parameter("turn-secret"), Value="s3cret", Type="SecureString"
        )
        answer = alice.get(PATH)
    username = f"1700000600:{alice.user_id}"
    password = hmac.new(b"s3cret", username.encode(), hashlib.sha1).digest()
    assert answer.json == {
        "username": username,
        "password": base64.b64encode(password).decode(),
        "uris": URIS,
        "ttl": 600,
    }


def test_strangers_get_no_credentials(alice):
    alice.token = None
    answer = alice.get(PATH)
    assert (answer.status, answer.json["errcode"]) == (401, "M_MISSING_TOKEN")
