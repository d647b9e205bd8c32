"""Looking up, restarting, sending and cancelling delayed events.

https://github.com/matrix-org/matrix-spec-proposals/pull/4140
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws.reads import fetch
from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import Conflict, InvalidParam, MissingToken, NotFound
from murmuration.protocol.identifiers import UserId, is_opaque_identifier
from murmuration.storage.users import delayed_events as storage
from murmuration.storage.users.delayed_events import DelayedEvent, Outcome, delayed_read

if TYPE_CHECKING:
    from murmuration.rooms.json_types import DelayedEventEnd, DelayedEventsPage, ShownDelayedEvent

ACTIONS = ("restart", "send", "cancel")
PAGE = 100
ATTEMPTS = 3


def manage(requester: Requester | None, delay_id: str, action: object, *, unstable: bool) -> Answer:
    """Restart, send or cancel a scheduled event. Repeating the action that ended it changes nothing.

    The unstable endpoint takes no token: everybody who knows the delay ID may act, such as a call service to
    which a client entrusts its delayed event. If the event ended in another way, this endpoint raises
    NotFound, which tells clients to schedule a new one; the proposal's endpoint raises Conflict. Raises
    InvalidParam, MissingToken, NotFound, Conflict, LimitExceeded, and what sending raises; then the event
    stays scheduled.
    """
    if action not in ACTIONS:
        raise InvalidParam(f"The action must be one of {', '.join(ACTIONS)}")
    if requester is None and not unstable:
        raise MissingToken("The access token is missing")
    event = _find(requester, delay_id)
    rate_limits.check("delayed_event_action", event.user_id)
    if not _act(event, str(action)):
        if unstable:
            raise _not_found()
        raise Conflict("The delayed event has ended otherwise")
    return {}


def _act(event: DelayedEvent, action: str) -> bool:
    """Perform the action. Returns whether it is done now, or was done before."""
    for _ in range(ATTEMPTS):
        if event.outcome is not None:
            return action == ("send" if event.outcome.event_id is not None else "cancel")
        if _try(event, action):
            return True
        found = fetch(delayed_read(event.delay_id))
        if found is None:
            return False
        event = found
    return False


def _try(event: DelayedEvent, action: str) -> bool:
    if action == "restart":
        return storage.restart(event)
    if action == "cancel":
        return storage.finalise(event, Outcome(now_ms()))
    from murmuration.rooms.delayed.delivery import Ended, send_now

    try:
        send_now(event)
    except Ended:
        return False
    return True


def get_delayed_event(requester: Requester, delay_id: str) -> ShownDelayedEvent:
    """Return one of the requester's events, scheduled or finalised. Raises NotFound."""
    return _shown(_find(requester, delay_id))


def get_delayed_events(requester: Requester, start: str | None, status: str | None) -> DelayedEventsPage:
    """Return the requester's scheduled events in the order of their times, by pages.

    A page has at most 1 MB; its `next_batch` is the `start` of the next page. Raises InvalidParam.
    """
    if status not in (None, "scheduled"):
        raise InvalidParam("Only scheduled events are listed; look up others by their ID")
    after = _parse_start(requester.user_id, start) if start else None
    page = storage.read_scheduled(requester.user_id, PAGE, after)
    found: DelayedEventsPage = {"delayed_events": [_shown(event) for event in page.events]}
    if page.more and page.events:
        found["next_batch"] = f"{page.events[-1].due_ms}_{page.events[-1].delay_id}"
    return found


def _parse_start(user_id: UserId, start: str) -> tuple[int, str]:
    due_ms, _, delay_id = start.partition("_")
    if not (due_ms.isascii() and due_ms.isdecimal() and len(due_ms) <= 15):
        raise InvalidParam("The token is not known")
    if not is_opaque_identifier(delay_id) or not storage.is_of(user_id, delay_id):
        raise InvalidParam("The token is not known")
    return int(due_ms), delay_id


def _find(requester: Requester | None, delay_id: str) -> DelayedEvent:
    """Return the event with this ID, if it is the requester's. Raises NotFound."""
    is_known = is_opaque_identifier(delay_id) and (
        requester is None or storage.is_of(requester.user_id, delay_id)
    )
    event = fetch(delayed_read(delay_id)) if is_known else None
    if event is None or (requester is not None and event.user_id != requester.user_id):
        raise _not_found()
    return event


def _not_found() -> NotFound:
    return NotFound("There is no such delayed event")


def _shown(event: DelayedEvent) -> ShownDelayedEvent:
    """Return the event for its user. `delay` and `running_since` are the older names of two fields."""
    shown: ShownDelayedEvent = {
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.type,
        "content": event.content,
        "delay_ms": event.delay_ms,
        "delayed_since_ts": event.since_ms,
        "delay": event.delay_ms,
        "running_since": event.since_ms,
    }
    if event.state_key is not None:
        shown["state_key"] = event.state_key
    if event.outcome is not None:
        end: DelayedEventEnd = {"finalised_ts": event.outcome.at_ms}
        if event.outcome.event_id is not None:
            end["event_id"] = event.outcome.event_id
        if event.outcome.error is not None:
            end["error"] = event.outcome.error
        shown["finalised"] = end
    return shown
