"""createRoom: presets, parameters, and what becomes of a room whose parts don't fit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.protocol.identifiers import RoomId
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.settings import settings
from murmuration.storage.rooms import directory, room_items
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, ok, path, refused, send


def state(client: Client, room_id: str) -> dict[tuple[str, str], dict[str, Any]]:
    events = ok(client.get(path(room_id, "state")))
    return {(event["type"], event["state_key"]): event["content"] for event in events}


@pytest.mark.parametrize(
    ("preset", "join_rule", "guest_access"),
    [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    ],
)
def test_a_preset_decides_who_may_come_in(alice, preset, join_rule, guest_access):
    content = state(alice, create_room(alice, preset=preset))
    assert content["m.room.join_rules", ""] == {"join_rule": join_rule}
    assert content["m.room.guest_access", ""] == {"guest_access": guest_access}
    assert content["m.room.history_visibility", ""] == {"history_visibility": "shared"}


@pytest.mark.parametrize(("visibility", "join_rule"), [("public", "public"), ("private", "invite")])
def test_visibility_stands_in_for_a_preset(alice, visibility, join_rule):
    room_id = RoomId(create_room(alice, visibility=visibility))
    assert state(alice, room_id)["m.room.join_rules", ""]["join_rule"] == join_rule
    assert directory.is_published(room_id) == (visibility == "public")


@pytest.mark.parametrize("version", sorted(ROOM_VERSIONS))
def test_every_room_version_can_be_created_and_used(alice, bob, version):
    room_id = create_room(alice, preset="public_chat", room_version=version)
    join(bob, room_id)
    send(bob, room_id)
    create = state(alice, room_id)["m.room.create", ""]
    assert create["room_version"] == version
    assert ("creator" in create) == (int(version) < 11)
    assert (":" in room_id) == (int(version) < 12)


def test_the_parameters_become_state_in_the_specifications_order(alice, bob):
    name = f"room-{alice.user_id[7:].partition(':')[0]}"
    room_id = RoomId(
        create_room(
            alice,
            room_alias_name=name,
            name="The room",
            topic="What it is about",
            invite=[bob.user_id],
            is_direct=True,
            creation_content={"m.federate": False, "type": "m.space", "creator": "@mallory:example.org"},
            initial_state=[{"type": "org.example.colour", "content": {"is": "blue"}}],
            power_level_content_override={"events_default": 7},
        )
    )
    head = room_items.read_head(room_id)
    assert head is not None
    entries = room_items.read_log(room_id, head.version)
    assert [entry.event.type for entry in entries] == [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "org.example.colour",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ]
    content = state(alice, room_id)
    assert content["m.room.create", ""] == {"m.federate": False, "type": "m.space", "room_version": "12"}
    assert content["m.room.canonical_alias", ""] == {"alias": f"#{name}:example.org"}
    assert content["m.room.topic", ""]["m.topic"] == {"m.text": [{"body": "What it is about"}]}
    assert content["m.room.power_levels", ""]["events_default"] == 7
    assert content["m.room.member", bob.user_id]["is_direct"] is True
    assert (head.joined, head.invited) == (1, 1)


@pytest.mark.parametrize("version", ["11", "12"])
def test_initial_state_has_the_first_power_levels(alice, bob, version):
    users = {bob.user_id: 60} if version == "12" else {alice.user_id: 9001, bob.user_id: 60}
    levels = {"users": users, "events": {"m.room.topic": 9000 if version == "11" else 0}}
    initial = [{"type": "m.room.power_levels", "content": levels}]
    room_id = create_room(alice, room_version=version, initial_state=initial, topic="tea", name="Tea")
    found = state(alice, room_id)
    assert found["m.room.power_levels", ""] == levels
    assert found["m.room.topic", ""]["topic"] == "tea"


def test_null_in_the_create_event_is_nothing(alice):
    room_id = create_room(alice, creation_content={"type": None, "m.federate": None, "org.example": None})
    assert state(alice, room_id)["m.room.create", ""] == {"room_version": "12", "org.example": None}


def test_initial_state_may_lower_the_creators_power(alice):
    levels = {"users": {alice.user_id: 50}}
    initial = [{"type": "m.room.power_levels", "content": levels}]
    found = state(alice, create_room(alice, room_version="11", initial_state=initial, name="Tea"))
    assert found["m.room.power_levels", ""] == levels
    assert found["m.room.name", ""] == {"name": "Tea"}


def test_initial_state_takes_the_place_of_the_presets(alice):
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    assert state(alice, create_room(alice, initial_state=[rule]))["m.room.join_rules", ""] == {
        "join_rule": "knock"
    }


def test_more_state_than_one_transaction_holds(alice):
    pieces = [{"type": "org.example.piece", "state_key": str(n), "content": {"n": n}} for n in range(120)]
    content = state(alice, create_room(alice, initial_state=pieces))
    assert {key: value["n"] for (kind, key), value in content.items() if kind == "org.example.piece"} == {
        str(n): n for n in range(120)
    }


def test_a_room_too_large_for_one_transaction_is_made_whole_or_not_at_all(alice):
    name = f"whole-{alice.user_id[7:].partition(':')[0]}"
    pieces = [{"type": "x.piece", "state_key": str(n), "content": {}} for n in range(30)]
    levels = {"type": "m.room.power_levels", "content": {"users": {}, "state_default": 50}}
    body = {"room_alias_name": name, "room_version": "11", "initial_state": [*pieces, levels, *pieces]}
    refused(alice.post(f"{V3}/createRoom", body), 400, "M_INVALID_ROOM_STATE")
    assert ok(alice.get(f"{V3}/joined_rooms")) == {"joined_rooms": []}
    room_id = create_room(alice, room_alias_name=name, initial_state=pieces)
    assert len([pair for pair in state(alice, room_id) if pair[0] == "x.piece"]) == 30


@pytest.mark.parametrize(("version", "level"), [("11", 100), ("12", None)])
def test_trusted_friends_are_the_creators_equals(alice, bob, version, level):
    room_id = create_room(alice, preset="trusted_private_chat", invite=[bob.user_id], room_version=version)
    content = state(alice, room_id)
    assert content["m.room.power_levels", ""]["users"].get(bob.user_id) == level
    assert (bob.user_id in content["m.room.create", ""].get("additional_creators", [])) == (level is None)
    join(bob, room_id)
    ok(bob.put(path(room_id, "state", "m.room.power_levels", ""), content["m.room.power_levels", ""]))


def test_of_two_rooms_with_one_alias_one_is_made(alice):
    name = f"raced-{alice.user_id[7:].partition(':')[0]}"
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: alice.post(f"{V3}/createRoom", {"room_alias_name": name}), range(8))
        )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    for answer in answers:
        if answer.status != 200:
            refused(answer, 400, "M_ROOM_IN_USE")
    assert len(ok(alice.get(f"{V3}/joined_rooms"))["joined_rooms"]) == 1


@pytest.mark.parametrize("version", ["11", "12"])
def test_rooms_made_alike_at_the_same_time_are_rooms_of_their_own(alice, version):
    with ThreadPoolExecutor(8) as pool:
        room_ids = list(pool.map(lambda _: create_room(alice, room_version=version), range(8)))
    assert len(set(room_ids)) == 8


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"room_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": ""}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": 11}, 400, "M_BAD_JSON"),
        ({"preset": ""}, 400, "M_BAD_JSON"),
        ({"visibility": ""}, 400, "M_BAD_JSON"),
        ({"room_alias_name": ""}, 400, "M_INVALID_PARAM"),
        ({"preset": "shouting_chat"}, 400, "M_BAD_JSON"),
        ({"name": 7}, 400, "M_BAD_JSON"),
        ({"invite": ["bob"]}, 400, "M_INVALID_PARAM"),
        ({"room_alias_name": "a:b"}, 400, "M_INVALID_PARAM"),
        ({"initial_state": [{"type": "m.room.name"}]}, 400, "M_MISSING_PARAM"),
        ({"power_level_content_override": {"users": {"@a:b": "high"}}}, 400, "M_INVALID_ROOM_STATE"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, 400, "M_INVALID_ROOM_STATE"),
        ({"initial_state": [{"type": "m.room.redaction", "content": {}}]}, 400, "M_INVALID_PARAM"),
        ({"creation_content": {"type": 5}}, 400, "M_BAD_JSON"),
        ({"creation_content": {"m.federate": "false"}}, 400, "M_BAD_JSON"),
    ],
)
def test_what_makes_no_room_is_refused(alice, body, status, errcode):
    refused(alice.post(f"{V3}/createRoom", body), status, errcode)
    assert ok(alice.get(f"{V3}/joined_rooms"))["joined_rooms"] == []


def in_state(event_type: str, content: dict[str, Any], state_key: str = "") -> dict[str, Any]:
    return {"initial_state": [{"type": event_type, "state_key": state_key, "content": content}]}


@pytest.fixture(params=["10", "11", "12"])
def chosen_version(request: pytest.FixtureRequest, deployment: None) -> Iterator[str]:
    """Yield the version that the operator has chosen for new rooms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MURMURATION_DEFAULT_ROOM_VERSION", request.param)
        settings.cache_clear()
        yield request.param
    settings.cache_clear()


