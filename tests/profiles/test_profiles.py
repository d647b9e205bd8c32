"""https://spec.matrix.org/v1.19/client-server-api/#profiles"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration import profiles
from murmuration.identity.tokens import Requester
from murmuration.protocol.errors import Forbidden
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.rooms.membership import operations as membership
from murmuration.rooms.room import Room
from murmuration.rooms.writing import append
from murmuration.storage.users.profiles import read_member_fields
from tests.accounts.conftest import errcode
from tests.in_process import Client, segment

pytestmark = pytest.mark.usefixtures("deployment")


def path(user_id, key=None, version="v3"):
    whole = f"/_matrix/client/{version}/profile/{segment(user_id)}"
    return whole if key is None else f"{whole}/{segment(key)}"


@pytest.fixture
def user(make_client):
    return make_client("name")


@pytest.fixture
def carried(monkeypatch):
    """Return the list of profile changes that were written into rooms, by user."""
    found = []
    original = membership.update_profile_in_rooms

    def record(user_id, profile):
        found.append((user_id, dict(profile)))
        original(user_id, profile)

    monkeypatch.setattr(membership, "update_profile_in_rooms", record)
    return found


# -- Reading ---------------------------------------------------------------------------------------------


def test_anyone_reads_a_profile(user):
    for client in (user, Client()):
        for version in ("r0", "v3"):
            assert client.get(path(user.user_id, version=version)).json == {"displayname": "name"}
            assert client.get(path(user.user_id, "displayname", version)).json == {"displayname": "name"}


def test_what_is_not_there(user, fresh_user_id):
    assert errcode(Client().get(path(user.user_id, "avatar_url"))) == (404, "M_NOT_FOUND")
    assert errcode(Client().get(path(user.user_id, "Not A Key"))) == (404, "M_NOT_FOUND")
    assert errcode(Client().get(path(fresh_user_id()))) == (404, "M_NOT_FOUND")
    assert errcode(Client().get(path(fresh_user_id(), "displayname"))) == (404, "M_NOT_FOUND")


def test_what_is_no_user_id():
    for user_id in ("nonsense", "@a", "!a:example.org"):
        assert errcode(Client().get(path(user_id))) == (400, "M_INVALID_PARAM")


def test_an_empty_profile_is_not_found(user):
    user.delete(path(user.user_id, "displayname"))
    assert errcode(Client().get(path(user.user_id))) == (404, "M_NOT_FOUND")


# -- Changing --------------------------------------------------------------------------------------------


def test_display_name_and_avatar_are_carried_into_the_rooms(user, carried):
    url = "mxc://example.org/abc"
    assert user.put(path(user.user_id, "displayname"), {"displayname": "New"}).json == {}
    assert user.put(path(user.user_id, "avatar_url", "r0"), {"avatar_url": url}).json == {}
    assert Client().get(path(user.user_id)).json == {"displayname": "New", "avatar_url": url}
    assert read_member_fields(user.user_id) == {"displayname": "New", "avatar_url": url}
    assert user.delete(path(user.user_id, "displayname")).json == {}
    assert carried == [
        (user.user_id, {"displayname": "New"}),
        (user.user_id, {"displayname": "New", "avatar_url": url}),
        (user.user_id, {"avatar_url": url}),
    ]


def test_a_member_event_follows_the_profile(user):
    room_id = user.post("/_matrix/client/v3/createRoom").json["room_id"]
    user.put(path(user.user_id, "displayname"), {"displayname": "New"})
    pair = ("m.room.member", user.user_id)
    member = Room.load(room_id).events([pair])[pair]
    assert member.content["displayname"] == "New"


def test_rooms_get_the_change_that_was_stored_last(user, monkeypatch):
    room_id = user.post("/_matrix/client/v3/createRoom", {}).json["room_id"]
    original = membership.update_profile_in_rooms
    held: list[dict[str, str]] = []

    def hold(user_id, profile):
        if not held:
            held.append(profile)
            assert user.put(path(user.user_id, "displayname"), {"displayname": "second"}).status == 200
        original(user_id, profile)

    monkeypatch.setattr(membership, "update_profile_in_rooms", hold)
    assert user.put(path(user.user_id, "displayname"), {"displayname": "first"}).status == 200
    assert held == [{"displayname": "first"}]
    state = f"/_matrix/client/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(user.user_id)}"
    assert user.get(state).json == {"membership": "join", "displayname": "second"}
    assert user.get(path(user.user_id)).json == {"displayname": "second"}


def test_a_change_while_a_room_is_joined_reaches_that_room(user, make_client, monkeypatch):
    room_id = make_client().post("/_matrix/client/v3/createRoom", {"preset": "public_chat"}).json["room_id"]
    original = append.append

    def change_first(*args, **more):
        monkeypatch.setattr(membership, "append", original)
        assert user.put(path(user.user_id, "displayname"), {"displayname": "new"}).status == 200
        return original(*args, **more)

    monkeypatch.setattr(membership, "append", change_first)
    assert user.post(f"/_matrix/client/v3/join/{segment(room_id)}").status == 200
    state = f"/_matrix/client/v3/rooms/{segment(room_id)}/state/m.room.member/{segment(user.user_id)}"
    assert user.get(state).json == {"membership": "join", "displayname": "new"}


def test_the_same_again_is_carried_again(user, carried):
    for _ in range(2):
        user.put(path(user.user_id, "displayname"), {"displayname": "Same"})
    assert len(carried) == 2


@pytest.mark.parametrize("key", ["displayname", "avatar_url"])
def test_an_empty_text_removes_the_field(user, key):
    user.put(path(user.user_id, key), {key: "x"})
    assert user.put(path(user.user_id, key), {key: ""}).status == 200
    assert errcode(Client().get(path(user.user_id, key))) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("m.tz", "Europe/London"),
        ("org.example.job", {"title": ["a", 1, None, True, 0.5], "deep": {}}),
        ("org.example.nothing", None),
        ("org.example.empty", ""),
        ("org.example.big", 2**60),
        ("a-b_c.d-e_9", [1]),
    ],
)
def test_custom_fields_hold_any_json(user, carried, key, value):
    assert user.put(path(user.user_id, key), {key: value}).json == {}
    assert Client().get(path(user.user_id, key)).json == {key: value}
    assert Client().get(path(user.user_id)).json == {"displayname": "name", key: value}
    assert read_member_fields(user.user_id) == {"displayname": "name"}
    assert user.delete(path(user.user_id, key)).json == {}
    assert user.delete(path(user.user_id, key)).json == {}
    assert Client().get(path(user.user_id)).json == {"displayname": "name"}
    assert carried == []


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"avatar_url": "x"}, "M_MISSING_PARAM"),
        ("m.tz", {"displayname": "x"}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": None}, "M_INVALID_PARAM"),
        ("displayname", {"displayname": 3}, "M_INVALID_PARAM"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": {}}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "x" * 1001}, "M_INVALID_PARAM"),
        ("Upper.case", {"Upper.case": 1}, "M_INVALID_PARAM"),
        ("nodots", {"nodots": 1}, "M_INVALID_PARAM"),
        ("a..b", {"a..b": 1}, "M_INVALID_PARAM"),
        (".a", {".a": 1}, "M_INVALID_PARAM"),
        ("a.", {"a.": 1}, "M_INVALID_PARAM"),
        ("m.é", {"m.é": 1}, "M_INVALID_PARAM"),
        ("m." + "x" * 254, {"m." + "x" * 254: 1}, "M_KEY_TOO_LARGE"),
        ("m.tz", b"{", "M_NOT_JSON"),
        ("m.tz", [1], "M_BAD_JSON"),
        ("m.tz", {"m.tz": 5}, "M_INVALID_PARAM"),
        ("m.tz", {"m.tz": None}, "M_INVALID_PARAM"),
        ("m.tz", {"m.tz": "x" * 257}, "M_INVALID_PARAM"),
        ("m.tz", b'{"m.tz": "\\ud800"}', "M_BAD_JSON"),
    ],
)
def test_malformed_changes(user, key, body, expected):
    assert errcode(user.put(path(user.user_id, key), body)) == (400, expected)
    assert Client().get(path(user.user_id)).json == {"displayname": "name"}


def test_the_longest_key_and_names(user):
    key = "m." + "x" * 253
    assert user.put(path(user.user_id, key), {key: 1}).status == 200
    assert user.put(path(user.user_id, "displayname"), {"displayname": "é" * 256}).status == 200


def test_a_profile_stays_under_64_kib(user):
    # {"displayname":"name","m.a":"…"}: 31 bytes beside the text.
    fits = {"m.a": "x" * (65535 - 31)}
    assert errcode(user.put(path(user.user_id, "m.a"), {"m.a": fits["m.a"] + "x"})) == (
        400,
        "M_PROFILE_TOO_LARGE",
    )
    assert user.put(path(user.user_id, "m.a"), fits).status == 200
    assert errcode(user.put(path(user.user_id, "m.b"), {"m.b": 1})) == (400, "M_PROFILE_TOO_LARGE")
    assert user.put(path(user.user_id, "m.a"), {"m.a": "small"}).status == 200


def test_malformed_deletions(user):
    assert errcode(user.delete(path(user.user_id, "Upper"))) == (400, "M_INVALID_PARAM")
    assert errcode(user.delete(path(user.user_id, "m." + "x" * 300))) == (400, "M_KEY_TOO_LARGE")


def test_nobody_changes_anothers_profile(user, make_client):
    other = make_client("other")
    for key in ("displayname", "m.tz"):
        body = {key: "x"}
        assert errcode(user.put(path(other.user_id, key), body)) == (403, "M_FORBIDDEN")
        assert errcode(user.delete(path(other.user_id, key))) == (403, "M_FORBIDDEN")
        assert errcode(Client().put(path(other.user_id, key), body)) == (401, "M_MISSING_TOKEN")
    assert Client().get(path(other.user_id)).json == {"displayname": "other"}


def test_guests_change_their_display_name_alone(fresh_user_id):
    guest = Requester(UserId(fresh_user_id()), DeviceId("D"), is_guest=True)
    profiles.set_profile_field(guest, guest.user_id, "displayname", {"displayname": "Guest"})
    with pytest.raises(Forbidden):
        profiles.set_profile_field(guest, guest.user_id, "m.tz", {"m.tz": "UTC"})
    with pytest.raises(Forbidden):
        profiles.delete_profile_field(guest, guest.user_id, "avatar_url")
    assert profiles.get_user_profile(guest.user_id) == {"displayname": "Guest"}


def test_changes_at_once_are_all_kept(user):
    keys = [f"m.field_{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: user.put(path(user.user_id, key), {key: key}), keys))
    assert [answer.status for answer in answers] == [200] * 8
    assert Client().get(path(user.user_id)).json == {"displayname": "name"} | {key: key for key in keys}
