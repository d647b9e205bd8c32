"""Sending messages, state and redactions.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.errors import (
    BadAlias,
    BadJson,
    DuplicateAnnotation,
    Forbidden,
    InvalidParam,
    NotFound,
    UserSuspended,
)
from murmuration.protocol.event_types import (
    CALL_INVITE,
    CANONICAL_ALIAS,
    CREATE,
    JOIN_RULES_KEY,
    MEMBER,
    REDACTION,
    SERVER_ACL,
)
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, UserId, is_valid_room_alias
from murmuration.rooms.membership.operations import set_membership
from murmuration.rooms.opening import open_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing import transactions
from murmuration.rooms.writing.append import Append, Draft, append, append_known
from murmuration.rooms.writing.content_checks import check_content
from murmuration.rooms.writing.redactions import REDACTION_STATE, has_power, takes_effect
from murmuration.rooms.writing.relation_checks import check_relation
from murmuration.rooms.writing.transactions import Once
from murmuration.storage.rooms import directory, event_store, room_items
from murmuration.storage.rooms.room_items import LogEntry

LASTING = (CREATE, SERVER_ACL)
"""Types whose redaction would break the room: it would change its version, or exclude every server."""


def send_message(
    token: AccessToken, room_id: RoomId, event_type: str, txn_id: str, content: Content
) -> EventId:
    """Send a message event and return its ID, which is the same for each repetition of `txn_id`.

    Two round trips in a warm process: the token together with the room, then the write. Raises UnknownToken,
    Forbidden, MissingParam for a redaction that names no event, BadJson, TooLarge, LimitExceeded.
    """
    if event_type == REDACTION:
        redacted = EventId(Fields(content).string("redacts"))
        requester, _ = open_room(token, room_id)
        sending = transactions.Claim("send", requester, room_id, txn_id, event_type)
        return redact_event(requester, room_id, redacted, txn_id, content, once=sending)
    taking = Taking("message", token.user_id)
    requester, room = open_room(token, room_id, taking)
    claim = transactions.Claim("send", requester, room.room_id, txn_id, event_type)
    return append_message(room, Draft(event_type, requester.user_id, content), claim, taking)


def append_message(room: Room, draft: Draft, once: Once, taking: Taking) -> EventId:
    """Send a message event other than a redaction, and return its ID. Raises what `send_message` raises."""

    check_content(draft.type, draft.content, is_state=False)

    def plan(batch: Append) -> EventId:
        check_relation(batch, draft)
        check_call(batch, draft)
        event = batch.add(once.mark(draft))
        batch.writes = [*once.writes(event.event_id), *taking.writes()]
        return event.event_id

    def send() -> EventId:
        return taking.settle(lambda: append(room.room_id, plan, room=room))

    try:
        return once.settle(send)
    except DuplicateAnnotation:
        if (earlier := once.earlier()) is not None:
            return earlier
        raise


def set_state(
    requester: Requester,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    content: Content,
    *,
    once: Once | None = None,
) -> EventId:
    """Set a piece of state and return the event's ID; the current event's ID if nothing changes.

    The event is sent once for `once`. Raises Forbidden, BadJson, InvalidParam, TooLarge, BadAlias.
    """
    sender = requester.user_id
    check_state_type(event_type)
    rate_limits.check("message", sender)
    if event_type == MEMBER:
        return set_membership(sender, room_id, UserId(state_key), content, once=once).event_id
    check_content(event_type, content, is_state=True)

    def plan(batch: Append) -> EventId:
        current = batch.state([(event_type, state_key)])
        if event_type == CANONICAL_ALIAS:
            check_canonical_alias(room_id, content, current.get((event_type, state_key)))
        same, draft = current.get((event_type, state_key)), Draft(event_type, sender, content, state_key)
        if same is not None and same.content == content:
            batch.check(draft)
            return same.event_id
        event = batch.add(once.mark(draft) if once else draft)
        batch.writes = once.writes(event.event_id) if once else []
        return event.event_id

    return append_known(room_id, plan)


def check_state_type(event_type: str) -> None:
    """Raise InvalidParam for a redaction as state: clients would apply it, though no server checks it."""
    if event_type == REDACTION:
        raise InvalidParam("A redaction can't be a state event")


def check_call(batch: Append, draft: Draft) -> None:
    """Raise Forbidden for a call to everybody in a public room, as Synapse does: anybody may come in and
    make hundreds of phones ring.
    """
    if draft.type != CALL_INVITE:
        return
    rules = batch.state([JOIN_RULES_KEY]).get(JOIN_RULES_KEY)
    if rules is not None and rules.content.get("join_rule") == "public":
        raise Forbidden("Nobody may be called in a public room")


def check_canonical_alias(room_id: RoomId, content: Content, current: Event | None) -> None:
    """Raise BadAlias if a newly added alias doesn't point to the room; also raises BadJson, InvalidParam.

    The aliases of `current` may have any form, because not every server checks them.
    https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
    """
    before: list[object] = []
    if current is not None:
        alternatives = current.content.get("alt_aliases")
        before = [current.content.get("alias"), *(alternatives if isinstance(alternatives, list) else ())]
    for alias in named_aliases(content):
        if alias in before:
            continue
        if not isinstance(alias, str) or not is_valid_room_alias(alias):
            raise InvalidParam(f"{str(alias)[:80]!r} is not a room alias")
        found = directory.read_alias(alias)
        if found is None or found["room_id"] != room_id:
            raise BadAlias(f"The alias {alias} does not point to this room")


def named_aliases(content: Content) -> list[object]:
    """Return the aliases in the content of an m.room.canonical_alias; null and an empty `alias` mean none.

    They may be of any type. Raises BadJson if `alt_aliases` is no list.
    """
    main, alternatives = content.get("alias"), content.get("alt_aliases")
    if not isinstance(alternatives, list | None):
        raise BadJson("alt_aliases must be a list of aliases")
    return [*([] if main is None or main == "" else [main]), *(alternatives or [])]


def redact_event(
    requester: Requester,
    room_id: RoomId,
    event_id: EventId,
    txn_id: str,
    content: Content,
    *,
    once: Once | None = None,
) -> EventId:
    """Redact an event and return the redaction's ID, the same for each repetition of `txn_id` or for `once`.

    Raises NotFound for an unknown event, BadJson for a reason that isn't text, Forbidden, UserSuspended,
    LimitExceeded.
    """
    if not isinstance(content.get("reason"), str | None):
        raise BadJson("reason must be a string")
    rate_limits.check("redaction", requester.user_id)
    once = once or transactions.Claim("redact", requester, room_id, txn_id, event_id)

    def plan(batch: Append) -> EventId:
        sender = requester.user_id
        draft = Draft(REDACTION, sender, {**content}, redacts=event_id)
        redaction = batch.add(once.mark(draft))
        target = _target(batch, event_id)
        if requester.is_suspended and target.event.sender != requester.user_id:
            raise UserSuspended("This account is suspended: it can redact its own events only")
        if target.event.type in LASTING:
            raise Forbidden(f"{target.event.type} can't be redacted: the room would be broken")
        if not may_redact(batch, requester, redaction, target.event):
            raise Forbidden("You may not redact this event")
        batch.redact(target, redaction)
        batch.writes = once.writes(redaction.event_id)
        return redaction.event_id

    return once.settle(lambda: append_known(room_id, plan))


def _target(batch: Append, event_id: EventId) -> LogEntry:
    ordinal = event_store.read_ordinals([event_id], batch.room_id).get(event_id)
    if ordinal is None:
        raise NotFound("There is no such event in this room")
    versions = {batch.room_id: batch.version}
    entries = room_items.read_log_entries([(batch.room_id, ordinal)], versions)
    if not entries:
        raise NotFound("There is no such event in this room")
    return entries[0]


def may_redact(batch: Append, requester: Requester, redaction: Event, target: Event) -> bool:
    """Return whether the requester may redact an event: their own, by power level, or as a server
    administrator.

    The auth rules would let any users of one server redact each other's events; this server doesn't allow
    that.
    """
    state = batch.state(REDACTION_STATE)
    if target.sender == requester.user_id or requester.is_admin:
        return takes_effect(redaction, target, state)
    return has_power(redaction, state)
