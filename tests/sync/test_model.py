"""The sync engine against a plain model, with any sequence of changes.

What a client was shown, gaps filled by way of /messages, is what it may see: all of it, in the room's order,
and nothing twice for as long as it stays in the room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.pdus.building import build_event
from murmuration.server_keys import signing_key
from murmuration.settings import settings as deployment_settings
from murmuration.storage.rooms import room_items
from murmuration.storage.rooms.room_items import LogEntry
from tests.in_process import Client
from tests.rooms.people import create_room, event_ids, join, leave, messages, ok, path, send, set_state
from tests.sync.client import Syncing, timeline

Make = Callable[..., Client]
PEOPLE = ("alice", "bob", "carol")
ROOMS = (0, 1)


@dataclass
class Log:
    """A room as it is: its events in order, and how far each person who left may see."""

    room_id: RoomId
    events: list[str] = field(default_factory=list)
    joined: set[str] = field(default_factory=set)
    until: dict[str, int] = field(default_factory=dict)
    backfilled: list[str] = field(default_factory=list)

    def visible(self, person: str) -> list[str]:
        return self.events if person in self.joined else self.events[: self.until.get(person, 0)]


@dataclass
class Screen:
    """What a client of one person shows: for each room, the events in the order it has them."""

    syncing: Syncing
    rooms: dict[str, list[str]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)

    def sync(self, **query: Any) -> None:
        rooms = self.syncing.sync(**query).get("rooms", {})
        for room_id, section in rooms.get("join", {}).items():
            self._show(room_id, section, fresh=room_id not in self.inside)
            self.inside.add(room_id)
        for room_id, section in rooms.get("leave", {}).items():
            self._show(room_id, section, fresh=room_id not in self.inside)
            self.inside.discard(room_id)

    def _show(self, room_id: str, section: Any, *, fresh: bool) -> None:
        new = event_ids(timeline(section))
        shown = self.rooms.setdefault(room_id, [])
        if not section["timeline"]["limited"] and not fresh:
            assert not set(new) & set(shown), "shown twice"
            shown += new
            return
        start = section["timeline"]["prev_batch"]
        while start is not None and not set(new) & set(shown):
            page = messages(self.syncing.client, room_id, **{"from": start, "limit": 7})
            new = event_ids(page["chunk"])[::-1] + new
            start = page.get("end")
        shown += [event_id for event_id in new if event_id not in shown]


class SyncMachine(RuleBasedStateMachine):
    make: Make

    @initialize()
    def begin(self) -> None:
        self.clients = {person: type(self).make(person) for person in PEOPLE}
        self.screens = {
            person: Screen(Syncing(client, filter={"room": {"timeline": {"limit": 6}}}))
            for person, client in self.clients.items()
        }
        self.logs = [Log(RoomId(create_room(self.clients["alice"], preset="public_chat"))) for _ in ROOMS]
        for log in self.logs:
            log.joined.add("alice")
            page = messages(self.clients["alice"], log.room_id, "f", limit=50)
            log.events += event_ids(page["chunk"])

    def _newest(self, log: Log) -> None:
        head = room_items.read_head(log.room_id)
        assert head is not None
        after = len(log.events)
        entries = room_items.read_log(log.room_id, head.version, after=after, before=head.ordinal + 1)
        log.events += [entry.event.event_id for entry in entries]

    @rule(number=st.sampled_from(ROOMS), count=st.sampled_from((1, 1, 2, 8)))
    def send(self, number: int, count: int) -> None:
        log = self.logs[number]
        for _ in range(count):
            log.events.append(send(self.clients["alice"], log.room_id))

    @rule(number=st.sampled_from(ROOMS))
    def change_state(self, number: int) -> None:
        log = self.logs[number]
        topic = {"topic": str(len(log.events))}
        log.events.append(set_state(self.clients["alice"], log.room_id, "m.room.topic", topic))

    @rule(number=st.sampled_from(ROOMS), person=st.sampled_from(PEOPLE[1:]))
    def come_or_go(self, number: int, person: str) -> None:
        log, client = self.logs[number], self.clients[person]
        if person in log.joined:
            leave(client, log.room_id)
            log.joined.discard(person)
            self._newest(log)
            log.until[person] = len(log.events)
        else:
            join(client, log.room_id)
            log.joined.add(person)
            self._newest(log)

    @rule(number=st.sampled_from(ROOMS))
    def kick(self, number: int) -> None:
        log = self.logs[number]
        for person in sorted(log.joined - {"alice"}):
            body = {"user_id": self.clients[person].user_id}
            ok(self.clients["alice"].post(path(log.room_id, "kick"), body))
            log.joined.discard(person)
            self._newest(log)
            log.until[person] = len(log.events)

    @rule(number=st.sampled_from(ROOMS))
    def backfill(self, number: int) -> None:
        """Put an event that is older than all known ones where backfilled events go."""
        log = self.logs[number]
        head = room_items.read_head(log.room_id)
        assert head is not None
        event = build_event(
            room_version=head.version,
            type="m.room.message",
            sender=UserId(self.clients["alice"].user_id),
            content={"body": f"old {head.oldest}"},
            room_id=RoomId(log.room_id),
            prev_events=[],
            auth_events=[],
            depth=1,
            origin_server_ts=1,
            server_name=deployment_settings().server_name,
            signing_key=signing_key(),
        )
        entry = LogEntry(head.oldest - 1, event, head.state_root, "shared")
        dynamodb.transact(
            [
                dynamodb.update(
                    "rooms",
                    room_items.head_key(log.room_id),
                    "SET oldest = :oldest",
                    values={":oldest": head.oldest - 1},
                ),
                room_items.log_write(entry),
            ]
        )
        log.backfilled.append(event.event_id)

    @rule()
    def everybody_syncs(self) -> None:
        for person in PEOPLE:
            self.sync(person, full=False)

    @rule(person=st.sampled_from(PEOPLE), full=st.booleans())
    def sync(self, person: str, full: bool) -> None:
        screen = self.screens[person]
        if full and screen.syncing.since:
            screen.syncing.peek(full_state="true")
            answers = [screen.syncing.peek().get("rooms") for _ in range(2)]
            assert _without_age(answers[0]) == _without_age(answers[1])
        screen.sync()
        for log in self.logs:
            shown = [each for each in screen.rooms.get(log.room_id, []) if each not in log.backfilled]
            assert shown == log.visible(person) if person in log.joined or shown else not shown

    @invariant()
    def nobody_sees_what_is_not_theirs(self) -> None:
        for person, screen in getattr(self, "screens", {}).items():
            for log in self.logs:
                allowed = {*log.events, *log.backfilled}
                if person not in log.joined:
                    allowed = {*log.visible(person), *log.backfilled}
                assert set(screen.rooms.get(log.room_id, [])) <= allowed


def _without_age(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_age(inner) for name, inner in value.items() if name != "age"}
    return [_without_age(inner) for inner in value] if isinstance(value, list) else value


def test_the_engine_agrees_with_the_model(make_client: Make) -> None:
    SyncMachine.make = staticmethod(make_client)
    run_state_machine_as_test(
        SyncMachine,
        settings=settings(max_examples=8, stateful_step_count=24, derandomize=True),
    )
