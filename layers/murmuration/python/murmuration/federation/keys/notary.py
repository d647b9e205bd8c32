"""Serves other servers' keys to any server, with this server's signature added.

https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from murmuration import server_keys
from murmuration.aws.concurrency import parallel
from murmuration.clock import now_ms
from murmuration.federation.keys import fetching, published
from murmuration.federation.names import policy
from murmuration.federation.requests.errors import RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import object_of
from murmuration.protocol.errors import BadJson, InvalidParam, MatrixError
from murmuration.protocol.identifiers import ServerName, is_valid_server_name
from murmuration.protocol.pdus.signing import sign_json
from murmuration.settings import settings
from murmuration.storage.servers import remote_keys
from murmuration.storage.servers.remote_keys import Asked, StoredKey

if TYPE_CHECKING:
    from murmuration.federation.shapes import KeyDocuments
    from murmuration.protocol.encoding.shapes import Untrusted
    from murmuration.protocol.pdus.shapes import KeyDocument

MOST_SERVERS = 100
"""The maximum number of servers in one request."""
MOST_FETCHED = 16
"""How many servers are asked for one request. For the rest, the last known keys are returned."""
FETCH_SECONDS = 5.0
Wanted = Mapping[str, int | None]
"""For each key ID, the time until which the key must be valid, in milliseconds; None if the request doesn't
say."""


def query_server_keys(
    server_name: ServerName, minimum_valid_until_ts: int | None, address: str
) -> KeyDocuments:
    """Return the key documents of one server. Raises InvalidParam, LimitExceeded."""
    if not is_valid_server_name(server_name):
        raise InvalidParam("This is not a valid server name")
    return _query({server_name: {"": minimum_valid_until_ts}}, address)


def query_keys(server_keys_wanted: Untrusted, address: str) -> KeyDocuments:
    """Return the key documents of the wanted servers, by server and key ID. Raises BadJson, LimitExceeded."""
    if len(server_keys_wanted) > MOST_SERVERS:
        raise BadJson(f"A request may be about {MOST_SERVERS} servers")
    wanted = {
        server: {
            key_id: _minimum(object_of(criteria, f"server_keys.{server}.{key_id}"))
            for key_id, criteria in object_of(keys, f"server_keys.{server}").items()
        }
        for server, keys in server_keys_wanted.items()
        if is_valid_server_name(server)
    }
    return _query(wanted, address)


def _minimum(criteria: Untrusted) -> int | None:
    minimum = criteria.get("minimum_valid_until_ts")
    if minimum is not None and (not isinstance(minimum, int) or isinstance(minimum, bool)):
        raise BadJson("minimum_valid_until_ts must be a whole number")
    return minimum


def _query(wanted: Mapping[ServerName, Wanted], address: str) -> KeyDocuments:
    if not wanted:
        return {"server_keys": []}
    rate_limits.check("key_query", address)
    mine = settings().server_name
    others = [server for server in wanted if server != mine and policy.is_allowed(server)]
    known = dict(
        zip(others, parallel(*(partial(remote_keys.read_server, each) for each in others)), strict=True)
    )
    stale = [server for server in others if _is_stale(wanted[server], *known[server])][:MOST_FETCHED]
    for server, keys in zip(stale, _fetch_all(stale), strict=True):
        if keys:
            # Read again: the table merged the fetched keys with its own.
            known[server] = remote_keys.read_server(server, consistent=True)
    documents = [published.get_server_keys()] if mine in wanted else []
    for server in others:
        documents += [_signed(text) for text in _documents(known[server][0], wanted[server])]
    return {"server_keys": documents}


def _is_stale(wanted: Wanted, keys: list[StoredKey], asked: Asked) -> bool:
    """Return whether to ask the server: the known keys aren't enough, and it wasn't asked a moment ago."""
    now = now_ms()
    if now < asked.again_ms:
        return False
    by_id = {stored.key.key_id: stored.key for stored in keys}
    valid = max((stored.key.valid_until_ts or 0 for stored in keys), default=0)
    for key_id, minimum in wanted.items() or {"": None}.items():
        until = now if minimum is None else minimum
        key = by_id.get(key_id)
        if key_id and (key is None or (key.expired_ts is None and (key.valid_until_ts or 0) < until)):
            return True
        if not key_id and valid < until:
            return True
    return False


def _fetch_all(servers: list[ServerName]) -> list[list[StoredKey]]:

    def fetch(server: ServerName) -> list[StoredKey]:
        try:
            found = fetching.fetch_from_origin(server, FETCH_SECONDS)
        except (RequestFailed, MatrixError):
            found = []
        fetching.remember_asking([server], set() if found else {server}, {})
        return found

    return side_by_side(fetch, servers)


def _documents(keys: list[StoredKey], wanted: Wanted) -> list[str]:
    """Return the documents that have the wanted keys, the latest first; those of all keys if none is
    named.
    """
    named = {key_id for key_id in wanted if key_id}
    chosen = [stored for stored in keys if stored.document and (not named or stored.key.key_id in named)]
    chosen.sort(key=lambda stored: -stored.received_ms)
    return list(dict.fromkeys(stored.document for stored in chosen))


def _signed(text: str) -> KeyDocument:
    document: KeyDocument = json.loads(text)
    return sign_json(document, settings().server_name, server_keys.signing_key())
