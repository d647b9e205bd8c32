"""Gets other servers' signing keys, for many servers at once.

They are looked for in this order: this process, the table, the servers themselves, the notaries. If many
servers are unknown, as when a large room is joined, the notaries come before the servers, in one request for
all: about a third of an old room's servers are gone, and each would take its full time limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.federation.keys.documents import keys_of, readable
from murmuration.federation.keys.published import own_keys
from murmuration.federation.names import policy
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.identifiers import ServerName, is_valid_server_key_id, is_valid_server_name
from murmuration.protocol.pdus.keys import VerifyKey
from murmuration.settings import settings
from murmuration.storage.servers import remote_keys
from murmuration.storage.servers.remote_keys import Asked, StoredKey
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TransportError

if TYPE_CHECKING:
    from murmuration.federation.shapes import KeyCriteria

KeyName = tuple[ServerName, str]
"""A server's name and a key ID."""

FEW = 8
"""Up to this many unknown servers are asked themselves before the notaries."""
URGENT_SECONDS = 16.0
"""The time limit for all that an incoming request waits for, so that it is answered before the gateway gives
up."""
BULK_SECONDS = 120.0
ORIGIN_SECONDS = 6.0
ORIGIN_TRIES = 2
NOTARY_SECONDS = 25.0
NOTARY_BATCH = 1000
MOST_NOTARY_REQUESTS = 2
MAX_DOCUMENT_BYTES = 64 * 1024
MAX_NOTARY_BYTES = 16 * 1024 * 1024
AGAIN_MS = 5 * 60_000
"""For how long a server that answered isn't asked again, whatever its answer was."""
URGENT_MS = 60_000
LONGEST_AGAIN_MS = 6 * 3_600_000

_memory: LruCache[KeyName, StoredKey] = LruCache(10_000)


def verify_keys(
    wanted: Mapping[KeyName, int], *, urgent: bool = False, seconds: float = BULK_SECONDS
) -> dict[KeyName, VerifyKey]:
    """Return the wanted keys that are known or can be fetched.

    `wanted` has for each key the time until which it must be valid (ms). If there is only a key that isn't
    valid for that long, it is returned; the caller decides by `VerifyKey.may_sign_event` or
    `may_sign_request` whether it counts. Invalid names are left out. Takes one round trip for 100 keys that
    this process doesn't know, and at most 2 requests to notaries. A server that failed isn't asked again for
    up to 6 hours; if `urgent`, because it just sent a request, for one minute. After `seconds` no more
    requests begin.
    """
    mine = settings().server_name
    own = {key.key_id: key for key in own_keys()} if any(server == mine for server, _ in wanted) else {}
    valid = {
        name: until
        for name, until in wanted.items()
        if name[0] != mine and is_valid_server_name(name[0]) and is_valid_server_key_id(name[1])
    }
    found = {name: stored for name in valid if (stored := _memory.get(name)) is not None}
    if unknown := _short(valid, found):
        read, asked = remote_keys.read_many(unknown)
        found |= read
        if unknown := _short(valid, found):
            now = now_ms()
            servers = {server for server, _ in unknown if _may_ask(server, asked.get(server), now, urgent)}
            _fetch(valid, found, servers, asked, Deadline(URGENT_SECONDS if urgent else seconds))
    for name, key in found.items():
        _memory.put(name, key)
    keys = {name: found[name].key for name in valid if name in found}
    return keys | {
        (mine, key_id): own[key_id] for server, key_id in wanted if server == mine and key_id in own
    }


def known_keys(wanted: Mapping[KeyName, int]) -> dict[KeyName, VerifyKey]:
    """Return the wanted keys that this process has cached or the table has.

    Takes at most one round trip, and asks no other server.
    """
    found = {name: stored for name in wanted if (stored := _memory.get(name)) is not None}
    if unknown := _short(wanted, found):
        found |= remote_keys.read_many(unknown)[0]
        for name, stored in found.items():
            _memory.put(name, stored)
    return {name: stored.key for name, stored in found.items()}


def forget() -> None:
    """Forget the keys that this process has cached; the table keeps them."""
    _memory.clear()


def fetch_from_origin(server_name: ServerName, seconds: float = ORIGIN_SECONDS) -> list[StoredKey]:
    """Return the keys that a server publishes. Keys that are better than the stored ones are stored.

    Raises RequestFailed; for an invalid document InvalidSignature or BadJson, which are MatrixErrors.
    """
    path = client.path("_matrix", "key", "v2", "server")
    document = client.request(
        server_name, "GET", path, seconds=seconds, tries=ORIGIN_TRIES,
        max_bytes=MAX_DOCUMENT_BYTES, for_user=True, signed=False,
    )  # fmt: skip
    keys = keys_of(document, server_name, "origin")
    remote_keys.write(keys)
    return keys


