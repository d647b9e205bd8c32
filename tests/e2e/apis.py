"""The APIs by which a person acts and reads: version 1, version 2, today's, and the WebSocket."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol
from urllib.parse import urlencode

from websockets.sync.client import ClientConnection, connect

from tests.e2e.raw import Raw, segment

V1, V2, V3 = "/_matrix/client/api/v1", "/_matrix/client/v2", "/_matrix/client/v3"
PATIENCE_S = 60
WAIT_MS = 5_000
NEWEST = 40
Event = Mapping[str, Any]
Found = Callable[[Event], object]
_numbers = itertools.count(1)


def room_path(base: str, room_id: str, *rest: str) -> str:
    return "/".join([f"{base}/rooms/{segment(room_id)}", *map(segment, rest)])


# -- Acting --------------------------------------------------------------------------------------------------


class Writer:
    """Acts by today's API; the others say what they do otherwise."""

    base = V3

    def __init__(self, person: Raw) -> None:
        self.person = person

    @property
    def user_id(self) -> str:
        return self.person.user_id

    def message(self, room_id: str, text: str) -> str:
        body = {"msgtype": "m.text", "body": text}
        return self._put(room_id, "send", "m.room.message", f"w{next(_numbers)}", body=body)

    def state(self, room_id: str, event_type: str, state_key: str, content: Event) -> str:
        return self._put(room_id, "state", event_type, state_key, body=content)

    def redact(self, room_id: str, event_id: str) -> str:
        return self._put(room_id, "redact", event_id, f"w{next(_numbers)}", body={})

    def _put(self, room_id: str, *rest: str, body: Event) -> str:
        return str(self.person.json("PUT", room_path(self.base, room_id, *rest), body)["event_id"])

    def invite(self, room_id: str, user_id: str) -> None:
        self.person.json("POST", room_path(self.base, room_id, "invite"), {"user_id": user_id})

    def join(self, room_id: str) -> None:
        self.person.json("POST", room_path(self.base, room_id, "join"))

    def leave(self, room_id: str) -> None:
        self.person.json("POST", room_path(self.base, room_id, "leave"))

    def kick(self, room_id: str, user_id: str) -> None:
        self.person.json("POST", room_path(self.base, room_id, "kick"), {"user_id": user_id})

    def typing(self, room_id: str, typing: bool) -> None:
        path = room_path(self.base, room_id, "typing", self.user_id)
        self.person.json("PUT", path, {"typing": typing, "timeout": 60_000})

    def receipt(self, room_id: str, event_id: str) -> None:
        self.person.json("POST", room_path(self.base, room_id, "receipt", "m.read", event_id))

    def presence(self, message: str) -> None:
        path = f"{self.base}/presence/{segment(self.user_id)}/status"
        self.person.json("PUT", path, {"presence": "unavailable", "status_msg": message})

    def name(self, name: str) -> None:
        path = f"{self.base}/profile/{segment(self.user_id)}/displayname"
        self.person.json("PUT", path, {"displayname": name})

    def close(self) -> None:
        self.person.close()


class WriterV1(Writer):
    base = V1

    def message(self, room_id: str, text: str) -> str:
        path = room_path(V1, room_id, "send", "m.room.message")
        return str(self.person.json("POST", path, {"msgtype": "m.text", "body": text})["event_id"])

    def redact(self, room_id: str, event_id: str) -> str:
        return str(self.person.json("POST", room_path(V1, room_id, "redact", event_id))["event_id"])


class WriterV2(Writer):
    base = V2

    def message(self, room_id: str, text: str) -> str:
        path = f"{room_path(V2, room_id, 'send', 'm.room.message')}?action_id=w{next(_numbers)}"
        return str(self.person.json("POST", path, {"msgtype": "m.text", "body": text})["event"]["event_id"])

    def state(self, room_id: str, event_type: str, state_key: str, content: Event) -> str:
        path = room_path(V2, room_id, "state", event_type, state_key)
        return str(self.person.json("PUT", path, content)["event"]["event_id"])

    def join(self, room_id: str) -> None:
        self.person.json("POST", f"{V2}/join", {"room_id": room_id})

    def receipt(self, room_id: str, event_id: str) -> None:
        self.person.json(
            "PUT", room_path(V2, room_id, "markers", "m.room.marker.read"), {"event_id": event_id}
        )


