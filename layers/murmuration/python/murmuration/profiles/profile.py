"""Reading and changing profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.profiles.fields import check_key, check_size, value_from_body
from murmuration.protocol.encoding.shapes import Answer, Body
from murmuration.protocol.errors import Forbidden, NotFound, Unavailable
from murmuration.protocol.identifiers import UserId, parse_user_id
from murmuration.settings import settings
from murmuration.storage.live.streams import pause
from murmuration.storage.users import profiles, user_words
from murmuration.storage.users.profiles import MEMBER_FIELDS, member_fields, read_member_fields

if TYPE_CHECKING:
    from murmuration.storage.users.profiles import ProfileFields

ATTEMPTS = 20


def get_user_profile(user_id: UserId) -> ProfileFields:
    """Return all fields of a user's profile. Raises InvalidParam, NotFound.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
    """
    if parse_user_id(user_id).server_name != settings().server_name:
        raise NotFound("The profile was not found")
    fields = dict(profiles.read_profile(user_id).fields)
    if not fields:
        raise NotFound("The profile was not found")
    return fields


def get_profile_field(user_id: UserId, key: str) -> ProfileFields:
    """Return one field of a user's profile. Raises InvalidParam, NotFound.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
    """
    fields = get_user_profile(user_id)
    if key not in fields:
        raise NotFound("The user's profile has no such field")
    return {key: fields[key]}


def set_profile_field(
    requester: Requester, user_id: UserId, key: str, body: Body, *, propagate: bool = True
) -> Answer:
    """Set one field to the body's value. Without `propagate`, the member events in the user's rooms aren't
    changed.

    Raises Forbidden, InvalidParam, MissingParam, KeyTooLarge, ProfileTooLarge, BadJson, LimitExceeded.
    https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
    """
    _check_may_change(requester, user_id, key)
    rate_limits.check("profile", user_id)
    value = value_from_body(key, body)
    if key in MEMBER_FIELDS and not value:
        return _change(requester, key, lambda fields: _without(fields, key), propagate=propagate)
    return _change(requester, key, lambda fields: {**fields, key: value}, propagate=propagate)


def delete_profile_field(requester: Requester, user_id: UserId, key: str) -> Answer:
    """Delete one field. A missing field is not an error.

    Raises Forbidden, InvalidParam, KeyTooLarge, LimitExceeded.
    https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
    """
    _check_may_change(requester, user_id, key)
    rate_limits.check("profile", user_id)
    return _change(requester, key, lambda fields: _without(fields, key))


def _check_may_change(requester: Requester, user_id: UserId, key: str) -> None:
    requester.require_self(user_id)
    if requester.is_guest and key != "displayname":
        raise Forbidden("Guests may only change their display name")
    check_key(key)


def _without(fields: ProfileFields, key: str) -> Answer:
    return {name: value for name, value in fields.items() if name != key}


def _change(
    requester: Requester,
    key: str,
    make: Callable[[ProfileFields], ProfileFields],
    *,
    propagate: bool = True,
) -> Answer:
    fields = _store(requester.user_id, make)
    if key in MEMBER_FIELDS:
        from murmuration.presence.status import announce

        # Also if the profile has the value already: the first attempt may have stopped before all rooms were
        # told.
        if propagate:
            _carry(requester.user_id, member_fields(fields))
        announce(requester.user_id)
    return {}


def _carry(user_id: UserId, fields: ProfileFields) -> None:
    """Update the user's rooms. Repeats it if the profile changed meanwhile, because the other change may have
    reached the rooms first.
    """
    from murmuration.rooms.membership.operations import update_profile_in_rooms

    for _ in range(ATTEMPTS):
        update_profile_in_rooms(user_id, fields)
        carried, fields = fields, read_member_fields(user_id)
        if fields == carried:
            return


def _store(user_id: UserId, make: Callable[[ProfileFields], ProfileFields]) -> ProfileFields:
    for attempt in range(ATTEMPTS):
        profile = profiles.read_profile(user_id)
        fields = make(profile.fields)
        if fields == profile.fields:
            return fields
        check_size(fields)
        names = profile.fields.get("displayname"), fields.get("displayname")
        if names[0] != names[1]:
            user_words.add_words(user_id, names[1])
        try:
            dynamodb.execute(profiles.profile_write(user_id, fields, revision=profile.revision))
        except ConditionFailed:
            pause(attempt)
            continue
        if names[0] != names[1]:
            user_words.remove_words(user_id, *names)
        return fields
    raise Unavailable("The profile is being changed by many requests at once; try again")
