"""The soak test's clients, which use real HTTP and WebSockets, break off requests, and repeat them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

V3 = "/_matrix/client/v3"
GONE = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError)
LONGEST_WAIT_MS = 20_000


class Refused(Exception):
    """The server answered with an error that no repetition mends."""


@dataclass
class Account:
    """A user's way to the server; a request is repeated until it's answered."""

    http: aiohttp.ClientSession
    url: str
    user_id: str = ""
    token: str = ""

    async def register(self, name: str) -> None:
        body = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
        answer = await self.request("POST", f"{V3}/register", body)
        self.user_id, self.token = answer["user_id"], answer["access_token"]

    async def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the answer's JSON. Raises Refused for a client error."""
        while True:
            try:
                return await self.once(method, path, body, **query)
            except GONE:
                await asyncio.sleep(0.1)

    async def once(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Make one attempt. Raises Refused, or aiohttp's errors if there is no answer or a server error."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given = {name: str(value) for name, value in query.items() if value is not None}
        async with self.http.request(
            method, self.url + path, json=body, params=given, headers=headers
        ) as answer:
            content = await answer.json(content_type=None)
            if answer.status >= 500 or answer.status == 429:
                raise aiohttp.ClientPayloadError(f"{answer.status} {content}")
            if answer.status >= 400:
                raise Refused(f"{method} {path}: {answer.status} {content}")
            return content

    def room(self, room_id: str, rest: str) -> str:
        return f"{V3}/rooms/{quote(room_id, safe='')}/{rest}"


@dataclass
class Tally:
    """When each message was acknowledged, by its text; how many were begun; how late they came."""

    sent: int = 0
    acknowledged: dict[str, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)


async def write(account: Account, rooms: list[str], until: float, tally: Tally, dice: random.Random) -> None:
    """Send messages to random rooms, each until it's acknowledged, sometimes twice."""
    number = 0
    while time.monotonic() < until:
        number += 1
        text = f"{account.user_id} {number}"
        room_id = dice.choice(rooms)
        path = account.room(room_id, f"send/m.room.message/{number}")
        tally.sent += 1
        first = await account.request("PUT", path, {"msgtype": "m.text", "body": text})
        tally.acknowledged[text] = time.monotonic()
        if dice.random() < 0.05:
            again = await account.request("PUT", path, {"msgtype": "m.text", "body": text})
            assert again == first, "a repeated transaction made another event"
        if dice.random() < 0.2:  # these ring late, or with what comes first
            event_id = quote(first["event_id"], safe="")
            await account.request("POST", account.room(room_id, f"receipt/m.read/{event_id}"), {})
        await asyncio.sleep(dice.random() * 0.05)


@dataclass
class Reader:
    """A client that reads: what it shows of each room, in its order, gaps filled by /messages."""

    account: Account
    rooms: list[str]
    tally: Tally
    dice: random.Random
    since: str | None = None
    shown: dict[str, list[str]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    repeated: int = 0
    requests: int = 0
    seen: set[str] = field(default_factory=set)

    async def take(self, answer: Any) -> None:
        """Show the events of a sync or an update, and keep its token."""
        rooms = answer.get("rooms", {})
        for kind in ("join", "leave"):
            for room_id, section in rooms.get(kind, {}).items():
                await self._show(room_id, section, fresh=room_id not in self.inside)
                (self.inside.add if kind == "join" else self.inside.discard)(room_id)
        self.since = answer.get("next_batch", self.since)

    async def _show(self, room_id: str, section: Any, *, fresh: bool) -> None:
        events = section["timeline"]["events"]
        shown = self.shown.setdefault(room_id, [])
        if section["timeline"]["limited"] or fresh:
            start = section["timeline"].get("prev_batch")
            while start is not None and not any(event["event_id"] in self.seen for event in events):
                path = self.account.room(room_id, "messages")
                page = await self.account.request("GET", path, dir="b", limit=100, **{"from": start})
                events = page["chunk"][::-1] + events
                start = page.get("end") if page["chunk"] else None
            events = [event for event in events if event["event_id"] not in self.seen]
        now = time.monotonic()
        for event in events:
            if event["event_id"] in self.seen:
                self.repeated += 1
                continue
            self.seen.add(event["event_id"])
            shown.append(event["event_id"])
            acknowledged = self.tally.acknowledged.get(event["content"].get("body", ""))
            if acknowledged is not None:
                self.tally.delays.append(now - acknowledged)


async def read_http(reader: Reader, until: asyncio.Event, *, wander: bool = False) -> None:
    """Sync repeatedly, with pauses, aborted requests and repeated tokens. Some clients leave rooms and
    rejoin.
    """
    dice = reader.dice
    while not until.is_set():
        query: dict[str, Any] = {"since": reader.since, "timeout": dice.choice((0, 300, LONGEST_WAIT_MS))}
        try:
            call = reader.account.once("GET", f"{V3}/sync", **query)
            patience = dice.random() if dice.random() < 0.1 else 40
            answer = await asyncio.wait_for(call, patience)
        except GONE:
            await asyncio.sleep(0.05)
            continue
        reader.requests += 1
        if dice.random() < 0.1:
            await _repeat(reader, answer)
        await reader.take(answer)
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 0.3)
        if wander and dice.random() < 0.1:
            room_id = dice.choice(reader.rooms)
            await reader.account.request("POST", reader.account.room(room_id, "leave"), {})
            await asyncio.sleep(dice.random() * 0.2)
            await reader.account.request("POST", reader.account.room(room_id, "join"), {})


async def _repeat(reader: Reader, answer: Any) -> None:
    """Use the same token again. The same events must come again, before anything newer."""
    again = await reader.account.request("GET", f"{V3}/sync", since=reader.since, timeout=0)
    for room_id, section in answer.get("rooms", {}).get("join", {}).items():
        other = again.get("rooms", {}).get("join", {}).get(room_id)
        if other is None or other["timeline"]["limited"] or section["timeline"]["limited"]:
            continue
        first, second = (
            [event["event_id"] for event in each["timeline"]["events"]] for each in (section, other)
        )
        assert second[: len(first)] == first, "a token told another story the second time"


async def read_socket(reader: Reader, until: asyncio.Event) -> None:
    """Receive updates by WebSocket. Disconnect now and then, and continue from the last position."""
    url = reader.account.url.replace("http", "ws", 1) + f"{V3}/stream"
    while not until.is_set():
        query = {"access_token": reader.account.token} | ({"since": reader.since} if reader.since else {})
        try:
            async with reader.account.http.ws_connect(url, params=query, protocols=["m.json"]) as socket:
                hang_up = time.monotonic() + reader.dice.uniform(1, 8)
                while time.monotonic() < hang_up and not until.is_set():
                    message = await _receive(socket, 0.25)
                    if message is None:
                        continue
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    reader.requests += 1
                    await reader.take(json.loads(message.data))
        except GONE:
            await asyncio.sleep(0.1)


async def _receive(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> aiohttp.WSMessage | None:
    """Return the next message; None if none comes in that time."""
    try:
        return await socket.receive(timeout=seconds)
    except TimeoutError:
        return None
