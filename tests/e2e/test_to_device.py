"""Messages between devices, sent on connections of their own at about the same time."""

from __future__ import annotations

import json
import socket
from http.client import HTTPResponse

from local_cloud.testing import LocalCloud
from tests.e2e.raw import V3, Raw, register

TRIALS = 6
MESSAGES = 5


class _Connection:
    """A connection of which one thread may use many: a request is sent now, its answer read later."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._socket = socket.create_connection(("127.0.0.1", cloud.port), 40)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, uri: str, token: str, body: bytes = b"") -> None:
        head = f"{method} {uri} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def status(self) -> int:
        response = HTTPResponse(self._socket)
        response.begin()
        response.read()
        return response.status

    def close(self) -> None:
        self._socket.close()


def _send_at_once(cloud: LocalCloud, alice: Raw, bob: Raw, trial: int) -> None:
    """Send numbered messages one right after another, and wait until all of them are answered."""
    connections = [_Connection(cloud) for _ in range(MESSAGES)]
    for connection in connections:  # The server has taken each before the first of the messages comes.
        connection.send("GET", "/_matrix/client/versions", alice.token)
        assert connection.status() == 200
    for number, connection in enumerate(connections):
        body = json.dumps({"messages": {bob.user_id: {bob.device_id: {"number": number}}}}).encode()
        uri = f"{V3}/sendToDevice/m.test/trial{trial}number{number}"
        connection.send("PUT", uri, alice.token, body)
    for connection in connections:
        assert connection.status() == 200
        connection.close()


def _read_all(bob: Raw, since: str) -> tuple[list[int], str]:
    """Return the numbers of the messages that wait, and the token behind them."""
    numbers: list[int] = []
    while True:
        answer = bob.json("GET", f"{V3}/sync?since={since}&timeout=0")
        since = answer["next_batch"]
        events = answer.get("to_device", {}).get("events", [])
        if not events:
            return numbers, since
        numbers += [event["content"]["number"] for event in events]


def test_messages_come_in_the_order_in_which_they_reached_the_gateway(shared_cloud: LocalCloud) -> None:
    """Each message comes once, even if functions overtake each other, and however quickly the messages
    follow.
    """
    alice, bob = register(shared_cloud, "orderalice"), register(shared_cloud, "orderbob")
    since = bob.json("GET", f"{V3}/sync")["next_batch"]
    for trial in range(TRIALS):
        _send_at_once(shared_cloud, alice, bob, trial)
        numbers, since = _read_all(bob, since)
        assert numbers == list(range(MESSAGES)), f"trial {trial}"
