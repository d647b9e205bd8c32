"""Unread counts of a first sync: what the user's rules make of each event of the log, one after another."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.protocol.power_levels import PowerLevels
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.ruleset import ruleset_of
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import event_places, room_items
from murmuration.storage.users import account_data
from tests.in_process import Client, segment
from tests.protocol.push_rules.plain import plain
from tests.rooms.people import V3, create_room, join, leave, ok, path, redact, relate, send, set_state
from tests.sync.client import Syncing

Make = Callable[..., Client]
SHOWN = 2
SHORT = {"room": {"timeline": {"limit": SHOWN}}}
HIGHLIGHT = ["notify", {"set_tweak": "highlight"}]
OF_MEMBERS = {"kind": "event_match", "key": "type", "pattern": "m.room.mem*"}


def shown(client: Client, room_id: str) -> tuple[int, int]:
    """Return the counts of a first sync."""
    counts = Syncing(client, filter=SHORT).room(room_id)["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


def expected(client: Client, room_id: RoomId, read: EventId) -> tuple[int, int]:
    """Return the counts from evaluating the whole log, for a user who has read up to an event."""
    user_id = UserId(client.user_id)
    room = Room.load(room_id)
    levels = PowerLevels.from_state(
        room.event("m.room.create"), room.event("m.room.power_levels"), room.version
    )
    member = room.event("m.room.member", user_id)
    assert member is not None
    place = event_places.locate([read], room_id)[read]["ordinal"]
    changes: Any = account_data.read(user_id, RoomId(""), "m.push_rules") or {}
    rules = ruleset_of(user_id, changes)
    actions = []
    for entry in room_items.read_log(room_id, room.version):
        event = entry.event
        if entry.ordinal <= place or event.sender == user_id or entry.redacted_because is not None:
            continue
        context = PushContext(
            user_id,
            member.content.get("displayname"),
            room.head.joined,
            levels.user_level(event.sender),
            levels.entry_levels("notifications"),
        )
        actions.append(plain(rules, {**event.pdu, "room_id": room_id}, context)[1])
    return sum("notify" in each for each in actions), sum(HIGHLIGHT[1] in each for each in actions)


class History:
    """Random events of a room in which Bob reads, with random rules of his."""

    def __init__(self, make_client: Make, seed: int) -> None:
        self.chance = random.Random(seed)
        self.alice, self.bob, self.carol = (make_client(name) for name in ("alice", "bob", "carol"))
        self.room_id = create_room(self.alice, preset="public_chat")
        join(self.bob, self.room_id)
        join(self.carol, self.room_id)
        self.sent = [send(self.alice, self.room_id)]

    def step(self) -> None:
        self.chance.choice(
            [self.say, self.say, self.mention, self.react, self.name, self.come_and_go, self.undo]
        )()

    def say(self) -> None:
        text = self.chance.choice(["of cats", "of dogs"])
        self.sent.append(send(self.alice, self.room_id, text))

    def mention(self) -> None:
        content = {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [self.bob.user_id]}}
        self.sent.append(send(self.alice, self.room_id, content))

    def react(self) -> None:
        relation = {"key": str(self.chance.random())}
        self.sent.append(
            relate(
                self.alice,
                self.room_id,
                self.sent[-1],
                "m.annotation",
                relation=relation,
                event_type="m.reaction",
            )
        )

    def name(self) -> None:
        set_state(self.alice, self.room_id, "m.room.name", {"name": str(self.chance.random())})

    def come_and_go(self) -> None:
        leave(self.carol, self.room_id)
        join(self.carol, self.room_id)

    def undo(self) -> None:
        redact(self.alice, self.room_id, self.sent.pop(self.chance.randrange(len(self.sent))))
        self.say()

    def rule(self) -> None:
        rules: list[tuple[str, dict[str, Any]]] = [
            ("override/of-members", {"conditions": [OF_MEMBERS], "actions": HIGHLIGHT}),
            ("content/cats", {"pattern": "cats", "actions": HIGHLIGHT}),
            (f"sender/{segment(self.carol.user_id)}", {"actions": ["notify"]}),
            (f"room/{segment(self.room_id)}", {"actions": self.chance.choice([[], ["notify"]])}),
        ]
        for name, body in rules:
            if self.chance.random() < 0.3:
                ok(self.bob.put(f"{V3}/pushrules/global/{name}", body))
        for name in ("member_event", "reaction", "message"):
            kind = "underride" if name == "message" else "override"
            enabled = {"enabled": self.chance.random() < 0.7}
            ok(self.bob.put(f"{V3}/pushrules/global/{kind}/.m.rule.{name}/enabled", enabled))


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_what_the_rules_make_of_each_event(make_client: Make, seed: int) -> None:
    history = History(make_client, seed)
    for _ in range(12):
        history.step()
    read = EventId(history.chance.choice(history.sent[:4]))
    ok(history.bob.post(path(history.room_id, "receipt", "m.read", read)))
    for _ in range(3):
        assert shown(history.bob, history.room_id) == expected(history.bob, RoomId(history.room_id), read)
        history.rule()
        history.step()


def test_others_joins_are_left_in_the_table(make_client: Make) -> None:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    send(alice, room_id)
    for number in range(8):
        join(make_client(f"member{number}"), room_id)
    found: list[Any] = []

    def note(asked: Call, proceed: Proceed) -> Answer:
        answer = proceed(asked)
        if asked.parameters.get("TableName") == settings().table(room_items.LOG):
            found.extend(answer["Items"])
        return answer

    calls.intercept(note)
    try:
        assert shown(bob, room_id) == (1, 0)
    finally:
        calls.release(note)
    assert sum("member" in item or "membership" in str(item) for item in found) == SHOWN + 1
