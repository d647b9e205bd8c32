"""Memory, time and concurrency of each module's functions; modules that aren't listed have the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GATEWAY_SECONDS = 29
"""API Gateway's time limit for an integration. If a function runs longer, its answer reaches nobody."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Deployment facts of a module; `memory` in megabytes (None: the deployment's setting), times in seconds.

    The other fields are for functions that read queues and streams: how many invocations run at once for a
    shard of a stream, and how often a queue's message is tried before it goes to the dead letters.
    `visibility` is how long a failed message waits until it is tried again (None: six times the timeout).
    """

    memory: int | None = None
    timeout: int = GATEWAY_SECONDS
    concurrency: int = 10
    attempts: int = 10
    visibility: int | None = None


EXCEPTIONS: Mapping[str, Facts] = {
    "client_server.key_backup": Facts(memory=1769),
    # It reads the clock and rings workers. One at a time, because all its records have one key.
    "workers.clock": Facts(memory=256, timeout=60, concurrency=1),
    # An event that couldn't be sent is tried again soon: it may end a call.
    "workers.delayed_events": Facts(timeout=30, visibility=60),
    # A join of a large room brings a hundred megabytes of events.
    "workers.joins": Facts(memory=2048, timeout=900, attempts=3),
    # An account is in hundreds of rooms, and leaves each.
    "workers.closing": Facts(timeout=900),
    "workers.schedules": Facts(timeout=900),
    # A user may be waiting for the file; a copy of 100 MB takes seconds.
    "workers.uploads": Facts(timeout=120, visibility=130),
    # They send to a hundred servers at once, or wait up to 50 s for one. While a message is hidden, so is its
    # group; handling a message twice does no harm.
    "workers.sending": Facts(memory=512, timeout=120, visibility=150),
}
"""By the module's name. A backup of 400,000 keys has about 300 MB: passing it on takes a whole processor."""


def facts(module: str) -> Facts:
    """Return the facts of a module such as `client_server.rooms`."""
    if module in EXCEPTIONS:
        return EXCEPTIONS[module]
    return Facts(timeout=60) if module.startswith("workers.") else Facts()


HOLDING: Mapping[str, int] = {
    # An app has two requests waiting for as long as it is open, and waiting is charged by memory.
    "client_server.sync.sliding_sync": 256,
}
"""The memory in megabytes of functions that mostly wait, if functions hold waiting clients."""


def memory(function: str, default: int, *, held: bool) -> int:
    """Return the memory in megabytes of a function such as `client_server.rooms.create_room`.

    `default` is the deployment's setting. `held` says that functions hold waiting clients.
    """
    module = facts(function.rpartition(".")[0])
    return (HOLDING.get(function) if held else None) or module.memory or default


LEAST_UNRESERVED = 100
"""How many concurrent invocations AWS keeps unreserved."""

SHARES: Mapping[str, int] = {
    # They wait for updates: up to 25 s for each request.
    "client_server.sync.sync": 16,
    "client_server.sync.sliding_sync": 16,
    "client_server.old_sync.get_events": 3,
    "client_v1.old_sync.get_events": 3,
    "client_v2.sync.get_events": 3,
    # They decode images, transfer megabytes, or wait up to 15 s for an upload.
    "client_server.media.get_content_thumbnail_authed": 5,
    "client_server.media.get_content_thumbnail": 1,
    "client_server.media.get_content_authed": 5,
    "client_server.media.get_content": 1,
    "client_server.media.get_content_override_name_authed": 2,
    "client_server.media.get_content_override_name": 1,
    "server_server.media.get_content": 1,
    "server_server.media.get_content_thumbnail": 1,
    # They wait up to 10 s for web sites.
    "client_server.url_previews.get_url_preview_authed": 1,
    "client_server.url_previews.get_url_preview": 1,
    # They hash passwords, for any client.
    "client_server.login.login": 3,
    "client_server.account.change_password": 1,
    "client_v1.login.login": 1,
    # It waits for identity providers.
    "client_server.login.finish_sso": 1,
}
"""Percent of the account's concurrency for each function that can be occupied for long, so that no others are
blocked. docs/decisions_deployment.md explains the numbers."""
HELD_SYNC_SHARE = 40
"""The share of /sync if each waiting client holds a function."""
WORKERS: Mapping[str, int] = {
    # Each message invokes one, and they wait for other servers and for gateways.
    "workers.joins.join_remote_room": 1,
    "workers.pushes.call_gateways": 1,
    "workers.queues.work_through_pdus": 1,
    "workers.sending.send_transactions": 1,
}
"""The same for queues' workers, if there is enough for all."""


def reserved(account_concurrency: int, *, held: bool) -> Mapping[str, int]:
    """Return how many concurrent invocations each function in `SHARES` may have, by its module and name.

    `account_concurrency` is the account's quota; `held` says that waiting clients hold functions. If that
    would leave less unreserved than AWS requires, nothing is reserved for workers, or nothing at all.
    """
    shares = {**SHARES, **({"client_server.sync.sync": HELD_SYNC_SHARE} if held else {})}
    for some in ({**shares, **WORKERS}, shares):
        found = {name: account_concurrency * share // 100 for name, share in some.items()}
        if account_concurrency - sum(found.values()) >= LEAST_UNRESERVED:
            return found
    return {}
