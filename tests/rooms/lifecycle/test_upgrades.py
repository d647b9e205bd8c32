"""Upgrading rooms."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, invite, join, messages, ok, path, refused, send, set_state

_numbers = itertools.count(1)


def upgrade(client: Client, room_id: str, version: Any = "12", **body: Any) -> Any:
    return client.post(path(room_id, "upgrade"), {"new_version": version, **body})


def state(client: Client, room_id: str, event_type: str, state_key: str = "") -> Any:
    return ok(client.get(path(room_id, "state", event_type, state_key)))


@pytest.mark.parametrize(
    ("old_version", "new_version"), [("12", "12"), ("10", "12"), ("12", "10"), ("5", "11"), ("1", "2")]
)
def test_upgrade(alice: Client, bob: Client, old_version: str, new_version: str) -> None:
    room_id = create_room(
        alice,
        room_version=old_version,
        preset="public_chat",
        name="The room",
        topic="Its topic",
        creation_content={"type": "m.space"},
    )
    join(bob, room_id)
    last = send(alice, room_id, "last words")
    new_id = ok(upgrade(alice, room_id, new_version))["replacement_room"]
    assert new_id != room_id
    tombstone = ok(alice.get(path(room_id, "state", "m.room.tombstone"), format="event"))
    assert tombstone["content"]["replacement_room"] == new_id
    assert tombstone["content"]["body"]
    create = state(alice, new_id, "m.room.create")
    assert create["room_version"] == new_version
    assert create["type"] == "m.space"
    assert create["predecessor"]["room_id"] == room_id
    if new_version != "12":
        assert create["predecessor"]["event_id"] == tombstone["event_id"]
    assert state(alice, new_id, "m.room.name") == {"name": "The room"}
    assert state(alice, new_id, "m.room.topic")["topic"] == "Its topic"
    assert state(alice, new_id, "m.room.join_rules") == {"join_rule": "public"}
    members = ok(alice.get(path(new_id, "joined_members")))["joined"]
    assert set(members) == {alice.user_id}
    assert last not in str(messages(alice, new_id))
    refused(
        bob.put(path(room_id, "send", "m.room.message", "x"), {"msgtype": "m.text", "body": "x"}),
        403,
        "M_FORBIDDEN",
    )
    join(bob, new_id)
    send(bob, new_id, "first words")
    send(alice, new_id, "and mine")
    set_state(alice, new_id, "m.room.name", {"name": "renamed"})


def test_power_levels_go_along(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, room_version="10", preset="public_chat")
    levels = state(alice, room_id, "m.room.power_levels")
    levels["users"][bob.user_id] = 50
    levels["events"]["m.room.tombstone"] = 50
    set_state(alice, room_id, "m.room.power_levels", levels)
    join(bob, room_id)
    new_id = ok(upgrade(bob, room_id, "10"))["replacement_room"]
    assert state(bob, new_id, "m.room.power_levels") == levels
    refused(bob.put(path(new_id, "state", "m.room.encryption"), {"algorithm": "x"}), 403, "M_FORBIDDEN")
    newest_id = ok(upgrade(alice, room_id, "12"))["replacement_room"]
    users = state(alice, newest_id, "m.room.power_levels")["users"]
    assert users == {bob.user_id: 50}
    oldest_id = ok(upgrade(alice, newest_id, "9"))["replacement_room"]
    users = state(alice, oldest_id, "m.room.power_levels")["users"]
    assert users == {bob.user_id: 50, alice.user_id: 100}


def test_additional_creators(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, room_version="10")
    new_id = ok(upgrade(alice, room_id, additional_creators=[bob.user_id]))["replacement_room"]
    assert state(alice, new_id, "m.room.create")["additional_creators"] == [bob.user_id]
    invite(alice, new_id, bob)
    join(bob, new_id)
    set_state(bob, new_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    old_id = ok(upgrade(alice, new_id, "9", additional_creators=[bob.user_id]))["replacement_room"]
    assert "additional_creators" not in state(alice, old_id, "m.room.create")


def test_aliases_directory_bans_and_settings_move(alice: Client, bob: Client) -> None:
    name = f"upgraded-{os.getpid()}-{next(_numbers)}"
    room_id = create_room(alice, visibility="public", room_alias_name=name)
    ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
    user = f"{V3}/user/{segment(alice.user_id)}/rooms"
    ok(alice.put(f"{user}/{segment(room_id)}/tags/m.favourite", {"order": 0.5}))
    rule = f"{V3}/pushrules/global/room/"
    ok(alice.put(rule + segment(room_id), {"actions": ["dont_notify"]}))
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    alias = f"#{name}:example.org"
    assert ok(alice.get(f"{V3}/directory/room/{segment(alias)}"))["room_id"] == new_id
    assert ok(alice.get(path(room_id, "aliases"))) == {"aliases": []}
    assert ok(alice.get(path(new_id, "aliases"))) == {"aliases": [alias]}
    assert state(alice, new_id, "m.room.canonical_alias") == {"alias": alias}
    listed = f"{V3}/directory/list/room/"
    assert ok(alice.get(listed + segment(room_id))) == {"visibility": "private"}
    assert ok(alice.get(listed + segment(new_id))) == {"visibility": "public"}
    refused(bob.post(path(new_id, "join")), 403, "M_FORBIDDEN")
    tags = ok(alice.get(f"{user}/{segment(new_id)}/tags"))
    assert tags == {"tags": {"m.favourite": {"order": 0.5}}}
    assert (
        ok(alice.get(rule + segment(new_id)))["actions"] == ok(alice.get(rule + segment(room_id)))["actions"]
    )


def test_a_creator_may_do_everything_in_an_older_version_too(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, room_version="12")
    levels = state(alice, room_id, "m.room.power_levels")
    levels["users"][bob.user_id] = 200
    ok(alice.put(path(room_id, "state", "m.room.power_levels"), levels))
    new_id = ok(upgrade(alice, room_id, "11"))["replacement_room"]
    users = state(alice, new_id, "m.room.power_levels")["users"]
    assert users == {alice.user_id: 200, bob.user_id: 200}
    ok(upgrade(alice, new_id, "12"))


def test_bans_move_with_their_reasons(alice: Client, bob: Client) -> None:
    room_id = create_room(alice)
    ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id, "reason": "spam"}))
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    ban = {"membership": "ban", "reason": "spam"}
    assert state(alice, new_id, "m.room.member", bob.user_id) == ban


def test_the_old_room_names_no_aliases_any_more(alice: Client) -> None:
    name = f"upgraded-{os.getpid()}-{next(_numbers)}"
    room_id = create_room(alice, room_alias_name=name)
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    assert state(alice, room_id, "m.room.canonical_alias") == {}
    ok(upgrade(alice, room_id))
    assert state(alice, new_id, "m.room.canonical_alias") == {"alias": f"#{name}:example.org"}
    named_nothing = create_room(alice)
    ok(upgrade(alice, named_nothing))
    canonical = path(named_nothing, "state", "m.room.canonical_alias")
    refused(alice.get(canonical), 404, "M_NOT_FOUND")


def test_a_space_keeps_its_children(alice: Client) -> None:
    space = create_room(alice, creation_content={"type": "m.space"})
    children = {
        create_room(alice): {"via": ["example.org"], "suggested": bool(number % 2)} for number in range(18)
    }
    for child, content in children.items():
        set_state(alice, space, "m.space.child", content, child)
    removed = create_room(alice)
    set_state(alice, space, "m.space.child", {"via": ["example.org"]}, removed)
    set_state(alice, space, "m.space.child", {}, removed)
    new_id = ok(upgrade(alice, space))["replacement_room"]
    events = ok(alice.get(path(new_id, "state")))
    found = {each["state_key"]: each["content"] for each in events if each["type"] == "m.space.child"}
    assert found == children


def test_a_room_that_is_no_space_has_no_children(alice: Client) -> None:
    room_id, child = create_room(alice), create_room(alice)
    set_state(alice, room_id, "m.space.child", {"via": ["example.org"]}, child)
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    assert "m.space.child" not in str(ok(alice.get(path(new_id, "state"))))


def test_direct_chats_stay_direct(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="trusted_private_chat", invite=[bob.user_id], is_direct=True)
    join(bob, room_id)
    for one, other in ((alice, bob), (bob, alice)):
        direct = {other.user_id: [room_id], "@else:example.org": ["!other:example.org"]}
        ok(one.put(f"{V3}/user/{segment(one.user_id)}/account_data/m.direct", direct))
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    ok(upgrade(alice, room_id))
    invite(alice, new_id, bob)
    join(bob, new_id)
    for one, other in ((alice, bob), (bob, alice)):
        direct = ok(one.get(f"{V3}/user/{segment(one.user_id)}/account_data/m.direct"))
        assert direct == {other.user_id: [room_id, new_id], "@else:example.org": ["!other:example.org"]}


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("way", [Way.BEFORE, Way.AFTER])
def test_an_interrupted_upgrade_goes_on(alice: Client, bob: Client, way: Way, number: int) -> None:
    name = f"upgraded-{os.getpid()}-{next(_numbers)}"
    room_id = create_room(alice, room_alias_name=name)
    ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
    user = f"{V3}/user/{segment(alice.user_id)}/rooms"
    ok(alice.put(f"{user}/{segment(room_id)}/tags/u.mine", {}))
    rule = f"{V3}/pushrules/global/room/"
    ok(alice.put(rule + segment(room_id), {"actions": []}))
    with fault(number, way) as stopped:
        refused(upgrade(alice, room_id), 500, "M_UNKNOWN")
    assert stopped.writes == number
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    assert ok(upgrade(alice, room_id))["replacement_room"] == new_id
    tombstone = ok(alice.get(path(room_id, "state", "m.room.tombstone"), format="event"))
    assert tombstone["content"]["replacement_room"] == new_id
    assert "prev_content" not in tombstone["unsigned"]
    assert ok(alice.get(path(new_id, "aliases"))) == {"aliases": [f"#{name}:example.org"]}
    assert state(alice, new_id, "m.room.canonical_alias") == {"alias": f"#{name}:example.org"}
    assert state(alice, room_id, "m.room.canonical_alias") == {}
    assert state(alice, new_id, "m.room.member", bob.user_id) == {"membership": "ban"}
    assert ok(alice.get(f"{user}/{segment(new_id)}/tags")) == {"tags": {"u.mine": {}}}
    assert ok(alice.get(rule + segment(new_id)))["actions"] == []


def test_an_upgrade_asked_for_again_undoes_nothing(alice: Client, bob: Client) -> None:
    room_id = create_room(alice)
    ok(alice.post(path(room_id, "ban"), {"user_id": bob.user_id}))
    rule = f"{V3}/pushrules/global/room/"
    ok(alice.put(rule + segment(room_id), {"actions": []}))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ok(upgrade(alice, room_id)), range(4)))
    assert len({answer["replacement_room"] for answer in answers}) == 1
    new_id = answers[0]["replacement_room"]
    ok(alice.post(path(new_id, "unban"), {"user_id": bob.user_id}))
    ok(alice.put(rule + segment(new_id), {"actions": ["notify"]}))
    assert ok(upgrade(alice, room_id))["replacement_room"] == new_id
    assert state(alice, new_id, "m.room.member", bob.user_id) == {"membership": "leave"}
    assert ok(alice.get(rule + segment(new_id)))["actions"] == ["notify"]
    assert ok(upgrade(alice, room_id, "11"))["replacement_room"] != new_id


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("way", [Way.BEFORE, Way.AFTER])
def test_settings_follow_whose_join_was_interrupted(
    alice: Client, bob: Client, way: Way, number: int
) -> None:
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    user = f"{V3}/user/{segment(bob.user_id)}/rooms"
    ok(bob.put(f"{user}/{segment(room_id)}/tags/u.mine", {}))
    rule = f"{V3}/pushrules/global/room/"
    ok(bob.put(rule + segment(room_id), {"actions": []}))
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    with fault(number, way):
        refused(bob.post(path(new_id, "join")), 500, "M_UNKNOWN")
    join(bob, new_id)
    assert ok(bob.get(f"{user}/{segment(new_id)}/tags")) == {"tags": {"u.mine": {}}}
    assert ok(bob.get(rule + segment(new_id)))["actions"] == []


def test_settings_follow_those_who_join(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    user = f"{V3}/user/{segment(bob.user_id)}/rooms"
    tags: dict[str, Any] = {"tags": {"u.mine": {}}}
    ok(bob.put(f"{user}/{segment(room_id)}/tags/u.mine", {}))
    new_id = ok(upgrade(alice, room_id))["replacement_room"]
    join(bob, new_id)
    assert ok(bob.get(f"{user}/{segment(new_id)}/tags")) == tags
    pretended = {"predecessor": {"room_id": room_id, "event_id": "$x"}}
    impostor = create_room(alice, preset="public_chat", creation_content=pretended)
    join(bob, impostor)
    assert ok(bob.get(f"{user}/{segment(impostor)}/tags")) == {"tags": {}}


def test_errors(alice: Client, bob: Client) -> None:
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    refused(upgrade(alice, room_id, "no such version"), 400, "M_UNSUPPORTED_ROOM_VERSION")
    refused(upgrade(bob, room_id), 403, "M_FORBIDDEN")
    refused(upgrade(alice, "!unknown:example.org"), 404, "M_NOT_FOUND")
    refused(upgrade(alice, "!" + "x" * 300), 404, "M_NOT_FOUND")
    refused(alice.post(path(room_id, "upgrade"), {}), 400, "M_MISSING_PARAM")
    refused(upgrade(alice, room_id, 12), 400, "M_BAD_JSON")
    refused(upgrade(alice, room_id, additional_creators="x"), 400, "M_BAD_JSON")
    refused(upgrade(alice, room_id, additional_creators=[5]), 400, "M_BAD_JSON")
    refused(upgrade(alice, room_id, additional_creators=["nobody"]), 400, "M_INVALID_PARAM")
    refused(alice.get(path(room_id, "state", "m.room.tombstone")), 404, "M_NOT_FOUND")
    send(bob, room_id, "all goes on")
