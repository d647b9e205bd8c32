"""Joining a room by its ID or alias, on this server or another.

A room that this server is in is joined locally. Any other is joined through a server that is in it. A worker
does that as a job, and the request waits for it for a while. A repeated request waits for the same job.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from murmuration.aws import queues
from murmuration.federation.membership import handshakes
from murmuration.federation.membership.failures import passed_on
from murmuration.federation.names import policy
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Refused, RequestFailed
from murmuration.identity import rate_limits, turns
from murmuration.identity.authentication import authenticate
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.bodies import limit_size
from murmuration.protocol.errors import (
    Forbidden,
    GatewayTimeout,
    LimitExceeded,
    MatrixError,
    NotFound,
    Refusal,
)
from murmuration.protocol.event_types import JOIN_RULES_KEY, MEMBER
from murmuration.protocol.identifiers import (
    RoomId,
    ServerName,
    UserId,
    is_valid_room_alias,
    is_valid_room_id,
    parse_room_alias,
    server_of,
)
from murmuration.rooms.membership import joining
from murmuration.rooms.membership.joining import JoinRequest
from murmuration.rooms.membership.member_content import member_content
from murmuration.rooms.membership.operations import OURS
from murmuration.rooms.membership.restricted_joins import allowed_rooms, is_in_any
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import MAX_MEMBER_BYTES
from murmuration.settings import settings
from murmuration.storage.rooms import member_index
from murmuration.storage.servers import join_jobs
from murmuration.storage.servers.join_jobs import Job
from murmuration.storage.users import memberships

QUEUE = "remote-joins"
WAIT_SECONDS = 25.0
DIRECTORY_SECONDS = 10.0
MOST_KNOWN = 5


def join_room(
    token: AccessToken, request: JoinRequest, via: Sequence[str] = (), *, txn_id: str | None = None
) -> RoomId:
    """Join the room that an ID or alias names, once for each `txn_id`, and return its ID.

    `via` are servers that the client knows to be in it. Raises UnknownToken, NotFound, Forbidden,
    LimitExceeded, GatewayTimeout if the join takes longer than the request, and the errors of other servers.
    """
    named = request.room_id_or_alias
    if is_elsewhere(named):
        authenticate(token)
        rate_limits.check("remote_question", token.user_id)
        room_id, servers = find_alias(named)
        request, via = replace(request, room_id_or_alias=room_id), [*via, *servers]
    try:
        return joining.join_room(token, request, txn_id=txn_id)
    except NotFound:
        room_id = joining.resolve(request.room_id_or_alias)
        if not (servers := servers_for(token.user_id, room_id, via)):
            raise
    except Forbidden:
        room_id = joining.resolve(request.room_id_or_alias)
        servers = _who_may_vouch(token.user_id, room_id)
        if not servers:
            raise
    return join_elsewhere(token.user_id, room_id, servers, request)


def is_elsewhere(room_id_or_alias: str) -> bool:
    """Return whether the text is an alias of another server."""
    if not is_valid_room_alias(room_id_or_alias):
        return False
    return parse_room_alias(room_id_or_alias).server_name != settings().server_name


def find_alias(alias: str) -> tuple[RoomId, list[ServerName]]:
    """Return the room that an alias of another server points to, and servers that are in it.

    Raises NotFound, Forbidden, BadGateway.
    """
    server = parse_room_alias(alias).server_name
    path = client.path("_matrix", "federation", "v1", "query", "directory")
    try:
        answer = client.request(
            server, "GET", path, query={"room_alias": alias}, seconds=DIRECTORY_SECONDS, for_user=True
        )
    except Refused as error:
        if error.status == 404:
            raise NotFound(f"There is no room with the alias {alias}") from error
        raise passed_on(error) from error
    except RequestFailed as error:
        raise passed_on(error) from error
    room_id, servers = answer.get("room_id"), answer.get("servers")
    if not isinstance(room_id, str) or not is_valid_room_id(room_id):
        raise NotFound(f"{server} does not know what room the alias points to")
    known = [each for each in servers if isinstance(each, str)] if isinstance(servers, list) else []
    return room_id, handshakes.candidates(RoomId(""), known, [server])


def servers_for(user_id: UserId, room_id: RoomId, via: Sequence[str] = ()) -> list[ServerName]:
    """Return the servers that may help a user to join or leave a room, the likeliest first.

    They are those that the client named, the server of the user who sent the invite, those that were in the
    room when this server was, and the one in the room's ID.
    """
    row = memberships.read_membership(user_id, room_id)
    invited_by: list[str] = []
    if row is not None and row.membership in ("invite", "knock"):
        invited_by = [server_of(row.sender), *row.via]
    known: list[ServerName] = []
    try:
        head = Room.load(room_id).head
        counts = member_index.read_servers(head)
        known = sorted(counts, key=lambda server: -counts[server])[:MOST_KNOWN]
    except NotFound:
        pass
    return handshakes.candidates(room_id, via, invited_by, known)


def join_elsewhere(
    user_id: UserId,
    room_id: RoomId,
    servers: Sequence[ServerName],
    request: JoinRequest,
    *,
    afresh: bool = False,
) -> RoomId:
    """Join a room through other servers, and return its ID. Raises what `join_room` raises.

    A user's concurrent joins are limited in number and in time, because each occupies a worker. With
    `afresh`, the state in the other server's answer replaces the state known here.
    """
    for server in servers:
        if policy.is_allowed(server):
            break
    else:
        policy.require_allowed(servers[0])
    signed = request.third_party_signed
    more = {"third_party_invite": {"signed": dict(signed)}} if signed is not None else {}
    content = member_content(user_id, "join", reason=request.reason, **more)
    content |= {name: value for name, value in request.custom.items() if name not in OURS}
    limit_size(content, "A membership", MAX_MEMBER_BYTES)
    allowed = [server for server in servers if policy.is_allowed(server)]
    job = Job(user_id, room_id, allowed, content, afresh=afresh)
    taken_ms = rate_limits.check("remote_join", user_id)
    try:
        time_ms = turns.take_time(user_id)
    except LimitExceeded:
        rate_limits.give_back("remote_join", user_id, taken_ms)
        raise
    if join_jobs.begin(job, taken_ms):
        queues.send(QUEUE, {"user_id": user_id, "room_id": room_id})
    else:
        turns.give_back(user_id, time_ms)
        rate_limits.give_back("remote_join", user_id, taken_ms)
    return _wait(job)


def _wait(job: Job) -> RoomId:
    """Wait for a job's outcome. Raises the job's error, or GatewayTimeout if it isn't finished in time."""
    deadline, pause = time.monotonic() + WAIT_SECONDS, 0.1
    while True:
        found = join_jobs.read(job.user_id, job.room_id)
        if found is not None and found.outcome == "joined":
            return job.room_id
        if found is not None and found.outcome:
            raise _failure(found)
        if time.monotonic() + pause > deadline:
            raise GatewayTimeout("The join takes longer and continues; the room will appear when it is done")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _failure(job: Job) -> MatrixError:
    failure = job.error or {}
    body = dict(failure.get("body", {}))
    errcode, message = body.pop("errcode", "M_UNKNOWN"), body.pop("error", "The room could not be joined")
    return Refusal(failure.get("status", 500), errcode, message, **body)


def _who_may_vouch(user_id: UserId, room_id: RoomId) -> list[ServerName]:
    """Return servers whose users may authorise the join of a restricted room, if no local user can."""
    try:
        room = Room.load(room_id)
    except NotFound:
        return []
    if not room.head.federated or not room.head.is_resident:
        return []
    state = room.events([JOIN_RULES_KEY, (MEMBER, user_id)])
    rules, member = state.get(JOIN_RULES_KEY), state.get((MEMBER, user_id))
    if rules is None or rules.content.get("join_rule") not in ("restricted", "knock_restricted"):
        return []
    if member is not None and member.membership == "ban":
        return []
    if not is_in_any(user_id, allowed_rooms(rules.content.get("allow"))):
        return []
    return servers_for(user_id, room_id)
