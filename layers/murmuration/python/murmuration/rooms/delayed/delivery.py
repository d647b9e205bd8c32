"""Sending delayed events: exactly once, judged by the room as it is then.

The transaction that adds the event to the room also ends the delayed event. So whoever sends it a second
time, or after it was cancelled or restarted, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Write
from murmuration.aws.reads import Batch, fetch
from murmuration.clock import now_ms
from murmuration.identity import moderation
from murmuration.identity.authentication import requester_of
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import MatrixError, Unknown
from murmuration.protocol.event_types import REDACTION
from murmuration.protocol.identifiers import DeviceId, UserId
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

RETRIED_MS = 7 * 86_400_000
"""How long after its time the server still tries to send an event that it couldn't send."""
WATCHED_AT_ONCE = 100
LOOK_MS = 15_000
"""How long one run looks after events; the next goes on."""


class Ended(Exception):
    """The delayed event was ended or restarted by somebody else meanwhile."""


@dataclass(slots=True)
class Delivery:
    """What a delayed event is sent for: its end (`rooms.writing.transactions.Once`).

    With `unless_restarted` the event isn't sent if it was restarted since it was read.
    """

    event: DelayedEvent
    unless_restarted: bool = False
    _written: str = field(default="", init=False)

    def mark(self, draft: Draft) -> Draft:
        """The draft with the delay ID, which its sender will be shown."""
        return replace(draft, delay_id=self.event.delay_id)

    def writes(self, event_id: str) -> list[Write]:
        """End the delayed event, as sent."""
        self._written = event_id
        outcome = Outcome(now_ms(), event_id=event_id)
        return storage.finalise_writes(self.event, outcome, unless_restarted=self.unless_restarted)

    def settle(self, send: Callable[[], str]) -> str:
        """Send the event and return its ID, or that of the event that was sent before.

        Where the room has the same state already, no event is added; then the delayed event is ended by
        itself. Raises Ended if it ended otherwise, or was restarted, and what `send` raises.
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

    def earlier(self) -> str | None:
        """The event that this one was sent as."""
        now = fetch(delayed_read(self.event.delay_id))
        return now.outcome.event_id if now is not None and now.outcome is not None else None


def send_now(event: DelayedEvent, *, unless_restarted: bool = False) -> str:
    """Send a scheduled event, and return the ID that it gets.

    Raises Ended; what sending the event by the ordinary endpoints raises: then it stays scheduled.
    """
    device = fetch(accounts.device_read(accounts.device_key(event.user_id, event.device_id)))
    sender = _sender(event, device)
    if sender is None:
        raise Ended
    return _send(event, sender, unless_restarted=unless_restarted)


def deliver(message: MessageBody) -> None:
    """Do what a message of the queue orders: send an event whose time has come.

    Before its time it is ordered anew. What the room or the rate limits refuse is kept as the event's end;
    after a passing failure SQS brings the message again.
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
    """Order events anew whose time is long past: their message got lost."""
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


def _sender(event: DelayedEvent, device: Item | None) -> Item | None:
    """Return the item of the event's device, or that of the account if the user has logged out; None if it is
    closed."""
    if device is not None:
        return device
    account = accounts.read_account(event.user_id)
    return None if account is None or "deactivated_ms" in account else account


def _send_due(event: DelayedEvent, sender: Item) -> None:
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


def _send(event: DelayedEvent, sender: Item, *, unless_restarted: bool) -> str:
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


def _open(room_id: str, taking: Taking) -> Room:
    batch = Batch()
    head = batch.add(room_items.head_read(room_id))
    if taking.read is not None:
        batch.add(taking.read)
    batch.fetch()
    if head.value is None:
        raise unknown_room(room_id)
    return Room(head.value)


def _requester(event: DelayedEvent, sender: Item) -> Requester:
    """Who sends the event: its user as they are now. Raises UserLocked, UserSuspended."""
    with moderation.refusing_suspended():
        moderation.check_device(sender)
    return requester_of(UserId(event.user_id), DeviceId(event.device_id), sender)
