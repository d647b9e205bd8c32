"""A server without federation answers no other server and asks none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from murmuration.endpoint import Http, discover
from murmuration.settings import settings
from tests.federation.network import Network
from tests.federation.remote import Remote
from tests.in_process import Answer, Client, segment
from tests.rooms.people import V1, V3, create_room, path, refused

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

ALWAYS = (
    "/.well-known/matrix/server",
    "/_matrix/federation/v1/openid/userinfo",
    "/_matrix/federation/v1/version",
)
"""Services ask whose an OpenID token is, and find this server by its name."""
KEYS = "/_matrix/key/"
"""Whoever has old events of this server needs its keys."""


@pytest.fixture
def remote(network: Network, fresh_name: ServerName) -> Remote:
    made = Remote(fresh_name)
    made.serve(network)
    return made


@pytest.fixture
def _off(network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MURMURATION_FEDERATION", "off")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def _of_servers() -> list[tuple[str, str]]:
    """Return (method, path) of all endpoints for other servers."""
    found = []
    for function in discover():
        if isinstance(function.route, Http) and function.group.startswith("server_server"):
            found += [
                each for each in function.route.all if each[1] not in ALWAYS and not each[1].startswith(KEYS)
            ]
    return found


@pytest.mark.usefixtures("_off")
@pytest.mark.parametrize(("method", "route"), _of_servers())
def test_nothing_is_there_for_other_servers(remote: Remote, method: str, route: str) -> None:
    where = re.sub(r"\{[^}]+\}", "x", route)
    body: Any = {} if method in ("POST", "PUT") else None
    headers = {"Authorization": remote.authorization(method, where, body)}
    refused(Client().request(method, where, body, headers=headers), 404, "M_UNRECOGNIZED")


@pytest.mark.usefixtures("_off")
def test_keys_and_version_are_told() -> None:
    """The server's own keys are also at the notary's endpoints, which ask no other server."""
    assert Client().get("/_matrix/federation/v1/version").status == 200
    assert Client().get("/_matrix/key/v2/server").status == 200
    asked: Any = {"server_keys": {"example.org": {}, "other.example": {}}}
    for answer in (
        Client().post("/_matrix/key/v2/query", asked),
        Client().get("/_matrix/key/v2/query/example.org"),
    ):
        assert answer.status == 200
        assert [keys["server_name"] for keys in answer.json["server_keys"]] == ["example.org"]


Ask = Callable[[Client, str, str], Answer]
"""What a client asks that would need the server of the user given last; in the room given before."""
NEEDS_OTHERS: dict[str, Ask] = {
    "alias": lambda it, _, user: it.get(f"{V3}/directory/room/{segment(_alias(user))}"),
    "claim": lambda it, _, user: it.post(
        f"{V3}/keys/claim", {"one_time_keys": {user: {"D": "signed_curve25519"}}}
    ),
    "directory": lambda it, _, user: it.get(f"{V3}/publicRooms", server=_server(user)),
    "invite": lambda it, room, user: it.post(path(room, "invite"), {"user_id": user}),
    "invite by state": lambda it, room, user: it.put(
        path(room, "state", "m.room.member", user), {"membership": "invite"}
    ),
    "join": lambda it, _, user: it.post(f"{V3}/join/{segment(_room(user))}?via={_server(user)}"),
    "join by alias": lambda it, _, user: it.post(f"{V3}/join/{segment(_alias(user))}"),
    "keys": lambda it, _, user: it.post(f"{V3}/keys/query", {"device_keys": {user: []}}),
    "knock": lambda it, _, user: it.post(f"{V3}/knock/{segment(_room(user))}?via={_server(user)}"),
    "media": lambda it, _, user: it.get(f"{V1}/media/download/{_server(user)}/abc"),
    "profile": lambda it, _, user: it.get(f"{V3}/profile/{segment(user)}"),
    "room with a guest": lambda it, _, user: it.post(f"{V3}/createRoom", {"invite": [user]}),
    "space": lambda it, _, user: it.get(f"{V1}/rooms/{segment(_room(user))}/hierarchy"),
    "summary": lambda it, _, user: it.get(f"{V1}/room_summary/{segment(_room(user))}?via={_server(user)}"),
    "thumbnail": lambda it, _, user: it.get(
        f"{V1}/media/thumbnail/{_server(user)}/abc", width=32, height=32
    ),
    "to device": lambda it, _, user: it.put(
        f"{V3}/sendToDevice/m.x/t1", {"messages": {user: {"*": {"n": 1}}}}
    ),
}  # fmt: skip


def _server(user_id: str) -> str:
    return user_id.partition(":")[2]


def _alias(user_id: str) -> str:
    return f"#tea:{_server(user_id)}"


def _room(user_id: str) -> str:
    return f"!tea:{_server(user_id)}"


@pytest.mark.parametrize("what", NEEDS_OTHERS)
def test_no_other_server_is_asked(
    make_client: Callable[..., Client],
    network: Network,
    remote: Remote,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """A client gets an answer at once. The names of other servers aren't even resolved."""
    alice = make_client("alice")
    room_id = create_room(alice)
    monkeypatch.setenv("MURMURATION_FEDERATION", "off")
    settings.cache_clear()
    answer = NEEDS_OTHERS[what](alice, room_id, f"@bob:{remote.name}")
    assert answer.status < 500 or answer.json["errcode"] != "M_UNKNOWN", answer.body
    assert network.asked == []
    assert remote.server is not None
    assert remote.server.received == []


def test_a_token_s_owner_is_told_all_the_same(
    make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service for calls asks whose a token is, for this server's users only."""
    alice = make_client("alice")
    token: Any = alice.post(f"{V3}/user/{segment(alice.user_id)}/openid/request_token", {}).json
    monkeypatch.setenv("MURMURATION_FEDERATION", "off")
    settings.cache_clear()
    asked = Client().get(ALWAYS[1], access_token=token["access_token"])
    assert asked.json == {"sub": alice.user_id}
    assert Client().get(ALWAYS[0]).status == 200
    monkeypatch.undo()
    settings.cache_clear()
