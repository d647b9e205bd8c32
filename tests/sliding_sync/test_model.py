"""Sliding sync against a plain model: any requests in any order, some of them given up.

What a client was shown, gaps filled by way of /messages, is all that it may see of the rooms in sight, in the
room's order, and nothing twice. The state and the unread counts that it was told of are those of now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from murmuration.protocol.identifiers import RoomId
from murmuration.storage.rooms import room_items
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, event_ids, join, leave, messages, ok, path, send, set_state
from tests.sliding_sync.client import ROOM_LIST, Sliding, state_of
from tests.sync.client import Syncing

Make = Callable[..., Client]
PEOPLE = ("alice", "bob")
ROOMS = (0, 1, 2)
NARROW = [["m.room.topic", ""], ["m.room.member", "$LAZY"]]
WIDE = [["*", "*"]]


@dataclass
class Log:
    """A room as it is: its events in order, and how far each person who left may see."""

    room_id: RoomId
    events: list[str] = field(default_factory=list)
    joined: set[str] = field(default_factory=set)
    until: dict[str, int] = field(default_factory=dict)

    def visible(self, person: str) -> list[str]:
        return self.events if person in self.joined else self.events[: self.until.get(person, 0)]


@dataclass
class Screen:
    """What a client of one person shows: the events of each room, its state, its unread count."""

    sliding: Sliding
    rooms: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)

    def sync(self) -> Any:
        answer = self.sliding.sync()
        for room_id, section in answer["rooms"].items():
            self._show(room_id, section)
            if section.get("initial"):
                self.states[room_id] = {}
            found = {pair: event["event_id"] for pair, event in state_of(section).items()}
            self.states.setdefault(room_id, {}).update(found)
            self.unread[room_id] = section.get("notification_count", self.unread.get(room_id, 0))
        return answer

    def _show(self, room_id: str, section: Any) -> None:
        new = event_ids(section.get("timeline", []))
        shown = self.rooms.setdefault(room_id, [])
        again = section.get("initial") or section.get("unstable_expanded_timeline")
        if not section.get("limited") and not again:
            assert not set(new) & set(shown), "shown twice"
            shown += new
            return
        assert section["num_live"] <= len(new)
        start = section["prev_batch"] if section.get("limited") else None
        while start is not None and not set(new) & set(shown):
            page = messages(self.sliding.client, room_id, **{"from": start, "limit": 7})
            new = event_ids(page["chunk"])[::-1] + new
            start = page.get("end")
        if section.get("unstable_expanded_timeline"):
            assert not set(shown) or set(new) & set(shown)
            known = [event_id for event_id in shown if event_id not in new]
            self.rooms[room_id] = sorted({*known, *new}, key=[*known, *new].index)
            return
        shown += [event_id for event_id in new if event_id not in shown]


class SlidingMachine(RuleBasedStateMachine):
    make: Make

    @initialize()
    def begin(self) -> None:
        self.clients = {person: type(self).make(person) for person in PEOPLE}
        self.screens = {person: self._screen(client) for person, client in self.clients.items()}
        self.logs = [Log(RoomId(create_room(self.clients["alice"], preset="public_chat"))) for _ in ROOMS]
        for log in self.logs:
            log.joined.add("alice")
            self._newest(log)

    def _screen(self, client: Client) -> Screen:
        lists = {"all": {"ranges": [[0, 2]], "timeline_limit": 3, "required_state": NARROW}}
        return Screen(Sliding(client, lists=lists, extensions=ROOM_LIST))

    def _newest(self, log: Log) -> None:
        head = room_items.read_head(log.room_id)
        assert head is not None
        entries = room_items.read_log(log.room_id, head.version, after=len(log.events))
        log.events += [entry.event.event_id for entry in entries]

    @rule(number=st.sampled_from(ROOMS), count=st.sampled_from((1, 1, 2, 5)))
    def send(self, number: int, count: int) -> None:
        log = self.logs[number]
        log.events += [send(self.clients["alice"], log.room_id) for _ in range(count)]

    @rule(number=st.sampled_from(ROOMS), event_type=st.sampled_from(("m.room.topic", "m.room.pinned_events")))
    def change_state(self, number: int, event_type: str) -> None:
        log = self.logs[number]
        content = {"topic": str(len(log.events)), "pinned": [str(len(log.events))]}
        log.events.append(set_state(self.clients["alice"], log.room_id, event_type, content))

    @rule(number=st.integers(0, 9))
    def rename(self, number: int) -> None:
        alice = self.clients["alice"]
        name = f"{V3}/profile/{segment(alice.user_id)}/displayname"
        ok(alice.put(name, {"displayname": f"Alice {number}"}))
        for log in self.logs:
            self._newest(log)

    @rule(number=st.sampled_from(ROOMS))
    def come_or_go(self, number: int) -> None:
        log, client = self.logs[number], self.clients["bob"]
        if "bob" in log.joined:
            leave(client, log.room_id)
            log.joined.discard("bob")
            self._newest(log)
            log.until["bob"] = len(log.events)
        else:
            join(client, log.room_id)
            log.joined.add("bob")
            self._newest(log)

    @rule(number=st.sampled_from(ROOMS), person=st.sampled_from(PEOPLE))
    def read(self, number: int, person: str) -> None:
        log = self.logs[number]
        if person in log.joined:
            ok(self.clients[person].post(path(log.room_id, "receipt", "m.read", log.events[-1])))

    @rule(
        person=st.sampled_from(PEOPLE),
        last=st.sampled_from((0, 2)),
        limit=st.sampled_from((1, 3, 20)),
        state=st.sampled_from((NARROW, WIDE)),
    )
    def ask_otherwise(self, person: str, last: int, limit: int, state: Any) -> None:
        self.screens[person].sliding.lists["all"] = {
            "ranges": [[0, last]],
            "timeline_limit": limit,
            "required_state": state,
        }

    @rule(person=st.sampled_from(PEOPLE), number=st.sampled_from(ROOMS), is_open=st.booleans())
    def open_or_close(self, person: str, number: int, is_open: bool) -> None:
        subscriptions = self.screens[person].sliding.subscriptions
        subscriptions.pop(self.logs[number].room_id, None)
        if is_open:
            subscriptions[self.logs[number].room_id] = {"timeline_limit": 8, "required_state": WIDE}

    @rule(person=st.sampled_from(PEOPLE))
    def give_up(self, person: str) -> None:
        self.screens[person].sliding.peek()

    @rule(person=st.sampled_from(PEOPLE))
    def begin_anew(self, person: str) -> None:
        self.screens[person].sliding.pos = None

    @rule()
    def everybody_syncs(self) -> None:
        for person in PEOPLE:
            self.sync(person)

    @rule(person=st.sampled_from(PEOPLE))
    def sync(self, person: str) -> None:
        screen = self.screens[person]
        sliding = screen.sliding
        count = screen.sync()["lists"]["all"]["count"]
        assert count == sum(person in log.joined for log in self.logs)
        if sliding.lists["all"]["ranges"] == [[0, 2]]:
            assert sliding.peek()["rooms"] == {}
            self._check(person, screen)

    def _check(self, person: str, screen: Screen) -> None:
        """Check that the client has exactly what there is. All rooms are in sight, and no news is left."""
        client = self.clients[person]
        required = screen.sliding.lists["all"]["required_state"]
        told = Syncing(client).sync().get("rooms", {}).get("join", {})
        for log in self.logs:
            shown = screen.rooms.get(log.room_id, [])
            if person not in log.joined:
                assert set(shown) <= set(log.visible(person))
                continue
            assert shown == [each for each in log.events if each in shown], "out of order"
            assert shown[-1] == log.events[-1]
            missing = [each for each in log.events[log.events.index(shown[0]) :] if each not in shown]
            assert not missing
            assert (
                screen.unread[log.room_id] == told[log.room_id]["unread_notifications"]["notification_count"]
            )
            current = ok(client.get(path(log.room_id, "state")))
            now = {(event["type"], event["state_key"]): event["event_id"] for event in current}
            have = screen.states[log.room_id]
            speaker = told[log.room_id]["timeline"]["events"][-1]["sender"]
            narrow = {pair for pair in now if pair[0] == "m.room.topic"} | {("m.room.member", speaker)}
            wanted = now if required == WIDE else {pair: now[pair] for pair in narrow}
            assert {pair: have.get(pair) for pair in wanted} == wanted


def test_sliding_sync_agrees_with_the_model(make_client: Make) -> None:
    SlidingMachine.make = staticmethod(make_client)
    run_state_machine_as_test(
        SlidingMachine,
        settings=settings(max_examples=8, stateful_step_count=24, derandomize=True),
    )
