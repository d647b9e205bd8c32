"""Random rooms with forks, and a reference for what becomes of each event: states whole, nothing clever."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from murmuration.protocol.auth_rules import AuthRuleViolation, check_auth
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, UserId
from tests.rooms.other_servers import OTHER, Mirror

BOB, CAROL, EVE = f"@bob:{OTHER}", f"@carol:{OTHER}", "@eve:third.example"


def random_event(mirror: Mirror, owner: str, rng: random.Random) -> Event:
    """Return an event by anybody about anything, allowed or not, that follows one to three of the newest
    events.
    """
    candidates = list(mirror.events)[-6:]
    after = rng.sample(candidates, min(len(candidates), rng.choice([1, 1, 1, 2, 2, 3])))
    people = [owner, BOB, CAROL, EVE]
    sender, other = UserId(rng.choice(people)), UserId(rng.choice([BOB, CAROL, EVE]))
    moved: dict[str, Any] = {
        "origin_server_ts": 1_900_000_000_000 + rng.randrange(10_000_000),
        "after": after,
    }
    own = {} if mirror.version.privileged_creators else {owner: 100}
    match rng.randrange(8):
        case 0 | 1:
            return mirror.topic(sender, str(rng.random()), **moved)
        case 2:
            return mirror.state(sender, "m.room.name", {"name": str(rng.random())}, **moved)
        case 3:
            return mirror.member(sender, other, rng.choice(["ban", "leave", "invite"]), **moved)
        case 4:
            return mirror.member(other, other, rng.choice(["join", "leave"]), **moved)
        case 5:
            levels = {user: rng.choice([0, 50, 100]) for user in (BOB, CAROL, EVE)}
            return mirror.state(sender, "m.room.power_levels", {"users": {**own, **levels}}, **moved)
        case _:
            return mirror.message(sender, str(rng.random()), **moved)


@dataclass
class Reference:
    """What becomes of the events that come in one after another."""

    mirror: Mirror
    kinds: dict[EventId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kinds = dict.fromkeys(self.mirror.events, "accepted")

    def take(self, event: Event) -> str:
        if event.event_id in self.mirror.rejected:
            kind = "rejected"
        else:
            try:
                check_auth(event, self.mirror.whole(self.current()))
                kind = "accepted"
            except AuthRuleViolation:
                kind = "soft_failed"
        self.kinds[event.event_id] = kind
        return kind

    def current(self) -> dict[StateKey, EventId]:
        return self.mirror.resolve(self.newest())

    def newest(self) -> set[EventId]:
        """Return the accepted events that no accepted event follows, directly or through rejected ones."""
        accepted = {event_id for event_id, kind in self.kinds.items() if kind == "accepted"}
        followed = {it for event_id in accepted for it in self._followed(event_id)}
        return accepted - followed

    def _followed(self, event_id: EventId) -> Iterator[EventId]:
        for previous in self.mirror.events[event_id].prev_events:
            yield previous
            if self.kinds[previous] != "accepted":
                yield from self._followed(previous)
