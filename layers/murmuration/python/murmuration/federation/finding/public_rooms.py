"""The published rooms of this server and of others, for clients and for other servers.

https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from murmuration.federation.finding.entries import is_count, is_sendable, listing_of
from murmuration.federation.finding.failures import told
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, RequestFailed
from murmuration.identity import rate_limits
from murmuration.protocol.errors import InvalidParam, NotFound
from murmuration.protocol.identifiers import ServerName, UserId, is_valid_server_name
from murmuration.protocol.sizes import LIST_BYTES, Budget, json_bytes
from murmuration.rooms.lifecycle import public_rooms
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.federation.requests.targets import Query
    from murmuration.federation.shapes import DirectoryFilter, DirectoryQuestion
    from murmuration.protocol.encoding.shapes import Content, Untrusted
    from murmuration.rooms.json_types import PublicRoomsPage

SECONDS = 10.0
DEFAULT, MOST = 100, 500
"""How many rooms are requested from another server."""
MAX_BYTES = 4 * 1024 * 1024
MOST_TOKEN = 4_000
"""The maximum length of a token with which a directory continues."""


def is_elsewhere(server: ServerName | None) -> bool:
    """Return whether a client's `server` parameter names another server."""
    return server not in (None, "", settings().server_name)


def get_public_rooms(request: DirectoryRequest, user_id: UserId | Literal[""] = "") -> Content:
    """Return a page of the directory of this server, or of the server that the request names.

    `user_id` is the user who asks; another server is asked only on behalf of a user. Raises InvalidParam,
    NotFound if this server doesn't federate, Forbidden for a server that the operator's lists exclude,
    LimitExceeded, BadGateway and GatewayTimeout if the other server doesn't answer, and the other server's
    own error.
    """
    server = request.server
    if server is None or not is_elsewhere(server):
        return public_rooms.get_public_rooms(request)
    if not is_valid_server_name(server):
        raise InvalidParam("server is not a server name")
    if not settings().federation:
        raise NotFound(f"{server} is another homeserver, which this one can't reach")
    rate_limits.check("remote_question", user_id)
    try:
        return _page(_ask(server, request))
    except RequestFailed as error:
        raise told(server, error) from error


def _ask(server: ServerName, request: DirectoryRequest) -> Untrusted:
    path = client.path("_matrix", "federation", "v1", "publicRooms")
    wanted: DirectoryQuestion = {"limit": min(request.limit or DEFAULT, MOST)}
    if request.since:
        wanted["since"] = request.since
    if request.all_networks:
        wanted["include_all_networks"] = True
    if request.network:
        wanted["third_party_instance_id"] = request.network
    sieve: DirectoryFilter = {}
    if request.search_term:
        sieve["generic_search_term"] = request.search_term
    if request.room_types is not None:
        sieve["room_types"] = list(request.room_types)
    if not sieve:
        return client.request(
            server,
            "GET",
            path,
            query=cast("Query", wanted),
            seconds=SECONDS,
            max_bytes=MAX_BYTES,
            for_user=True,
        )
    return client.request(
        server, "POST", path, body={**wanted, "filter": sieve}, seconds=SECONDS, max_bytes=MAX_BYTES,
        for_user=True,
    )  # fmt: skip


def _page(answer: Untrusted) -> PublicRoomsPage:
    """Return another server's page with only the specification's fields. Raises Malformed if it isn't one."""
    chunk = answer.get("chunk")
    if not isinstance(chunk, list):
        raise Malformed("The answer has no list of rooms")
    budget = Budget(LIST_BYTES)
    listed = [room for each in chunk[:MOST] if (room := listing_of(each)) is not None]
    page: PublicRoomsPage = {"chunk": [room for room in listed if budget.take(json_bytes(room) + 1)]}
    total = answer.get("total_room_count_estimate")
    if is_count(total):
        page["total_room_count_estimate"] = total
    for name in ("next_batch", "prev_batch"):
        token = answer.get(name)
        if is_sendable(token) and 0 < len(token) <= MOST_TOKEN:
            page[name] = token
    return page


def serve_public_rooms(origin: ServerName, request: DirectoryRequest) -> PublicRoomsPage:
    """Return a page of this server's directory for another server; rooms without federation are left out.

    Raises InvalidParam, LimitExceeded.
    """
    rate_limits.check("federation_directory", origin)
    return public_rooms.get_public_rooms(request, federated=True)
