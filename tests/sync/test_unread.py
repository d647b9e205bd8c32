"""Unread counts: a device that kept syncing and a fresh one show the same, whatever changed meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.budgets.meter import Meter
from tests.in_process import Client, segment
from tests.rooms.people import (
    V3,
    create_room,
    invite,
    join,
    leave,
    ok,
    path,
    redact,
    relate,
    send,
    set_state,
)
from tests.sync.client import Syncing

Make = Callable[..., Client]
BY_THREAD = {"room": {"timeline": {"unread_thread_notifications": True, "limit": 3}}}
MUTED: list[Any] = []


def counts_in(section: Any) -> dict[str, tuple[int, int]]:
    """Return notifications and highlights by thread."""
    found = {"main": section["unread_notifications"], **section.get("unread_thread_notifications", {})}
    return {name: (one["notification_count"], one["highlight_count"]) for name, one in found.items()}


@dataclass
class Two:
    """Alice, and Bob with a device that keeps syncing."""

    alice: Client
    bob: Client
    room_id: str
    kept: Syncing
    shown: dict[str, tuple[int, int]]

    def mention(self, text: str = "look here") -> str:
        content = {"msgtype": "m.text", "body": text, "m.mentions": {"user_ids": [self.bob.user_id]}}
        return send(self.alice, self.room_id, content)

    def rule(self, kind: str, rule_id: str, **body: Any) -> None:
        ok(self.bob.put(f"{V3}/pushrules/global/{kind}/{segment(rule_id)}", body))

    def forget_rule(self, kind: str, rule_id: str) -> None:
        ok(self.bob.delete(f"{V3}/pushrules/global/{kind}/{segment(rule_id)}"))

    def enable(self, rule_id: str, enabled: bool) -> None:
        ok(self.bob.put(f"{V3}/pushrules/global/override/{rule_id}/enabled", {"enabled": enabled}))

    def ignore(self, *users: str) -> None:
        path_ = f"{V3}/user/{segment(self.bob.user_id)}/account_data/m.ignored_user_list"
        ok(self.bob.put(path_, {"ignored_users": {user: {} for user in users}}))

    def read(self, event_id: str, kind: str = "m.read", **body: Any) -> None:
        ok(self.bob.post(path(self.room_id, "receipt", kind, event_id), body))

    def threads(self) -> dict[str, tuple[int, int]]:
        """Return the counts that both devices show, by thread. Fails if they differ."""
        joined = self.kept.sync().get("rooms", {}).get("join", {})
        if self.room_id in joined:
            self.shown = counts_in(joined[self.room_id])
        assert self.shown == counts_in(Syncing(self.bob, filter=BY_THREAD).room(self.room_id))
        return self.shown

    def count(self) -> tuple[int, int]:
        """Return the counts that both devices show for all threads together."""
        pairs = self.threads().values()
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


@pytest.fixture
def two(make_client: Make) -> Two:
    alice, bob = make_client("alice"), make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    kept = Syncing(bob, filter=BY_THREAD)
    return Two(alice, bob, room_id, kept, counts_in(kept.room(room_id)))


def test_a_redaction_lowers_them(two: Two) -> None:
    message, mention = send(two.alice, two.room_id), two.mention()
    assert two.count() == (2, 1)
    redact(two.alice, two.room_id, mention)
    assert two.count() == (1, 0)
    redact(two.alice, two.room_id, message)
    assert two.count() == (0, 0)


def test_a_redaction_in_a_thread_lowers_them(two: Two) -> None:
    root = send(two.alice, two.room_id)
    two.read(root)
    reply = relate(two.alice, two.room_id, root, "m.thread")
    assert two.threads() == {"main": (0, 0), root: (1, 0)}
    redact(two.alice, two.room_id, reply)
    assert two.count() == (0, 0)


def test_what_comes_and_is_redacted_between_two_syncs_is_not_counted(two: Two) -> None:
    redact(two.alice, two.room_id, two.mention())
    assert two.count() == (0, 0)


@pytest.mark.parametrize("kind", ["room", "override"])
def test_muting_and_unmuting(two: Two, kind: str) -> None:
    send(two.alice, two.room_id)
    send(two.alice, two.room_id)
    assert two.count() == (2, 0)
    condition = {"kind": "event_match", "key": "room_id", "pattern": two.room_id}
    more = {"conditions": [condition]} if kind == "override" else {}
    two.rule(kind, two.room_id, actions=MUTED, **more)
    assert two.count() == (0, 0)
    send(two.alice, two.room_id)
    assert two.count() == (0, 0)
    two.forget_rule(kind, two.room_id)
    assert two.count() == (3, 0)


def test_muting_a_room_leaves_others_alone(two: Two) -> None:
    rooms = [create_room(two.alice, preset="public_chat") for _ in range(3)]
    for room_id in rooms:
        join(two.bob, room_id)
        send(two.alice, room_id)
    two.kept.sync()
    two.rule("room", rooms[0], actions=MUTED)
    with Meter() as muting:
        assert set(two.kept.sync()["rooms"]["join"]) == {rooms[0]}
    two.rule("content", "word", pattern="hello", actions=["notify", {"set_tweak": "highlight"}])
    with Meter() as keyword:
        two.kept.sync()
    assert muting.spent.read_units < keyword.spent.read_units


def test_a_keyword(two: Two) -> None:
    send(two.alice, two.room_id, "all about cats")
    assert two.count() == (1, 0)
    two.rule("content", "cats", pattern="cats", actions=["notify", {"set_tweak": "highlight"}])
    assert two.count() == (1, 1)
    two.forget_rule("content", "cats")
    assert two.count() == (1, 0)


def test_an_ignored_sender(two: Two) -> None:
    two.mention()
    assert two.count() == (1, 1)
    two.ignore(two.alice.user_id)
    assert two.count() == (0, 0)
    two.ignore()
    assert two.count() == (1, 1)


def test_the_master_rule(two: Two) -> None:
    two.mention()
    assert two.count() == (1, 1)
    two.enable(".m.rule.master", True)
    assert two.count() == (0, 0)
    two.enable(".m.rule.master", False)
    assert two.count() == (1, 1)


def test_the_users_own_name(two: Two) -> None:
    highlight = ["notify", {"set_tweak": "highlight"}]
    two.rule("override", "name", conditions=[{"kind": "contains_display_name"}], actions=highlight)
    send(two.alice, two.room_id, "has anybody seen Robert?")
    assert two.count() == (1, 0)
    own = f"{V3}/profile/{segment(two.bob.user_id)}/displayname"
    ok(two.bob.put(own, {"displayname": "Robert"}))
    assert two.count() == (1, 1)


def test_power_levels(two: Two) -> None:
    content = {"msgtype": "m.text", "body": "@room", "m.mentions": {"room": True}}
    send(two.alice, two.room_id, content)
    assert two.count() == (1, 1)
    levels = ok(two.alice.get(path(two.room_id, "state", "m.room.power_levels")))
    set_state(two.alice, two.room_id, "m.room.power_levels", {**levels, "notifications": {"room": 2**50}})
    assert two.count()[0] == 1


def test_the_size_of_the_room(two: Two, make_client: Make) -> None:
    two.rule(
        "override",
        "small",
        conditions=[{"kind": "room_member_count", "is": "<3"}],
        actions=["notify", {"set_tweak": "highlight"}],
    )
    send(two.alice, two.room_id)
    notifications, highlights = two.count()
    assert notifications == highlights >= 1
    carol = make_client("carol")
    join(carol, two.room_id)
    assert two.count() == (1, 0)
    leave(carol, two.room_id)
    assert two.count()[1] >= 1


def test_edits_and_own_receipts(two: Two) -> None:
    first = send(two.alice, two.room_id)
    relate(two.alice, two.room_id, first, "m.replace", **{"m.new_content": {"body": "x"}})
    second = two.mention()
    assert two.count() == (2, 1)
    two.read(first)
    assert two.count() == (1, 1)
    two.read(second, "m.read.private")
    assert two.count() == (0, 0)
    third = send(two.alice, two.room_id)
    two.enable(".m.rule.master", True)
    two.enable(".m.rule.master", False)
    assert two.count() == (1, 0)
    two.read(third, thread_id="main")
    assert two.count() == (0, 0)


def test_more_at_once_than_is_counted(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    from murmuration.sync.unread import counting as unread

    monkeypatch.setattr(unread, "MOST_COUNTED", 5)
    for _ in range(12):
        send(two.alice, two.room_id)
    assert two.count() == (5, 0)


def test_who_comes_back_to_a_room(two: Two) -> None:
    leave(two.bob, two.room_id)
    two.kept.sync()
    send(two.alice, two.room_id)
    invite(two.alice, two.room_id, two.bob)
    join(two.bob, two.room_id)
    message = send(two.alice, two.room_id)
    two.read(message, "m.read.private")
    two.kept.sync()
    send(two.alice, two.room_id)
    assert two.count()[0] == 1


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens(two: Two, seed: int) -> None:
    chance = random.Random(seed)
    sent = [send(two.alice, two.room_id, "root")]
    roots = [sent[0]]

    def message() -> None:
        sent.append(chance.choice([two.mention, lambda: send(two.alice, two.room_id, "of cats")])())

    def reply() -> None:
        sent.append(relate(two.alice, two.room_id, chance.choice(roots), "m.thread"))

    def own() -> None:
        sent.append(send(two.bob, two.room_id, "mine"))

    def take_back() -> None:
        event_id = chance.choice(sent[-4:])
        number = f"r{chance.random()}"
        for each in (two.alice, two.bob):
            each.put(path(two.room_id, "redact", event_id, number), {})

    def read() -> None:
        kind = chance.choice(["m.read", "m.read.private"])
        two.read(chance.choice(sent[-3:]), kind)

    def mute() -> None:
        two.rule("room", two.room_id, actions=chance.choice([MUTED, ["notify"]]))

    def keyword() -> None:
        actions = chance.choice([["notify"], ["notify", {"set_tweak": "highlight"}], MUTED])
        two.rule("content", "cats", pattern="cats", actions=actions)

    def ignore() -> None:
        two.ignore(*chance.choice([(), (two.alice.user_id,)]))

    def master() -> None:
        two.enable(".m.rule.master", chance.random() < 0.3)

    often = [message, message, reply, own, take_back, take_back, read]
    for _ in range(40):
        chance.choice([*often, mute, keyword, ignore, master])()
        if chance.random() < 0.7:
            two.count()
    two.count()
