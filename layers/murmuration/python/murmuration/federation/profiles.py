"""Profiles for clients: local users' from the tables, others' from their servers, cached for a short time.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
"""

from __future__ import annotations

from murmuration import profiles
from murmuration.identity import rate_limits
from murmuration.profiles.fields import TEXTS, check_key, check_size
from murmuration.protocol.encoding.shapes import Answer, Content, Untrusted
from murmuration.protocol.errors import BadGateway, Forbidden, MatrixError, NotFound
from murmuration.protocol.identifiers import ServerName, UserId, parse_user_id
from murmuration.settings import settings

SECONDS = 10.0
MOST_BYTES = 131_072


def get_user_profile(user_id: UserId, address: str) -> Content:
    """Return all fields of a user's profile, for a request from this address.

    Raises InvalidParam, NotFound, Forbidden if the other server refuses, BadGateway if it can't be asked,
    LimitExceeded if this address has caused requests to many servers.
    """
    server = parse_user_id(user_id).server_name
    if server == settings().server_name or not settings().federation:
        return profiles.get_user_profile(user_id)
    fields = _remote(server, user_id, address)
    if not fields:
        raise NotFound("The profile was not found")
    return fields


def get_profile_field(user_id: UserId, key: str, address: str) -> Answer:
    """Return one field of a user's profile. Raises what `get_user_profile` does."""
    fields = get_user_profile(user_id, address)
    if key not in fields:
        raise NotFound("The user's profile has no such field")
    return {key: fields[key]}


def _remote(server: ServerName, user_id: UserId, address: str) -> Content:
    from murmuration.storage.servers import remote_profiles

    known = remote_profiles.read(user_id)
    if known is not None:
        return known
    rate_limits.check("profile_query", address)
    found = _ask(server, user_id)
    remote_profiles.write(user_id, found)
    return found


def _ask(server: ServerName, user_id: UserId) -> Content:
    """Return the other server's answer; empty for a user whom it doesn't know. Raises Forbidden,
    BadGateway.
    """
    from murmuration.federation.requests import client
    from murmuration.federation.requests.errors import Refused, RequestFailed

    try:
        answer = client.request(
            server,
            "GET",
            client.path("_matrix", "federation", "v1", "query", "profile"),
            query={"user_id": user_id},
            seconds=SECONDS,
            max_bytes=MOST_BYTES,
            for_user=True,
        )
    except Refused as error:
        if error.status == 404:
            return {}
        if error.status == 403:
            raise Forbidden("The user's server does not tell their profile") from error
        raise BadGateway("The user's server did not answer as it should") from error
    except RequestFailed as error:
        raise BadGateway("The user's server can't be asked now") from error
    return _checked(answer)


def _checked(answer: Untrusted) -> Content:
    """Return the valid fields of a profile; none if it is too large."""
    fields = {name: value for name, value in answer.items() if _is_field(name, value)}
    try:
        check_size(fields)
    except MatrixError:
        return {}
    return fields


def _is_field(name: str, value: object) -> bool:
    try:
        check_key(name)
    except MatrixError:
        return False
    return isinstance(value, str) or name not in TEXTS