def test_the_operator_chooses_the_version_of_rooms(chosen_version, alice):
    assert state(alice, create_room(alice))["m.room.create", ""]["room_version"] == chosen_version
    assert state(alice, create_room(alice, room_version="6"))["m.room.create", ""]["room_version"] == "6"
    old = ok(alice.post("/_matrix/client/r0/createRoom", {}))["room_id"]
    expected = {"10": "10", "11": "11", "12": "11"}[chosen_version]
    assert state(alice, old)["m.room.create", ""]["room_version"] == expected
    capabilities = ok(alice.get(f"{V3}/capabilities"))["capabilities"]
    assert capabilities["m.room_versions"]["default"] == chosen_version


def test_initial_state_invites_nobody_who_takes_no_invites(alice, bob):
    blocking = f"{V3}/user/{segment(bob.user_id)}/account_data/m.invite_permission_config"
    ok(bob.put(blocking, {"default_action": "block"}))
    body = in_state("m.room.member", {"membership": "invite"}, bob.user_id)
    refused(alice.post(f"{V3}/createRoom", body), 403, "M_INVITE_BLOCKED")


@pytest.mark.parametrize(
    ("user_id", "membership", "status", "errcode"),
    [
        ("@bob:elsewhere.example", "invite", 403, "M_FORBIDDEN"),
        ("bob", "ban", 400, "M_INVALID_PARAM"),
        ("@bob:example.org", "friend", 400, "M_INVALID_PARAM"),
    ],
)
def test_initial_state_has_the_memberships_that_may_be_set(alice, user_id, membership, status, errcode):
    body = in_state("m.room.member", {"membership": membership}, user_id)
    refused(alice.post(f"{V3}/createRoom", body), status, errcode)


