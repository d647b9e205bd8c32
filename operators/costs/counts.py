"""The types of the counts: how much each operation of people and clients uses of AWS.

They are counted on the local cloud. `make bill` counts them again and prints both. A test checks that the
bill from the stored numbers is within 15 % of the bill from new counts. Durations aren't counted: those of a
laptop say nothing about AWS.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Op:
    """What one operation uses: requests that functions answer, invocations, capacity units, calls of SQS.

    `invocations` counts the functions that answer the requests, and the workers.
    """

    requests: float = 0
    invocations: float = 0
    reads: float = 0
    writes: float = 0
    queue: float = 0

    def __add__(self, other: Op) -> Op:
        return Op(
            self.requests + other.requests,
            self.invocations + other.invocations,
            self.reads + other.reads,
            self.writes + other.writes,
            self.queue + other.queue,
        )

    def __sub__(self, other: Op) -> Op:
        return self + other * -1

    def __mul__(self, factor: float) -> Op:
        return Op(
            self.requests * factor,
            self.invocations * factor,
            self.reads * factor,
            self.writes * factor,
            self.queue * factor,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What each operation uses, for a given number of rooms of each user and of people in a room."""

    send: Op
    """Sending a message, without waking the waiting clients."""
    typing: Op
    """Telling a room that a user types, or has stopped."""
    receipt: Op
    wake: Op
    """One device is rung for a message, fetches it and waits again."""
    wake_all: Op
    """The same if the device has to look at everything."""
    late_wake: Op
    """The same for a late ring."""
    wakes_per_message: float
    """How often a device is rung for one message and the typing before it, in a room in which typing
    rings."""
    renewal: Op
    """A mark ends without updates. A function looks, and makes another mark."""
    coming: Op
    """A user comes online. The server looks for the users to tell."""
    told: Op
    """One of these users is told, or one room in which a member is online."""
    start: Op
    """A closed client is opened again: all its requests until it waits."""
    login: Op
    """A new device: login, first sync, keys."""
    to_device: Op
    """An encrypted message to one device, of a request that has several."""
    backup: Op
    """A session's key is added to the backup."""
    upload: Op
    download: Op
    held_wait: Op
    """A request that a function holds until its time is over."""
    held_wake: Op
    """The same if it is rung."""
    push: Op
    """A WebSocket connection gets an update of a room."""
    push_all: Op
    """The same if everything has to be looked at for it."""
