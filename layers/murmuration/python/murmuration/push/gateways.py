"""Calls of push gateways, which the queue `gateway-pushes` orders.

A failing gateway is tried again after growing pauses, for a day. New notes wait meanwhile, and don't shorten
the pause. If a gateway rejects a push key, the pusher is removed. Everything may happen twice: gateways
recognise an event by its ID. https://spec.matrix.org/v1.19/push-gateway-api/
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration import outbound
from murmuration.aws import queues
from murmuration.aws.reads import Batch, fetch
from murmuration.clock import now_ms
from murmuration.identity import budgets
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import CANONICAL_ALIAS_KEY, MEMBER, NAME_KEY
from murmuration.protocol.events import Event
from murmuration.push import outside_invites
from murmuration.push.ordering import QUEUE
from murmuration.push.pushers import check_gateway
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.live.receipts import read_own
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_heads import RoomHead
from murmuration.storage.users import accounts, failing_pushers, memberships, pushers, unread
from murmuration.storage.users.failing_pushers import Failing, failing_read
from murmuration.storage.users.memberships import Membership
from murmuration.storage.users.pushers import Pusher

if TYPE_CHECKING:
    from murmuration.aws.queues import MessageBody
    from murmuration.protocol.encoding.shapes import JsonDict, JsonObject
    from murmuration.protocol.identifiers import EventId, RoomId, UserId
    from murmuration.push.json_types import Reading
    from murmuration.storage.json_types import EventNote, InviteNote, Note

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5_000, 3_600_000
LONGEST_DELAY_S = 900
"""The longest delay of a message in SQS."""
ATTEMPTS = 5
SECONDS = 5.0
"""The time limit for a gateway's answer."""
SLOW_S = 2.0
RESTS = 20
"""A gateway that took longer than this isn't called again for this many times the time that it took."""
MEMORY_GB = 0.5
CORRECTIONS = 3
"""How often the number of unread events is sent again at most after a call."""
COUNTS_ONLY: Note = {"counts": True}
"""A note that has only the number of unread events."""


def deliver(message: MessageBody) -> None:
    """Handle a message of the queue: a push, a lower unread count, or another attempt."""
    user_id = message["user_id"]
    if "note" in message:
        note: EventNote | InviteNote = message["note"]
        if "invite" in note:
            _notify_of_invite(user_id, note)
        else:
            _notify(user_id, note)
    elif "read" in message:
        read: Reading = message["read"]
        _note_reading(user_id, read["room_id"], read["up_to"], read.get("gone"))
    else:
        _retry(user_id, message["retry"], int(message["failures"]))


def _notify(user_id: UserId, note: EventNote) -> None:
    """Notify all pushers of an event, unless the user has read it meanwhile.

    The event is counted as unread before the receipts are read, and a receipt is written before the unread
    events are looked up. So of two concurrent ones, at least one sees the other.
    """
    found = pushers.read_pushers(user_id).pushers
    if not found:
        unread.forget(user_id)
        return
    room_id, ordinal, thread = note["room_id"], int(note["ordinal"]), note["thread"]
    unread.add(user_id, room_id, ordinal, thread)
    receipts = read_own(user_id, room_id, [None, thread])
    if any(ordinal <= receipt.ordinal for receipt in receipts):
        unread.mark_read(user_id, room_id, {thread: ordinal})
        return
    for pusher in found:
        _tell(user_id, pusher, note)


def _notify_of_invite(user_id: UserId, note: InviteNote) -> None:
    """Notify all pushers of an invite to a room that this server isn't in, unless it has ended meanwhile.

    The invite is counted before its row is read. Whatever ends it orders a lower count after that, so none is
    left.
    """
    found = pushers.read_pushers(user_id).pushers
    if not found:
        unread.forget(user_id)
        return
    unread.add(user_id, note["room_id"], outside_invites.BEFORE_ALL, "")
    if _invite(user_id, note) is None:
        unread.mark_read(user_id, note["room_id"], {"": outside_invites.BEFORE_ALL})
        return
    for pusher in found:
        _tell(user_id, pusher, note)


def _invite(user_id: UserId, note: InviteNote) -> Membership | None:
    """Return the row of an invite; None if it is over."""
    row = memberships.read_membership(user_id, note["room_id"])
    return row if row is not None and row.event_id == note["invite"] else None


def _note_reading(user_id: UserId, room_id: RoomId, up_to: Mapping[str, int], gone: int | None) -> None:
    if gone is not None and _entry(room_id, gone)[1] is not None:
        gone = None  # the sender of the redaction wasn't allowed to send it
    _, changed = unread.mark_read(user_id, room_id, up_to, gone=gone)
    if changed:
        for pusher in pushers.read_pushers(user_id).pushers:
            _tell(user_id, pusher, COUNTS_ONLY)