def test_initial_state_names_nobody_who_vouches(alice, bob):
    content = {"membership": "join", "join_authorised_via_users_server": bob.user_id}
    room_id = create_room(alice, **in_state("m.room.member", content, alice.user_id))
    assert state(alice, room_id)["m.room.member", alice.user_id] == {
        "membership": "join",
        "displayname": "alice",
    }


def test_a_room_is_made_with_no_alias_of_another_one(alice, bob):
    name = f"taken-{alice.user_id[7:].partition(':')[0]}"
    create_room(bob, room_alias_name=name)
    for content in (
        {"alias": f"#{name}:example.org"},
        {"alt_aliases": [f"#{name}:example.org"]},
        {"alias": 7},
    ):
        refused(
            alice.post(f"{V3}/createRoom", in_state("m.room.canonical_alias", content)), 400, "M_BAD_ALIAS"
        )
    own = in_state("m.room.canonical_alias", {"alias": f"#own-{name}:example.org"})
    create_room(alice, room_alias_name=f"own-{name}", **own)


def test_a_room_is_made_with_so_many_users_and_no_more(alice):
    users = [f"@guest-{number}:example.org" for number in range(101)]
    invited = [
        {"type": "m.room.member", "state_key": each, "content": {"membership": "invite"}} for each in users
    ]
    state = [{"type": "org.example", "state_key": str(number), "content": {}} for number in range(501)]
    for body in ({"invite": users}, {"initial_state": invited}, {"initial_state": state}):
        refused(alice.post(f"{V3}/createRoom", body), 400, "M_INVALID_PARAM")


def test_a_private_room_can_not_be_joined_uninvited(alice, bob):
    room_id = create_room(alice)
    refused(bob.post(f"{V3}/join/{segment(room_id)}"), 403, "M_FORBIDDEN")


def test_null_stands_for_what_was_not_set(alice):
    texts = ["name", "topic", "preset", "visibility", "room_alias_name", "room_version"]
    others = ["invite", "invite_3pid", "is_direct", "initial_state", "creation_content"]
    names = [*texts, *others, "power_level_content_override"]
    room_id = create_room(alice, **dict.fromkeys(names))
    assert ok(alice.get(path(room_id, "state", "m.room.join_rules"))) == {"join_rule": "invite"}
