"""The messages of the queue `outbound`.

A message has new events for up to a hundred servers. A server's name decides in which group of the FIFO queue
its messages are, so that its transactions are sent one after the other. For a server that is behind, the
message has only its name, and is in a group of its own. So a slow server doesn't delay the others.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from murmuration.aws import queues
from murmuration.aws.queues import Message

if TYPE_CHECKING:
    from murmuration.federation.shapes import Edu
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.identifiers import ServerName
    from murmuration.storage.servers.backlogs import LogId

OUTBOUND = "outbound"
GROUPS = 8
SERVERS_AT_ONCE = 100


def group_of(server_name: ServerName) -> int:
    """Return the number of the queue's group that has the new events for a server."""
    return hashlib.sha256(server_name.encode()).digest()[0] % GROUPS


def new_events(
    room_id: LogId, ordinals: Sequence[int], servers: Iterable[ServerName], made_ms: int
) -> Iterator[Message]:
    """Yield the messages that make workers send entries of a log to servers; `room_id` may be any log's
    (`logs`).
    """
    for number, names in _by_group(servers):
        body = {"room_id": room_id, "ordinals": list(ordinals), "servers": names, "made_ms": made_ms}
        yield Message(body, f"new-{number}", _digest([room_id, *map(str, ordinals), *names]))


def _by_group(servers: Iterable[ServerName]) -> Iterator[tuple[int, list[str]]]:
    """Yield batches of servers, each with its group's number. A batch has at most SERVERS_AT_ONCE servers of
    one group.
    """
    groups: dict[int, list[str]] = {}
    for server in sorted(servers):
        groups.setdefault(group_of(server), []).append(server)
    for number, names in sorted(groups.items()):
        for start in range(0, len(names), SERVERS_AT_ONCE):
            yield number, names[start : start + SERVERS_AT_ONCE]


def messages_to(server_names: Iterable[ServerName]) -> Iterator[Message]:
    """Yield the queue messages that make workers send the to-device messages that wait for servers.

    One message names many servers, so that the worker waits at the same time for those that don't answer.
    """
    for number, names in _by_group(server_names):
        yield Message({"messages_to": names}, f"new-{number}", secrets.token_hex(16))


def passing(edus: Sequence[Edu], servers: Iterable[ServerName], made_ms: int) -> Iterator[Message]:
    """Yield the messages that make workers send EDUs that are useless later."""
    for number, names in _by_group(servers):
        digest = _digest([json.dumps(edus, sort_keys=True), str(made_ms), *names])
        yield Message({"edus": list(edus), "servers": names, "made_ms": made_ms}, f"new-{number}", digest)


def order(messages: Sequence[Message]) -> None:
    """Queue messages, in order."""
    if messages:
        queues.send_all(OUTBOUND, messages)


def resume(server_names: Iterable[ServerName]) -> None:
    """Make workers try now to send to servers that are behind."""
    order(
        [Message({"server": name}, f"owed-{_digest([name])}", secrets.token_hex(16)) for name in server_names]
    )


def is_resumption(message: JsonObject) -> bool:
    """Return whether a message is for one server that was behind."""
    return "server" in message


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