def _short(wanted: Mapping[KeyName, int], found: Mapping[KeyName, StoredKey]) -> list[KeyName]:
    """Return those `wanted` names whose key isn't known, or isn't known to be valid for long enough.

    An expired key is enough: no answer makes it better. So is a key that was received just now, even if it
    isn't valid for as long as an event with a future date demands.
    """
    now = now_ms()

    def is_enough(name: KeyName, until: int) -> bool:
        stored = found.get(name)
        if stored is None:
            return False
        return stored.key.expired_ts is not None or (stored.key.valid_until_ts or 0) >= min(until, now)

    return [name for name, until in wanted.items() if not is_enough(name, until)]


def _may_ask(server_name: ServerName, asked: Asked | None, now: int, urgent: bool) -> bool:
    if not policy.is_allowed(server_name):
        return False
    return asked is None or now >= (asked.at_ms + URGENT_MS if urgent else asked.again_ms)


def _fetch(
    wanted: Mapping[KeyName, int],
    found: dict[KeyName, StoredKey],
    servers: set[ServerName],
    asked: Mapping[ServerName, Asked],
    deadline: Deadline,
) -> None:
    """Add the keys of the servers and the notaries to `found`. No request begins after the deadline."""
    sources = (_from_notaries, _from_origins) if len(servers) > FEW else (_from_origins, _from_notaries)
    left = set(servers)
    for source in sources:
        if not left or deadline.is_over():
            break
        for stored in source({name: until for name, until in wanted.items() if name[0] in left}, deadline):
            name = (stored.server_name, stored.key.key_id)
            if name not in found or _is_better(stored, found[name]):
                found[name] = stored
        left = {server for server, _ in _short(wanted, found)} & left
    remember_asking(servers, left, asked)


def _is_better(stored: StoredKey, known: StoredKey) -> bool:
    """Return whether a key that was just received replaces the known one, by the same rule as in the
    table.
    """
    same = stored.key.public_key == known.key.public_key
    longer = (stored.key.valid_until_ts or 0) > (known.key.valid_until_ts or 0)
    if stored.source == "notary":
        return same and known.key.expired_ts is None and longer
    return not same or longer or stored.key.expired_ts is not None


def remember_asking(
    servers: Iterable[ServerName], failed: Collection[ServerName], asked: Mapping[ServerName, Asked]
) -> None:
    """Record that servers were asked for their keys, and which of them `failed`.

    `asked` is the earlier record.
    """
    from murmuration.aws.concurrency import parallel

    now = now_ms()

    def outcome(server: ServerName) -> Asked:
        if server not in failed:
            return Asked(now, now + AGAIN_MS, 0)
        failures = asked.get(server, Asked()).failures
        return Asked(now, now + min(AGAIN_MS << min(failures, 10), LONGEST_AGAIN_MS), failures + 1)

    parallel(*(partial(remote_keys.write_asked, server, outcome(server)) for server in servers))


def _from_origins(wanted: Mapping[KeyName, int], deadline: Deadline) -> list[StoredKey]:
    """Return the keys that the servers themselves publish. They are asked in parallel, each at most twice."""

    def ask(server: ServerName) -> list[StoredKey]:
        try:
            return fetch_from_origin(server, deadline.left(ORIGIN_SECONDS))
        except (RequestFailed, MatrixError, TransportError):
            return []

    servers = dict.fromkeys(server for server, _ in wanted)
    return [stored for keys in side_by_side(ask, servers) for stored in keys]


def _from_notaries(wanted: Mapping[KeyName, int], deadline: Deadline) -> list[StoredKey]:
    """Return the notaries' keys. Each notary is asked for the keys that those before it didn't have."""
    found: list[StoredKey] = []
    left = dict(wanted)
    requests = 0
    for notary in map(ServerName, settings().key_notaries):
        names = list(left)
        servers = list(dict.fromkeys(server for server, _ in names))
        for start in range(0, len(servers), NOTARY_BATCH):
            if requests >= MOST_NOTARY_REQUESTS or notary == settings().server_name or deadline.is_over():
                break
            requests += 1
            batch = set(servers[start : start + NOTARY_BATCH])
            asked = {name: left[name] for name in names if name[0] in batch}
            found += _ask_notary(notary, asked, deadline)
        known = {(stored.server_name, stored.key.key_id) for stored in found}
        left = {name: until for name, until in left.items() if name not in known}
    remote_keys.write(found)
    return found


def _ask_notary(notary: ServerName, wanted: Mapping[KeyName, int], deadline: Deadline) -> list[StoredKey]:
    """Return a notary's keys, from documents that their own servers signed; none if it doesn't answer."""
    servers: dict[ServerName, dict[str, KeyCriteria]] = {}
    for (server, key_id), until in wanted.items():
        servers.setdefault(server, {})[key_id] = {"minimum_valid_until_ts": until}
    path = client.path("_matrix", "key", "v2", "query")
    try:
        answer = client.request(
            notary, "POST", path, body={"server_keys": servers}, seconds=deadline.left(NOTARY_SECONDS),
            max_bytes=MAX_NOTARY_BYTES, for_user=True,
        )  # fmt: skip
    except (RequestFailed, MatrixError, TransportError):
        return []
    return [
        stored
        for server, document in readable(answer.get("server_keys"))
        if server in servers
        for stored in keys_of(document, server, "notary", lenient=True)
    ]
