"""The soak's apps with sliding sync: they open and close rooms, and give up requests that wait for that."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.sliding_sync.client import PATH
from tests.soak.clients import GONE, LONGEST_WAIT_MS, Reader

NOTHING: list[list[str]] = []


@dataclass
class SlidingReader(Reader):
    """A reader by a connection of sliding sync; `opened` is the room that it shows."""

    pos: str | None = None
    last: int = 0
    limit: int = 1
    opened: str | None = None
    transactions: int = 0
    kinds: set[str] = field(default_factory=set)

    def body(self) -> dict[str, Any]:
        """Return the next request's body. Each has another transaction ID, as in apps."""
        self.transactions += 1
        wanted = {"timeline_limit": self.limit, "required_state": NOTHING}
        opened = {self.opened: {"timeline_limit": 20, "required_state": NOTHING}} if self.opened else {}
        return {
            "conn_id": "room-list",
            "txn_id": f"{self.transactions:032x}",
            "lists": {"all_rooms": {"ranges": [[0, self.last]], **wanted}},
            "room_subscriptions": opened,
            "extensions": {"receipts": {"enabled": True}},
        }

    async def take_sliding(self, answer: Any) -> None:
        """Show the events of an answer, and keep its pos."""
        for room_id, section in answer["rooms"].items():
            anew = section.get("limited", False) or section.get("unstable_expanded_timeline", False)
            timeline = {"events": section.get("timeline", []), "limited": anew}
            if "prev_batch" in section:
                timeline["prev_batch"] = section["prev_batch"]
            await self._show(room_id, {"timeline": timeline}, fresh=bool(section.get("initial")))
        self.pos = answer["pos"]
        self.kinds.add(answer["pos"][:3])
        self.last = max(answer["lists"]["all_rooms"]["count"] - 1, 0)

    def ask_otherwise(self) -> None:
        """Open another room in most cases. All rooms' IDs have the same length."""
        self.opened = self.dice.choice([None, *self.rooms, *self.rooms])
        self.limit = self.dice.choice((1, 1, 1, 3))


async def read_sliding(reader: SlidingReader, until: asyncio.Event) -> None:
    """Send requests repeatedly, with pauses, and with requests that are aborted for another body."""
    dice = reader.dice
    while not until.is_set():
        timeout = dice.choice((0, 300, LONGEST_WAIT_MS, LONGEST_WAIT_MS)) if reader.pos else None
        try:
            call = reader.account.once("POST", PATH, reader.body(), pos=reader.pos, timeout=timeout)
            answer = await asyncio.wait_for(call, dice.random() if dice.random() < 0.2 else 40)
        except GONE:
            reader.ask_otherwise()
            continue
        reader.requests += 1
        await reader.take_sliding(answer)
        if dice.random() < 0.1:
            reader.ask_otherwise()
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 0.3)
