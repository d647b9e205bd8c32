"""All authorisation rules: the outermost table, and the two functions that apply it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from murmuration.protocol.auth_rules.create import check_create
from murmuration.protocol.auth_rules.membership import check_membership
from murmuration.protocol.auth_rules.power_levels import check_power_levels
from murmuration.protocol.auth_rules.selection import auth_event_types_of
from murmuration.protocol.auth_rules.table import ALLOW, Facts, Refusal, Rule, RuleTable, Verdict, allow
from murmuration.protocol.event_types import ALIASES, CREATE, REDACTION, THIRD_PARTY_INVITE
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, server_name_of
from murmuration.protocol.room_versions import RoomVersion


def check_auth(event: Event, state: Mapping[StateKey, Event], *, template: bool = False) -> None:
    """Raise AuthRuleViolation unless the rules of the event's room version allow it in that state.

    `state` has the existing state events of `auth_state_types_of(event)`, and may have others. All rules
    apply except those about the event's own `auth_events`, which `check_auth_events` checks. A `template` is
    an event that isn't signed yet (of /make_join, for example), so its authorising server's signature isn't
    required.

    https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
    """
    verdict = _RULES(Facts(event, state, template=template))
    if isinstance(verdict, Refusal):
        raise verdict.violation()


def check_auth_events(event: Event, auth_events: Mapping[EventId, Event], rejected: Collection[str]) -> None:
    """Raise AuthRuleViolation unless the set of the event's `auth_events` is right.

    `auth_events` has the events by ID and, from room version 12 on, also the create event that the room ID
    names. If one of them is missing, the event is refused. `rejected` are the IDs of those that were
    rejected.
    """
    version = event.room_version
    if event.type == CREATE:
        return
    if version.create_event_is_room_id:
        create = auth_events.get(create_event_id(event))
        if create is None or create.type != CREATE or create.event_id in rejected:
            raise Refusal(_NO_SUCH_ROOM).under(_RULES.number(_room_is_state_of_create, version)).violation()
    if refusal := _refuse_auth_events(event, auth_events, rejected):
        raise refusal.under(_RULES.number(_auth_events, version)).violation()


def create_event_id(event: Event) -> EventId:
    """Return the ID of the create event that the event's room ID names, from room version 12 on."""
    return EventId("$" + event.room_id[1:])


def _refuse_auth_events(
    event: Event, auth_events: Mapping[EventId, Event], rejected: Collection[str]
) -> Refusal | None:
    """Check the rules that the specification lists under "considering the event's auth_events".

    Returns the refusal by the first rule that fails; None if all hold.
    """
    if not all(event_id in auth_events for event_id in event.auth_events):
        return Refusal("An auth event is not known")
    entries = [auth_events[event_id] for event_id in event.auth_events]
    pairs = [entry.state_pair for entry in entries]
    if len(set(pairs)) < len(pairs):
        return Refusal("Two auth events are for the same state", (1,))
    if not set(auth_event_types_of(event)).issuperset(pairs):
        return Refusal("An auth event is not one that authorises this event", (2,))
    if any(entry.event_id in rejected for entry in entries):
        return Refusal("An auth event was rejected", (3,))
    if not event.room_version.create_event_is_room_id and (CREATE, "") not in pairs:
        return Refusal("The create event is not among the auth events", (4,))
    if any(entry.room_id != event.room_id for entry in entries):
        number = 4 if event.room_version.create_event_is_room_id else 5
        return Refusal("An auth event is of another room", (number,))
    return None


# --- The outermost rules, in the specification's order

_NO_SUCH_ROOM = "The room ID is not that of an accepted create event"


def _room_is_state_of_create(facts: Facts) -> Verdict:
    """If the event's room_id is not the ID of an accepted create event, reject."""
    create = facts.state.get((CREATE, ""))
    if create is None or create.event_id != create_event_id(facts.event):
        return Refusal(_NO_SUCH_ROOM)
    return None


def _auth_events(facts: Facts) -> Verdict:
    """Considering the event's auth_events: `check_auth_events` does, but a state needs a create event too."""
    return None if (CREATE, "") in facts.state else Refusal("The room has no create event", (4,))


def _federates(facts: Facts) -> Verdict:
    """If m.federate of the create event is false, only its sender's server may send events."""
    if facts.create.content.get("m.federate") is False and (
        facts.event.sender_server != facts.create.sender_server
    ):
        return Refusal("This room does not take events of other servers")
    return None


def _aliases(facts: Facts) -> Verdict:
    """If type is m.room.aliases, a server may only set the aliases of its own domain."""
    if facts.event.type != ALIASES:
        return None
    if facts.event.state_key is None:
        return Refusal("An m.room.aliases event needs a state key", (1,))
    if facts.event.state_key != facts.event.sender_server:
        return Refusal("The state key of an m.room.aliases event is the domain of its sender", (2,))
    return ALLOW


def _sender_joined(facts: Facts) -> Verdict:
    """If the sender's current membership state is not join, reject."""
    joined = facts.membership(facts.event.sender) == "join"
    return None if joined else Refusal("The sender is not in the room")


def _third_party_invite(facts: Facts) -> Verdict:
    """If type is m.room.third_party_invite, every user who may invite may send it."""
    if facts.event.type != THIRD_PARTY_INVITE:
        return None
    if facts.power_levels.can_invite(facts.event.sender):
        return ALLOW
    return Refusal("The sender's power level is too low to invite", (1,))


def _required_level(facts: Facts) -> Verdict:
    """If the event type's required power level is greater than the sender's power level, reject."""
    if facts.power_levels.can_send(facts.event.sender, facts.event.type, facts.event.is_state):
        return None
    return Refusal(f"The sender's power level is too low to send {facts.event.type}")


def _state_key_of_user(facts: Facts) -> Verdict:
    """If the state key starts with an @ and does not match the sender, reject."""
    state_key = facts.event.state_key
    if state_key is not None and state_key.startswith("@") and state_key != facts.event.sender:
        return Refusal("A state key that is a user ID is that user's own")
    return None


def _redaction(facts: Facts) -> Verdict:
    """If type is m.room.redaction, it needs the redact level, or an event of the sender's own server."""
    if facts.event.type != REDACTION:
        return None
    if facts.power_levels.can_redact(facts.event.sender):
        return ALLOW
    own_server = server_name_of(facts.event.event_id)
    if own_server is not None and server_name_of(facts.event.redacts or "") == own_server:
        return ALLOW
    return Refusal("The sender's power level is too low to redact events of other servers", (3,))


def _room_id_names_create(version: RoomVersion) -> bool:
    return version.create_event_is_room_id


_RULES = RuleTable(
    Rule(check_create),
    Rule(_room_is_state_of_create, only_in=_room_id_names_create),
    Rule(_auth_events),
    Rule(_federates),
    Rule(_aliases, only_in=lambda version: version.special_case_aliases_auth),
    Rule(check_membership),
    Rule(_sender_joined),
    Rule(_third_party_invite),
    Rule(_required_level),
    Rule(_state_key_of_user),
    Rule(check_power_levels),
    Rule(_redaction, only_in=lambda version: version.special_case_redaction_auth),
    Rule(allow),
)
