"""Lists of rooms: order, ranges, counts and filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import RoomId
from murmuration.storage.rooms import room_items
from tests.in_process import Client
from tests.rooms.people import V3, create_room, invite, join, ok, path, send, set_state
from tests.sliding_sync.client import Sliding, all_rooms, bodies, opened

Make = Callable[..., Client]


def rooms_of(answer: Any) -> set[str]:
    return set(answer["rooms"])


def listed(client: Client, **filters: Any) -> set[str]:
    """Return the rooms that a list with these filters has, which agrees with its count."""
    answer = Sliding(client, lists={"one": all_rooms(filters=filters)}).sync()
    assert answer["lists"]["one"]["count"] == len(answer["rooms"])
    return rooms_of(answer)


class TestOrder:
    def test_what_was_active_last_comes_first(self, alice: Client) -> None:
        first, second, third = (create_room(alice) for _ in range(3))
        assert rooms_of(Sliding(alice, lists={"all": all_rooms(0)}).sync()) == {third}
        send(alice, first, "up")
        answer = Sliding(alice, lists={"all": all_rooms(1)}).sync()
        assert rooms_of(answer) == {first, third}
        assert answer["lists"]["all"]["count"] == 3
        assert second not in answer["rooms"]

    def test_state_moves_a_room_in_the_list_but_not_its_bump_stamp(self, alice: Client) -> None:
        room_id = RoomId(create_room(alice))
        sliding = Sliding(alice)
        stamp = sliding.room(room_id)["bump_stamp"]
        set_state(alice, room_id, "m.room.topic", {"topic": "x"})
        assert sliding.room(room_id)["bump_stamp"] == stamp
        head = room_items.read_head(room_id)
        assert head is not None
        assert (head.active_ms or 0) >= stamp
        send(alice, room_id, "up")
        assert sliding.room(room_id)["bump_stamp"] >= stamp

    def test_an_invite_counts_from_when_it_came(self, alice: Client, make_client: Make) -> None:
        bob = make_client("bob")
        invited = create_room(alice)
        own = create_room(bob)
        invite(alice, invited, bob)
        assert rooms_of(Sliding(bob, lists={"all": all_rooms(0)}).sync()) == {invited}
        send(bob, own, "later")
        assert rooms_of(Sliding(bob, lists={"all": all_rooms(0)}).sync()) == {own}

    def test_rooms_from_before_times_were_noted_go_by_their_newest_event(self, alice: Client) -> None:
        first, second = RoomId(create_room(alice)), RoomId(create_room(alice))
        send(alice, first, "later")
        for room_id in (first, second):
            dynamodb.execute(
                dynamodb.update("rooms", room_items.head_key(room_id), "REMOVE active_ms, bumped_ms")
            )
        sliding = Sliding(alice, lists={"all": all_rooms(0)})
        section = sliding.room(first)
        assert section["bump_stamp"] == section["timeline"][0]["origin_server_ts"]


class TestRanges:
    def test_a_growing_range_brings_the_rooms_that_are_new_in_it(self, alice: Client) -> None:
        room_ids = [create_room(alice) for _ in range(4)]
        sliding = Sliding(alice, lists={"all": all_rooms(0)})
        assert rooms_of(sliding.sync()) == {room_ids[3]}
        sliding.lists["all"] = all_rooms(2)
        answer = sliding.sync()
        assert rooms_of(answer) == {room_ids[2], room_ids[1]}
        assert all(section["initial"] for section in answer["rooms"].values())

    def test_a_room_that_comes_back_into_sight_goes_on_where_it_was(self, alice: Client) -> None:
        first, second = create_room(alice), create_room(alice)
        sliding = Sliding(alice, lists={"all": all_rooms(1)})
        sliding.sync()
        sliding.lists["all"] = all_rooms(0)
        send(alice, first, "one")
        send(alice, second, "two")
        assert rooms_of(sliding.sync()) == {second}
        send(alice, first, "three")
        section = sliding.room(first)
        assert "initial" not in section
        assert (bodies(section), section["limited"]) == (["three"], True)

    def test_what_moves_a_room_into_sight_is_live(self, alice: Client) -> None:
        first, _ = create_room(alice), create_room(alice)
        send(alice, first, "long ago")
        send(alice, create_room(alice), "up")
        sliding = Sliding(alice, lists={"all": all_rooms(0, timeline_limit=2)})
        sliding.sync()
        send(alice, first, "now")
        section = sliding.room(first)
        assert (section["initial"], bodies(section), section["num_live"]) == (True, ["long ago", "now"], 1)

    def test_several_ranges(self, alice: Client) -> None:
        room_ids = [create_room(alice) for _ in range(4)]
        answer = Sliding(alice, lists={"all": all_rooms(ranges=[[0, 0], [3, 9]])}).sync()
        assert rooms_of(answer) == {room_ids[3], room_ids[0]}

    def test_all_rooms_at_once(self, alice: Client) -> None:
        room_ids = {create_room(alice) for _ in range(3)}
        answer = Sliding(alice, lists={"all": all_rooms(0, slow_get_all_rooms=True)}).sync()
        assert rooms_of(answer) == room_ids

    def test_a_room_gets_the_most_that_its_lists_and_its_subscription_ask_for(self, alice: Client) -> None:
        room_id = create_room(alice)
        for body in "abcd":
            send(alice, room_id, body)
        lists = {"few": all_rooms(timeline_limit=2, required_state=[]), "more": all_rooms(timeline_limit=3)}
        section = Sliding(alice, lists=lists).room(room_id)
        assert bodies(section) == ["b", "c", "d"]
        assert section["required_state"]
        section = Sliding(alice, "b", lists=lists, subscriptions={room_id: opened(4)}).room(room_id)
        assert bodies(section) == ["a", "b", "c", "d"]

    def test_more_rooms_than_fit_come_answer_by_answer(
        self, alice: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from murmuration.sliding_sync import assembly

        room_ids = {create_room(alice, topic="x" * 4000) for _ in range(4)}
        monkeypatch.setattr(assembly, "LEAST_ROOM_BYTES", 15_000)
        monkeypatch.setattr(assembly, "LIST_BYTES", 0)
        sliding = Sliding(alice)
        found = []
        while answer := sliding.sync()["rooms"]:
            assert len(answer) < 4
            found += list(answer)
        assert sorted(found) == sorted(room_ids)

    def test_a_count_that_changes_out_of_sight_is_news(self, alice: Client) -> None:
        first = create_room(alice)
        create_room(alice)
        sliding = Sliding(alice, lists={"all": all_rooms(0)})
        before = sliding.sync()
        ok(alice.post(path(first, "leave")))
        answer = sliding.sync()
        assert (answer["lists"]["all"]["count"], answer["rooms"]) == (1, {})
        assert answer["pos"] != before["pos"]


class TestFilters:
    def test_direct_chats(self, alice: Client) -> None:
        direct, other = create_room(alice), create_room(alice)
        content = {"@bob:example.org": [direct, 7], "@odd:example.org": "no list"}
        ok(alice.put(f"{V3}/user/{alice.user_id}/account_data/m.direct", content))
        assert listed(alice, is_dm=True) == {direct}
        assert listed(alice, is_dm=False) == {other}

    def test_encrypted_rooms(self, alice: Client) -> None:
        plain, encrypted = create_room(alice), create_room(alice)
        set_state(alice, encrypted, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
        assert listed(alice, is_encrypted=True) == {encrypted}
        assert listed(alice, is_encrypted=False) == {plain}

    def test_invites(self, alice: Client, make_client: Make) -> None:
        bob = make_client("bob")
        room_id, own = create_room(alice), create_room(bob)
        invite(alice, room_id, bob)
        assert listed(bob, is_invite=True) == {room_id}
        assert listed(bob, is_invite=False) == {own}
        assert listed(bob) == {room_id, own}

    def test_types(self, alice: Client, make_client: Make) -> None:
        plain = create_room(alice)
        space = create_room(alice, creation_content={"type": "m.space"})
        assert listed(alice, room_types=["m.space"]) == {space}
        assert listed(alice, room_types=[None]) == {plain}
        assert listed(alice, not_room_types=["m.space"]) == {plain}
        assert listed(alice, room_types=["m.space", None], not_room_types=[None]) == {space}
        bob = make_client("bob")
        invite(alice, space, bob)
        assert listed(bob, room_types=["m.space"]) == {space}

    def test_tags(self, alice: Client) -> None:
        favourite, both, none = (create_room(alice) for _ in range(3))
        for room_id, tag in ((favourite, "m.favourite"), (both, "m.favourite"), (both, "u.x")):
            ok(alice.put(f"{V3}/user/{alice.user_id}/rooms/{room_id}/tags/{tag}", {}))
        assert listed(alice, tags=["m.favourite"]) == {favourite, both}
        assert listed(alice, tags=["m.favourite"], not_tags=["u.x"]) == {favourite}
        assert listed(alice, not_tags=["m.favourite"]) == {none}

    def test_spaces(self, alice: Client, make_client: Make) -> None:
        space = create_room(alice, creation_content={"type": "m.space"}, preset="public_chat")
        inside, former = create_room(alice), create_room(alice)
        set_state(alice, space, "m.space.child", {"via": ["example.org"]}, inside)
        set_state(alice, space, "m.space.child", {}, former)
        assert listed(alice, spaces=[space]) == {inside}
        assert listed(alice, spaces=["!unknown:example.org"]) == set()
        assert listed(alice, spaces=[]) == set()
        bob = make_client("bob")
        assert listed(bob, spaces=[space]) == set()
        join(bob, space)
        assert listed(bob, spaces=[space]) == set()
