"""What holds of every resolution, tried on random rooms.

`MURMURATION_EXAMPLES` sets how many rooms each property is tried on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.state_resolution import resolve
from tests.protocol.dag import Room
from tests.protocol.state_resolution.random_rooms import conflicts, impossible_conflicts
from tests.protocol.state_resolution.reference import reference_resolve

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId

on_random_rooms = settings(
    max_examples=int(os.environ.get("MURMURATION_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


TOPIC = ("m.room.topic", "")
POWER_LEVELS = ("m.room.power_levels", "")


@on_random_rooms
@given(conflicts())
def test_agrees_with_the_specification_word_by_word(drawn):
    room, states = drawn
    assert outcome(room, states) == reference_resolve(room.version, states, room.events, room.rejected)


@on_random_rooms
@given(impossible_conflicts())
def test_agrees_with_the_specification_on_states_that_no_history_leads_to(drawn):
    room, states = drawn
    assert outcome(room, states) == reference_resolve(room.version, states, room.events, room.rejected)


@on_random_rooms
@given(conflicts(), st.randoms(use_true_random=False))
def test_depends_on_no_order(drawn, rng):
    room, states = drawn
    first = outcome(room, states)
    events = list(room.events.items())
    rng.shuffle(events)
    shuffled = [dict(rng.sample(list(state.items()), len(state))) for state in states]
    rng.shuffle(shuffled)

    def fetch_much(event_ids: Collection[EventId]) -> Mapping[EventId, Event]:
        return dict(events)

    assert resolve(room.version, shuffled, fetch_much, rejected=room.rejected) == first
    assert outcome(room, [*states, states[0]]) == first


@on_random_rooms
@given(conflicts())
def test_keeps_what_all_states_have_and_adds_nothing_foreign(drawn):
    room, states = drawn
    resolved = outcome(room, states)
    common = dict(set.intersection(*(set(state.items()) for state in states)))
    assert common.items() <= resolved.items()
    assert all(room.events[event_id].state_pair == key for key, event_id in resolved.items())
    assert outcome(room, [resolved, resolved]) == resolved


@on_random_rooms
@given(conflicts())
def test_fetches_no_event_twice(drawn):
    room, states = drawn
    room.fetched.clear()
    outcome(room, states)
    fetched = [event_id for event_ids in room.fetched for event_id in event_ids]
    assert len(fetched) == len(set(fetched))


@on_random_rooms
@given(conflicts(versions=("2", "6", "7", "11", "12")))
def test_the_topic_chosen_is_one_that_its_sender_may_set_in_the_outcome(drawn):
    """Topics authorise nothing, so they are checked after all power events are resolved, including bans.

    Resolution 2.1 resolves only events in conflict. For other events, the auth events that they cite decide.
    """
    room, states = drawn
    resolved = outcome(room, states)

    def settled(key: StateKey) -> bool:
        is_2_1 = room.version.state_resolution == "v2.1"
        return not is_2_1 or len({state.get(key) for state in states}) > 1

    if len({state.get(TOPIC) for state in states}) == 1 or TOPIC not in resolved:
        return
    sender = room.events[resolved[TOPIC]].sender
    if settled(POWER_LEVELS):
        powers = room.events[resolved[POWER_LEVELS]] if POWER_LEVELS in resolved else None
        levels = PowerLevels.from_state(room["create"], powers, room.version)
        assert levels.can_send(sender, "m.room.topic", is_state=True)
    membership = resolved.get(("m.room.member", sender))
    if settled(("m.room.member", sender)) and membership is not None:
        assert room.events[membership].membership != "ban"


def outcome(room: Room, states: Sequence[Mapping[StateKey, EventId]]) -> dict[StateKey, EventId]:
    return resolve(room.version, states, room.fetch, rejected=room.rejected)
