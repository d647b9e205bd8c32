"""Actions of version 2: changes that a client makes in a room, once for each action ID. The answer has the
event.

An action ID is the client's own name for an action. It makes a repetition harmless, and marks the event for
the client that sent it, in the answer and in its stream. Several events are sent as one batch: all or none of
them, in the given order, in one transaction.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.aws.reads import fetch_all
from murmuration.drafts.v2.bundles import render_event
from murmuration.drafts.v2.streaming import StreamingToken, giving, parse_optional
from murmuration.identity.rate_limits import Taking
from murmuration.identity.tokens import AccessToken, Requester
from murmuration.protocol.bodies import Fields, object_of, required, strings_of
from murmuration.protocol.errors import BadJson, InvalidParam, MatrixError, NotFound
from murmuration.protocol.event_types import CANONICAL_ALIAS, MEMBER, POWER_LEVELS, REDACTION
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.rooms.lookup import find_entries
from murmuration.rooms.membership.operations import authorised, checked_content
from murmuration.rooms.opening import open_room, unknown_room
from murmuration.rooms.reading.pagination import position_token
from murmuration.rooms.reading.visibility import Seen, Viewer
from murmuration.rooms.room import Room
from murmuration.rooms.writing.append import Append, Draft, append
from murmuration.rooms.writing.content_checks import check_content
from murmuration.rooms.writing.relation_checks import check_relation
from murmuration.rooms.writing.sending import check_call, check_canonical_alias
from murmuration.rooms.writing.transactions import Claim
from murmuration.storage.rooms.room_items import LogEntry

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonDict

MAX_BATCH = 10
"""The maximum number of events in a batch. Each takes up to seven of a transaction's hundred writes, with its
relation and its claim. It is also how many messages the rate limit allows at once."""
MAX_ACTION_ID_BYTES = 255
_ADDED = ("event_id", "room_id", "sender", "origin_server_ts", "unsigned", "action_id")
"""The properties that the server adds to an event: the compact form."""

Content = Callable[[Event | None], Mapping[str, Any]]
"""A function that makes a state event's content from the current event."""


@dataclass(frozen=True, slots=True)
class Action:
    """An event to be sent. `content` may depend on the state event that it replaces."""

    type: str
    content: Mapping[str, Any] | Content
    state_key: str | None = None
    action_id: str | None = None

    @classmethod
    def from_body(cls, body: Fields) -> Action:
        """Return an action of a batch. Raises MissingParam, BadJson, InvalidParam."""
        return cls(
            type=body.string("type"),
            content=object_of(required(body.values, "content"), "content"),
            state_key=body.string("state_key") if "state_key" in body.values else None,
            action_id=check_action_id(body.optional_string("action_id")),
        )


@dataclass(frozen=True, slots=True)
class Done:
    """The events that an action sent, in order."""

    requester: Requester
    entries: Sequence[LogEntry]

    def events(self, *, compact: bool = False) -> list[JsonDict]:
        """Return the events in the client's form: whole or, with `compact`, only what the server added."""
        viewer = Viewer(self.requester.user_id, self.requester.device_id)
        shown = [render_event(Seen(entry, "join"), viewer) for entry in self.entries]
        if not compact:
            return shown
        return [{name: event[name] for name in _ADDED if name in event} for event in shown]

    @property
    def position(self) -> str:
        """The token of the position right after these events in the room's history."""
        return position_token(max(entry.ordinal for entry in self.entries))


def check_action_id(text: str | None) -> str | None:
    """Return the action ID, or None without one. Raises InvalidParam for an invalid one."""
    if text is not None and not 0 < len(text.encode()) <= MAX_ACTION_ID_BYTES:
        raise InvalidParam(f"An action ID has 1 to {MAX_ACTION_ID_BYTES} bytes")
    return text


@dataclass(frozen=True, slots=True)
class Answering:
    """The form of the answer that a client wants: `compact` or whole.

    The stream `streaming`, if given, may leave out the events of the answer.
    """

    compact: bool = False
    streaming: str | None = None


WHOLE = Answering()


