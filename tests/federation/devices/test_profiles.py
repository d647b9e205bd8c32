"""Profiles of other servers' users: asked for by clients, kept for some minutes."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration import clock
from murmuration.storage.servers import remote_profiles
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.network import Reply
from tests.in_process import Answer, Client, segment


def get(user_id: str, *field: str) -> Answer:
    path = "/".join(["/_matrix/client/v3/profile", segment(user_id), *field])
    return Client().get(path)


PROFILE: dict[str, Any] = {"displayname": "Bob", "avatar_url": "mxc://x/y", "m.tz": "Europe/Berlin"}


def test_a_profile_is_asked_for_once_in_a_while(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.lies["query"] = PROFILE
    assert get(elsewhere.bob).json == PROFILE
    assert get(elsewhere.bob, "displayname").json == {"displayname": "Bob"}
    assert get(elsewhere.bob, "m.other").status == 404
    assert elsewhere.asked == ["query"]
    monkeypatch.setattr(remote_profiles, "now_ms", lambda: clock.now_ms() + 31_000)
    elsewhere.lies["query"] = {"displayname": "Robert"}
    assert get(elsewhere.bob).json == {"displayname": "Robert"}


@pytest.mark.parametrize(
    ("reply", "status", "errcode"),
    [
        (Reply({"errcode": "M_NOT_FOUND", "error": "no"}, 404), 404, "M_NOT_FOUND"),
        (Reply({"errcode": "M_FORBIDDEN", "error": "no"}, 403), 403, "M_FORBIDDEN"),
        (Reply({"errcode": "M_UNKNOWN", "error": "no"}, 500), 502, "M_UNKNOWN"),
        (Reply(b"not JSON"), 502, "M_UNKNOWN"),
        (Reply({}), 404, "M_NOT_FOUND"),
        (Reply({"displayname": 5, "nonsense": 1}), 404, "M_NOT_FOUND"),
        (Reply({"m.tz": 5}), 404, "M_NOT_FOUND"),
        (Reply({"m.large": "x" * 70_000}), 404, "M_NOT_FOUND"),
        (Reply({"m.large": 10**400}), 404, "M_NOT_FOUND"),
    ],
)
def test_what_else_is_answered(elsewhere: Elsewhere, reply: Reply, status: int, errcode: str) -> None:
    elsewhere.lies["query"] = reply
    answer = get(elsewhere.bob)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


def test_a_server_that_is_away(elsewhere: Elsewhere) -> None:
    elsewhere.silent = True
    assert get(elsewhere.bob).status == 502
