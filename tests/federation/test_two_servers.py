"""Two local clouds that federate over TLS, as `murmuration serve` makes them."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.federate.certificates import Authority
from local_cloud.testing import LocalCloud, LocalCloudError
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.keys import parse_server_keys
from tests.federation.clouds import start


@pytest.fixture(scope="module", autouse=True)
def _needs_dynoxide() -> None:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))


class Peer:
    """HTTPS requests to a local cloud's federation port."""

    def __init__(self, cloud: LocalCloud, authority: Authority) -> None:
        self._context = ssl.create_default_context(cafile=str(authority.ca))
        self._port = int(cloud.options["federation-port"])

    def request(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("localhost", self._port, context=self._context, timeout=90)
        connection.request(method, target, None if body is None else json.dumps(body), headers or {})
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found


def test_keys_and_version_are_served_over_tls(two: list[LocalCloud], authority: Authority) -> None:
    peer = Peer(two[0], authority)
    status, document = peer.request("GET", "/_matrix/key/v2/server")
    assert status == 200
    assert parse_server_keys(document, ServerName(two[0].server_name), 0).verify_keys
    assert peer.request("GET", "/_matrix/federation/v1/version")[1]["server"]["name"] == "Murmuration"
    assert peer.request("GET", "/.well-known/matrix/server")[1] == {"m.server": two[0].server_name}


def test_one_fetches_the_others_keys(two: list[LocalCloud], authority: Authority) -> None:
    """One server asks the other over TLS as a notary, and signs the answer."""
    first, second = two
    status, answer = Peer(first, authority).request("GET", f"/_matrix/key/v2/query/{second.server_name}")
    assert status == 200
    (document,) = answer["server_keys"]
    assert parse_server_keys(document, ServerName(second.server_name), 0).verify_keys
    assert set(document["signatures"]) == {first.server_name, second.server_name}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/_matrix/federation/v1/teapot", 404),
        ("POST", "/_matrix/federation/v9/version", 404),
        ("PUT", "/_matrix/key/v2/server", 405),
        ("DELETE", "/_matrix/federation/v1/version", 405),
    ],
)
def test_what_is_not_served(
    two: list[LocalCloud], authority: Authority, method: str, target: str, status: int
) -> None:
    found, answer = Peer(two[0], authority).request(method, target)
    assert (found, answer["errcode"]) == (status, "M_UNRECOGNIZED")


def test_without_the_loopback_nobody_is_asked(
    two: list[LocalCloud], authority: Authority, tmp_path: Path
) -> None:
    cloud = start(tmp_path, authority, **{"allow-loopback": "off"})
    try:
        target = f"/_matrix/key/v2/query/{two[0].server_name}"
        assert Peer(cloud, authority).request("GET", target) == (200, {"server_keys": []})
    finally:
        cloud.stop()


@pytest.mark.parametrize(
    "wrong",
    [{"tls-key": ""}, {"federation-port": "x"}, {"tls-cert": "/nonexistent"}, {"federation-port": ""}],
)
def test_wrong_options_are_refused_in_a_sentence(
    authority: Authority, tmp_path: Path, wrong: dict[str, str]
) -> None:
    with pytest.raises(LocalCloudError) as refused:
        start(tmp_path, authority, **wrong)
    assert "Traceback" not in str(refused.value)


WORDS = ["plain", "!room:a.example", "a/b", "a+b %2F", "$ev-_t", "ü?&=#"]


@pytest.fixture(scope="module")
def echoing(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalCloud]]:
    package = {"functions": "tests.federation.functions"}
    clouds = [start(tmp_path_factory.mktemp("cloud"), authority, **package) for _ in range(2)]
    yield clouds
    for cloud in clouds:
        cloud.stop()


@pytest.mark.parametrize("word", WORDS)
def test_one_calls_a_signed_endpoint_of_the_other(
    echoing: list[LocalCloud], authority: Authority, word: str
) -> None:
    """The request is signed, sent over TLS, the keys are fetched, and the URI is checked as it was sent."""
    first, second = echoing
    content = {"n": 2**53 + 1, "f": 1.5, "t": "ü"}
    sent = {"word": word, "query": {"a": word, "b": "1"}, "content": content}
    target = f"/ask/{second.server_name.replace(':', '%3A')}"
    assert Peer(first, authority).request("POST", target, sent) == (
        200,
        {"origin": first.server_name, "word": word, "query": {"a": word, "b": "1"}, "content": content},
    )


def test_a_signed_endpoint_without_a_signature(echoing: list[LocalCloud], authority: Authority) -> None:
    status, answer = Peer(echoing[0], authority).request("PUT", "/_matrix/federation/v1/echo/a", {})
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def test_a_message_goes_from_a_client_to_another_server(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message goes through the log's stream, the queue and its worker. Missed messages come after a kill
    -9.
    """
    from murmuration.federation.requests import health
    from murmuration.storage.servers import backlogs
    from operators import operating
    from tests.e2e.raw import register
    from tests.federation.network import Received, Reply, TlsServer
    from tests.local_cloud.waiting import until
    from tests.rooms import other_servers

    taken: list[str] = []
    status = 200

    def take(received: Received) -> Reply:
        if status == 200 and "/send/" in received.target:
            pdus = json.loads(received.body)["pdus"]
            taken.extend(pdu["content"]["body"] for pdu in pdus if pdu["type"] == "m.room.message")
        return Reply({"pdus": {}}, status if "/send/" in received.target else 404)

    peer = TlsServer(authority, ("localhost",), take)
    name = ServerName(f"localhost:{peer.port}")
    cloud = start(tmp_path, authority, registration="open")
    try:
        alice = register(cloud, "alice")
        room_id = RoomId(alice.create_room(preset="public_chat"))
        with operating.connected(tmp_path, None):
            mirror = other_servers.Mirror(room_id)
            assert mirror.kinds(mirror.member(UserId(f"@bob:{name}"), f"@bob:{name}", "join")) == ["accepted"]
        for number in range(3):
            alice.send(room_id, f"hello {number}")
        until(lambda: len(taken) == 3, 60)
        status = 503
        alice.send(room_id, "missed")

        def is_behind() -> bool:
            with operating.connected(tmp_path, None):
                return backlogs.read(name) is not None

        until(is_behind, 60)
        cloud.kill9()
        cloud.start()
        status = 200
        with operating.connected(tmp_path, None):
            health.forget()
            health.well(name)
        alice = alice.again()
        alice.send(room_id, "now")  # the next event finds that the server is there again
        until(lambda: len(taken) == 5, 60)
    finally:
        cloud.stop()
        peer.stop()
    assert taken == ["hello 0", "hello 1", "hello 2", "missed", "now"]