def _retry(user_id: UserId, digest: str, failures: int) -> None:
    """Try a failing gateway again if it is due. Of several such messages only one has an effect."""
    pusher = next((each for each in pushers.read_pushers(user_id).pushers if each.digest == digest), None)
    failing = fetch(failing_read(user_id, digest))
    if pusher is None or failing is None or failing.failures != failures:
        return
    if failing.retry_at_ms > now_ms():
        _order_retry(user_id, digest, failing)
    else:
        _attempt(user_id, pusher, failing, failing.pending)


def _tell(user_id: UserId, pusher: Pusher, note: Note) -> None:
    """Send a note to a pusher's gateway, or store it for the next attempt while the gateway fails."""
    failing = fetch(failing_read(user_id, pusher.digest))
    for _ in range(ATTEMPTS):
        if failing is None or failing.retry_at_ms <= now_ms():
            break
        if failing_pushers.store(user_id, pusher.digest, failing.with_pending([note])):
            return
        failing = fetch(failing_read(user_id, pusher.digest))
    _attempt(user_id, pusher, failing, [*(failing.pending if failing else ()), note])


def _attempt(user_id: UserId, pusher: Pusher, failing: Failing | None, notes: Sequence[Note]) -> None:
    """Send these notes to a gateway in order, and record the result.

    Calls of several workers overtake each other, and a phone shows the number that came last. So the number
    of unread events is read again after the call, and sent again if it has changed.
    """
    to_tell = list(notes)
    for number, note in enumerate(to_tell):
        started_ms = now_ms()
        answer = _call(user_id, pusher, note)
        if answer.failed:
            _note_failure(user_id, pusher, failing, to_tell[number:], answer.retry_after_ms)
            return
        if answer.rest_ms and not answer.rejected:
            _rest(user_id, pusher, failing, to_tell[number + 1 :], answer.rest_ms)
            return
        if answer.rejected:
            pushers.remove_pushers(user_id, [pusher.pair], made_before_ms=started_ms)
            break
        is_last = number == len(to_tell) - 1 and number < len(notes) + CORRECTIONS
        if is_last and answer.told is not None and answer.told != unread.read_total(user_id):
            to_tell.append(COUNTS_ONLY)
    if failing is not None and not failing_pushers.clear(user_id, pusher.digest, failing.revision):
        # Further notes were stored meanwhile: only these are sent now.
        now = fetch(failing_read(user_id, pusher.digest))
        if now is not None:
            _attempt(user_id, pusher, now, [each for each in now.pending if each not in notes])


def _note_failure(
    user_id: UserId,
    pusher: Pusher,
    failing: Failing | None,
    notes: Sequence[Note],
    retry_after_ms: int,
) -> None:
    """Record a failed attempt and order the next one."""
    now = now_ms()
    failures = failing.failures + 1 if failing else 1
    pause = min(LONGEST_PAUSE_MS, max(retry_after_ms, FIRST_PAUSE_MS << min(failures - 1, 12)))
    since, revision = (failing.since_ms, failing.revision) if failing else (now, 0)
    _pause(user_id, pusher, Failing(since, failures, now + pause, (), revision), notes)


def _rest(
    user_id: UserId, pusher: Pusher, failing: Failing | None, notes: Sequence[Note], rest_ms: int
) -> None:
    """Stop calling a slow gateway for a while, so that it doesn't occupy workers. Further notes are stored
    meanwhile.

    Afterwards the number of unread events is sent in any case.
    """
    now, revision = now_ms(), failing.revision if failing else 0
    resting = Failing(now, 1, now + rest_ms, (), revision)
    _pause(user_id, pusher, resting, [*notes, COUNTS_ONLY])


def _pause(user_id: UserId, pusher: Pusher, pausing: Failing, notes: Sequence[Note]) -> None:
    """Store until when a gateway isn't called, and order the next attempt.

    If another worker has stored something meanwhile, only the notes are added to it.
    """
    noted = pausing.with_pending(notes)
    if failing_pushers.store(user_id, pusher.digest, noted):
        _order_retry(user_id, pusher.digest, noted)
        return
    for _ in range(ATTEMPTS):
        other = fetch(failing_read(user_id, pusher.digest))
        if other is None:
            return
        if failing_pushers.store(user_id, pusher.digest, other.with_pending(notes)):
            return


