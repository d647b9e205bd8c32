"""Changes of membership: join, invite, knock, leave, kick, ban, unban, forget.

With a `claim` a change is made once for its transaction ID, which the sender's clients see.
https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from murmuration.aws import concurrency, dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import Body, Content
from murmuration.protocol.errors import (
    BadState,
    Forbidden,
    InvalidParam,
    MatrixError,
    NotFound,
    Unknown,
)
from murmuration.protocol.event_types import (
    CREATE,
    CREATE_KEY,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEMBER,
    POLICY,
    POWER_LEVELS,
)
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, UserId, parse_user_id
from murmuration.rooms.membership import invitees
from murmuration.rooms.membership.member_content import member_content
from murmuration.rooms.membership.restricted_joins import authorising_user
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append, append_known
from murmuration.rooms.writing.content_checks import check_profile
from murmuration.rooms.writing.transactions import Claim, Once
from murmuration.storage.users import memberships, profiles
from murmuration.storage.users.profiles import read_member_fields

if TYPE_CHECKING:
    from murmuration.storage.users.profiles import ProfileFields

T = TypeVar("T")
AUTHORISER = "join_authorised_via_users_server"
OURS = ("membership", "reason", "third_party_invite", AUTHORISER)
"""Keys of a member event that the body of a join may not set freely."""
JOIN_STATE = [
    (event_type, "")
    for event_type in (
        CREATE,
        JOIN_RULES,
        POWER_LEVELS,
        HISTORY_VISIBILITY,
        POLICY,
    )
]
"""The state that decides whether and how a user may join."""


def join_room(
    user_id: UserId,
    room_id: RoomId,
    *,
    profile: ProfileFields | None = None,
    room: Room | None = None,
    reason: str | None = None,
    third_party_signed: Body | None = None,
    custom: Content | None = None,
    claim: Claim | None = None,
) -> RoomId:
    """Join a room, or stay in it, and return the room ID. Raises NotFound for an unknown room, Forbidden.

    Pass `profile` and `room` to save their reads. `custom` are further keys of the member event's content.
    """
    known = profile

    def plan(batch: Append) -> None:
        nonlocal known
        batch.preload([*JOIN_STATE, (MEMBER, user_id)])
        if _membership(batch, user_id) == "join":
            return
        shown, known = known if known is not None else read_member_fields(user_id), None
        content = member_content(user_id, "join", profile=shown, reason=reason)
        content |= {name: value for name, value in (custom or {}).items() if name not in OURS}
        if third_party_signed is not None:
            content["third_party_invite"] = {"signed": dict(third_party_signed)}
        # A concurrent profile change only updates rooms already joined, so fail if the profile changed since
        # we read it.
        batch.also(profiles.unchanged_check(user_id, shown))
        batch.add(Draft(MEMBER, user_id, authorised(batch, user_id, content), user_id))
        create = batch.state([CREATE_KEY]).get(CREATE_KEY)
        if create is not None and "predecessor" in create.content:
            from murmuration.rooms.lifecycle.upgrades import follow_upgrade

            # Before the join: if a request stopped after the join, its repetition would find nothing left to
            # do.
            follow_upgrade(user_id, create)

    _once(claim, plan, lambda once: append(room_id, once, room=room))
    return room_id


def invite_user(
    sender: UserId, room_id: RoomId, user_id: UserId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Invite a user who isn't in the room. Repeating the same invite changes nothing.

    Raises Forbidden, InvalidParam, LimitExceeded.
    """
    rate_limits.check("invite", sender)
    invitees.check_invitees(sender, [user_id], elsewhere=True)
    content = member_content(user_id, "invite", reason=reason)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        if _membership(batch, user_id) == "join":
            raise Forbidden(f"{user_id} is in the room already")
        _add_unless_said(batch, sender, user_id, content)

    _once(claim, plan, lambda once: append_known(room_id, once))


