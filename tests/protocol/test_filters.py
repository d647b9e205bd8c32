"""Filters: what is accepted, what passes, what is left of an event."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.errors import BadJson, InvalidParam, MatrixError
from murmuration.protocol.filters import EventFilter, SyncFilter, parse_filter, parse_room_event_filter
from murmuration.protocol.identifiers import RoomId, UserId

MESSAGE = {
    "type": "m.room.message",
    "sender": "@alice:x",
    "event_id": "$1",
    "content": {"body": "hi", "msgtype": "m.text", "m.relates_to": {"rel_type": "m.thread"}},
}
EXAMPLE = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"]},
        "timeline": {
            "limit": 10,
            "types": ["m.room.message"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
        "ephemeral": {
            "types": ["m.receipt", "m.typing"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender"],
}


def passes(definition, event=MESSAGE):
    return parse_room_event_filter(definition).matches(event)


class TestParsing:
    def test_the_specification_s_example(self):
        parsed = parse_filter(EXAMPLE)
        assert parsed.room.timeline == EventFilter(
            limit=10,
            types=("m.room.message",),
            not_rooms=("!726s6s6q:example.com",),
            not_senders=(UserId("@spam:example.com"),),
        )
        assert parsed.presence.types == ("m.presence",)
        assert parsed.event_format == "client"
        assert parsed.room.account_data == EventFilter()
        assert parsed.room.include_leave is False

    def test_an_empty_filter_and_one_of_unknown_properties_have_the_defaults(self):
        assert parse_filter({}) == SyncFilter()
        assert parse_filter({"org.example.x": 1, "room": {"timeline": {"y": []}}}) == SyncFilter()

    def test_every_property_is_read(self):
        section: dict[str, Any] = {
            "limit": 3,
            "types": ["a"],
            "not_types": ["b"],
            "senders": ["@a:x"],
            "not_senders": ["@b:x"],
            "rooms": ["!a"],
            "not_rooms": ["!b"],
            "contains_url": False,
            "lazy_load_members": True,
            "include_redundant_members": True,
            "unread_thread_notifications": True,
            "related_by_senders": ["@c:x"],
            "related_by_rel_types": ["m.thread"],
        }
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
        expected = EventFilter(**fields)
        assert parse_room_event_filter(section) == expected
        names = ("ephemeral", "state", "timeline", "account_data")
        room = {"rooms": ["!r"], "not_rooms": ["!s"], "include_leave": True, **dict.fromkeys(names, section)}
        parsed = parse_filter({"event_format": "federation", "room": room, "account_data": section})
        assert all(getattr(parsed.room, name) == expected for name in names)
        assert (parsed.room.rooms, parsed.room.not_rooms) == (("!r",), ("!s",))
        assert parsed.room.include_leave is True
        assert parsed.event_format == "federation"
        # Global account data has no rooms.
        assert parsed.account_data == EventFilter(3, ("a",), ("b",), (UserId("@a:x"),), (UserId("@b:x"),))

    @pytest.mark.parametrize(
        "definition",
        [
            None,
            [],
            "x",
            {"room": []},
            {"room": None},
            {"room": {"timeline": "x"}},
            {"presence": 1},
            {"event_fields": "type"},
            {"event_fields": [1]},
            {"room": {"rooms": "!a:x"}},
            {"room": {"include_leave": "yes"}},
            {"room": {"state": {"types": [None]}}},
            {"room": {"state": {"types": {}}}},
            {"room": {"state": {"lazy_load_members": 1}}},
        ],
    )
    def test_shapes_that_are_wrong(self, definition):
        with pytest.raises(BadJson):
            parse_filter(definition)

    @pytest.mark.parametrize(
        "definition",
        [
            {"event_format": "xml"},
            {"event_format": None},
            {"room": {"rooms": ["#a:x"]}},
            {"room": {"timeline": {"not_rooms": ["a"]}}},
            {"room": {"timeline": {"senders": ["alice"]}}},
            {"presence": {"not_senders": [""]}},
            {"room": {"timeline": {"limit": -1}}},
            {"room": {"timeline": {"limit": "10"}}},
            {"room": {"timeline": {"limit": 1.5}}},
            {"room": {"timeline": {"limit": True}}},
        ],
    )
    def test_values_that_are_wrong(self, definition):
        with pytest.raises(InvalidParam):
            parse_filter(definition)

    def test_the_error_names_the_place(self):
        with pytest.raises(BadJson, match=r"room\.timeline\.types"):
            parse_filter({"room": {"timeline": {"types": "m.room.message"}}})

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(
                        ["room", "timeline", "types", "limit", "rooms", "event_fields", "presence"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        )
    )
    def test_anything_is_a_filter_or_a_matrix_error(self, definition):
        try:
            parsed = parse_filter(definition)
        except MatrixError:
            return
        assert isinstance(parsed, SyncFilter)
        assert isinstance(parsed.project(MESSAGE), dict)


class TestMatching:
    def test_types(self):
        assert passes({})
        assert passes({"types": ["m.room.message"]})
        assert not passes({"types": ["m.room.member"]})
        assert not passes({"types": []})
        assert not passes({"not_types": ["m.room.message"]})
        assert not passes({"types": ["m.room.message"], "not_types": ["m.room.message"]})

    @pytest.mark.parametrize(
        "pattern", ["*", "m.*", "m.room.*", "m.*.message", "*message", "m.room.message*"]
    )
    def test_wildcards(self, pattern):
        assert passes({"types": [pattern]})
        assert not passes({"not_types": [pattern]})

    @pytest.mark.parametrize(
        "pattern", ["m.room", "M.*", "m.room.messag?", "m?room.*", "*.room", "m.*.x", ""]
    )
    def test_wildcards_that_do_not_match(self, pattern):
        assert not passes({"types": [pattern]})
        assert passes({"not_types": [pattern]})

    def test_senders(self):
        assert passes({"senders": ["@alice:x", "@bob:x"]})
        assert not passes({"senders": ["@bob:x"]})
        assert not passes({"senders": []})
        assert not passes({"senders": ["@alice:x"], "not_senders": ["@alice:x"]})
        typing = {"type": "m.typing", "content": {"user_ids": ["@alice:x"]}}
        assert passes({"not_senders": ["@alice:x"]}, typing)
        assert not passes({"senders": ["@alice:x"]}, typing)

    def test_rooms(self):
        here = {**MESSAGE, "room_id": "!here:x"}
        assert passes({"rooms": ["!here:x"]}, here)
        assert not passes({"rooms": ["!there:x"]}, here)
        assert not passes({"rooms": ["!here:x"], "not_rooms": ["!here:x"]}, here)
        # The events of a /sync don't name their room; who asks for a room's events checks it first.
        assert passes({"rooms": ["!there:x"]})
        assert not parse_room_event_filter({"rooms": []}).admits_room(RoomId("!here:x"))
        room = parse_filter({"room": {"not_rooms": ["!here:x"]}}).room
        assert not room.admits_room(RoomId("!here:x"))
        assert room.admits_room(RoomId("!there:x"))

    def test_urls(self):
        image = {"type": "m.room.message", "content": {"url": "mxc://x/y"}}
        assert passes({"contains_url": True}, image)
        assert not passes({"contains_url": False}, image)
        assert not passes({"contains_url": True})
        assert passes({"contains_url": False})

    def test_relations(self):
        plain = parse_room_event_filter({})
        assert not plain.needs_relations
        assert plain.matches_relations([])
        both = parse_room_event_filter(
            {"related_by_rel_types": ["m.thread"], "related_by_senders": ["@alice:x"]}
        )
        assert both.needs_relations
        assert both.matches_relations([("m.annotation", "@bob:x"), ("m.thread", "@alice:x")])
        assert not both.matches_relations([("m.thread", "@bob:x"), ("m.annotation", "@alice:x")])
        assert not both.matches_relations([])
        one = parse_room_event_filter({"related_by_senders": ["@alice:x"]})
        assert one.matches_relations([("m.annotation", "@alice:x")])

    def test_apply_keeps_the_order(self):
        events = [{"type": name, "sender": "@a:x"} for name in ("a", "b", "c", "a")]
        parsed = parse_room_event_filter({"not_types": ["b"], "limit": 1})
        assert [event["type"] for event in parsed.apply(events)] == ["a", "c", "a"]

    @pytest.mark.parametrize(
        ("definition", "expected"),
        [
            ({}, False),
            ({"types": []}, True),
            ({"senders": []}, True),
            ({"rooms": []}, True),
            ({"not_types": ["a", "*"]}, True),
            ({"not_types": [], "not_senders": [], "not_rooms": []}, False),
            ({"types": ["*"], "not_types": ["m.*"]}, False),
        ],
    )
    def test_it_is_known_when_nothing_can_pass(self, definition, expected):
        assert parse_room_event_filter(definition).admits_nothing is expected

    @pytest.mark.parametrize(("limit", "expected"), [(None, 10), (0, 0), (1, 1), (99, 99), (10**30, 100)])
    def test_limits(self, limit, expected):
        parsed = parse_room_event_filter({} if limit is None else {"limit": limit})
        assert parsed.limit_within(default=10, maximum=100) == expected


class TestEventFields:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            (["type"], {"type": "m.room.message"}),
            (["content.body", "sender"], {"content": {"body": "hi"}, "sender": "@alice:x"}),
            ([r"content.m\.relates_to.rel_type"], {"content": {"m.relates_to": {"rel_type": "m.thread"}}}),
            (["content.body", "content.msgtype"], {"content": {"body": "hi", "msgtype": "m.text"}}),
            (["content.body", "content"], {"content": MESSAGE["content"]}),
            (["content", r"content.m\.relates_to.rel_type"], {"content": MESSAGE["content"]}),
            (["content.missing", "type.deeper", ""], {}),
            ([], {}),
        ],
    )
    def test_events_are_reduced(self, fields, expected):
        event = copy.deepcopy(MESSAGE)
        assert parse_filter({"event_fields": fields}).project(event) == expected
        assert event == MESSAGE

    def test_without_them_events_are_whole(self):
        assert parse_filter({}).project(MESSAGE) == MESSAGE
