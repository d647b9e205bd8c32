"""Changes of membership: join, invite, knock, leave, kick, ban, unban, forget.

With a `claim` a change is made once for its transaction ID, and its sender is shown that again.
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
from murmuration.protocol.errors import Forbidden, InvalidParam, MatrixError, NotFound, Unknown
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
from murmuration.protocol.identifiers import parse_user_id
from murmuration.rooms.membership import invitees
from murmuration.rooms.membership.member_content import member_content
from murmuration.rooms.membership.restricted_joins import authorising_user
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append, append_known
from murmuration.rooms.writing.transactions import Claim, Once
from murmuration.storage.users import memberships, profiles
from murmuration.storage.users.profiles import read_member_fields

if TYPE_CHECKING:
    from murmuration.storage.users.profiles import ProfileFields

T = TypeVar("T")
AUTHORISER = "join_authorised_via_users_server"
OURS = ("membership", "reason", "third_party_invite", AUTHORISER)
"""Keys of a member event that a join's body doesn't choose freely."""
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
"""What decides whether and how someone may join."""


def join_room(
    user_id: str,
    room_id: str,
    *,
    profile: ProfileFields | None = None,
    room: Room | None = None,
    reason: str | None = None,
    third_party_signed: Body | None = None,
    custom: Content | None = None,
    claim: Claim | None = None,
) -> str:
    """Join a room, or stay in it; its ID. Raises NotFound for an unknown room, Forbidden.

    `profile` and `room` spare their reading. `custom` are further keys of the member event's content.
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
        # Who changes it now tells the rooms that they are in, of which this isn't one yet.
        batch.also(profiles.unchanged_check(user_id, shown))
        batch.add(Draft(MEMBER, user_id, authorised(batch, user_id, content), user_id))
        create = batch.state([CREATE_KEY]).get(CREATE_KEY)
        if create is not None and "predecessor" in create.content:
            from murmuration.rooms.lifecycle.upgrades import follow_upgrade

            # Before the join: whose request stopped after it would find nothing left to do.
            follow_upgrade(user_id, create)

    _once(claim, plan, lambda once: append(room_id, once, room=room))
    return room_id


