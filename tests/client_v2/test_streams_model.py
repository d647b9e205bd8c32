"""A reader of version 2 against a plain model: it is shown exactly what it may see.

It reads by initialSync, event stream and scrollback in turn, and fills what a page or the stream passed over
by paginating. The stream brings no superseded state: that is in the history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from murmuration.drafts.v2 import event_stream as domain
from murmuration.protocol.identifiers import RoomId
from murmuration.storage.rooms import room_items
from tests.client_v2.streams import V2, Streaming, scrollback
from tests.in_process import Client
from tests.rooms.people import create_room, event_ids, join, leave, ok, path, send, set_state

Make = Callable[..., Client]
PEOPLE = ("alice", "bob", "carol")
ROOMS = (0, 1)
PAGE = 3
"""How many events an initialSync or a scrollback brings, and an event stream of a room."""


@dataclass
class Log:
    """A room as it is: its events in order, and how far each person who left may see."""

    room_id: RoomId
    events: list[str] = field(default_factory=list)
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    joined: set[str] = field(default_factory=set)
    until: dict[str, int] = field(default_factory=dict)

    def catch_up(self) -> None:
        head = room_items.read_head(self.room_id)
        assert head is not None
        entries = room_items.read_log(self.room_id, head.version, after=len(self.events))
        for entry in entries:
            self.events.append(entry.event.event_id)
            if entry.event.state_pair is not None:
                self.pairs[entry.event.event_id] = entry.event.state_pair

    def visible(self, person: str) -> list[str]:
        return self.events if person in self.joined else self.events[: self.until.get(person, 0)]

    def current(self) -> dict[tuple[str, str], str]:
        return {self.pairs[event_id]: event_id for event_id in self.events if event_id in self.pairs}


@dataclass
class Screen:
    """What a client has of each room: the events that it was shown, its state, where its history ends."""

    streaming: Streaming
    shown: dict[str, set[str]] = field(default_factory=dict)
    state: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    streamed: dict[str, list[str]] = field(default_factory=dict)

    def keep(self, room_id: str, events: list[Any], *, as_state: bool = True) -> None:
        self.shown.setdefault(room_id, set()).update(event_ids(events))
        kept = self.state.setdefault(room_id, {})
        for event in events:
            if as_state and "state_key" in event:
                kept[event["type"], event["state_key"]] = event["event_id"]

    def fill(self, room_id: str, token: str | None) -> None:
        """Go back to the beginning."""
        while token is not None:
            where = path(room_id, "paginate", version=V2)
            page = ok(self.streaming.client.get(where, token=token, max=30))
            self.keep(room_id, page["events"], as_state=False)
            token = page.get("token")

    def catch_up(self) -> None:
        for room in self.streaming.begin(max=PAGE)["rooms"]:
            if "messages" not in room:
                continue
            room_id = room["room_id"]
            if not room["incremental"]:
                self.state.pop(room_id, None)
            self.keep(room_id, room["messages"])
            self.keep(room_id, room["state"])
            self.fill(room_id, room.get("token"))

    def stream(self) -> None:
        answer = self.streaming.go_on()
        for event in answer["events"]:
            if event["type"] == domain.SCROLLBACK:
                self.state.pop(event["room_id"], None)
                self.fill(event["room_id"], event["content"]["token"])
                opened = scrollback(self.streaming.client, event["room_id"], max=0)
                self.keep(event["room_id"], opened["state"])
                self.streamed[event["room_id"]] = []
                continue
            told = self.streamed.setdefault(event["room_id"], [])
            assert event["event_id"] not in told, "streamed twice"
            told.append(event["event_id"])
            self.keep(event["room_id"], [event])
        for event in answer.get("state", ()):
            self.keep(event["room_id"], [event])
        for room_id, token in answer.get("missed", {}).items():
            self.fill(room_id, token)

    def open_room(self, room_id: str) -> None:
        room = scrollback(self.streaming.client, room_id, max=PAGE, streaming=self.streaming.token)
        self.streaming.token = room["streaming"]
        if not room["incremental"]:
            self.state.pop(room_id, None)
        self.keep(room_id, room["events"])
        self.keep(room_id, room["state"])
        self.fill(room_id, room.get("token"))


class StreamsMachine(RuleBasedStateMachine):
    make: Make

    @initialize()
    def begin(self) -> None:
        self.clients = {person: type(self).make(person) for person in PEOPLE}
        self.logs = [Log(RoomId(create_room(self.clients["alice"], preset="public_chat"))) for _ in ROOMS]
        for log in self.logs:
            log.joined.add("alice")
            log.catch_up()
        self.screens = {person: Screen(Streaming(client)) for person, client in self.clients.items()}
        for screen in self.screens.values():
            screen.catch_up()

    @rule(number=st.sampled_from(ROOMS), count=st.sampled_from((1, 2, PAGE + 2)))
    def send(self, number: int, count: int) -> None:
        for _ in range(count):
            send(self.clients["alice"], self.logs[number].room_id)
        self.logs[number].catch_up()

    @rule(number=st.sampled_from(ROOMS), count=st.sampled_from((1, 2, PAGE + 1)))
    def change_state(self, number: int, count: int) -> None:
        log = self.logs[number]
        for _ in range(count):
            set_state(self.clients["alice"], log.room_id, "m.room.topic", {"topic": str(len(log.events))})
            log.catch_up()

    @rule(number=st.sampled_from(ROOMS), person=st.sampled_from(PEOPLE[1:]))
    def come_or_go(self, number: int, person: str) -> None:
        log, client = self.logs[number], self.clients[person]
        if person in log.joined:
            leave(client, log.room_id)
            log.joined.discard(person)
            log.catch_up()
            log.until[person] = len(log.events)
        else:
            join(client, log.room_id)
            log.joined.add(person)
            log.catch_up()

    @rule(number=st.sampled_from(ROOMS), person=st.sampled_from(PEOPLE), given=st.booleans())
    def act(self, number: int, person: str, given: bool) -> None:
        """Send by version 2, with the event in the answer and not in the stream, or in both."""
        log, screen = self.logs[number], self.screens[person]
        if person not in log.joined:
            return
        query = {"streaming": screen.streaming.token} if given else {}
        where = path(log.room_id, "send", "m.room.message", version=V2)
        event = ok(self.clients[person].post(where, {"msgtype": "m.text", "body": "x"}, **query))["event"]
        screen.keep(log.room_id, [event])
        if given:
            screen.streamed.setdefault(log.room_id, []).append(event["event_id"])
        log.catch_up()

    @rule(person=st.sampled_from(PEOPLE))
    def catch_up(self, person: str) -> None:
        self.screens[person].catch_up()
        self._settled(person)

    @rule(person=st.sampled_from(PEOPLE))
    def stream(self, person: str) -> None:
        self.screens[person].stream()
        self._settled(person)

    @rule(person=st.sampled_from(PEOPLE), number=st.sampled_from(ROOMS))
    def open_room(self, person: str, number: int) -> None:
        log = self.logs[number]
        if person in log.joined:
            self.screens[person].open_room(log.room_id)

    @rule(person=st.sampled_from(PEOPLE))
    def ask_twice(self, person: str) -> None:
        """Repeat a request whose answer got lost."""
        screen = self.screens[person]
        before = screen.streaming.token
        lost = screen.streaming.go_on()
        screen.streaming.token = before
        again = screen.streaming.go_on()
        assert event_ids_of(lost) == event_ids_of(again)
        screen.streaming.token = before

    @rule(person=st.sampled_from(PEOPLE), number=st.sampled_from(ROOMS))
    def scroll(self, person: str, number: int) -> None:
        """Check that the whole history has everything that the stream left out."""
        log, screen = self.logs[number], self.screens[person]
        if not log.visible(person):
            return
        screen.stream()
        token: str | None = f"t{len(log.events)}"
        while token is not None:
            query = {"token": token, "max": PAGE}
            page = ok(self.clients[person].get(path(log.room_id, "paginate", version=V2), **query))
            screen.keep(log.room_id, page["events"], as_state=False)
            token = page.get("token")
        assert screen.shown[log.room_id] == set(log.visible(person))

    def _settled(self, person: str) -> None:
        """Check that a client has, after reading, all events that it may see except superseded state, and the
        state.
        """
        screen = self.screens[person]
        for log in self.logs:
            visible = set(log.visible(person))
            missing = visible - screen.shown.get(log.room_id, set())
            assert missing <= log.pairs.keys() - set(log.current().values())
            if person in log.joined:
                assert screen.state[log.room_id] == log.current()

    @invariant()
    def nothing_is_seen_that_must_not_be(self) -> None:
        for person, screen in getattr(self, "screens", {}).items():
            for log in self.logs:
                assert screen.shown.get(log.room_id, set()) <= set(log.visible(person))


def event_ids_of(answer: Any) -> list[str]:
    return [event.get("event_id", event["room_id"]) for event in answer["events"]]


def test_a_reader_is_shown_what_it_may_see_and_no_more(make_client: Make) -> None:
    StreamsMachine.make = staticmethod(make_client)
    with mock.patch.object(domain, "AT_ONCE", PAGE):
        run_state_machine_as_test(
            StreamsMachine,
            settings=settings(max_examples=10, stateful_step_count=25, derandomize=True),
        )