def knock_on_room(user_id: UserId, room_id: RoomId, *, reason: str | None = None) -> RoomId:
    """Knock on a room, and return the room ID. Raises NotFound for an unknown room, Forbidden."""
    content = member_content(user_id, "knock", reason=reason)

    def plan(batch: Append) -> None:
        _add_unless_said(batch, user_id, user_id, content)

    append(room_id, plan)
    return room_id


def leave_room(
    user_id: UserId, room_id: RoomId, *, reason: str | None = None, claim: Claim | None = None
) -> bool | None:
    """Leave a room, reject an invite or withdraw a knock. Returns False if the user had left already.

    Returns None if the transaction ID was used before. Raises Forbidden.
    """

    def plan(batch: Append) -> bool:
        membership = _membership(batch, user_id)
        if membership is None:
            raise unknown_room(room_id)
        if membership == "leave":
            return False
        batch.add(Draft(MEMBER, user_id, _leave(reason), user_id))
        return True

    return _once(claim, plan, lambda once: append_known(room_id, once))


def reject_invite(user_id: UserId, room_id: RoomId, event_id: EventId, *, claim: Claim | None = None) -> None:
    """Reject the invite with this event ID. Raises NotFound if it isn't the user's current invite."""

    def plan(batch: Append) -> None:
        invite = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
        if invite is None or (invite.event_id, invite.membership) != (event_id, "invite"):
            raise NotFound("There is no such invite")
        batch.add(Draft(MEMBER, user_id, _leave(None), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def kick_user(
    sender: UserId, room_id: RoomId, user_id: UserId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Make a joined, invited or knocking user leave.

    Raises InvalidParam for an invalid user ID, Forbidden, LimitExceeded.
    """
    parse_user_id(user_id)
    rate_limits.check("moderation", sender)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        if _membership(batch, user_id) not in ("join", "invite", "knock"):
            raise Forbidden(f"{user_id} is not in the room")
        batch.add(Draft(MEMBER, sender, _leave(reason), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def ban_user(
    sender: UserId, room_id: RoomId, user_id: UserId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Ban a user, who needn't be in the room.

    Raises Forbidden, InvalidParam for an invalid user ID, LimitExceeded.
    """
    parse_user_id(user_id)
    rate_limits.check("moderation", sender)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        draft = Draft(MEMBER, sender, {**_leave(reason), "membership": "ban"}, user_id)
        if _membership(batch, user_id) == "ban":
            batch.check(draft)
        else:
            batch.add(draft)

    _once(claim, plan, lambda once: append_known(room_id, once))


def unban_user(
    sender: UserId, room_id: RoomId, user_id: UserId, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Lift a ban.

    Raises InvalidParam for an invalid user ID, BadState for a user who isn't banned, Forbidden,
    LimitExceeded.
    """
    parse_user_id(user_id)
    rate_limits.check("moderation", sender)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        if _membership(batch, user_id) != "ban":
            raise BadState(f"{user_id} is not banned")
        batch.add(Draft(MEMBER, sender, _leave(reason), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def forget_room(user_id: UserId, room_id: RoomId) -> None:
    """Forget a room that the user has left. Raises Unknown if they haven't.

    If the user has no membership in the room, for example because it was deleted, nothing is done.
    """
    membership = memberships.read_membership(user_id, room_id)
    if membership is None:
        return
    if membership.membership not in ("leave", "ban"):
        raise Unknown(f"You are still part of room {room_id}: leave it first")
    dynamodb.execute(memberships.forget_write(membership))


def update_profile_in_rooms(user_id: UserId, profile: Mapping[str, str]) -> None:
    """Copy a changed profile (`displayname`, `avatar_url`) into the user's member event of each room.

    After concurrent or repeated calls the rooms have the profile that was passed last. A room that refuses
    the event is skipped.
    """
    joined = [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]

    def carry(room_id: RoomId) -> None:
        def plan(batch: Append) -> None:
            event = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
            if event is None or event.membership != "join":
                return
            kept = {
                name: value
                for name, value in event.content.items()
                if name not in ("displayname", "avatar_url", "reason", "third_party_invite")
            }
            content = {**kept, **profile}
            if content != event.content:
                batch.add(Draft(MEMBER, user_id, content, user_id))

        try:
            append(room_id, plan)
        except Forbidden:
            return

    concurrency.parallel(*(functools.partial(carry, room_id) for room_id in joined))


def set_membership(
    sender: UserId, room_id: RoomId, user_id: UserId, content: Content, *, once: Once | None = None
) -> Event:
    """Change a membership through the state endpoint, and return the event.

    Returns the current event if it has the same content already. The event is sent once for `once`. Raises
    InvalidParam for an unknown membership or an invalid user ID, BadJson for a malformed profile, Forbidden.
    """
    checked = checked_content(sender, user_id, content)

    def plan(batch: Append) -> Event:
        own = authorised(batch, user_id, checked)
        event = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
        draft = Draft(MEMBER, sender, own, user_id)
        if event is not None and event.content == own:
            batch.check(draft)
            return event
        added = batch.add(once.mark(draft) if once else draft)
        batch.writes = once.writes(added.event_id) if once else []
        return added

    return append_known(room_id, plan)


def checked_content(sender: UserId, user_id: UserId, content: Content, *, new_room: bool = False) -> Content:
    """Return the content of a client's membership event, with the profile if it is the sender's own.

    A client's `join_authorised_via_users_server` is removed; `authorised` adds this server's own. Raises
    InvalidParam for an unknown membership or an invalid user ID, BadJson for a malformed profile, Forbidden
    for users that can't be invited. With `new_room`, users of other servers can't be invited.
    """
    membership = content.get("membership")
    if membership not in ("join", "invite", "knock", "leave", "ban"):
        raise InvalidParam("membership must be one of join, invite, knock, leave, ban")
    parse_user_id(user_id)
    check_profile(content)
    if membership == "invite":
        invitees.check_invitees(sender, [user_id], elsewhere=not new_room)
    given = {name: value for name, value in content.items() if name != AUTHORISER}
    return {**member_content(user_id, membership), **given} if sender == user_id else given


def authorised(batch: Append, user_id: UserId, content: Content) -> Content:
    """Return the content of a membership event; a restricted join gets the member who authorises it.

    A user who is joined already keeps the member who authorised their join.
    """
    if content["membership"] != "join":
        return dict(content)
    event = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
    if event is not None and event.membership == "join":
        authoriser = event.content.get(AUTHORISER)
    else:
        authoriser = authorising_user(batch, user_id)
    return {**content, AUTHORISER: authoriser} if authoriser else dict(content)


def _once(
    claim: Claim | None, plan: Callable[[Append], T], run: Callable[[Callable[[Append], T]], T]
) -> T | None:
    """Return what `run` returns for `plan`; None if the transaction ID was used before, and then do
    nothing.
    """
    if claim is None:
        return run(plan)

    def planned(batch: Append) -> T:
        result = plan(batch)
        claim.take(batch)
        return result

    try:
        return run(planned)
    except (ConditionFailed, MatrixError):
        # A repetition may be refused because of the first attempt: a kicked user isn't in the room any more.
        if claim.earlier() is None:
            raise
        return None


def _membership(batch: Append, user_id: UserId) -> str | None:
    event = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
    return event.membership if event else None


def _add_unless_said(batch: Append, sender: UserId, user_id: UserId, content: Content) -> None:
    """Change the user's membership, unless the same sender set this content already, in a repeated request.

    Raises Forbidden, even for a repetition, if the sender may not do it any more.
    """
    event, draft = (
        batch.state([(MEMBER, user_id)]).get((MEMBER, user_id)),
        Draft(MEMBER, sender, content, user_id),
    )
    if event is not None and (event.sender, event.content) == (sender, content):
        batch.check(draft)
    else:
        batch.add(draft)


def _require_joined(batch: Append, user_id: UserId) -> None:
    if _membership(batch, user_id) != "join":
        raise unknown_room(batch.room_id)


def _leave(reason: str | None) -> Content:
    return {"membership": "leave", **({"reason": reason} if reason is not None else {})}
