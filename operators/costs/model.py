"""The requests and units that operations use, by the number of rooms of each user and of people in a room.

They were counted with 20 and 40 rooms, with 5, 20 and 50 people, and with 2 and 3 devices of each. `make
bill` counts them again.
"""

from __future__ import annotations

from operators.costs.counts import Counts, Op

SMALL = 10
"""The largest number of members for which typing, receipts and presence ring."""
STAY = Op(invocations=1, writes=1)
"""A look records that a device is still online. The worker of streams sees it, and tells nobody."""
LATE_NOTE = Op(writes=1, queue=1)
"""A late ring is sent without effect, because an urgent ring comes first."""

NOTIFY = Op(invocations=1, reads=19, writes=1, queue=3)
"""A push gateway is notified of an event: rules are evaluated, a worker is rung
(`tests/budgets/today.py`)."""
TAKEN = Op(requests=1, invocations=2, reads=16, writes=9, queue=4)
"""A single event arrives from another server (`tests/federation/inbound/costs/test_budgets.py`)."""
GROUPS = 8
"""The number of groups into which other servers are divided (`federation.outbound.pokes.GROUPS`)."""


def sending(servers: float) -> Op:
    """Return what a message uses in addition if `servers` other servers are in its room, and all answer.

    Counted in `tests/federation/sending/test_sending_to_many.py`.
    """
    groups = min(GROUPS, servers)
    return Op(invocations=groups, reads=1.5 * servers + 2 * groups, queue=1 + 3 * groups if servers else 0)


def sliding_wait(rooms: float) -> Op:
    """Return what a sliding sync request uses that waits until its time is over (`tests/budgets`)."""
    return Op(1, 1, 13 + 1.1 * rooms, 0, 2)


def sliding_wake(rooms: float) -> Op:
    """Return what a sliding sync request uses that returns a new message."""
    return Op(1, 1, 20 + 1.1 * rooms, 3, 3)


def sliding_renewal(rooms: float) -> Op:
    """Return what a sliding sync request uses that is parked again because its mark has ended."""
    return Op(1, 1, 21 + 1.5 * rooms, 1)


SLIDING_KEYS = Op(2, 2, 90, 4, 3)
"""A to-device message arrives by sliding sync: one request returns it, and the next one waits."""


def counts(rooms: float, people: float, devices: float = 2) -> Counts:
    """Return what each operation uses if each user is in `rooms` rooms and has `devices` devices.

    They talk in a room of `people` people. It counts one write for noting that a user's devices were rung.
    """
    noted = 1 / max(1.0, devices)
    told = people if people <= SMALL else 1
    """For how many users the listeners are read, for changes that ring only in small rooms."""
    return Counts(
        send=Op(1, 2, 3.3 + people, 10.1),
        typing=Op(1, 2, 5 + told, 7.8),
        receipt=Op(1, 2, 8 + told, 7.6),
        wake=Op(1, 1, 5, 1.1 + noted, 1),
        wake_all=Op(1, 1, 10.5 + 0.55 * rooms, 1.1 + noted, 1),
        late_wake=Op(1, 1, 5, 2, 1),
        wakes_per_message=2,
        renewal=Op(1, 1, 8.5 + 1.05 * rooms, 1),
        coming=Op(0, 1, 2 + 1.8 * rooms, 1),
        told=Op(0, 0.25, 0, 10),
        start=Op(9, 9, 28 + 2.1 * rooms, 6.5),
        login=Op(3, 5, 80 + 4.6 * rooms, 119),
        to_device=Op(1 / 3, 2 / 3, 4, 10.7),
        backup=Op(1, 1, 4, 4),
        upload=Op(1, 1, 1, 4),
        download=Op(1, 1, 2, 0),
        held_wait=Op(1, 1, 9 + 1.05 * rooms, 1, 1),
        held_wake=Op(1, 1, 8, 2.4, 3),
        push=Op(0, 1.25, 6, 3.2, 3),
        push_all=Op(0, 1.25, 9 + 1.05 * rooms, 3.1, 3),
    )
