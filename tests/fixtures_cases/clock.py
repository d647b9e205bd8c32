"""Workers that call the queues' workers."""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("workers/clock", "bob_hangs_up_later")
ROW = {"pk": "clock", "sk": "001750000028#delayed-events"}

CASES.add(
    "ring_when_due/soon",
    "Bob's farewell is to be sent in some seconds: the clock goes on.",
    "STREAM clock",
    [ROW],
    after=2_000,
)
CASES.add(
    "ring_when_due/now",
    "Its time has come: the worker is rung, and the clock stands still.",
    "STREAM clock",
    [ROW],
    after=30_000,
)
CASES.add(
    "sweep_queues/something_is_due",
    "No message waits. Bob's farewell is to be sent soon: the clock is set going.",
    "SCHEDULE",
    after=2_000,
)
CASES.add(
    "sweep_queues/nothing_to_do",
    "Nothing waits, and nothing is due.",
    "SCHEDULE",
    worlds="alice_and_bob_in_a_public_room",
)
