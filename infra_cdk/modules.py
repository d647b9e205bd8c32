"""What each module of functions gets to run with; where nothing is said here, the defaults hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GATEWAY_SECONDS = 29
"""API Gateway gives up on an integration after this; a function that runs longer answers nobody."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Deployment facts of a module; `memory` in megabytes (None: the deployment's setting), times in seconds.

    The rest is for what comes from queues and streams: how many invocations at once (for a stream: by shard),
    and how often a queue's message is tried before it goes to the dead letters.
    """

    memory: int | None = None
    timeout: int = GATEWAY_SECONDS
    concurrency: int = 10
    attempts: int = 10


EXCEPTIONS: Mapping[str, Facts] = {
    "client_server.key_backup": Facts(memory=1769),
    "workers.schedules": Facts(timeout=900),
}
"""By the module's name. A backup of 400,000 keys has some 300 MB: passing it on takes a whole processor."""


def facts(module: str) -> Facts:
    """The facts of a module such as `client_server.rooms`."""
    if module in EXCEPTIONS:
        return EXCEPTIONS[module]
    return Facts(timeout=60) if module.startswith("workers.") else Facts()
