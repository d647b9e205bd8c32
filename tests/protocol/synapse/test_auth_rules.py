"""We allow and refuse the same events as Synapse, case by case, in every room version."""

from __future__ import annotations

import re

import pytest

from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth, check_auth_events
from murmuration.protocol.events import Event
from murmuration.protocol.room_versions import ROOM_VERSIONS

from .recorded import VERSIONS, load

Exceptions = dict[str, str]
"""Patterns of case names, each with why we keep to the specification where Synapse doesn't."""

EVERYWHERE: Exceptions = {
    "member of no user": (
        "Synapse finds no server name in the state key and refuses; the rules ask only that there be a key"
    ),
    "federate (None|no|0): .*": (
        "The rule is about m.federate set to false; Synapse takes anything but true for that"
    ),
    "power levels shape: user '@aaa.*": "A user ID has at most 255 bytes, which Synapse doesn't check here",
}
BEFORE_VERSION_10: Exceptions = {
    "power levels shape.*: (ban|users|users entry) as underscored text": (
        "A string is a level if it is decimal digits with a sign and whitespace; Python's int takes more"
    ),
    "power levels shape.*: (ban|users|users entry) as (true|false)": (
        "A boolean is neither an integer nor a string; Python's int makes 1 and 0 of them"
    ),
}
BEFORE_VERSION_3: Exceptions = {
    "redaction of .* at 0, in content True": (
        "Nothing is redacted, so no domain is the same and the last rule refuses; Synapse lets it pass"
    ),
    "redaction of (None|7) at 0, in content False": "The same: there is no event ID to have a domain",
}


def exceptions(version: str) -> Exceptions:
    return {
        **EVERYWHERE,
        **(BEFORE_VERSION_10 if int(version) < 10 else {}),
        **(BEFORE_VERSION_3 if int(version) < 3 else {}),
    }


def allowed_in(state: list[Event], event: Event) -> bool:
    try:
        check_auth(event, {item.state_pair: item for item in state if item.state_pair})
    except AuthRuleViolation:
        return False
    return True


@pytest.mark.parametrize("version", VERSIONS)
def test_verdicts_on_state_agree(version: str) -> None:
    recorded, room_version = load("auth")["versions"][version], ROOM_VERSIONS[version]
    events = [Event(pdu, room_version) for pdu in recorded["events"]]
    known = exceptions(version)
    used, disagreements = set(), {}
    for name, event, state, verdict, words in recorded["state"]:
        ours = allowed_in([events[item] for item in state], events[event])
        if ours != (verdict == "allow"):
            reasons = [pattern for pattern in known if re.fullmatch(pattern, name)]
            used.update(reasons)
            if reasons:
                continue
            disagreements[name] = f"we {'allow' if ours else 'refuse'}, Synapse: {verdict} {words}"
    assert disagreements == {}
    assert used == set(known), "an exception is no longer needed"


@pytest.mark.parametrize("version", VERSIONS)
def test_verdicts_on_auth_events_agree(version: str) -> None:
    recorded, room_version = load("auth")["versions"][version], ROOM_VERSIONS[version]
    events = [Event(pdu, room_version) for pdu in recorded["events"]]
    disagreements = {}
    for name, event, cited, rejected, create, verdict, words in recorded["auth_events"]:
        ours = cites_well(
            events[event],
            [events[item] for item in cited],
            {events[cited[item]].event_id for item in rejected},
            None if create is None else events[create],
        )
        if ours != (verdict == "allow"):
            disagreements[name] = f"we {'allow' if ours else 'refuse'}, Synapse: {verdict} {words}"
    assert disagreements == {}


def cites_well(event: Event, cited: list[Event], rejected: set[str], create: Event | None) -> bool:
    known = {item.event_id: item for item in cited}
    if create is not None and event.room_version.create_event_is_room_id:
        known[create.event_id] = create
    try:
        if event.type == "m.room.create":
            check_auth(event, {})
        check_auth_events(event, known, rejected)
    except AuthRuleViolation:
        return False
    return True
