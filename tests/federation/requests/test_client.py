"""Requests to other servers: their form, the types of failures, and backing off."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from murmuration import server_keys
from murmuration.federation.requests import client, health
from murmuration.federation.requests.errors import (
    BackingOff,
    Malformed,
    RateLimited,
    Refused,
    RequestFailed,
    Unreachable,
)
from murmuration.protocol.encoding import x_matrix
from murmuration.protocol.errors import Forbidden
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings
from murmuration.storage.servers import destinations
from tests.conftest import SERVER_NAME
from tests.federation.conftest import Clock
from tests.federation.network import Network, Reply, TlsServer, compressed
from tests.local_cloud.waiting import PATIENCE_S

PATH = client.path("_matrix", "federation", "v1", "state", "!room/id:a.example+")


@pytest.fixture
def server(network: Network, fresh_name: str) -> TlsServer:
    made = network.serve(lambda _: Reply({"ok": True}), fresh_name)
    network.at(fresh_name, 8448, made)
    return made


def test_what_is_sent(server: TlsServer, fresh_name: ServerName) -> None:
    body = {"ü": [1, 1.5, 2**60]}
    query = {"a": "+ &", "b": ["1", "2"], "c": None, "d": True}
    answer = client.request(fresh_name, "PUT", PATH, query=query, body=body)
    assert answer == {"ok": True}
    (received,) = server.received
    assert received.target == (
        "/_matrix/federation/v1/state/%21room%2Fid%3Aa.example%2B?a=%2B%20%26&b=1&b=2&d=true"
    )
    assert received.headers["content-type"] == "application/json"
    header = received.headers["authorization"]
    names = f'origin="{SERVER_NAME}",destination="{fresh_name}",key="ed25519:test"'
    assert header.startswith(f'X-Matrix {names},sig="')
    (found,) = x_matrix.parse_authorization([header])
    message = x_matrix.signed_bytes_as_sent(
        "PUT", received.target, ServerName(SERVER_NAME), fresh_name, received.body
    )
    assert x_matrix.is_signed(server_keys.signing_key().public_key, found.signature, [message])


def test_a_connection_is_kept(server: TlsServer, fresh_name: ServerName) -> None:
    for _ in range(5):
        client.request(fresh_name, "GET", PATH)
    assert (len(server.received), server.connections) == (5, 1)


def test_a_kept_connection_that_was_closed_is_replaced(server: TlsServer, fresh_name: ServerName) -> None:
    server.handler = lambda _: Reply({"ok": True}, headers={"Connection": "close"})
    for _ in range(3):
        assert client.request(fresh_name, "GET", PATH) == {"ok": True}
    assert destinations.read(fresh_name) == destinations.Health()


def test_compressed_answers(server: TlsServer, fresh_name: ServerName) -> None:
    large = {"large": "x" * 1_000_000}
    server.handler = lambda _: compressed(large)
    assert client.request(fresh_name, "GET", PATH) == large
    with pytest.raises(Malformed, match="more than 1000 bytes"):
        client.request(fresh_name, "GET", PATH, max_bytes=1000)


def test_a_large_answer_is_streamed(server: TlsServer, fresh_name: ServerName) -> None:
    server.handler = lambda _: Reply(b"x" * 3_000_000)
    with client.stream(fresh_name, client.Request("GET", PATH)) as answer:
        pieces = [len(piece) for piece in answer.chunks(4_000_000)]
    assert (sum(pieces), max(pieces) <= 65_536) == (3_000_000, True)


FAILURES: dict[str, tuple[Callable[[], Reply], type[RequestFailed], bool]] = {
    "an error": (lambda: Reply({"errcode": "M_FORBIDDEN", "error": "no"}, 403), Refused, False),
    "an error without JSON": (lambda: Reply(b"<html>", 404), Refused, False),
    "an error of its own": (lambda: Reply({}, 500), Refused, False),
    "a redirect": (lambda: Reply({}, 302, {"Location": "https://a.example/"}), Refused, False),
    "no JSON": (lambda: Reply(b"<html>"), Malformed, False),
    "a list": (lambda: Reply([200, {}]), Malformed, False),
    "NaN": (lambda: Reply(b'{"a":NaN}'), Malformed, False),
    "too deep": (lambda: Reply(b"[" * 100_000), Malformed, False),
    "too large": (lambda: Reply(b" " * 5_000_000), Malformed, False),
    "a gateway's error": (lambda: Reply(b"", 502), Unreachable, True),
    "nobody behind the proxy": (lambda: Reply(b"", 521), Unreachable, True),
    "cut short": (
        lambda: Reply(b"{", headers={"Content-Length": "9", "Connection": "close"}), Unreachable, True
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_failures_have_types(server: TlsServer, fresh_name: ServerName, case: str) -> None:
    reply, kind, counts = FAILURES[case]
    server.handler = lambda _: reply()
    with pytest.raises(kind) as failed:
        client.request(fresh_name, "GET", PATH)
    assert type(failed.value) is kind
    assert (destinations.read(fresh_name).failing_since_ms > 0) is counts


def test_a_refusal_has_the_servers_words(server: TlsServer, fresh_name: ServerName) -> None:
    body = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": "12"}
    server.handler = lambda _: Reply(body, 400)
    with pytest.raises(Refused) as refused:
        client.request(fresh_name, "GET", PATH)
    assert (refused.value.status, refused.value.errcode, refused.value.body) == (400, body["errcode"], body)


def test_an_old_list_answer(server: TlsServer, fresh_name: ServerName) -> None:
    server.handler = lambda _: Reply([200, {"a": 1}])
    assert client.request_value(fresh_name, "GET", PATH) == [200, {"a": 1}]


def test_a_server_that_sends_a_byte_now_and_then(network: Network, fresh_name: ServerName) -> None:
    """The time limit is for the whole request. Otherwise each byte would restart it. No thread is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = network.authority.context(fresh_name)
    over = threading.Event()

    def drip() -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as connection:
            try:
                while not over.wait(0.05):
                    connection.sendall(b"H")
            except OSError:
                over.set()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    network.hosts[fresh_name, 8448] = ("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(Unreachable):
        client.request(fresh_name, "GET", PATH, seconds=1)
    assert over.wait(PATIENCE_S), "the connection was closed"
    listener.close()


def fail(network: Network, name: ServerName, **options: Any) -> int:
    """Make a request that must fail, and return the number of its connections."""
    down = network.serve(lambda _: Reply({}, 503), name)
    network.at(name, 8448, down)
    with pytest.raises(Unreachable):
        client.request(name, "GET", PATH, **options)
    return len(down.received)


def test_backoff_grows_to_a_day_and_an_answer_ends_it(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    waits = []
    for _ in range(8):
        assert fail(network, fresh_name) == 1
        assert fail(network, fresh_name) == 0, "nobody is asked meanwhile"
        found = destinations.read(fresh_name)
        waits.append(found.interval_ms)
        moving_clock.advance(found.interval_ms / 1000 - 1)
        assert fail(network, fresh_name) == 0
        moving_clock.advance(2)
    assert 600_000 <= waits[0] <= 720_000
    assert all(2 * before <= after or after == health.LONGEST_MS for before, after in pairwise(waits))
    assert waits[-1] == health.LONGEST_MS
    up = network.serve(lambda _: Reply({}), fresh_name)
    network.at(fresh_name, 8448, up)
    assert client.request(fresh_name, "GET", PATH) == {}
    assert destinations.read(fresh_name) == destinations.Health()


def test_for_a_user_a_server_is_tried_again_after_a_minute(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    assert fail(network, fresh_name) == 1
    assert fail(network, fresh_name, for_user=True) == 0
    moving_clock.advance(61)
    assert fail(network, fresh_name) == 0
    assert fail(network, fresh_name, for_user=True) == 1
    assert fail(network, fresh_name, for_user=True) == 0


def test_failures_side_by_side_count_once(network: Network, fresh_name: ServerName) -> None:
    started = int(time.time() * 1000)
    for _ in range(5):
        health.failed(fresh_name, started)
        health.forget()  # another function
    assert destinations.read(fresh_name).interval_ms <= 1.2 * health.FIRST_MS


def test_the_record_is_shared(network: Network, fresh_name: ServerName) -> None:
    fail(network, fresh_name)
    health.forget()
    with pytest.raises(BackingOff) as waiting:
        client.request(fresh_name, "GET", PATH)
    assert waiting.value.retry_at_ms > time.time() * 1000


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [({"Retry-After": "30"}, {}, 30), ({}, {"retry_after_ms": 20_000}, 20), ({}, {}, 60),
     ({"Retry-After": "99999999"}, {}, 3600), ({"Retry-After": "soon"}, {"retry_after_ms": "x"}, 60)],
)  # fmt: skip
def test_a_rate_limit_is_honoured_and_no_failure(
    server: TlsServer,
    fresh_name: ServerName,
    moving_clock: Clock,
    headers: dict[str, str],
    body: Any,
    seconds: int,
) -> None:
    server.handler = lambda _: Reply({"errcode": "M_LIMIT_EXCEEDED", **body}, 429, headers)
    with pytest.raises(RateLimited):
        client.request(fresh_name, "GET", PATH)
    with pytest.raises(BackingOff):
        client.request(fresh_name, "GET", PATH, for_user=True)
    assert destinations.read(fresh_name).failing_since_ms == 0
    server.handler = lambda _: Reply({})
    moving_clock.advance(seconds - 2)
    with pytest.raises(BackingOff):
        client.request(fresh_name, "GET", PATH)
    moving_clock.advance(4)
    assert client.request(fresh_name, "GET", PATH) == {}


def test_whom_the_operator_excludes(
    server: TlsServer, fresh_name: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_FEDERATION_DENY", "*.example")
    settings.cache_clear()
    with pytest.raises(Forbidden):
        client.request(fresh_name, "GET", PATH)
    assert server.received == []


def test_this_server_does_not_ask_itself(network: Network) -> None:
    with pytest.raises(Unreachable):
        client.request(ServerName(SERVER_NAME), "GET", PATH)