def invite_user(
    sender: str, room_id: str, user_id: str, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Invite a user who isn't in the room; the same invite again changes nothing.

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


def knock_on_room(user_id: str, room_id: str, *, reason: str | None = None) -> str:
    """Ask to be let in; the room's ID. Raises NotFound for an unknown room, Forbidden."""
    content = member_content(user_id, "knock", reason=reason)

    def plan(batch: Append) -> None:
        _add_unless_said(batch, user_id, user_id, content)

    append(room_id, plan)
    return room_id


def leave_room(
    user_id: str, room_id: str, *, reason: str | None = None, claim: Claim | None = None
) -> bool | None:
    """Leave, reject an invite or take back a knock; one who has left stays so: False.

    None where the claim was taken before. Raises Forbidden.
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


def reject_invite(user_id: str, room_id: str, event_id: str, *, claim: Claim | None = None) -> None:
    """Reject the invite that an event is. Raises NotFound where it isn't, or isn't any more."""

    def plan(batch: Append) -> None:
        invite = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
        if invite is None or (invite.event_id, invite.membership) != (event_id, "invite"):
            raise NotFound("There is no such invite")
        batch.add(Draft(MEMBER, user_id, _leave(None), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def kick_user(
    sender: str, room_id: str, user_id: str, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Make a joined, invited or knocking user leave. Raises Forbidden, LimitExceeded."""
    rate_limits.check("moderation", sender)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        if _membership(batch, user_id) not in ("join", "invite", "knock"):
            raise Forbidden(f"{user_id} is not in the room")
        batch.add(Draft(MEMBER, sender, _leave(reason), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def ban_user(
    sender: str, room_id: str, user_id: str, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Ban a user, in the room or not. Raises Forbidden, InvalidParam for what is no user, LimitExceeded."""
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
    sender: str, room_id: str, user_id: str, *, reason: str | None = None, claim: Claim | None = None
) -> None:
    """Lift a ban. Raises Forbidden, LimitExceeded."""
    rate_limits.check("moderation", sender)

    def plan(batch: Append) -> None:
        _require_joined(batch, sender)
        if _membership(batch, user_id) != "ban":
            raise Forbidden(f"{user_id} is not banned")
        batch.add(Draft(MEMBER, sender, _leave(reason), user_id))

    _once(claim, plan, lambda once: append_known(room_id, once))


def forget_room(user_id: str, room_id: str) -> None:
    """Forget a room that the user isn't in any more. Raises Unknown while they are, NotFound."""
    membership = memberships.read_membership(user_id, room_id)
    if membership is None:
        raise NotFound(f"You have no part in room {room_id}")
    if membership.membership not in ("leave", "ban"):
        raise Unknown(f"You are still part of room {room_id}: leave it first")
    dynamodb.execute(memberships.forget_write(membership))


def update_profile_in_rooms(user_id: str, profile: Mapping[str, str]) -> None:
    """Carry a changed profile (`displayname`, `avatar_url`) into the user's member event of each room.

    Running it again, or beside itself, ends in the profile given last. A room that refuses is left out: the
    profile itself has changed.
    """
    joined = [row.room_id for row in memberships.read_memberships(user_id) if row.membership == "join"]

    def carry(room_id: str) -> None:
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
    sender: str, room_id: str, user_id: str, content: Content, *, once: Once | None = None
) -> Event:
    """Change a membership the state endpoint's way; return the event, or the current one if it says the same.

    The event is sent for `once`. Raises InvalidParam for a membership that doesn't exist and for what is no
    user, Forbidden.
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


def checked_content(sender: str, user_id: str, content: Content, *, new_room: bool = False) -> Content:
    """The content of a membership event as a client gave it, with the profile where it's their own.

    Who vouches for a join is left out: that is for this server to say (`authorised`). Raises InvalidParam for
    a membership that doesn't exist or what isn't a user, Forbidden for users that can't be invited: to a room
    that is only being made, users of other servers can't.
    """
    membership = content.get("membership")
    if membership not in ("join", "invite", "knock", "leave", "ban"):
        raise InvalidParam("membership must be one of join, invite, knock, leave, ban")
    parse_user_id(user_id)
    if membership == "invite":
        invitees.check_invitees(sender, [user_id], elsewhere=not new_room)
    given = {name: value for name, value in content.items() if name != AUTHORISER}
    return {**member_content(user_id, membership), **given} if sender == user_id else given


def authorised(batch: Append, user_id: str, content: Content) -> Content:
    """The content of a membership event, for a join with the member who vouches for it where one has to.

    A member keeps the one by whom they came in.
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
    """What `run` returns of `plan`; where the transaction ID was claimed before, nothing happens: None."""
    if claim is None:
        return run(plan)

    def planned(batch: Append) -> T:
        result = plan(batch)
        claim.take(batch)
        return result

    try:
        return run(planned)
    except (ConditionFailed, MatrixError):
        # A repetition may be refused by what it did the first time: who was kicked isn't in the room.
        if claim.earlier() is None:
            raise
        return None


def _membership(batch: Append, user_id: str) -> str | None:
    event = batch.state([(MEMBER, user_id)]).get((MEMBER, user_id))
    return event.membership if event else None


def _add_unless_said(batch: Append, sender: str, user_id: str, content: Content) -> None:
    """Change the user's membership, unless it has this content from this sender: a request was repeated.

    Raises Forbidden also for a repetition, if the sender may not do it any more.
    """
    event, draft = (
        batch.state([(MEMBER, user_id)]).get((MEMBER, user_id)),
        Draft(MEMBER, sender, content, user_id),
    )
    if event is not None and (event.sender, event.content) == (sender, content):
        batch.check(draft)
    else:
        batch.add(draft)


def _require_joined(batch: Append, user_id: str) -> None:
    if _membership(batch, user_id) != "join":
        raise unknown_room(batch.room_id)


def _leave(reason: str | None) -> Content:
    return {"membership": "leave", **({"reason": reason} if reason is not None else {})}
