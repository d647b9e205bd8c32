"""The first specification's paragraphs about what the server does, section by section, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from tests.client_v1.people import V1, create, memberships, post, room, texts
from tests.in_process import Client, segment
from tests.rooms.people import V3, ok, refused

Make = Callable[..., Client]


# -- Architecture: users, rooms ------------------------------------------------------------------------------


def test_the_localpart_of_a_user_id_is_case_insensitive_where_one_registers_and_logs_in(
    fresh_name: Callable[..., str],
) -> None:
    name = fresh_name("carol")
    login = {"type": "m.login.password", "password": "correct horse battery"}
    user_id = ok(Client().post(f"{V1}/register", {**login, "user": name.upper()}))["user_id"]
    assert user_id == f"@{name}:example.org"
    refused(Client().post(f"{V1}/register", {**login, "user": name.title()}), 400, "M_USER_IN_USE")
    for written in (name.upper(), f"@{name.title()}:example.org"):
        assert ok(Client().post(f"{V1}/login", {**login, "user": written}))["user_id"] == user_id


def test_room_ids_are_case_sensitive(alice: Client) -> None:
    room_id = create(alice)
    refused(
        alice.get(room(room_id.swapcase().replace("EXAMPLE.ORG", "example.org"), "state")), 403, "M_FORBIDDEN"
    )


# -- Architecture: room aliases ------------------------------------------------------------------------------


def test_room_aliases_the_room_id_can_be_obtained_by_visiting_the_domain(alice: Client) -> None:
    name = f"pub-{alice.user_id[1:].partition(':')[0]}"
    made = ok(alice.post(f"{V1}/createRoom", {"room_alias_name": name}))
    assert made["room_alias"] == f"#{name}:example.org"
    found = ok(alice.get(f"{V1}/directory/room/{segment(made['room_alias'])}"))
    assert found["room_id"] == made["room_id"]


def test_room_aliases_the_mapping_is_not_fixed_and_may_change(alice: Client) -> None:
    first, second = create(alice), create(alice)
    alias = f"#moving-{alice.user_id[1:].partition(':')[0]}:example.org"
    path = f"{V1}/directory/room/{segment(alias)}"
    ok(alice.put(path, {"room_id": first}))
    ok(alice.delete(path))
    ok(alice.put(path, {"room_id": second}))
    assert ok(alice.get(path))["room_id"] == second


# -- API standards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "errcode"),
    [
        ("GET", "/no_such_thing", None, 404, "M_UNRECOGNIZED"),
        ("GET", "/rooms/!nowhere:example.org/state", None, 403, "M_FORBIDDEN"),
        ("POST", "/createRoom", b"{", 400, "M_NOT_JSON"),
        ("POST", "/createRoom", [], 400, "M_BAD_JSON"),
        ("POST", "/createRoom", {"visibility": "secret"}, 400, "M_BAD_JSON"),
        ("GET", "/directory/room/%23nothing:example.org", None, 404, "M_NOT_FOUND"),
        ("GET", "/initialSync?limit=many", None, 400, "M_BAD_PAGINATION"),
        ("GET", "/events?from=nonsense", None, 400, "M_BAD_PAGINATION"),
    ],
)
def test_errors_have_errcode_and_error(
    alice: Client, method: str, path: str, body: Any, status: int, errcode: str
) -> None:
    answer = alice.request(method, V1 + path, body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert answer.json["error"]


def test_errors_an_unknown_token(alice: Client) -> None:
    stranger = Client(token=(alice.token or "")[:-1] + ("a" if (alice.token or "")[-1] != "a" else "b"))
    refused(stranger.get(f"{V1}/initialSync"), 401, "M_UNKNOWN_TOKEN")


def test_errors_a_taken_alias_is_room_in_use(alice: Client) -> None:
    name = f"taken-{alice.user_id[1:].partition(':')[0]}"
    create(alice, room_alias_name=name)
    refused(alice.post(f"{V1}/createRoom", {"room_alias_name": name}), 400, "M_ROOM_IN_USE")


def test_put_with_a_transaction_id_is_idempotent_and_post_is_not(alice: Client) -> None:
    room_id = create(alice)
    body = {"text": "Goodbye world!"}
    path = room(room_id, "send", "m.custom.example.message")
    first = ok(alice.put(f"{path}/11", body))
    assert ok(alice.put(f"{path}/11", body)) == first
    assert ok(alice.put(f"{path}/12", body)) != first
    assert ok(alice.post(path, body)) != ok(alice.post(path, body))


def test_put_identifies_retransmits_of_every_kind(alice: Client, bob: Client) -> None:
    made = ok(alice.put(f"{V1}/createRoom/1", {"visibility": "private"}))
    assert ok(alice.put(f"{V1}/createRoom/1", {"visibility": "private"})) == made
    room_id = made["room_id"]
    for change, client in (("invite", alice), ("kick", alice), ("ban", alice), ("unban", alice)):
        for _ in range(2):
            ok(client.put(room(room_id, change, "t1"), {"user_id": bob.user_id}))
    ok(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}))
    for path in (f"{V1}/join/{segment(room_id)}/j1", room(room_id, "join", "j2")):
        assert ok(bob.put(path, {})) == {"room_id": room_id}
    ok(bob.put(room(room_id, "leave", "l1"), {}))
    ok(bob.put(room(room_id, "join", "j2"), {}))  # a late retransmit doesn't bring him back
    refused(bob.put(room(room_id, "join", "j3"), {}), 403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("method", "rest", "hint"),
    [
        ("POST", "send/m.custom/11", "A POST has no transaction ID"),
        ("PUT", "send/m.custom", "A PUT needs a transaction ID"),
        ("PUT", "leave", "A PUT needs a transaction ID"),
        ("POST", "leave/11", "A POST has no transaction ID"),
        ("POST", "state/m.example.event/", "State can't be set by POST"),
        ("POST", "state/m.example.event/key", "State can't be set by POST"),
        ("PUT", "state/m.another.example.event/foo/11", "State has no transaction IDs"),
    ],
)
def test_invalid_forms_are_refused_with_a_clear_error(
    alice: Client, method: str, rest: str, hint: str
) -> None:
    answer = alice.request(method, f"{room('!r:example.org')}/{rest}", {})
    assert answer.status in (404, 405)
    assert answer.json["errcode"] == "M_UNRECOGNIZED"
    assert answer.json["error"].startswith(hint)


@pytest.mark.parametrize(
    "path", ["register", "login", "presence/list/@a:example.org", "rooms/!r:example.org/state"]
)
def test_nobody_is_told_of_a_form_that_there_is_not(alice: Client, path: str) -> None:
    answer = alice.put(f"{V1}/{path}", {})
    assert (answer.status, "transaction" in answer.json["error"]) == (405, False)


# -- Rooms: creation -----------------------------------------------------------------------------------------


def test_rooms_default_to_public_visibility(alice: Client) -> None:
    public, private = create(alice), create(alice, visibility="private")
    shown = [ok(alice.get(f"{V3}/directory/list/room/{segment(room_id)}")) for room_id in (public, private)]
    assert shown == [{"visibility": "public"}, {"visibility": "private"}]


# -- Rooms: joining, inviting, leaving -----------------------------------------------------------------------


def test_joining_by_alias_answers_with_the_room_id(alice: Client, bob: Client) -> None:
    name = f"joined-{alice.user_id[1:].partition(':')[0]}"
    room_id = create(alice, room_alias_name=name)
    assert ok(bob.post(f"{V1}/join/{segment(f'#{name}:example.org')}", {})) == {"room_id": room_id}


def test_joining_by_setting_the_membership_directly(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    ok(bob.put(room(room_id, "state", "m.room.member", bob.user_id), {"membership": "join"}))
    rooms = {entry["room_id"]: entry for entry in ok(bob.get(f"{V1}/initialSync"))["rooms"]}
    assert rooms[room_id]["membership"] == "join"


def test_inviting_only_joined_users_may_and_nobody_who_is_in_the_room(
    alice: Client, bob: Client, make_client: Make
) -> None:
    room_id = create(alice, visibility="private")
    carol = make_client("carol")
    refused(bob.post(room(room_id, "invite"), {"user_id": carol.user_id}), 403, "M_FORBIDDEN")
    ok(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}))
    refused(carol.post(room(room_id, "join"), {}), 403, "M_FORBIDDEN")
    ok(bob.post(room(room_id, "join"), {}))
    refused(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}), 403, "M_FORBIDDEN")


def test_inviting_and_leaving_by_setting_the_membership_directly(alice: Client, bob: Client) -> None:
    room_id = create(alice, visibility="private")
    member = room(room_id, "state", "m.room.member", bob.user_id)
    ok(alice.put(member, {"membership": "invite"}))
    (shown,) = [entry for entry in ok(bob.get(f"{V1}/initialSync"))["rooms"] if entry["room_id"] == room_id]
    assert (shown["membership"], shown["inviter"]) == ("invite", alice.user_id)
    refused(alice.put(member, {"membership": "join"}), 403, "M_FORBIDDEN")  # nobody forces another to join
    ok(bob.put(member, {"membership": "join"}))
    ok(bob.put(member, {"membership": "leave"}))
    assert ok(alice.get(member))["membership"] == "leave"
    refused(bob.put(member, {"membership": "join"}), 403, "M_FORBIDDEN")


def test_inviting_takes_the_fully_qualified_user_id(alice: Client, bob: Client) -> None:
    name = bob.user_id[1:].partition(":")[0]
    refused(alice.post(room(create(alice), "invite"), {"user_id": name}), 400, "M_INVALID_PARAM")


def test_leaving_takes_having_joined(alice: Client, bob: Client) -> None:
    refused(bob.post(room(create(alice), "leave"), {}), 403, "M_FORBIDDEN")


def test_leaving_makes_a_room_that_all_have_left_eligible_for_deletion(alice: Client) -> None:
    from murmuration.storage.rooms import empty_rooms

    room_id = create(alice)
    assert room_id not in {each.room_id for each in empty_rooms.read_all()}
    ok(alice.post(room(room_id, "leave"), {}))
    assert room_id in {each.room_id for each in empty_rooms.read_all()}


def test_leaving_the_room_disappears_from_initial_sync_but_a_trace_stays(alice: Client, bob: Client) -> None:
    room_id = create(alice, visibility="private")
    ok(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}))
    ok(bob.post(room(room_id, "join"), {}))
    ok(bob.post(room(room_id, "leave"), {}))
    assert room_id not in {entry["room_id"] for entry in ok(bob.get(f"{V1}/initialSync"))["rooms"]}
    members = ok(alice.get(room(room_id, "members")))["chunk"]
    assert memberships(members) == {alice.user_id: "join", bob.user_id: "leave"}
    refused(bob.post(room(room_id, "join"), {}), 403, "M_FORBIDDEN")
    refused(
        bob.post(room(room_id, "send", "m.room.message"), {"msgtype": "m.text", "body": "x"}),
        403,
        "M_FORBIDDEN",
    )


# -- Events in a room ----------------------------------------------------------------------------------------


def test_state_events_replace_those_of_the_same_type_and_key(alice: Client) -> None:
    room_id = create(alice)
    ok(alice.put(room(room_id, "state", "m.example.event"), {"key": "without a state key"}))
    ok(alice.put(room(room_id, "state", "m.example.event", "foo"), {"key": "with one"}))
    ok(alice.put(room(room_id, "state", "m.example.event", "foo"), {"key": "another"}))
    assert ok(alice.get(room(room_id, "state", "m.example.event"))) == {"key": "without a state key"}
    assert ok(alice.get(room(room_id, "state", "m.example.event", "foo"))) == {"key": "another"}
    state = ok(alice.get(room(room_id, "state")))
    found = {event["state_key"]: event for event in state if event["type"] == "m.example.event"}
    assert found["foo"]["content"] == {"key": "another"}
    assert found["foo"]["user_id"] == alice.user_id


def test_members_have_start_end_and_chunk(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    before = ok(alice.get(room(room_id, "members")))
    ok(bob.post(room(room_id, "join"), {}))
    after = ok(alice.get(room(room_id, "members")))
    assert set(after) == {"start", "end", "chunk"}
    assert memberships(after["chunk"]) == {alice.user_id: "join", bob.user_id: "join"}
    then = ok(alice.get(room(room_id, "members"), **{"from": before["end"]}))
    assert memberships(then["chunk"]) == {alice.user_id: "join"}
    refused(alice.get(room(room_id, "members"), **{"from": "x"}), 400, "M_BAD_PAGINATION")


def test_messages_are_paged_in_both_directions(alice: Client) -> None:
    room_id = create(alice)
    for number in range(5):
        post(alice, room_id, str(number))
    page = ok(alice.get(room(room_id, "messages"), limit=2))
    assert texts(page["chunk"]) == ["4", "3"]
    older = ok(alice.get(room(room_id, "messages"), limit=2, **{"from": page["end"]}))
    assert texts(older["chunk"]) == ["2", "1"]
    newer = ok(alice.get(room(room_id, "messages"), dir="f", limit=2, **{"from": older["end"]}))
    assert texts(newer["chunk"]) == ["1", "2"]
    for query in ({"dir": "x"}, {"limit": "-1"}, {"limit": "x"}, {"from": "x"}, {"to": "x"}):
        refused(alice.get(room(room_id, "messages"), **query), 400, "M_BAD_PAGINATION")


def test_syncing_global(alice: Client, bob: Client) -> None:
    room_id = create(alice, name="The pub", topic="Ale")
    other = create(bob, visibility="private")
    ok(bob.post(room(other, "invite"), {"user_id": alice.user_id}))
    post(alice, room_id, "hello")
    ok(bob.post(room(room_id, "join"), {}))
    ok(bob.put(f"{V1}/presence/{segment(bob.user_id)}/status", {"presence": "free_for_chat"}))
    from murmuration.presence.telling import tell
    from murmuration.storage.users import presence

    ok(alice.get(f"{V1}/initialSync"))  # she is there now
    tell(
        [
            item
            for item in [
                presence.read(UserId(bob.user_id)),
                presence.read(UserId(alice.user_id)),
            ]
            if item
        ]
    )
    body = ok(alice.get(f"{V1}/initialSync", limit=2))
    rooms = {entry["room_id"]: entry for entry in body["rooms"]}
    shown = rooms[room_id]
    assert (shown["membership"], shown["visibility"]) == ("join", "public")
    assert texts(shown["messages"]["chunk"]) == ["hello"]
    assert len(shown["messages"]["chunk"]) == 2
    assert {"m.room.name", "m.room.topic", "m.room.member"} <= {event["type"] for event in shown["state"]}
    older = ok(alice.get(room(room_id, "messages"), **{"from": shown["messages"]["start"]}))
    assert "m.room.create" in {event["type"] for event in older["chunk"]}
    (unread,) = [each for each in ok(alice.get(f"{V1}/initialSync", limit=0))["rooms"] if "messages" in each]
    assert unread["messages"]["chunk"] == []
    newest = ok(alice.get(room(room_id, "messages"), limit=2, **{"from": unread["messages"]["start"]}))[
        "chunk"
    ]
    assert texts(newest) == ["hello"]
    assert (rooms[other]["membership"], rooms[other]["inviter"]) == ("invite", bob.user_id)
    assert rooms[other]["visibility"] == "private"
    (present,) = [each for each in body["presence"] if each["content"]["user_id"] == bob.user_id]
    assert present["content"]["presence"] == "free_for_chat"


def test_syncing_one_room(alice: Client, bob: Client, make_client: Make) -> None:
    room_id = create(alice, visibility="private", preset="private_chat")
    ok(alice.post(room(room_id, "invite"), {"user_id": bob.user_id}))
    ok(bob.post(room(room_id, "join"), {}))
    read = post(alice, room_id, "read me")
    ok(bob.post(f"{V3}/rooms/{segment(room_id)}/receipt/m.read/{segment(read)}", {}))
    ok(bob.put(f"{V1}/presence/{segment(bob.user_id)}/status", {"presence": "online"}))
    body = ok(alice.get(room(room_id, "initialSync"), limit=1))
    assert texts(body["messages"]["chunk"]) == ["read me"]
    assert memberships(body["state"]) == {alice.user_id: "join", bob.user_id: "join"}
    assert [each["content"]["user_id"] for each in body["presence"]] == [bob.user_id]
    assert read in body["receipts"][0]["content"]
    ok(bob.post(room(room_id, "leave"), {}))
    post(alice, room_id, "not for Bob")
    left = ok(bob.get(room(room_id, "initialSync")))
    assert left["membership"] == "leave"
    assert texts(left["messages"]["chunk"]) == ["read me"]
    assert (left["presence"], left["receipts"]) == ([], [])
    carol = make_client("carol")
    refused(carol.get(room(room_id, "initialSync")), 403, "M_FORBIDDEN")
    refused(alice.get(room(room_id, "initialSync"), limit="x"), 400, "M_BAD_PAGINATION")


def test_one_event(alice: Client, bob: Client) -> None:
    room_id = create(alice, visibility="private")
    event_id = post(alice, room_id, "secret")
    event = ok(alice.get(f"{V1}/events/{segment(event_id)}"))
    assert (event["event_id"], event["room_id"], event["user_id"]) == (event_id, room_id, alice.user_id)
    assert event["age"] >= 0
    refused(bob.get(f"{V1}/events/{segment(event_id)}"), 404, "M_NOT_FOUND")
    refused(bob.get(f"{V1}/events/$nothing"), 404, "M_NOT_FOUND")


# -- Room events ---------------------------------------------------------------------------------------------

CONTENTS: list[tuple[str, dict[str, Any]]] = [
    ("m.room.message", {"msgtype": "m.text", "body": "I am a fish", "sender_ts": 1409000000000}),
    ("m.room.message", {"msgtype": "m.emote", "body": "tries to come up with a witty explanation"}),
    ("m.room.message", {
        "msgtype": "m.image", "url": "mxc://x/y", "body": "alt", "thumbnail_url": "mxc://x/z",
        "info": {"size": 1, "w": 2, "h": 3, "mimetype": "image/jpeg"}, "thumbnail_info": {"w": 1},
    }),
    ("m.room.message", {
        "msgtype": "m.audio", "url": "mxc://x/y", "body": "Bee Gees",
        "info": {"mimetype": "audio/aac", "size": 1, "duration": 2},
    }),
    ("m.room.message", {
        "msgtype": "m.video", "url": "mxc://x/y", "body": "alt",
        "info": {"duration": 2, "thumbanil_info": {"h": 1}},
    }),
    ("m.room.message", {"msgtype": "m.location", "geo_uri": "geo:1,2", "body": "Big Ben, London, UK"}),
    ("m.room.message.feedback", {"type": "delivered", "target_event_id": "e3b2icys"}),
    ("m.call.invite", {"call_id": "c", "version": 0, "lifetime": 6, "offer": {"type": "offer", "sdp": "v"}}),
]  # fmt: skip


@pytest.mark.parametrize(("event_type", "content"), CONTENTS)
def test_events_pass_through_untouched(
    alice: Client, bob: Client, event_type: str, content: dict[str, Any]
) -> None:
    room_id = create(alice, visibility="private", invite=[bob.user_id])
    ok(bob.post(room(room_id, "join"), {}))
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    event_id = ok(alice.post(room(room_id, "send", event_type), content))["event_id"]
    (streamed,) = ok(bob.get(f"{V1}/events", **{"from": end}))["chunk"]
    today = ok(bob.get(f"{V3}/rooms/{segment(room_id)}/event/{segment(event_id)}"))
    for event in (streamed, today, ok(bob.get(room(room_id, "messages"), limit=1))["chunk"][0]):
        assert (event["type"], event["content"]) == (event_type, content)


def test_a_redaction_without_a_transaction_id(alice: Client) -> None:
    room_id = create(alice)
    event_id = post(alice, room_id, "oops")
    ok(alice.post(room(room_id, "redact", event_id), {"reason": "typo"}))
    event = ok(alice.get(f"{V1}/events/{segment(event_id)}"))
    assert event["content"] == {}
    assert event["redacted_because"]["user_id"] == alice.user_id


# -- Presence ------------------------------------------------------------------------------------------------


def test_presence_is_online_by_being_on_the_event_stream_and_counts_actions(
    alice: Client, bob: Client
) -> None:
    room_id = create(alice)
    ok(bob.post(room(room_id, "join"), {}))
    status = f"{V1}/presence/{segment(alice.user_id)}/status"
    assert ok(bob.get(status))["presence"] == "offline"
    end = ok(alice.get(f"{V1}/initialSync"))["end"]
    ok(alice.get(f"{V1}/events", **{"from": end}))
    shown = ok(bob.get(status))
    assert (shown["presence"], 0 <= shown["last_active_ago"] < 60_000) == ("online", True)
    for state in ("unavailable", "offline", "free_for_chat"):
        ok(alice.put(status, {"presence": state}))
        assert ok(bob.get(status))["presence"] == state
    ok(alice.put(status, {"presence": "hidden"}))
    assert (ok(bob.get(status))["presence"], ok(alice.get(status))["presence"]) == ("offline", "hidden")


# -- Profiles ------------------------------------------------------------------------------------------------


def test_profile_changes_reach_every_room_and_member_events_carry_them(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    ok(bob.post(room(room_id, "join"), {}))
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    path = f"{V1}/profile/{segment(alice.user_id)}"
    ok(alice.put(f"{path}/displayname", {"displayname": "Queen Alice"}))
    assert ok(bob.get(f"{path}/displayname")) == {"displayname": "Queen Alice"}
    (event,) = ok(bob.get(f"{V1}/events", **{"from": end}))["chunk"]
    assert (event["state_key"], event["content"]["displayname"]) == (alice.user_id, "Queen Alice")
    assert event["prev_content"]["displayname"] == "alice"
    assert ok(bob.get(path)) == {"displayname": "Queen Alice"}


# -- Typing, voice over IP, content repository ---------------------------------------------------------------


def test_typing_comes_by_the_event_stream(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    ok(bob.post(room(room_id, "join"), {}))
    end = ok(bob.get(f"{V1}/initialSync"))["end"]
    ok(alice.put(room(room_id, "typing", alice.user_id), {"typing": True, "timeout": 30_000}))
    (event,) = ok(bob.get(f"{V1}/events", **{"from": end}))["chunk"]
    assert (event["type"], event["room_id"]) == ("m.typing", room_id)
    assert event["content"]["user_ids"] == [alice.user_id]


def test_turn_servers_are_told(alice: Client) -> None:
    assert ok(alice.get(f"{V1}/voip/turnServer")) == {}


# -- Today's words for the same ------------------------------------------------------------------------------


def test_todays_deprecated_endpoints_do_the_same_in_todays_form(alice: Client, bob: Client) -> None:
    room_id = create(alice)
    ok(bob.post(room(room_id, "join"), {}))
    body = ok(bob.get(f"{V3}/initialSync"))
    assert "user_id" not in body["rooms"][0]["state"][0]
    event_id = post(alice, room_id, "hello")
    (event,) = ok(bob.get(f"{V3}/events", **{"from": body["end"]}))["chunk"]
    assert (event["event_id"], event["sender"]) == (event_id, alice.user_id)
    assert ok(bob.get(f"{V3}/events/{segment(event_id)}"))["event_id"] == event_id
    assert texts(ok(bob.get(f"{V3}/rooms/{segment(room_id)}/initialSync"))["messages"]["chunk"]) == ["hello"]
