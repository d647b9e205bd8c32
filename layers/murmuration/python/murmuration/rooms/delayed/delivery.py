"""Sending delayed events: exactly once, authorised by the room's state at that time.

The transaction that adds the event to the room also ends the delayed event. So a second attempt to send it
fails, and so does an attempt after it was cancelled or restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.aws.reads import Batch, fetch
from murmuration.clock import now_ms
from murmuration.identity import moderation
from murmuration.identity.authentication import requester_of
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import MatrixError, Unknown
from murmuration.protocol.event_types import REDACTION
from murmuration.protocol.identifiers import EventId, RoomId
from murmuration.rooms.delayed.orders import order
from murmuration.rooms.opening import unknown_room
from murmuration.rooms.room import Room
from murmuration.rooms.writing import sending
from murmuration.rooms.writing.append import Draft
from murmuration.storage.rooms import room_items
from murmuration.storage.users import accounts
from murmuration.storage.users import delayed_events as storage
from murmuration.storage.users.delayed_events import DELAYED, DelayedEvent, Outcome, delayed_read

if TYPE_CHECKING:
    from murmuration.aws.queues import MessageBody
    from murmuration.storage.json_types import AccountItem, DeviceItem, OwnerFlags

RETRIED_MS = 7 * 86_400_000
"""How long the server keeps trying to send an event after its time, if sending fails."""
WATCHED_AT_ONCE = 100
LOOK_MS = 15_000
"""How long one run looks for overdue events; the next run continues."""


class Ended(Exception):
    """Another request ended or restarted the delayed event meanwhile."""


@dataclass(slots=True)
class Delivery:
    """Ends a delayed event in the transaction that sends it (`rooms.writing.transactions.Once`).

    With `unless_restarted` the event isn't sent if it was restarted since it was read.
    """

    event: DelayedEvent
    unless_restarted: bool = False
    _written: str = field(default="", init=False)

    def mark(self, draft: Draft) -> Draft:
        """Return the draft with the delay ID, which only the sender's clients see."""
        return replace(draft, delay_id=self.event.delay_id)

    def writes(self, event_id: EventId) -> list[Write]:
        """Return the writes that end the delayed event as sent."""
        self._written = event_id
        outcome = Outcome(now_ms(), event_id=event_id)
        return storage.finalise_writes(self.event, outcome, unless_restarted=self.unless_restarted)

    def settle(self, send: Callable[[], EventId]) -> EventId:
        """Send the event and return its ID, or return the ID with which it was sent before.

        If the room already has this state, no event is added, and a separate write ends the delayed event.
        Raises Ended if it was cancelled or restarted, and what `send` raises.
        """
        try:
            event_id = send()
            if event_id != self._written:
                dynamodb.transact(self.writes(event_id))
        except ConditionFailed as error:
            if not error.refused(DELAYED):
                raise
            if (earlier := self.earlier()) is not None:
                return earlier
            raise Ended from error
        return event_id

    def earlier(self) -> EventId | None:
        """Return the ID of the event that this delayed event was sent as; None if it wasn't sent."""
        now = fetch(delayed_read(self.event.delay_id))
        return now.outcome.event_id if now is not None and now.outcome is not None else None


def send_now(event: DelayedEvent, *, unless_restarted: bool = False) -> EventId:
    """Send a scheduled event now, and return the new event's ID.

    Raises Ended, and what the ordinary endpoints for sending raise; in the latter case the event stays
    scheduled.
    """
    device = fetch(accounts.device_read(accounts.device_key(event.user_id, event.device_id)))
    sender = _sender(event, device)
    if sender is None:
        raise Ended
    return _send(event, sender, unless_restarted=unless_restarted)


def deliver(message: MessageBody) -> None:
    """Handle a message of the queue: send a delayed event that is due.

    If it isn't due yet, order it again. An error of the room or of a rate limit becomes the event's outcome.
    After a temporary failure SQS delivers the message again.
    """
    batch = Batch()
    found = batch.add(delayed_read(message["delay_id"]))
    device = batch.add(accounts.device_read(accounts.device_key(message["user_id"], message["device_id"])))
    batch.fetch()
    event = found.value
    if event is None or event.outcome is not None:
        return
    if event.due_ms > now_ms():
        order(event)
    elif (sender := _sender(event, device.value)) is None:
        storage.finalise(event, Outcome(now_ms()))
    else:
        _send_due(event, sender)


def look_after() -> None:
    """Order again the events that are long overdue, because their messages were lost."""
    started_ms = now_ms()
    while now_ms() - started_ms < LOOK_MS:
        page = storage.read_watched(WATCHED_AT_ONCE)
        _look_after(page.events)
        if not page.more:
            return


def _look_after(events: Sequence[DelayedEvent]) -> None:
    for event in events:
        late_ms = now_ms() - event.due_ms
        if late_ms >= RETRIED_MS:
            storage.finalise(event, Outcome(now_ms(), error=Unknown("The event could not be sent").body()))
            continue
        if late_ms >= storage.GRACE_MS:
            order(event)
        storage.watch_again(event)


def _sender(event: DelayedEvent, device: DeviceItem | None) -> DeviceItem | AccountItem | None:
    """Return the item of the event's device; if the user has logged out there, that of the account.

    None if the account is deactivated.
    """
    if device is not None:
        return device
    account = accounts.read_account(event.user_id)
    return None if account is None or "deactivated_ms" in account else account


def _send_due(event: DelayedEvent, sender: OwnerFlags) -> None:
    try:
        _send(event, sender, unless_restarted=True)
    except Ended:
        now = fetch(delayed_read(event.delay_id))
        if now is not None and now.outcome is None:
            order(now)
    except MatrixError as error:
        if error.status >= 500:
            raise
        storage.finalise(event, Outcome(now_ms(), error=error.body()), unless_restarted=True)


def _send(event: DelayedEvent, sender: OwnerFlags, *, unless_restarted: bool) -> EventId:
    requester = _requester(event, sender)
    once = Delivery(event, unless_restarted)
    content = event.content
    if event.state_key is not None:
        state_key = event.state_key
        return once.settle(
            lambda: sending.set_state(requester, event.room_id, event.type, state_key, content, once=once)
        )
    if event.type == REDACTION and isinstance(content.get("redacts"), str):
        return sending.redact_event(requester, event.room_id, content["redacts"], "", content, once=once)
    taking = Taking("message", event.user_id)
    draft = Draft(event.type, event.user_id, content)
    return sending.append_message(_open(event.room_id, taking), draft, once, taking)


def _open(room_id: RoomId, taking: Taking) -> Room:
    batch = Batch()
    head = batch.add(room_items.head_read(room_id))
    if taking.read is not None:
        batch.add(taking.read)
    batch.fetch()
    if head.value is None:
        raise unknown_room(room_id)
    return Room(head.value)


def _requester(event: DelayedEvent, sender: OwnerFlags) -> Requester:
    """Return the event's user as a requester. Raises UserLocked, UserSuspended."""
    with moderation.refusing_suspended():
        moderation.check_device(sender)
    return requester_of(event.user_id, event.device_id, sender)
