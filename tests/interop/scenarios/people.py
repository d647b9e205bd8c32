"""A person with a client, on a server of ours or on a Synapse: the same requests go to either."""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.local_cloud.waiting import until

V3 = "/_matrix/client/v3"
PATIENCE_S = 60.0
_numbers = itertools.count(1)

Event = dict[str, Any]


class RequestRefused(Exception):
    """An answer that isn't 200."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.errcode = body.get("errcode") if isinstance(body, dict) else None


@dataclass(slots=True)
class Room:
    """What one person's client was told about a room.

    `told` has the IDs of events that came as new. `is_limited` says whether some were left out.
    """

    membership: str = ""
    told: list[str] = field(default_factory=list)
    is_limited: bool = False
    timeline: list[Event] = field(default_factory=list)
    state: dict[tuple[str, str], Event] = field(default_factory=dict)
    invite_state: list[Event] = field(default_factory=list)

    def take(self, section: dict[str, Any]) -> None:
        """Take in a section of /sync. A limited timeline replaces the earlier one, as in clients."""
        timeline = section.get("timeline", {})
        self.told += [event["event_id"] for event in timeline.get("events", [])]
        if timeline.get("limited"):
            self.timeline, self.is_limited = [], True
        self.timeline += timeline.get("events", [])
        for event in (*section.get("state", {}).get("events", []), *timeline.get("events", [])):
            if "state_key" in event:
                self.state[event["type"], event["state_key"]] = event

    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.timeline]

    def texts(self) -> list[str]:
        """Return the texts of the messages, in the order in which they came."""
        return [
            event["content"]["body"]
            for event in self.timeline
            if event["type"] == "m.room.message" and "body" in event["content"]
        ]

    def content(self, event_type: str, state_key: str = "") -> dict[str, Any]:
        event = self.state.get((event_type, state_key))
        return dict(event["content"]) if event else {}

    def member(self, user_id: str) -> str:
        return str(self.content("m.room.member", user_id).get("membership", ""))


class Person:
    """A new user of the server at `url`."""

    def __init__(self, url: str, server_name: str, name: str = "p") -> None:
        self.url = url
        self.server_name = server_name
        self.token = ""
        body = {
            "username": f"{name}{next(_numbers)}",
            "password": "correct horse battery staple",
            "auth": {"type": "m.login.dummy"},
        }
        answer = self.call("POST", "/register", body)
        self.token, self.user_id = str(answer["access_token"]), str(answer["user_id"])
        self.since = ""
        self.rooms: dict[str, Room] = {}

    def call(self, method: str, path: str, body: Any = None, **query: str | list[str]) -> Any:
        """Return the answer's body. Raises RequestRefused for any status but 200."""
        asked = f"?{urlencode(query, doseq=True)}" if query else ""
        base = "" if path.startswith("/_matrix") else V3
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        sent = None if method == "GET" else json.dumps({} if body is None else body).encode()
        request = urllib.request.Request(self.url + base + path + asked, sent, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                found = json.loads(text)
            except ValueError:
                found = text.decode(errors="replace")
            raise RequestRefused(error.code, found) from None

    # -- Rooms --------------------------------------------------------------------------------------------

    def create(self, version: str, *, rule: str = "public", **body: Any) -> str:
        """Create a room of one version with a join rule, and return its ID."""
        state = [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": rule}}]
        state += body.pop("initial_state", [])
        preset = {"preset": "private_chat", "room_version": version, "initial_state": state}
        return str(self.call("POST", "/createRoom", {**preset, **body})["room_id"])

    def join(self, room: str, *via: str) -> str:
        servers = {"via": list(via), "server_name": list(via)} if via else {}
        return str(self.call("POST", f"/join/{quote(room, safe='')}", {}, **servers)["room_id"])

    def knock(self, room: str, *via: str) -> str:
        body = {"reason": "let me in"}
        servers = {"via": list(via), "server_name": list(via)}
        return str(self.call("POST", f"/knock/{quote(room, safe='')}", body, **servers)["room_id"])

    def act(self, room_id: str, action: str, user_id: str = "") -> None:
        """Invite, leave, kick, ban, unban or forget."""
        body = {"user_id": user_id} if user_id else {}
        self.call("POST", f"{where(room_id)}/{action}", body)

    def say(self, room_id: str, text: str) -> str:
        return self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        path = f"{where(room_id)}/send/{event_type}/t{next(_numbers)}"
        return str(self.call("PUT", path, content)["event_id"])

    def put_state(self, room_id: str, event_type: str, content: dict[str, Any], state_key: str = "") -> str:
        path = f"{where(room_id)}/state/{event_type}/{quote(state_key, safe='')}"
        return str(self.call("PUT", path, content)["event_id"])

    def redact(self, room_id: str, event_id: str) -> str:
        path = f"{where(room_id)}/redact/{quote(event_id, safe='')}/t{next(_numbers)}"
        return str(self.call("PUT", path, {"reason": "slip"})["event_id"])

    def event(self, room_id: str, event_id: str) -> Event:
        found: Event = self.call("GET", f"{where(room_id)}/event/{quote(event_id, safe='')}")
        return found

    def members(self, room_id: str) -> set[str]:
        return set(self.call("GET", f"{where(room_id)}/joined_members")["joined"])

    def state_of(self, room_id: str) -> dict[tuple[str, str], str]:
        """Return the current state: from type and state key to event ID."""
        events = self.call("GET", f"{where(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    def history(self, room_id: str) -> list[Event]:
        """Return all events from the newest to the oldest, page by page, as a client scrolls."""
        events: list[Event] = []
        query: dict[str, str] = {}
        for _ in range(100):
            page = self.call("GET", f"{where(room_id)}/messages", dir="b", limit="50", **query)
            events += page["chunk"]
            if "end" not in page:
                return events
            query = {"from": page["end"]}
        raise AssertionError("the history has no end")

    def history_texts(self, room_id: str) -> list[str]:
        """Return the texts of the messages, oldest first, read page by page. Fails if an event comes
        twice.
        """
        events = self.history(room_id)
        ids = [event["event_id"] for event in events]
        assert len(ids) == len(set(ids))
        return [event["content"]["body"] for event in reversed(events) if event["type"] == "m.room.message"]

    def reads_all(self, room_id: str, said: set[str]) -> None:
        """Wait until all of the texts came. Our server tries servers again that were away once a minute."""
        eventually(lambda: set(self.history_texts(room_id)) == said, f"{said} in the history", 200)

    # -- Syncing ------------------------------------------------------------------------------------------

    def sync(self, timeout_ms: int = 5000) -> None:
        """Take in one answer of /sync."""
        query = {"timeout": str(timeout_ms), "filter": '{"room":{"timeline":{"limit":100}}}'}
        if self.since:
            query["since"] = self.since
        body = self.call("GET", "/sync", **query)
        self.since = body["next_batch"]
        for membership, rooms in body.get("rooms", {}).items():
            for room_id, section in rooms.items():
                room = self.rooms.setdefault(room_id, Room())
                room.membership = membership
                if membership in ("invite", "knock"):
                    room.invite_state = section[f"{membership}_state"]["events"]
                else:
                    room.take(section)

    def room(self, room_id: str) -> Room:
        return self.rooms.get(room_id) or Room()

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Sync until `condition` is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.user_id} waited in vain for {what}: {self.rooms}")
            self.sync(min(5000, max(0, int(1000 * (deadline - time.monotonic())))))

    def hears(self, room_id: str, text: str) -> None:
        self.until(lambda: text in self.room(room_id).texts(), repr(text))

    def finds_redacted(self, room_id: str, event_id: str) -> None:
        eventually(lambda: self.event(room_id, event_id)["content"] == {}, f"{event_id} redacted")

    def sees_name(self, room_id: str, user_id: str, name: str) -> None:
        def shown() -> bool:
            return self.room(room_id).content("m.room.member", user_id).get("displayname") == name

        self.until(shown, f"{user_id} called {name}")

    def is_told(self, room_id: str, membership: str) -> None:
        """Wait until the room is in this section of /sync."""
        self.until(lambda: self.room(room_id).membership == membership, f"{membership} in {room_id}")

    def sees_member(self, room_id: str, user_id: str, membership: str) -> None:
        self.until(
            lambda: self.room(room_id).member(user_id) == membership, f"{user_id} {membership} in {room_id}"
        )

    def sees_state(self, room_id: str, event_type: str, content: dict[str, Any], state_key: str = "") -> None:
        self.until(
            lambda: self.room(room_id).content(event_type, state_key) == content, f"{event_type} {content}"
        )


def where(room_id: str) -> str:
    return f"/rooms/{quote(room_id, safe='')}"


def eventually(condition: Callable[[], object], what: str = "", patience: float = PATIENCE_S) -> None:
    """Ask until the answer is true. RequestRefused counts as not yet."""
    refusals: list[str] = []

    def holds() -> object:
        try:
            return condition()
        except RequestRefused as error:
            refusals.append(str(error))
            return False

    until(holds, patience, pause=0.1, what=lambda: f"{what} {refusals[-1:]}")