def send_event(
    token: AccessToken, room_id: RoomId, action: Action, answering: Answering = WHOLE
) -> dict[str, Any]:
    """Send a message or state event. Returns `event`, and `token` for the position after it in the room's
    history.

    Raises UnknownToken, Forbidden, NotFound for an unknown stream, BadJson, InvalidParam, TooLarge,
    LimitExceeded.
    """
    done = act(token, room_id, [action], answering.streaming)
    return {"event": done.events(compact=answering.compact)[0], "token": done.position}


def send_events(
    token: AccessToken, room_id: RoomId, actions: Sequence[Action], answering: Answering = WHOLE
) -> dict[str, Any]:
    """Send several events, or none of them. Returns `events` in the given order, and the `token` after them.

    Raises what `send_event` does, and BadJson for no events or too many.
    """
    if not 0 < len(actions) <= MAX_BATCH:
        raise BadJson(f"A batch has 1 to {MAX_BATCH} events")
    done = act(token, room_id, actions, answering.streaming)
    return {"events": done.events(compact=answering.compact), "token": done.position}


def delete_state(
    token: AccessToken,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    answering: Answering = WHOLE,
    *,
    action_id: str | None = None,
) -> dict[str, Any]:
    """Delete a piece of state: its current event becomes one without content. Returns what `send_event` does.

    Raises NotFound if the room has no such state, and what `send_event` raises.
    """

    def empty(current: Event | None) -> Mapping[str, Any]:
        if current is None:
            raise NotFound("The room has no such state")
        return {}

    return send_event(token, room_id, Action(event_type, empty, state_key, action_id), answering)


@dataclass(frozen=True, slots=True)
class PowerLevelPatch:
    """A change of one power level.

    It is named by `kick`, for example, or by a path such as ("users", "@bob:example.org"). None removes it.
    """

    path: Sequence[str]
    value: int | None

    @classmethod
    def from_body(cls, body: Fields) -> PowerLevelPatch:
        """Return the change that a body describes: `key` is a string, or a list for a key within an object.

        Raises MissingParam, BadJson.
        """
        key, value = required(body.values, "key"), required(body.values, "value")
        path = [key] if isinstance(key, str) else strings_of(key, "key")
        if not 0 < len(path) <= 2:
            raise BadJson("key is a key, or two: one and a key within it")
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise BadJson("value must be a whole number, or null")
        return cls(path, value)

    def apply(self, current: Event | None) -> dict[str, Any]:
        """Return the content after the change. Raises NotFound if there is no event to change."""
        if current is None:
            raise NotFound("The room has no power levels of which one could be changed")
        *outer, last = self.path
        content = dict(current.content)
        within = content
        for name in outer:
            below = within.get(name, {})
            if not isinstance(below, dict):
                raise InvalidParam(f"{name} has no keys")
            within[name] = within = dict(below)
        if isinstance(within.get(last), dict):
            raise InvalidParam(f"{last} is no single power level: name the key within it")
        within.pop(last, None)
        if self.value is not None:
            within[last] = self.value
        return content


def patch_power_levels(
    token: AccessToken,
    room_id: RoomId,
    patch: PowerLevelPatch,
    answering: Answering = WHOLE,
    *,
    action_id: str | None = None,
) -> dict[str, Any]:
    """Change one power level. The event is sent with its whole content. Returns what `send_event` does.

    Raises NotFound in a room without power levels, and what `send_event` raises.
    """
    return send_event(token, room_id, Action(POWER_LEVELS, patch.apply, "", action_id), answering)


# -- One transaction -------------------------------------------------------------------------------------


def act(
    token: AccessToken, room_id: RoomId, actions: Sequence[Action], streaming_token: str | None = None
) -> Done:
    """Perform actions on one room in one transaction. Repeating the same action IDs changes nothing.

    If a stream is named, it leaves out the events that the answer has.
    """
    for action in actions:
        _check(action)
    taking = Taking("message", token.user_id, len(actions))
    requester, room = open_room(token, room_id, taking)
    stream = parse_optional(token.user_id, streaming_token)
    return _Actions(requester, room, actions, taking, stream).run()


