"""Sending messages, state and redactions: once each, in order, by those who may."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import EventId, RoomId, UserId
from murmuration.rooms.writing.append import Draft, append
from murmuration.storage.rooms import event_places, room_items
from tests.in_process import Client
from tests.rooms.people import (
    V3,
    create_room,
    join,
    messages,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)


def put(client: Client, room_id: str, txn_id: str, body: object, event_type: str = "m.room.message"):
    return client.put(path(room_id, "send", event_type, txn_id), body)


def test_a_repeated_transaction_is_one_event(alice, bob, room_id):
    first = ok(put(alice, room_id, "once", {"msgtype": "m.text", "body": "a"}))
    assert ok(put(alice, room_id, "once", {"msgtype": "m.text", "body": "a"})) == first
    assert ok(put(bob, room_id, "once", {"msgtype": "m.text", "body": "a"})) != first
    assert len([e for e in messages(alice, room_id)["chunk"] if e["type"] == "m.room.message"]) == 2


@pytest.mark.parametrize("version", ["r0", "v3"])
def test_a_script_sends_and_redacts_without_a_transaction_id(alice, room_id, version):
    base = f"/_matrix/client/{version}"
    body = {"msgtype": "m.text", "body": "the backup is done"}
    first, second = (
        ok(alice.post(path(room_id, "send", "m.room.message", version=base), body))["event_id"]
        for _ in range(2)
    )
    assert first != second
    ok(alice.post(path(room_id, "redact", first, version=base), {"reason": "it isn't"}))
    assert ok(alice.get(path(room_id, "event", first)))["content"] == {}
    assert ok(alice.get(path(room_id, "event", second)))["content"] == body


def test_a_transaction_id_may_be_used_for_each_type_of_event(alice, bob, room_id):
    types = ("org.example.a", "org.example.b", "m.reaction")
    first = [ok(put(alice, room_id, "same", {"a": 1}, each))["event_id"] for each in types]
    again = [ok(put(alice, room_id, "same", {"a": 1}, each))["event_id"] for each in types]
    assert len(set(first)) == 3
    assert again == first
    shown = alice.get(path(room_id, "event", first[1])).json
    assert (shown["type"], shown["unsigned"]["transaction_id"]) == ("org.example.b", "same")


def test_a_transaction_id_may_be_used_for_each_redaction(alice, room_id):
    targets = [send(alice, room_id) for _ in range(3)]
    ways = [path(room_id, "redact", target, "same") for target in targets[:2]]
    ways.append(path(room_id, "send", "m.room.redaction", "same"))
    bodies = [{}, {}, {"redacts": targets[2]}]
    first = [ok(alice.put(way, body))["event_id"] for way, body in zip(ways, bodies, strict=True)]
    again = [ok(alice.put(way, body))["event_id"] for way, body in zip(ways, bodies, strict=True)]
    assert len(set(first)) == 3
    assert again == first
    for target in targets:
        assert ok(alice.get(path(room_id, "event", target)))["content"] == {}


def test_a_transaction_repeated_at_the_same_time_is_one_event(alice, room_id):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: ok(put(alice, room_id, "race", {"msgtype": "m.text", "body": "a"})), range(8))
        )
    assert len({answer["event_id"] for answer in answers}) == 1


def test_sixteen_senders_at_once_all_succeed_and_leave_no_gap(alice, make_client, room_id):
    senders = [make_client(f"s{n}") for n in range(16)]
    for sender in senders:
        join(sender, room_id)
    with ThreadPoolExecutor(16) as pool:
        sent = list(pool.map(lambda client: [send(client, room_id, f"m{n}") for n in range(3)], senders))
    head = room_items.read_head(room_id)
    assert head is not None
    entries = room_items.read_log(room_id, head.version)
    assert [entry.ordinal for entry in entries] == list(range(1, head.ordinal + 1))
    order: dict[str, int] = {entry.event.event_id: entry.ordinal for entry in entries}
    for of_one in sent:
        assert [order[event_id] for event_id in of_one] == sorted(order[event_id] for event_id in of_one)
    for before, after in itertools.pairwise(entries):
        assert after.event.prev_events == (before.event.event_id,)


def test_what_other_clients_could_not_parse_is_refused(alice, bob, room_id):
    deep = b'{"a":' * 936 + b"1" + b"}" * 936
    for where in (path(room_id, "send", "m.room.message", "deep"), path(room_id, "state", "org.example", "")):
        refused(alice.request("PUT", where, deep), 400, "M_BAD_JSON")
    ok(bob.get("/_matrix/client/v3/sync"))


@pytest.mark.parametrize("version", ["1", "10", "11", "12"])
def test_a_redaction_is_no_state(alice, version):
    room_id = create_room(alice, room_version=version)
    event_id = send(alice, room_id)
    body = {"redacts": event_id}
    refused(alice.put(path(room_id, "state", "m.room.redaction", ""), body), 400, "M_INVALID_PARAM")


@pytest.mark.parametrize("version", ["1", "12"])
def test_what_a_room_rests_on_can_not_be_redacted(alice, version):
    room_id = create_room(alice, room_version=version)
    acl = set_state(alice, room_id, "m.room.server_acl", {"allow": ["*"]})
    created = ok(alice.get(path(room_id, "state", "m.room.create", ""), format="event"))["event_id"]
    for event_id in (acl, created):
        refused(alice.put(path(room_id, "redact", event_id, event_id[1:9]), {}), 403, "M_FORBIDDEN")
    assert ok(alice.get(path(room_id, "state", "m.room.create", "")))["room_version"] == version


def test_a_level_that_was_just_taken_away_is_gone(alice, bob, room_id):
    """The state kept in memory belongs to one state version."""
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels", "")))
    send(bob, room_id)
    set_state(alice, room_id, "m.room.power_levels", {**levels, "events_default": 60})
    refused(put(bob, room_id, "late", {"msgtype": "m.text", "body": "a"}), 403, "M_FORBIDDEN")


def test_who_is_not_in_the_room_can_not_send(make_client, room_id):
    carol = make_client("carol")
    refused(put(carol, room_id, "t", {"msgtype": "m.text", "body": "a"}), 403, "M_FORBIDDEN")
    refused(put(carol, "!unknown:example.org", "t", {"msgtype": "m.text", "body": "a"}), 403, "M_FORBIDDEN")


def test_a_token_that_is_not_known_sends_nothing(alice, room_id):
    stranger = Client((alice.token or "")[:-8] + "00000000", alice.user_id, alice.device_id)
    refused(put(stranger, room_id, "t", {"msgtype": "m.text", "body": "a"}), 401, "M_UNKNOWN_TOKEN")
    refused(put(Client(), room_id, "t", {"msgtype": "m.text", "body": "a"}), 401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        ([], 400, "M_BAD_JSON"),
        ({"msgtype": "m.text", "body": "x" * 70_000}, 413, "M_TOO_LARGE"),
        ({"msgtype": "m.text", "body": "x", "n": 2**60}, 400, "M_BAD_JSON"),
        ({"msgtype": "m.text", "body": "x", "n": 1.5}, 400, "M_BAD_JSON"),
    ],
)
def test_bad_content_is_refused(alice, room_id, body, status, errcode):
    refused(alice.request("PUT", path(room_id, "send", "m.room.message", "bad"), body), status, errcode)


def test_the_same_state_again_is_the_same_event(alice, room_id):
    first = set_state(alice, room_id, "m.room.name", {"name": "one"})
    assert set_state(alice, room_id, "m.room.name", {"name": "one"}) == first
    assert set_state(alice, room_id, "m.room.name", {"name": "two"}) != first


def test_state_with_and_without_a_key(alice, room_id):
    ok(alice.put(path(room_id, "state", "org.example.none"), {"a": 1}))
    ok(alice.put(path(room_id, "state", "org.example.slash") + "/", {"a": 2}))
    set_state(alice, room_id, "org.example#odd~type", {"a": 3}, "a#key/with%25signs")
    assert ok(alice.get(path(room_id, "state", "org.example.none", ""))) == {"a": 1}
    assert ok(alice.get(path(room_id, "state", "org.example.slash"))) == {"a": 2}
    assert ok(alice.get(path(room_id, "state", "org.example#odd~type", "a#key/with%25signs"))) == {"a": 3}


def test_state_that_one_may_not_set(bob, room_id):
    refused(bob.put(path(room_id, "state", "m.room.name", ""), {"name": "mine"}), 403, "M_FORBIDDEN")


def test_state_keyed_by_another_user(alice, bob, room_id):
    refused(alice.put(path(room_id, "state", "org.example.of", bob.user_id), {}), 403, "M_FORBIDDEN")


def test_the_state_that_is_current_may_be_set_by_those_only_who_may_set_any(alice, bob, make_client, room_id):
    name = {"name": "Ours"}
    set_state(alice, room_id, "m.room.name", name, "")
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    set_state(alice, room_id, "m.room.power_levels", levels | {"events": {"org.example.of": 0}}, "")
    set_state(bob, room_id, "org.example.of", {"a": 1}, bob.user_id)
    for other in (bob, make_client("carol")):
        refused(other.put(path(room_id, "state", "m.room.name", ""), name), 403, "M_FORBIDDEN")
    refused(alice.put(path(room_id, "state", "org.example.of", bob.user_id), {"a": 1}), 403, "M_FORBIDDEN")
    assert ok(bob.put(path(room_id, "state", "org.example.of", bob.user_id), {"a": 1}))


@pytest.mark.parametrize(
    ("event_type", "content"),
    [
        ("m.room.create", {"room_version": "12"}),
        ("m.room.power_levels", {"users": "everybody"}),
        ("m.room.power_levels", {"users": {"bob": 50}}),
        ("m.room.power_levels", {"users_default": "50"}),
        ("m.room.power_levels", {"events": {"m.room.name": 1.5}}),
    ],
)
def test_what_nobody_could_set_is_a_bad_request(alice, room_id, event_type, content):
    answer = alice.put(path(room_id, "state", event_type, ""), content)
    assert (answer.status, answer.json["errcode"] in ("M_INVALID_PARAM", "M_BAD_JSON")) == (400, True)


@pytest.mark.parametrize(
    ("event_type", "content"),
    [
        ("m.room.name", {"name": 5}),
        ("m.room.name", {"name": None}),
        ("m.room.tombstone", {"body": 5, "replacement_room": "!a:example.org"}),
        ("m.room.message", {"body": ["as state"]}),
        ("m.room.aliases", {"aliases": "#a:example.org"}),
        ("m.room.aliases", {"aliases": [5]}),
        ("m.room.retention", {"max_lifetime": "1d"}),
        ("m.room.retention", {"min_lifetime": True}),
        ("m.room.retention", {"min_lifetime": 2, "max_lifetime": 1}),
        ("m.room.topic", {"topic": {"m.text": []}}),
        ("m.room.avatar", {"url": ["mxc://example.org/a"]}),
        ("m.room.tombstone", {"replacement_room": None}),
        ("m.room.server_acl", {"allow": ["elsewhere.example"]}),
        ("m.room.server_acl", {"allow": ["*"], "deny": ["example.*"]}),
        ("m.room.server_acl", {}),
        ("m.space.child", {"via": ["example.org"], "m.mentions": "all"}),
    ],
)
def test_state_that_others_would_fail_on_is_refused(alice, room_id, event_type, content):
    refused(alice.put(path(room_id, "state", event_type, ""), content), 400, "M_BAD_JSON")
    initial = [{"type": event_type, "state_key": "", "content": content}]
    refused(alice.post(f"{V3}/createRoom", {"initial_state": initial}), 400, "M_BAD_JSON")
    later = alice.put(path(room_id, "state", event_type, "") + "?org.matrix.msc4140.delay=60000", content)
    refused(later, 400, "M_BAD_JSON")


@pytest.mark.parametrize("content", [{}, {"url": None}, {"url": ""}])
def test_an_avatar_is_taken_away(alice, room_id, content):
    set_state(alice, room_id, "m.room.avatar", {"url": "mxc://example.org/a"})
    set_state(alice, room_id, "m.room.avatar", content)


@pytest.mark.parametrize("allow", [["*"], ["example.org"], ["*.example", "EXAMPLE.*"]])
def test_a_server_acl_that_lets_this_server_in_is_set(alice, room_id, allow):
    set_state(alice, room_id, "m.room.server_acl", {"allow": allow, "deny": ["evil.example"]})


@pytest.mark.parametrize(
    "content",
    [
        {"msgtype": "m.text", "body": 5},
        {"msgtype": "m.text", "body": None},
        {"msgtype": ["m.text"], "body": "a"},
        {"msgtype": "m.text", "body": "a", "m.mentions": []},
        {"msgtype": "m.text", "body": "a", "m.mentions": None},
        {"msgtype": "m.text", "body": "a", "m.mentions": {"user_ids": "@bob:example.org"}},
        {"msgtype": "m.text", "body": "a", "m.mentions": {"user_ids": [5]}},
        {"msgtype": "m.text", "body": "a", "m.mentions": {"room": 1}},
    ],
)
def test_messages_that_others_would_fail_on_are_refused(alice, room_id, content):
    refused(put(alice, room_id, "t", content), 400, "M_BAD_JSON")


@pytest.mark.parametrize("content", [{}, {"msgtype": "m.text"}, {"body": "hello"}])
def test_a_message_may_lack_what_clients_show_nothing_for(alice, room_id, content):
    ok(put(alice, room_id, "t", content))


@pytest.mark.parametrize("event_type", ["m.room.name", "m.room.topic", "m.room.tombstone"])
def test_state_may_lack_its_text(alice, room_id, event_type):
    set_state(alice, room_id, event_type, {})


@pytest.mark.parametrize(
    ("content", "errcode"),
    [({}, "M_MISSING_PARAM"), ({"redacts": 5}, "M_BAD_JSON"), ({"reason": "nothing"}, "M_MISSING_PARAM")],
)
def test_a_redaction_redacts_something(alice, room_id, content, errcode):
    refused(put(alice, room_id, "t", content, "m.room.redaction"), 400, errcode)


def test_the_reason_of_a_redaction_is_text(alice, room_id):
    event_id = send(alice, room_id)
    refused(alice.put(path(room_id, "redact", event_id, "t"), {"reason": 5}), 400, "M_BAD_JSON")
    content = {"redacts": event_id, "reason": ["spam"]}
    refused(put(alice, room_id, "t", content, "m.room.redaction"), 400, "M_BAD_JSON")


def test_mentions_are_sent(alice, bob, room_id):
    for number, mentions in enumerate(({}, {"room": True}, {"user_ids": [bob.user_id], "room": False})):
        ok(put(alice, room_id, f"t{number}", {"msgtype": "m.text", "body": "a", "m.mentions": mentions}))


@pytest.mark.parametrize(
    "event_type",
    [
        "m.room.member",
        "m.room.name",
        "m.room.topic",
        "m.room.avatar",
        "m.room.server_acl",
        "m.room.tombstone",
        "m.room.retention",
    ],
)
def test_state_is_no_message(alice, room_id, event_type):
    content = {"membership": "join", "allow": ["*"], "replacement_room": "!a:example.org"}
    refused(put(alice, room_id, "t", content, event_type), 400, "M_INVALID_PARAM")


def test_what_is_missing_in_a_content_hurts_nobody(alice, room_id):
    for number, event_type in enumerate(
        ("m.room.message", "m.room.encrypted", "m.sticker", "org.example.note")
    ):
        ok(put(alice, room_id, f"t{number}", {}, event_type))
    for event_type in ("m.room.name", "m.room.topic", "m.room.tombstone"):
        set_state(alice, room_id, event_type, {})


@pytest.mark.parametrize("version", ["5", "9", "10", "12"])
@pytest.mark.parametrize("level", [True, None, [50], 50.5])
def test_power_levels_are_numbers(alice, version, level):
    room_id = create_room(alice, room_version=version)
    where = path(room_id, "state", "m.room.power_levels", "")
    levels = ok(alice.get(where))
    for name in ("events", "notifications"):
        refused(alice.put(where, {**levels, name: {"room": level}}), 400, "M_BAD_JSON")
    refused(alice.put(where, {**levels, "kick": level}), 400, "M_BAD_JSON")
    override = {"room_version": version, "power_level_content_override": {"ban": level}}
    refused(alice.post(f"{V3}/createRoom", override), 400, "M_INVALID_ROOM_STATE")
    assert ok(alice.get(where)) == levels


def test_power_levels_are_strings_in_rooms_that_allow_it(alice):
    old, new = (create_room(alice, room_version=version) for version in ("9", "10"))
    for room_id, check in ((old, ok), (new, lambda answer: refused(answer, 400, "M_INVALID_PARAM"))):
        where = path(room_id, "state", "m.room.power_levels", "")
        check(alice.put(where, {**ok(alice.get(where)), "kick": "50"}))


def test_nobody_is_called_in_a_public_room(alice, bob, make_client):
    call = {"call_id": "c", "version": "1", "lifetime": 60000, "offer": {"type": "offer", "sdp": "v=0"}}
    public, private = create_room(alice, preset="public_chat"), create_room(alice)
    refused(put(alice, public, "t", call, "m.call.invite"), 403, "M_FORBIDDEN")
    ok(put(alice, private, "t", call, "m.call.invite"))
    set_state(alice, public, "m.room.join_rules", {"join_rule": "invite"})
    ok(put(alice, public, "t", call, "m.call.invite"))


def test_a_create_event_is_no_message(alice, room_id):
    refused(put(alice, room_id, "t", {}, "m.room.create"), 400, "M_INVALID_PARAM")


def test_creators_have_no_power_levels(alice, bob):
    room_id = create_room(alice, room_version="12")
    levels = ok(alice.get(path(room_id, "state", "m.room.power_levels")))
    where = path(room_id, "state", "m.room.power_levels", "")
    refused(alice.put(where, levels | {"users": {alice.user_id: 100}}), 400, "M_INVALID_PARAM")
    ok(alice.put(where, levels | {"users": {bob.user_id: 100}}))


@pytest.mark.parametrize("version", ["10", "12"])
def test_a_room_is_not_replaced_by_itself(alice, version):
    room_id, other = (create_room(alice, room_version=version) for _ in range(2))
    where = path(room_id, "state", "m.room.tombstone", "")
    refused(alice.put(where, {"body": "x", "replacement_room": room_id}), 400, "M_INVALID_PARAM")
    ok(alice.put(where, {"body": "x", "replacement_room": other}))


def test_a_canonical_alias_must_point_here(alice, room_id):
    wrong = {"alias": "#nowhere:example.org"}
    refused(alice.put(path(room_id, "state", "m.room.canonical_alias", ""), wrong), 400, "M_BAD_ALIAS")
    for malformed in ("x", "#without-a-server", "#:example.org:x y", 5):
        answer = alice.put(path(room_id, "state", "m.room.canonical_alias", ""), {"alias": malformed})
        refused(answer, 400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "content",
    [{"alias": 0}, {"alias": {}}, {"alias": False}, {"alt_aliases": [""]}, {"alt_aliases": [{}]}],
)
def test_what_is_no_alias_is_refused(alice, room_id, content):
    refused(alice.put(path(room_id, "state", "m.room.canonical_alias", ""), content), 400, "M_INVALID_PARAM")


@pytest.mark.parametrize("content", [{"alt_aliases": 5}, {"alias": [], "alt_aliases": [{}, ""]}])
def test_aliases_of_any_form_that_another_server_set_can_be_replaced(alice, room_id, content):
    draft = Draft("m.room.canonical_alias", UserId(alice.user_id), content, "")
    append(RoomId(room_id), lambda batch: batch.add(draft))
    set_state(alice, room_id, "m.room.canonical_alias", {"alias": "", "alt_aliases": None})


def test_a_redaction_leaves_nothing_of_the_content(alice, bob, room_id):
    event_id = EventId(send(bob, room_id, "secret"))
    redaction = redact(bob, room_id, event_id)
    event = ok(alice.get(path(room_id, "event", event_id)))
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == redaction
    place = event_places.locate([event_id], room_id)[event_id]
    item = dynamodb.get("room-log", {"room_id": room_id, "ordinal": place["ordinal"]})
    assert "secret" not in str(item)


def test_who_may_redact_whom(alice, make_client, room_id):
    event_id = send(alice, room_id)
    carol = make_client("carol")
    refused(carol.put(path(room_id, "redact", event_id, "r"), {}), 403, "M_FORBIDDEN")
    join(carol, room_id)
    refused(carol.put(path(room_id, "redact", event_id, "member"), {}), 403, "M_FORBIDDEN")
    refused(put(carol, room_id, "sent", {"redacts": event_id}, "m.room.redaction"), 403, "M_FORBIDDEN")
    assert ok(alice.get(path(room_id, "event", event_id)))["content"] != {}
    redact(carol, room_id, send(carol, room_id))
    redact(alice, room_id, send(carol, room_id))
    refused(alice.put(path(room_id, "redact", "$unknown", "r"), {}), 404, "M_NOT_FOUND")


def test_redacted_state_stays_current_without_its_content(alice, room_id):
    event_id = set_state(alice, room_id, "m.room.name", {"name": "regretted"})
    redact(alice, room_id, event_id)
    assert ok(alice.get(path(room_id, "state", "m.room.name", ""))) == {}


def test_a_redaction_can_be_sent_as_a_message(alice, room_id):
    event_id = send(alice, room_id)
    ok(put(alice, room_id, "redaction", {"redacts": event_id}, "m.room.redaction"))
    assert ok(alice.get(path(room_id, "event", event_id)))["content"] == {}
