"""The messages of the queue `outbound`.

New events go out in messages for up to a hundred servers each. A server's name says which group of the FIFO
queue its messages are in, so that its transactions go out one after the other. What is owed to a server is
a message with its name alone, in a group of its own: so a slow server holds up nobody else.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from murmuration.aws import queues
from murmuration.aws.queues import Message

OUTBOUND = "outbound"
GROUPS = 8
SERVERS_AT_ONCE = 100


def group_of(server_name: str) -> int:
    """The number of the group in which new events for a server are."""
    return hashlib.sha256(server_name.encode()).digest()[0] % GROUPS


def new_events(
    room_id: str, ordinals: Sequence[int], servers: Iterable[str], made_ms: int
) -> Iterator[Message]:
    """The messages that have events of a room's log sent to servers."""
    groups: dict[int, list[str]] = {}
    for server in sorted(servers):
        groups.setdefault(group_of(server), []).append(server)
    for number, names in sorted(groups.items()):
        for start in range(0, len(names), SERVERS_AT_ONCE):
            some = names[start : start + SERVERS_AT_ONCE]
            body = {"room_id": room_id, "ordinals": list(ordinals), "servers": some, "made_ms": made_ms}
            yield Message(body, f"new-{number}", _digest([room_id, *map(str, ordinals), *some]))


def order(messages: Sequence[Message]) -> None:
    """Queue messages, in order."""
    if messages:
        queues.send_all(OUTBOUND, messages)


def resume(server_names: Iterable[str]) -> None:
    """Have servers that are behind tried now."""
    order(
        [Message({"server": name}, f"owed-{_digest([name])}", secrets.token_hex(16)) for name in server_names]
    )


def is_resumption(message: dict[str, Any]) -> bool:
    """Whether a message is for one server that was behind."""
    return "server" in message


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
