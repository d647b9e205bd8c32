"""Aliases, the directory of published rooms, summaries."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults import Way, fault
from tests.in_process import Client, segment
from tests.rooms.people import (
    V1,
    V3,
    create_room,
    invite,
    join,
    leave,
    ok,
    path,
    refused,
    set_state,
)

MakeClient = Callable[..., Client]
_numbers = itertools.count(1)


def fresh_name(name: str = "alias") -> str:
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def fresh_alias(name: str = "alias") -> str:
    return f"#{fresh_name(name)}:example.org"


def alias_path(alias: str) -> str:
    return f"{V3}/directory/room/{segment(alias)}"


def claim(client: Client, alias: str, room_id: str) -> Any:
    return client.put(alias_path(alias), {"room_id": room_id})


class TestAliases:
    def test_alias_from_its_making_to_its_end(self, alice: Client, bob: Client) -> None:
        room_id, alias = create_room(alice), fresh_alias("Größe/№")
        refused(alice.get(alias_path(alias)), 404, "M_NOT_FOUND")
        assert ok(claim(alice, alias, room_id)) == {}
        found = ok(Client().get(alias_path(alias)))
        assert found == {"room_id": room_id, "servers": ["example.org"]}
        assert ok(alice.get(path(room_id, "aliases"))) == {"aliases": [alias]}
        refused(bob.get(path(room_id, "aliases")), 403, "M_FORBIDDEN")
        assert ok(alice.delete(alias_path(alias))) == {}
        refused(alice.get(alias_path(alias)), 404, "M_NOT_FOUND")
        assert ok(alice.get(path(room_id, "aliases"))) == {"aliases": []}
        refused(alice.delete(alias_path(alias)), 404, "M_NOT_FOUND")

    def test_aliases_are_not_told_to_who_rejected_an_invite(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, invite=[bob.user_id])
        ok(bob.post(path(room_id, "leave")))
        refused(bob.get(path(room_id, "aliases")), 403, "M_FORBIDDEN")

    @pytest.mark.parametrize("localpart", ["", "two words", "tab\t", "line\nbreak", "no\u00a0break"])
    def test_no_alias_is_made_without_a_name_or_with_white_space(self, alice: Client, localpart: str) -> None:
        room_id, alias = create_room(alice), f"#{localpart}:example.org"
        refused(claim(alice, alias, room_id), 400, "M_INVALID_PARAM")
        answer = alice.post(f"{V3}/createRoom", {"room_alias_name": localpart})
        refused(answer, 400, "M_INVALID_PARAM")
        refused(alice.get(alias_path(alias)), 404, "M_NOT_FOUND")

    def test_alias_is_claimed_once(self, alice: Client) -> None:
        rooms, alias = [create_room(alice) for _ in range(6)], fresh_alias()
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda room_id: claim(alice, alias, room_id), rooms))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
        winner = rooms[[answer.status for answer in answers].index(200)]
        assert ok(alice.get(alias_path(alias)))["room_id"] == winner
        refused(claim(alice, alias, winner), 409, "M_UNKNOWN")
        listed = [ok(alice.get(path(room_id, "aliases")))["aliases"] for room_id in rooms]
        assert sorted(listed) == [[]] * 5 + [[alias]]

    def test_who_may_create(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        refused(claim(bob, fresh_alias(), room_id), 403, "M_FORBIDDEN")
        refused(claim(alice, fresh_alias(), "!unknown:example.org"), 403, "M_FORBIDDEN")
        join(bob, room_id)
        ok(claim(bob, fresh_alias(), room_id))
        for bad in ("no-sigil", "#nothing", "#other:elsewhere.example", "#" + "x" * 300 + ":example.org"):
            refused(claim(alice, bad, room_id), 400, "M_INVALID_PARAM")
        refused(alice.put(alias_path(fresh_alias()), {}), 400, "M_MISSING_PARAM")
        refused(alice.put(alias_path(fresh_alias()), {"room_id": 5}), 400, "M_BAD_JSON")

    def test_who_may_delete(self, alice: Client, bob: Client, make_client: MakeClient) -> None:
        room_id, carol = create_room(alice, preset="public_chat"), make_client("carol")
        join(bob, room_id)
        join(carol, room_id)
        first, second = fresh_alias(), fresh_alias()
        ok(claim(bob, first, room_id))
        ok(claim(bob, second, room_id))
        refused(carol.delete(alias_path(first)), 403, "M_FORBIDDEN")
        ok(bob.delete(alias_path(first)))
        ok(alice.delete(alias_path(second)))
        third = fresh_alias()
        ok(claim(bob, third, room_id))
        leave(alice, room_id)
        refused(alice.delete(alias_path(third)), 403, "M_FORBIDDEN")
        refused(alice.delete(alias_path("#other:elsewhere.example")), 400, "M_INVALID_PARAM")
        refused(alice.get(alias_path("#other:elsewhere.example")), 502, "M_UNKNOWN")
        refused(alice.get(alias_path("nonsense")), 400, "M_INVALID_PARAM")

    def test_deleting_fixes_the_canonical_alias(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice, preset="public_chat")
        join(bob, room_id)
        main, other, third = (fresh_alias() for _ in range(3))
        for alias in (main, other, third):
            ok(claim(bob, alias, room_id))
        content = {"alias": main, "alt_aliases": [other, third], "org.example": 1}
        set_state(alice, room_id, "m.room.canonical_alias", content)
        canonical = path(room_id, "state", "m.room.canonical_alias")
        ok(bob.delete(alias_path(third)))
        assert ok(alice.get(canonical)) == content
        ok(alice.delete(alias_path(main)))
        assert ok(alice.get(canonical)) == {"alt_aliases": [other, third], "org.example": 1}
        ok(alice.delete(alias_path(other)))
        assert ok(alice.get(canonical)) == {"alt_aliases": [third], "org.example": 1}

    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize("way", Way)
    def test_an_interrupted_deletion_goes_on(self, alice: Client, way: Way, number: int) -> None:
        name = fresh_name()
        room_id = create_room(alice, room_alias_name=name)
        alias = alias_path(f"#{name}:example.org")
        with fault(number, way):
            first = alice.delete(alias)
        if (way, number) == (Way.AFTER, 2):
            refused(alice.delete(alias), 404, "M_NOT_FOUND")
        elif first.status != 200:
            ok(alice.delete(alias))
        refused(alice.get(alias), 404, "M_NOT_FOUND")
        assert ok(alice.get(path(room_id, "state", "m.room.canonical_alias"))) == {}

    def test_canonical_alias_of_a_new_room(self, alice: Client) -> None:
        name = fresh_name()
        room_id = create_room(alice, room_alias_name=name)
        alias = f"#{name}:example.org"
        assert ok(alice.get(alias_path(alias)))["room_id"] == room_id
        ok(alice.delete(alias_path(alias)))
        assert ok(alice.get(path(room_id, "state", "m.room.canonical_alias"))) == {}


def public_rooms(client: Client, term: str, **body: Any) -> Any:
    search = {"filter": {"generic_search_term": term, **body.pop("filter", {})}}
    return ok(client.post(f"{V3}/publicRooms", {**search, **body}))


class TestPublicRooms:
    def test_publish_and_withdraw(self, alice: Client, bob: Client) -> None:
        name = fresh_name("room")
        room_id = create_room(alice, name=name)
        listed = f"{V3}/directory/list/room/{segment(room_id)}"
        assert ok(Client().get(listed)) == {"visibility": "private"}
        assert public_rooms(bob, name)["chunk"] == []
        refused(bob.put(listed, {"visibility": "public"}), 403, "M_FORBIDDEN")
        assert ok(alice.put(listed, {})) == {}
        assert ok(alice.get(listed)) == {"visibility": "public"}
        found = public_rooms(bob, name)
        assert (len(found["chunk"]), found["total_room_count_estimate"]) == (1, 1)
        ok(alice.put(listed, {"visibility": "private"}))
        assert public_rooms(bob, name)["chunk"] == []
        refused(alice.put(listed, {"visibility": "hidden"}), 400, "M_INVALID_PARAM")
        refused(alice.put(listed, {"visibility": 5}), 400, "M_INVALID_PARAM")
        unknown = f"{V3}/directory/list/room/{segment('!unknown:example.org')}"
        refused(alice.get(unknown), 404, "M_NOT_FOUND")
        refused(alice.put(unknown, {"visibility": "public"}), 404, "M_NOT_FOUND")

    def test_what_is_shown(self, alice: Client) -> None:
        name = fresh_name("shown")
        room_id = create_room(
            alice,
            visibility="public",
            name=f"The {name}",
            topic="All the things",
            room_alias_name=name,
            creation_content={"type": "m.space"},
            initial_state=[
                {"type": "m.room.avatar", "content": {"url": "mxc://example.org/a"}},
                {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
                {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            ],
        )
        (listed,) = public_rooms(alice, name)["chunk"]
        assert listed == {
            "room_id": room_id,
            "name": f"The {name}",
            "topic": "All the things",
            "canonical_alias": f"#{name}:example.org",
            "avatar_url": "mxc://example.org/a",
            "num_joined_members": 1,
            "world_readable": True,
            "guest_can_join": True,
            "join_rule": "public",
            "room_type": "m.space",
        }

    def test_search(self, alice: Client) -> None:
        mark = fresh_name("mark")
        by_name = create_room(alice, visibility="public", name=f"xx {mark.upper()} yy")
        by_topic = create_room(alice, visibility="public", topic=f"about {mark}")
        by_alias = create_room(alice, visibility="public", room_alias_name=f"{mark}-alias")
        space = create_room(alice, visibility="public", name=mark, creation_content={"type": "m.space"})

        def found(**wanted: Any) -> set[str]:
            return {room["room_id"] for room in public_rooms(alice, mark, filter=wanted)["chunk"]}

        assert found() == {by_name, by_topic, by_alias, space}
        assert found(room_types=["m.space"]) == {space}
        assert found(room_types=[None]) == {by_name, by_topic, by_alias}
        assert found(room_types=[None, "m.space"]) == {by_name, by_topic, by_alias, space}
        assert found(room_types=[]) == set()
        assert found(room_types=None) == {by_name, by_topic, by_alias, space}

    def test_pages_by_size_in_both_directions(self, alice: Client, make_client: MakeClient) -> None:
        mark = fresh_name("paged")
        others = [make_client("other") for _ in range(2)]
        rooms = [create_room(alice, visibility="public", name=mark) for _ in range(5)]
        for other in others:
            join(other, rooms[3])
        join(others[0], rooms[1])
        small = sorted(rooms[number] for number in (0, 2, 4))
        expected = [rooms[3], rooms[1], *small]

        def ids(page: Any) -> list[str]:
            return [room["room_id"] for room in page["chunk"]]

        first = public_rooms(alice, mark, limit=2)
        second = public_rooms(alice, mark, limit=2, since=first["next_batch"])
        third = public_rooms(alice, mark, limit=2, since=second["next_batch"])
        assert [*ids(first), *ids(second), *ids(third)] == expected
        assert ("prev_batch" in first, "next_batch" in third) == (False, False)
        assert ids(public_rooms(alice, mark, limit=2, since=third["prev_batch"])) == ids(second)
        assert ids(public_rooms(alice, mark, limit=2, since=second["prev_batch"])) == ids(first)
        assert first["total_room_count_estimate"] == 5
        members = [room["num_joined_members"] for room in public_rooms(alice, mark)["chunk"]]
        assert members == [3, 2, 1, 1, 1]

    def test_rooms_that_all_have_left_are_not_shown(self, alice: Client) -> None:
        mark = fresh_name("empty")
        room_id = create_room(alice, visibility="public", name=mark)
        leave(alice, room_id)
        assert public_rooms(alice, mark)["chunk"] == []

    def test_get(self, alice: Client) -> None:
        room_id = create_room(alice, visibility="public")
        pages = [ok(Client().get(f"{V3}/publicRooms"))]
        while token := pages[-1].get("next_batch"):
            pages.append(ok(Client().get(f"{V3}/publicRooms", since=token)))
        found = [room["room_id"] for page in pages for room in page["chunk"]]
        assert room_id in found
        first = ok(alice.get(f"{V3}/publicRooms", limit=1, server="example.org"))
        assert [room["room_id"] for room in first["chunk"]] == found[:1]
        assert first["total_room_count_estimate"] == len(found)

    def test_errors(self, alice: Client) -> None:
        where = f"{V3}/publicRooms"
        for since in ("nonsense", "W10", "%", "WzEsMiwzXQ"):
            refused(alice.get(where, since=since), 400, "M_INVALID_PARAM")
        refused(alice.get(where, limit="x"), 400, "M_INVALID_PARAM")
        refused(alice.get(where, server="elsewhere.example"), 502, "M_UNKNOWN")
        refused(alice.post(where + "?server=elsewhere.example", {}), 502, "M_UNKNOWN")
        refused(Client().post(where, {}), 401, "M_MISSING_TOKEN")
        bodies: list[Any] = [{"limit": "1"}, {"limit": -1}, {"filter": []}, {"filter": {"room_types": "x"}}]
        for body in bodies:
            refused(alice.post(where, body), 400, "M_BAD_JSON")


def summary(client: Client, room: str) -> Any:
    return client.get(f"{V1}/room_summary/{segment(room)}")


class TestSummary:
    @pytest.mark.parametrize("feature", ["im.nheko.summary", "org.matrix.msc3266"])
    def test_older_paths_of_the_summary(self, alice: Client, feature: str) -> None:
        room_id = create_room(alice, preset="public_chat", name="Lounge")
        expected = ok(summary(alice, room_id))
        base = f"/_matrix/client/unstable/{feature}"
        for where in (f"rooms/{segment(room_id)}/summary", f"summary/{segment(room_id)}"):
            assert ok(alice.get(f"{base}/{where}")) == expected
        assert ok(Client().get("/_matrix/client/versions"))["unstable_features"][feature] is True

    @pytest.mark.parametrize(
        ("version", "rule", "is_shown"),
        [
            ("6", "knock", False),
            ("7", "knock", True),
            ("7", "restricted", False),
            ("8", "restricted", True),
            ("9", "knock_restricted", False),
            ("10", "knock_restricted", True),
        ],
    )
    def test_a_join_rule_that_the_room_version_does_not_have_opens_nothing(
        self, alice: Client, bob: Client, version: str, rule: str, is_shown: bool
    ) -> None:
        club = create_room(alice, preset="public_chat")
        join(bob, club)
        room_id = create_room(alice, room_version=version)
        allow = [{"type": "m.room_membership", "room_id": club}]
        set_state(alice, room_id, "m.room.join_rules", {"join_rule": rule, "allow": allow})
        hierarchy = bob.get(f"{V1}/rooms/{segment(room_id)}/hierarchy")
        assert (summary(bob, room_id).status, hierarchy.status) == ((200, 200) if is_shown else (404, 403))

    @pytest.mark.parametrize("rule", ["x" * 300, "", 5, None, "private"])
    def test_a_join_rule_that_makes_no_sense_opens_nothing(
        self, alice: Client, bob: Client, rule: Any
    ) -> None:
        room_id = create_room(alice)
        set_state(alice, room_id, "m.room.join_rules", {"join_rule": rule})
        assert summary(bob, room_id).status == 404
        shown = ok(summary(alice, room_id))["join_rule"]
        assert shown == ("private" if rule == "private" else "invite")

    def test_summary_of_an_open_room(self, alice: Client, bob: Client) -> None:
        name = fresh_name("summed")
        encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room_id = create_room(
            alice, preset="public_chat", room_alias_name=name, initial_state=[encryption], topic="T"
        )
        expected = {
            "room_id": room_id,
            "canonical_alias": f"#{name}:example.org",
            "topic": "T",
            "num_joined_members": 1,
            "world_readable": False,
            "guest_can_join": False,
            "join_rule": "public",
            "encryption": "m.megolm.v1.aes-sha2",
            "room_version": "12",
        }
        assert ok(summary(Client(), room_id)) == expected
        assert ok(summary(bob, f"#{name}:example.org")) == {**expected, "membership": "leave"}
        assert ok(summary(alice, room_id))["membership"] == "join"

    def test_closed_rooms_are_hidden_from_strangers(self, alice: Client, bob: Client) -> None:
        room_id = create_room(alice)
        refused(summary(bob, room_id), 404, "M_NOT_FOUND")
        refused(summary(Client(), room_id), 404, "M_NOT_FOUND")
        invite(alice, room_id, bob)
        assert ok(summary(bob, room_id))["membership"] == "invite"
        leave(bob, room_id)
        refused(summary(bob, room_id), 404, "M_NOT_FOUND")

    def test_restricted_rooms_are_known_to_those_who_may_join(self, alice: Client, bob: Client) -> None:
        space = create_room(alice, preset="public_chat")
        allow = [{"type": "m.room_membership", "room_id": space}]
        rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
        room_id = create_room(alice, initial_state=[rules])
        refused(summary(bob, room_id), 404, "M_NOT_FOUND")
        join(bob, space)
        assert ok(summary(bob, room_id))["allowed_room_ids"] == [space]
        refused(summary(Client(), room_id), 404, "M_NOT_FOUND")

    def test_errors(self, alice: Client) -> None:
        for unknown in ("!unknown:example.org", fresh_alias(), "!" + "x" * 300):
            refused(summary(alice, unknown), 404, "M_NOT_FOUND")
        refused(summary(alice, "nonsense"), 400, "M_INVALID_PARAM")