def _check(action: Action) -> None:
    check_action_id(action.action_id)
    if action.type == REDACTION:
        raise InvalidParam("Redacting has an action of its own")


@dataclass
class _Actions:
    """Some actions that are being performed. `claims` are those of the actions with IDs, in order."""

    requester: Requester
    room: Room
    actions: Sequence[Action]
    taking: Taking
    stream: StreamingToken | None = None
    claims: dict[int, Claim] = field(default_factory=dict)
    new: dict[EventId, LogEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, action in enumerate(self.actions):
            if action.action_id is not None:
                claim = Claim("action", self.requester, self.room.room_id, action.action_id)
                if claim in self.claims.values():
                    raise InvalidParam("Two actions of a batch can't have the same ID")
                self.claims[index] = claim

    def run(self) -> Done:
        try:
            return self._done(self.taking.settle(self._append))
        except (ConditionFailed, MatrixError):
            # A repetition may be refused for a reason other than its claim: because of what the first attempt
            # changed.
            if (earlier := self._earlier()) is None:
                raise
            return self._done(earlier)

    def _append(self) -> list[EventId]:
        event_ids = append(self.room.room_id, self._plan, room=self.room)
        if not self.new and self.claims:
            dynamodb.transact(self._claim_writes(event_ids))
        return event_ids

    def _plan(self, batch: Append) -> list[EventId]:
        event_ids = [self._add(batch, index, action) for index, action in enumerate(self.actions)]
        batch.writes = [*self._claim_writes(event_ids), *self.taking.writes(), *self._giving(event_ids)]
        self.new = {entry.event.event_id: entry for entry in batch.entries}
        return event_ids

    def _giving(self, event_ids: Sequence[EventId]) -> list[Write]:
        return [giving(self.stream, event_ids)] if self.stream is not None else []

    def _claim_writes(self, event_ids: Sequence[EventId]) -> list[Write]:
        return [claim.write(event_ids[index], batch=event_ids) for index, claim in self.claims.items()]

    def _add(self, batch: Append, index: int, action: Action) -> EventId:
        """Add the event, unless the state is the same already. Returns the event's ID."""
        sender, pair = self.requester.user_id, None
        current = None
        if action.state_key is not None:
            pair = (action.type, action.state_key)
            state = batch.state([pair, (MEMBER, sender)])
            current, member = state.get(pair), state.get((MEMBER, sender))
            if action.type != MEMBER and (member is None or member.membership != "join"):
                raise unknown_room(batch.room_id)
        content = action.content(current) if callable(action.content) else action.content
        if action.type == MEMBER and action.state_key is not None:
            content = checked_content(sender, UserId(action.state_key), content)
            content = authorised(batch, UserId(action.state_key), content)
        check_content(action.type, content, is_state=action.state_key is not None)
        draft = Draft(action.type, sender, content, action.state_key)
        if current is not None and current.content == content:
            batch.check(draft)
            return current.event_id
        if action.state_key is None:
            check_relation(batch, draft)
            check_call(batch, draft)
        elif action.type == CANONICAL_ALIAS:
            check_canonical_alias(batch.room_id, content, current)
        claim = self.claims.get(index)
        return batch.add(claim.mark(draft) if claim is not None else draft).event_id

    def _earlier(self) -> list[EventId] | None:
        """Return the events that the action IDs already stand for; None if the IDs are new.

        Raises InvalidParam if the IDs don't all stand for exactly these actions.
        """
        made = [claim.read() for claim in self.claims.values()]
        found = [claimed for claimed in fetch_all(made) if claimed is not None]
        if not found:
            return None
        event_ids = found[0].batch
        same = all(claimed.batch == event_ids for claimed in found)
        if not same or len(found) < len(made) or len(event_ids) != len(self.actions):
            raise InvalidParam("An action ID was used before, for another action")
        return list(event_ids)

    def _done(self, event_ids: Sequence[EventId]) -> Done:
        missing = [event_id for event_id in event_ids if event_id not in self.new]
        if missing:
            for write in self._giving(missing):
                dynamodb.execute(write)
        found = self.new | (find_entries(self.room, missing) if missing else {})
        return Done(self.requester, [found[event_id] for event_id in event_ids])
