"""Questions about keys to many servers at once. A server that fails or hangs doesn't affect the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from murmuration.federation.devices.failures import unavailable
from murmuration.federation.requests import client, health
from murmuration.federation.requests.errors import Malformed, RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.identifiers import ServerName, UserId
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.federation.requests.client import Answer
    from murmuration.federation.shapes import Failure
    from murmuration.protocol.encoding.shapes import Untrusted

MOST_THREADS = 64
MOST_ANSWER_BYTES = 8_388_608
MOST_BYTES = 67_108_864
"""The maximum bytes of all answers together that are in memory at the same time."""
USERS_AT_ONCE = 200

Users = Mapping[UserId, Any]
"""The content of the question to a server, by user ID."""
Take = Callable[[Users, "Untrusted"], None]
"""Handles an answer: gets the users that were asked about, and the server's answer."""


def ask_all(
    by_server: Mapping[ServerName, Users], path: tuple[str, ...], name: str, seconds: float, take: Take
) -> dict[str, Failure]:
    """Ask each server about its users, with a POST whose object `name` names them. Returns the failures by
    server.

    `take` is called with each answer, in the thread that received it. All servers are asked at the same time,
    and `seconds` is the time limit for all of them together. Their answers are parsed and taken one by one,
    because a parsed answer takes many times its bytes.
    """
    deadline = Deadline(seconds)
    of_path = client.path("_matrix", "federation", "v1", *path)
    memory, turn = _Memory(MOST_BYTES), threading.Lock()
    failures: dict[str, Failure] = {}
    health.learn(by_server)
    questions = [(server, part) for server, users in by_server.items() for part in _parts(users)]

    def ask(question: tuple[ServerName, Users]) -> None:
        server, users = question
        try:
            left = deadline.left(seconds)
            request = client.Request("POST", of_path, body={name: users}, seconds=left, for_user=True)
            with client.stream(server, request) as answer:
                body = memory.read(answer)
            try:
                with turn:
                    take(users, answer.parsed_object(body))
            finally:
                memory.give_back(len(body))
        except (RequestFailed, TransportError, MatrixError) as error:
            failures[server] = unavailable(str(error) or type(error).__name__)

    side_by_side(ask, questions, most=MOST_THREADS)
    return failures


class _Memory:
    """A number of bytes that the answers of several threads share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def read(self, answer: Answer) -> bytes:
        """Return the body of an answer, whose bytes are taken until they are given back.

        Raises Malformed if too few bytes are left, Unreachable.
        """
        pieces: list[bytes] = []
        try:
            for piece in answer.chunks(MOST_ANSWER_BYTES):
                self._take(len(piece))
                pieces.append(piece)
        except BaseException:
            self.give_back(sum(map(len, pieces)))
            raise
        return b"".join(pieces)

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count

    def _take(self, count: int) -> None:
        with self._lock:
            if count > self._left:
                raise Malformed("The answers of all servers together are too large")
            self._left -= count


def _parts(users: Users) -> list[Users]:
    listed = list(users.items())
    return [dict(listed[start : start + USERS_AT_ONCE]) for start in range(0, len(listed), USERS_AT_ONCE)]
