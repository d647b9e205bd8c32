"""Proves which server sent a federation request.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from murmuration.clock import now_ms
from murmuration.federation.keys import fetching
from murmuration.federation.names import policy
from murmuration.federation.requests import health
from murmuration.identity import budgets, rate_limits
from murmuration.protocol.encoding import canonical_json, x_matrix
from murmuration.protocol.encoding.x_matrix import Credentials
from murmuration.protocol.errors import Unauthorized
from murmuration.protocol.identifiers import ServerName, is_valid_server_name
from murmuration.protocol.pdus.keys import VerifyKey
from murmuration.settings import settings

REFUSAL = "The request's signature is not a valid one of the server that it names"


def authenticate(
    headers: Iterable[str], method: str, uri: str, body: bytes, *, address: Callable[[], str]
) -> tuple[ServerName, Any]:
    """Return the server that sent a request, and the JSON of its body (None without a body).

    `headers` are the request's Authorization headers, `uri` is its target as it was sent. All signatures must
    claim the same origin. At least one must be valid and by a currently valid key; an invalid signature by
    such a key refuses the request.

    Raises Unauthorized; Forbidden for a server that the operator's lists exclude; NotJson for a body that
    isn't JSON; LimitExceeded if `address` has named too many servers whose keys aren't known.
    """
    credentials = x_matrix.parse_authorization(headers)
    origin = _origin(credentials)
    policy.require_allowed(origin)
    content = canonical_json.loads(body) if body else x_matrix.ABSENT
    messages = _messages(method, uri, origin, content, body)
    keys = _keys(origin, credentials, address)
    verified = 0
    for each in credentials:
        key = keys.get(each.key_id)
        if key is None or not key.may_sign_request(now_ms()):
            continue
        if not x_matrix.is_signed(key.public_key, each.signature, messages):
            raise Unauthorized(REFUSAL)
        verified += 1
    if not verified:
        raise Unauthorized(REFUSAL if keys else f"The keys of {origin} can't be had")
    health.well(origin)
    return origin, None if content is x_matrix.ABSENT else content


def _origin(credentials: list[Credentials]) -> ServerName:
    """Return the one server that all signatures claim as their origin. Raises Unauthorized."""
    origins = {each.origin for each in credentials}
    if len(origins) != 1:
        raise Unauthorized("The signatures are of several servers")
    (origin,) = origins
    if not is_valid_server_name(origin) or origin == settings().server_name:
        raise Unauthorized("The origin is not another server's name")
    if any(each.destination not in (None, settings().server_name) for each in credentials):
        raise Unauthorized("The request is for another server")
    return origin


def _messages(method: str, uri: str, origin: ServerName, content: object, body: bytes) -> list[bytes]:
    """Return the byte strings that the origin may have signed, the likeliest first.

    A proxy may drop a `?` without a query, which doesn't change the meaning. Servers may write numbers
    differently from Python, so the body as it was sent counts too.
    """
    mine = settings().server_name
    uris = [uri, *([uri[:-1]] if uri.endswith("?") else [] if "?" in uri else [f"{uri}?"])]
    found = [x_matrix.signed_bytes(method, each, origin, mine, content) for each in uris]
    if content is not x_matrix.ABSENT:
        found += [x_matrix.signed_bytes_as_sent(method, each, origin, mine, body) for each in uris]
    return found


def _keys(
    origin: ServerName, credentials: list[Credentials], address: Callable[[], str]
) -> dict[str, VerifyKey]:
    """Return those keys of the origin that the signatures name, by ID."""
    now = now_ms()
    wanted = {(origin, each.key_id): now for each in credentials}
    known = fetching.known_keys(wanted)
    if not all(name in known and known[name].may_sign_request(now) for name in wanted):
        rate_limits.check("key_fetch", address())
        # While an address has used up its limit, no keys are fetched for it, whichever server it claims to
        # be.
        budgets.pay_now(budgets.address_owner(address()))
        known = fetching.verify_keys(wanted, urgent=True)
    return {key_id: key for (_, key_id), key in known.items()}
