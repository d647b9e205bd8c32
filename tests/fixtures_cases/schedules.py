"""Scheduled workers."""

from __future__ import annotations

from murmuration.clock import DAY_MS
from murmuration.rooms.lifecycle.collection import GRACE_MS
from tests.fixtures_cases import Cases

CASES = Cases("workers/schedules", "alice_and_bob_in_a_public_room")

CASES.add(
    "collect_snapshots/nothing_astray",
    "No room was named as one with strays: nothing is read but that.",
    "SCHEDULE",
)
CASES.add(
    "collect_snapshots/too_soon",
    "Who stored the strays may be about to need them.",
    "SCHEDULE",
    worlds="strays_in_the_lounge",
)
CASES.add(
    "collect_snapshots/forgets_first",
    "After a day what was remembered of resolutions is forgotten, and nothing deleted.",
    "SCHEDULE",
    worlds="strays_in_the_lounge",
    after=GRACE_MS,
)
CASES.add(
    "collect_snapshots/deletes",
    "After another day the strays go, and what the room needs stays.",
    "SCHEDULE",
    worlds="forgotten_strays_in_the_lounge",
    after=GRACE_MS,
)

CASES.add(
    "delete_empty_rooms/none_is_empty",
    "No room is marked as empty: nothing is read but that.",
    "SCHEDULE",
)
CASES.add(
    "delete_empty_rooms/too_soon",
    "Who left the lounge may still read it, and come back.",
    "SCHEDULE",
    worlds="everybody_left_the_lounge",
    after=29 * DAY_MS,
)
CASES.add(
    "delete_empty_rooms/buries",
    "After a month the lounge has a tombstone for its head, and no alias.",
    "SCHEDULE",
    worlds="everybody_left_the_lounge",
    after=31 * DAY_MS,
)
CASES.add(
    "delete_empty_rooms/somebody_came_back",
    "Bob is in the lounge: its mark goes.",
    "SCHEDULE",
    worlds="bob_came_back_to_the_lounge",
    after=31 * DAY_MS,
)
CASES.add(
    "delete_empty_rooms/kept_for_ever",
    "Rooms are deleted after no time at all, so never.",
    "SCHEDULE",
    worlds="everybody_left_the_lounge",
    settings={"empty_room_days": "0"},
    after=31 * DAY_MS,
)
CASES.add(
    "delete_empty_rooms/deletes",
    "A day after its head, the rest of the lounge goes.",
    "SCHEDULE",
    worlds="a_buried_lounge",
    after=DAY_MS,
)

CASES.add("retry_parked_pdus/nothing_waits", "No event waits: nothing is read but that.", "SCHEDULE")
CASES.add(
    "retry_parked_pdus/too_soon",
    "Dora's message is tried again after five minutes only.",
    "SCHEDULE",
    worlds="dora_waits",
)
CASES.add(
    "retry_parked_pdus/queues",
    "Dora's message is queued again, and the next attempt is put off.",
    "SCHEDULE",
    worlds="dora_waits",
    settings={"federation": "on"},
    after=6 * 60_000,
)
CASES.add(
    "retry_parked_pdus/gives_up",
    "After a day Dora's message is given up.",
    "SCHEDULE",
    worlds="dora_waits",
    after=DAY_MS + 60_000,
)