class WriterSocket(Writer):
    """Acts by a connection's requests, which are for messages and state alone."""

    def __init__(self, person: Raw) -> None:
        super().__init__(person)
        self._open = ExitStack()
        self.connection = self._open.enter_context(open_socket(person))

    def message(self, room_id: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        return self._ask("send", room_id=room_id, event_type="m.room.message", content=content)

    def state(self, room_id: str, event_type: str, state_key: str, content: Event) -> str:
        return self._ask(
            "state", room_id=room_id, event_type=event_type, state_key=state_key, content=content
        )

    def redact(self, room_id: str, event_id: str) -> str:
        content = {"redacts": event_id}
        return self._ask("send", room_id=room_id, event_type="m.room.redaction", content=content)

    def invite(self, room_id: str, user_id: str) -> None:
        self._set_membership(room_id, user_id, "invite")

    def join(self, room_id: str) -> None:
        self._set_membership(room_id, self.user_id, "join")

    def leave(self, room_id: str) -> None:
        self._set_membership(room_id, self.user_id, "leave")

    def kick(self, room_id: str, user_id: str) -> None:
        self._set_membership(room_id, user_id, "leave")

    def _set_membership(self, room_id: str, user_id: str, membership: str) -> None:
        self.state(room_id, "m.room.member", user_id, {"membership": membership})

    def _ask(self, method: str, **params: Any) -> str:
        request_id = f"w{next(_numbers)}"
        self.connection.send(json.dumps({"id": request_id, "method": method, "params": params}))
        while True:
            message = json.loads(self.connection.recv(timeout=PATIENCE_S))
            if message.get("id") == request_id:
                assert "error" not in message, message
                return str(message["result"]["event_id"])

    def close(self) -> None:
        self._open.close()
        super().close()


def open_socket(person: Raw, since: str | None = None) -> ClientConnection:
    query = urlencode({"access_token": person.token, **({"since": since} if since else {})})
    address = f"ws://127.0.0.1:{person.cloud.port}{V3}/stream?{query}"
    # Without a bound on what is unread: else nobody would hear the other side say goodbye.
    return connect(address, subprotocols=["m.json"], max_queue=None)  # type: ignore[list-item]


# -- Reading -------------------------------------------------------------------------------------------------


class Reader(Protocol):
    """What a person sees by one API.

    `live` readers are told of all that happens from their making on; the others look at the newest events of
    a room's history.
    """

    name: str
    live: bool

    def see(self, room_id: str, found: Found) -> Event:
        """Return the first event that is `found`, which must come in time."""

    def close(self) -> None: ...


class Live:
    """A reader that polls continuously and keeps what came."""

    name = ""
    live = True

    def __init__(self, person: Raw) -> None:
        self.person = person.again()
        self.came: list[Event] = []

    def read_on(self) -> Iterator[Event]:
        """Return the events that came since the last call, or that come within WAIT_MS."""
        raise NotImplementedError

    def see(self, room_id: str, found: Found) -> Event:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for event in self.came:
                if event.get("room_id", room_id) == room_id and found(event):
                    return event
            assert time.monotonic() < deadline, f"{self.name} never saw it: {self.came}"
            self.came += self.read_on()

    def close(self) -> None:
        self.person.close()


class EventsV1(Live):
    """Version 1's event stream."""

    name = "v1 events"

    def __init__(self, person: Raw) -> None:
        super().__init__(person)
        self.place = self.person.json("GET", f"{V1}/initialSync?limit=1")["end"]

    def read_on(self) -> Iterator[Event]:
        answer = self.person.json("GET", f"{V1}/events?from={segment(self.place)}&timeout={WAIT_MS}")
        self.place = answer["end"]
        for event in answer["chunk"]:
            assert event.get("user_id", event.get("sender")) == event.get("sender")
            yield event


class EventStreamV2(Live):
    """Version 2's event stream."""

    name = "v2 eventStream"

    def __init__(self, person: Raw) -> None:
        super().__init__(person)
        wanted = {"rooms": ["*"], "users": ["*"]}
        begun = self.person.json("POST", f"{V2}/streaming", wanted)["streaming"]
        answer = self.person.json("GET", f"{V2}/initialSync?max=1&streaming={segment(begun)}")
        self.place = answer["streaming"]

    def read_on(self) -> Iterator[Event]:
        query = f"streaming={segment(self.place)}&timeout={WAIT_MS}"
        answer = self.person.json("GET", f"{V2}/eventStream?{query}")
        self.place = answer["streaming"]
        for name in ("events", "state", "ephemeral", "presence"):
            yield from answer.get(name, ())


class Sync(Live):
    """Today's sync."""

    name = "v3 sync"

    def __init__(self, person: Raw) -> None:
        super().__init__(person)
        self.place = self.person.json("GET", f"{V3}/sync")["next_batch"]

    def read_on(self) -> Iterator[Event]:
        answer = self.person.json("GET", f"{V3}/sync?since={segment(self.place)}&timeout={WAIT_MS}")
        self.place = answer["next_batch"]
        yield from events_in(answer)


class Socket(Live):
    """Updates by a connection."""

    name = "WebSocket"

    def __init__(self, person: Raw) -> None:
        super().__init__(person)
        self._open = ExitStack()
        place = self.person.json("GET", f"{V3}/sync")["next_batch"]
        self.connection = self._open.enter_context(open_socket(person, place))

    def read_on(self) -> Iterator[Event]:
        try:
            update = json.loads(self.connection.recv(timeout=WAIT_MS / 1000))
        except TimeoutError:
            return
        yield from events_in(update)

    def close(self) -> None:
        self._open.close()
        super().close()


def events_in(answer: Mapping[str, Any]) -> Iterator[Event]:
    """Yield the events of a sync's answer, those of rooms with the room's ID."""
    parts = {
        "join": ("state", "timeline", "ephemeral"),
        "leave": ("state", "timeline"),
        "invite": ("invite_state",),
    }
    for kind, rooms in answer.get("rooms", {}).items():
        for room_id, section in rooms.items():
            for part in parts.get(kind, ()):
                for event in section.get(part, {}).get("events", ()):
                    yield {**event, "room_id": room_id}
    yield from answer.get("presence", {}).get("events", ())


class History:
    """Looks at the newest events of a room."""

    live = False

    def __init__(self, person: Raw, name: str, newest: Callable[[Raw, str], list[Event]]) -> None:
        self.person, self.name, self.newest = person.again(), name, newest

    def see(self, room_id: str, found: Found) -> Event:
        events = self.newest(self.person, room_id)
        for event in events:
            if found(event):
                return event
        raise AssertionError(f"{self.name} doesn't show it: {events}")

    def close(self) -> None:
        self.person.close()


def messages_v1(person: Raw, room_id: str) -> list[Event]:
    answer = person.json("GET", f"{room_path(V1, room_id, 'messages')}?dir=b&limit={NEWEST}")
    found: list[Event] = answer["chunk"]
    assert all(event["user_id"] == event["sender"] for event in found)
    return found


def messages_v3(person: Raw, room_id: str) -> list[Event]:
    answer = person.json("GET", f"{room_path(V3, room_id, 'messages')}?dir=b&limit={NEWEST}")
    found: list[Event] = answer["chunk"]
    return found


def paginate(person: Raw, room_id: str, query: str = "") -> list[Event]:
    answer = person.json("GET", f"{room_path(V2, room_id, 'paginate')}?max={NEWEST}{query}")
    found: list[Event] = answer["events"]
    return found


def pages(person: Raw, room_id: str) -> list[Event]:
    overview = person.json("GET", f"{room_path(V2, room_id, 'pages')}?max={NEWEST // 2}")
    tokens = overview["tokens"][-2:]
    return [event for token in tokens for event in paginate(person, room_id, f"&token={segment(token)}")]


def initial_v2(person: Raw, room_id: str) -> list[Event]:
    answer = person.json("GET", f"{V2}/initialSync?max={NEWEST}")
    [found] = [room["messages"] for room in answer["rooms"] if room["room_id"] == room_id]
    return list(found)


def scrollback(person: Raw, room_id: str) -> list[Event]:
    found: list[Event] = person.json("GET", f"{room_path(V2, room_id, 'scrollback')}?max={NEWEST}")["events"]
    return found


def readers_of(person: Raw) -> list[Reader]:
    """Return all ways for a person to read."""
    return [
        EventsV1(person),
        EventStreamV2(person),
        Sync(person),
        Socket(person),
        History(person, "v1 messages", messages_v1),
        History(person, "v2 initialSync", initial_v2),
        History(person, "v2 scrollback", scrollback),
        History(person, "v2 paginate", paginate),
        History(person, "v2 pages", pages),
        History(person, "v3 messages", messages_v3),
    ]