def _order_retry(user_id: UserId, digest: str, failing: Failing) -> None:
    delay_s = min(LONGEST_DELAY_S, max(1, -(-(failing.retry_at_ms - now_ms()) // 1000)))
    body = {"user_id": user_id, "retry": digest, "failures": failing.failures}
    queues.send_later(QUEUE, body, delay_s)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The result of a call: whether it failed or the push key is rejected, and when the gateway wants to be
    called again.

    `told` is the number of unread events that it was sent; None if it was sent none. A gateway that answers
    slowly isn't called for `rest_ms`.
    """

    failed: bool = False
    rejected: bool = False
    retry_after_ms: int = 0
    told: int | None = None
    rest_ms: int = 0


def _call(user_id: UserId, pusher: Pusher, note: Note) -> _Answer:
    """Call the gateway. A note about an event that was redacted counts as sent."""
    content = _content(user_id, pusher, note)
    if content is None:
        return _Answer()
    url, began_s = pusher.data["url"], time.monotonic()
    try:
        check_gateway(url)
        answer = outbound.post_json(
            url, {"notification": content}, private=settings().push_private_gateways, seconds=SECONDS
        )
        if not 200 <= answer.status < 300:
            return _Answer(failed=True, retry_after_ms=answer.retry_after_ms)
        rejected = answer.json_object().get("rejected", [])
    except (MatrixError, outbound.OutboundError):
        return _Answer(failed=True)
    finally:
        took_s = time.monotonic() - began_s
        budgets.charge(user_id, took_s * MEMORY_GB * budgets.GB_SECOND)
    return _Answer(
        rejected=isinstance(rejected, list) and pusher.pushkey in rejected,
        told=content["counts"].get("unread", 0),
        rest_ms=int(took_s * 1000) * RESTS if took_s > SLOW_S else 0,
    )


def _content(user_id: UserId, pusher: Pusher, note: Note) -> JsonObject | None:
    """Return the body for a gateway; None if the event can't be shown any more, or the account is locked.

    A user locks their account if their phone is stolen: such a phone gets only the number of unread events.
    """
    batch = Batch()
    is_locked = batch.add(accounts.is_locked_read(user_id))
    places = batch.add(unread.unread_read(user_id))
    batch.fetch()
    count = unread.total(places.value[0])
    counts = {"unread": count} if count or "counts" in note else {}
    device = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.made_ms // 1000,
        "data": {name: value for name, value in pusher.data.items() if name != "url"},
    }
    if "counts" in note:
        return {"counts": counts, "devices": [device], "prio": "low"}
    if is_locked.value:
        return None
    is_short = pusher.data.get("format") == "event_id_only"
    # the tweaks reveal what the event is
    told_to = device if is_short else {**device, "tweaks": note["tweaks"]}
    if "invite" in note:
        row = _invite(user_id, note)
        if row is None:
            return None
        more = {} if is_short else outside_invites.details(row)
        return _about(note, row.event_id, row.room_id, counts, told_to) | more
    head, event = _entry(note["room_id"], int(note["ordinal"]))
    if head is None or event is None:
        # The event was counted before this read. A redaction looks at the counted events after it is written.
        unread.mark_read(user_id, note["room_id"], {}, gone=int(note["ordinal"]))
        return None
    told = _about(note, event.event_id, event.room_id, counts, told_to)
    return told if is_short else told | _details(user_id, Room(head), event)


def _entry(room_id: RoomId, ordinal: int) -> tuple[RoomHead | None, Event | None]:
    """Return a room's head and the event at an ordinal; None for an event that was redacted or
    doesn't exist.
    """
    head = room_items.read_head(room_id)
    if head is None:
        return None, None
    entries = room_items.read_log_entries([(head.room_id, ordinal)], {head.room_id: head.version})
    is_there = bool(entries) and entries[0].redacted_because is None
    return head, entries[0].event if is_there else None


def _about(
    note: EventNote | InviteNote, event_id: EventId, room_id: RoomId, counts: JsonObject, device: JsonObject
) -> JsonDict:
    """Return the part of a notification that doesn't depend on the pusher's format."""
    return {
        "event_id": event_id,
        "room_id": room_id,
        "counts": counts,
        "prio": note["prio"],
        "devices": [device],
    }


def _details(user_id: UserId, room: Room, event: Event) -> JsonDict:
    """Return the details of an event and its room for a gateway."""
    name, alias = NAME_KEY, CANONICAL_ALIAS_KEY
    member = (MEMBER, event.sender)
    state = room.events([name, alias, member])
    texts = {
        "sender_display_name": state[member].content.get("displayname") if member in state else None,
        "room_name": state[name].content.get("name") if name in state else None,
        "room_alias": state[alias].content.get("alias") if alias in state else None,
    }
    is_target = event.type == MEMBER and event.state_key == user_id
    return {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        **{key: text for key, text in texts.items() if isinstance(text, str) and text},
        **({"user_is_target": True} if is_target else {}),
    }
