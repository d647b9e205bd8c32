"""What runs by the clock."""

from __future__ import annotations

from murmuration.rooms.collection import GRACE_MS
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
