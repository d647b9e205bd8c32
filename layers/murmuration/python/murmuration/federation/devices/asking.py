"""Questions about keys to many servers at once. A server that fails or hangs doesn't affect the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from murmuration.federation.devices.failures import unavailable
from murmuration.federation.requests import client, health
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.identifiers import ServerName, UserId
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.federation.shapes import Failure
    from murmuration.protocol.encoding.shapes import Untrusted

MOST_THREADS = 64
MOST_ANSWER_BYTES = 8_388_608
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
    and `seconds` is the time limit for all of them together.
    """
    deadline = Deadline(seconds)
    failures: dict[str, Failure] = {}
    health.learn(by_server)
    questions = [(server, part) for server, users in by_server.items() for part in _parts(users)]

    def ask(question: tuple[ServerName, Users]) -> None:
        server, users = question
        try:
            answer = client.request(
                server,
                "POST",
                client.path("_matrix", "federation", "v1", *path),
                body={name: users},
                seconds=deadline.left(seconds),
                max_bytes=MOST_ANSWER_BYTES,
                for_user=True,
            )
        except (RequestFailed, TransportError, MatrixError) as error:
            failures[server] = unavailable(str(error) or type(error).__name__)
        else:
            take(users, answer)

    side_by_side(ask, questions, most=MOST_THREADS)
    return failures


def _parts(users: Users) -> list[Users]:
    listed = list(users.items())
    return [dict(listed[start : start + USERS_AT_ONCE]) for start in range(0, len(listed), USERS_AT_ONCE)]
