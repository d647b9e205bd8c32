"""What clients may and may not put."""

from __future__ import annotations

import pytest

from murmuration.protocol.errors import InvalidParam, MissingParam
from murmuration.protocol.push_rules.validation import parse_actions, parse_rule


@pytest.mark.parametrize("rule_id", ["", ".mine", ".m.rule.message", "a/b", "a\\b"])
def test_ids_a_client_may_not_use(rule_id):
    with pytest.raises(InvalidParam):
        parse_rule("override", rule_id, {"actions": []})


@pytest.mark.parametrize("kind", ["override", "underride", "content", "room", "sender"])
def test_actions_are_required(kind):
    with pytest.raises(MissingParam, match="actions"):
        parse_rule(kind, "x", {"pattern": "a", "conditions": []})


@pytest.mark.parametrize(
    "actions", [None, "notify", {}, ["shout"], [1], [None], [{}], [{"set_tweak": 1}], [["notify"]]]
)
def test_actions_that_are_none(actions):
    with pytest.raises(InvalidParam):
        parse_actions(actions)


def test_actions_pass_as_they_are():
    actions = [
        "notify",
        {"set_tweak": "sound", "value": "x"},
        {"set_tweak": "org.example.light", "value": {}},
    ]
    assert parse_actions(actions) == actions


def test_content_rules_need_a_pattern():
    assert parse_rule("content", "x", {"actions": [], "pattern": "a*"})["pattern"] == "a*"
    with pytest.raises(MissingParam):
        parse_rule("content", "x", {"actions": []})
    with pytest.raises(InvalidParam):
        parse_rule("content", "x", {"actions": [], "pattern": 1})


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "event_match", "key": "type", "pattern": "*"},
        {"kind": "event_property_is", "key": "content.a", "value": None},
        {"kind": "event_property_contains", "key": "content.a", "value": -(2**53) + 1},
        {"kind": "contains_display_name"},
        {"kind": "room_member_count", "is": ">=10"},
        {"kind": "sender_notification_permission", "key": "room"},
        {"kind": "org.example.unknown", "key": 1},
    ],
)
def test_conditions(condition):
    assert parse_rule("override", "x", {"actions": [], "conditions": [condition]})["conditions"] == [
        condition
    ]


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"kind": "event_match", "key": "type"},
        {"kind": "event_match", "pattern": "*"},
        {"kind": "event_property_is", "key": "content.a"},
        {"kind": "event_property_contains", "value": 1},
        {"kind": "room_member_count"},
        {"kind": "sender_notification_permission"},
    ],
)
def test_conditions_that_lack_something(condition):
    with pytest.raises(MissingParam):
        parse_rule("underride", "x", {"actions": [], "conditions": [condition]})


@pytest.mark.parametrize(
    "condition",
    [
        1,
        "event_match",
        {"kind": 1},
        {"kind": "event_match", "key": 1, "pattern": "*"},
        {"kind": "event_match", "key": "type", "pattern": None},
        {"kind": "event_property_is", "key": "content.a", "value": 1.5},
        {"kind": "event_property_is", "key": "content.a", "value": 2**53},
        {"kind": "event_property_is", "key": "content.a", "value": {}},
        {"kind": "event_property_contains", "key": "content.a", "value": [1]},
        {"kind": "room_member_count", "is": 2},
        {"kind": "room_member_count", "is": "!=2"},
        {"kind": "room_member_count", "is": "2 "},
        {"kind": "room_member_count", "is": ""},
        {"kind": "room_member_count", "is": "٣"},
    ],
)
def test_conditions_that_are_wrong(condition):
    with pytest.raises(InvalidParam):
        parse_rule("override", "x", {"actions": [], "conditions": [condition]})


def test_conditions_must_be_a_list():
    with pytest.raises(InvalidParam):
        parse_rule("override", "x", {"actions": [], "conditions": {}})
