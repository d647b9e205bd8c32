"""Each kind of condition, with the specification's examples."""

from __future__ import annotations

import pytest

from murmuration.protocol.push_rules.conditions import PushContext, compile_condition

TOPIC = {"content": {"topic": "Lunch plans"}, "type": "m.room.topic", "state_key": "", "sender": "@a:x"}


def holds(condition, event=TOPIC, **context):
    facts = {"user_id": "@me:x", "display_name": "Me", "member_count": 3, "sender_power_level": 0, **context}
    return compile_condition(condition)(event, PushContext(**facts))


def event_match(key, pattern):
    return {"kind": "event_match", "key": key, "pattern": pattern}


class TestEventMatch:
    def test_the_whole_value_must_match(self):
        assert holds(event_match("content.topic", "lunc?*"))
        assert not holds(event_match("content.topic", "lunch"))

    def test_a_body_need_only_contain_it(self):
        event = {"content": {"body": "An example event."}}
        assert holds(event_match("content.body", "ex*ple"), event)
        assert not holds(event_match("content.body", "xampl"), event)

    def test_absent_and_other_values_never_match(self):
        assert not holds(event_match("content.missing", "*"))
        for value in (None, 1, True, ["a"], {"a": "b"}):
            assert not holds(event_match("content.topic", "*"), {"content": {"topic": value}})

    def test_an_empty_state_key_is_a_value(self):
        assert holds(event_match("state_key", ""))
        assert not holds(event_match("state_key", ""), {"type": "m.room.topic"})


class TestEventProperties:
    @pytest.mark.parametrize("value", ["true", 1, 1.0, None, False, [True]])
    def test_is_compares_exactly(self, value):
        condition = {"kind": "event_property_is", "key": r"content.m\.federate", "value": True}
        assert holds(condition, {"content": {"m.federate": True}})
        assert not holds(condition, {"content": {"m.federate": value}})

    def test_null_is_not_absence(self):
        condition = {"kind": "event_property_is", "key": "content.a", "value": None}
        assert holds(condition, {"content": {"a": None}})
        assert not holds(condition, {"content": {}})

    def test_integers_beyond_canonical_json_never_match(self):
        condition = {"kind": "event_property_is", "key": "content.a", "value": 2**53}
        assert not holds(condition, {"content": {"a": 2**53}})

    def test_contains_looks_for_the_whole_value(self):
        condition = {"kind": "event_property_contains", "key": "content.alt_aliases", "value": "#b:x"}
        assert holds(condition, {"content": {"alt_aliases": [None, {"#b:x": 1}, "#b:x"]}})
        assert not holds(condition, {"content": {"alt_aliases": ["#ab:x", ":x"]}})
        assert not holds(condition, {"content": {"alt_aliases": "#b:x"}})
        assert not holds(condition, {"content": {}})


class TestRoomConditions:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("3", True),
            ("==3", True),
            ("2", False),
            ("<3", False),
            ("<=3", True),
            (">2", True),
            (">=4", False),
        ],
    )
    def test_member_count(self, expression, expected):
        assert holds({"kind": "room_member_count", "is": expression}) is expected

    @pytest.mark.parametrize(
        ("level", "levels", "expected"),
        [
            (49, {}, False),
            (50, {}, True),
            (20, {"room": 20}, True),
            (60, {"room": 70}, False),
            (50, {"other": 99}, True),
        ],
    )
    def test_notification_permission(self, level, levels, expected):
        condition = {"kind": "sender_notification_permission", "key": "room"}
        assert holds(condition, sender_power_level=level, notification_levels=levels) is expected
        assert holds(condition, sender_power_level=float("inf"), notification_levels=levels)

    def test_display_name(self):
        condition = {"kind": "contains_display_name"}
        event = {"content": {"body": "well, ALEX (she/her)?"}}
        assert holds(condition, event, display_name="Alex (she/her)")
        assert not holds(condition, event, display_name="Al*")
        assert not holds(condition, event, display_name="")
        assert not holds(condition, event, display_name=None)
        assert not holds(condition, {"content": {"body": 1}}, display_name="Alex")


def test_unknown_conditions_never_hold():
    assert not holds({"kind": "device", "profile_tag": "x"})
    assert not holds({})
