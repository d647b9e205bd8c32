"""The types of the counts: how much each operation of people and clients uses of AWS.

They are counted on the local cloud. `make bill` counts anew and prints both. A test checks that the bill from
these numbers is within 15 % of the bill from new counts. Durations aren't counted: those of a laptop say
nothing of AWS.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Op:
    """The needs of one operation: requests that functions answer, invocations, capacity units, calls of SQS.

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
    """The needs of each operation, for a given number of rooms of each user and of people in a room."""

    send: Op
    """A message, whoever waits for it left out."""
    typing: Op
    """To say that one types, or has stopped."""
    receipt: Op
    wake: Op
    """One device is rung for a message, fetches it and waits on."""
    wake_all: Op
    """The same where it has to look at all that there is."""
    late_wake: Op
    """The same for what rings late."""
    wakes_per_message: float
    """How often a device is rung for one message with the typing before it, in a room where typing rings."""
    renewal: Op
    """A mark ends without news. A function looks and makes another."""
    coming: Op
    """A user comes back. The server looks for those to tell."""
    told: Op
    """It is told to one of those who are there, or to one room with somebody there."""
    start: Op
    """A client that was closed is opened again: what it asks for until it waits."""
    login: Op
    """A new device: login, first sync, keys."""
    to_device: Op
    """An encrypted message to one device, of a request that has several."""
    backup: Op
    """A session's key is put into the backup."""
    upload: Op
    download: Op
    held_wait: Op
    """A request that a function holds until its time is over."""
    held_wake: Op
    """The same, when something rings."""
    push: Op
    """A WebSocket connection gets an update."""
