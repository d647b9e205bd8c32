"""Reading and changing a user's rules."""

from __future__ import annotations

import copy

import pytest

from murmuration.protocol.errors import InvalidParam, MissingParam, NotFound, Unknown
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.push_rules.defaults import parse_kind
from murmuration.protocol.push_rules.ruleset import (
    Changes,
    delete_rule,
    get_rule,
    put_rule,
    rules_of_kind,
    ruleset_of,
    set_actions,
    set_enabled,
)

ME = UserId("@me:example.org")
DEFAULT_OVERRIDES = [
    ".m.rule.master",
    ".m.rule.suppress_notices",
    ".m.rule.invite_for_me",
    ".m.rule.member_event",
    ".m.rule.is_user_mention",
    ".m.rule.is_room_mention",
    ".m.rule.tombstone",
    ".m.rule.reaction",
    ".m.rule.room.server_acl",
    ".m.rule.suppress_edits",
]
DEFAULT_UNDERRIDES = [
    ".m.rule.call",
    ".m.rule.encrypted_room_one_to_one",
    ".m.rule.room_one_to_one",
    ".m.rule.message",
    ".m.rule.encrypted",
]
NOTIFY = {"actions": ["notify"]}


def ids(changes, kind):
    return [rule["rule_id"] for rule in rules_of_kind(ME, changes, kind)]


def own_ids(changes, kind="underride"):
    return [rule_id for rule_id in ids(changes, kind) if not rule_id.startswith(".")]


def with_rules(*rule_ids, kind="underride"):
    changes: Changes = {}
    for rule_id in reversed(rule_ids):
        changes = put_rule(changes, kind, rule_id, NOTIFY)
    return changes


class TestReading:
    def test_a_new_user_has_the_server_s_rules(self):
        rules = ruleset_of(ME, {})
        assert list(rules) == ["override", "content", "room", "sender", "underride"]
        assert ids({}, "override") == DEFAULT_OVERRIDES
        assert ids({}, "underride") == DEFAULT_UNDERRIDES
        assert rules["content"] == rules["room"] == rules["sender"] == []
        assert [rule["rule_id"] for rule in rules["override"] if not rule["enabled"]] == [".m.rule.master"]
        assert all(rule["default"] for kind in rules for rule in rules[kind])

    def test_rules_about_the_user_name_the_user(self):
        assert get_rule(ME, {}, "override", ".m.rule.is_user_mention") == {
            "rule_id": ".m.rule.is_user_mention",
            "default": True,
            "enabled": True,
            "conditions": [
                {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": ME}
            ],
            "actions": ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}],
        }
        invite = get_rule(ME, {}, "override", ".m.rule.invite_for_me")
        assert invite["conditions"][2] == {"kind": "event_match", "key": "state_key", "pattern": ME}

    def test_own_rules_come_after_the_master_rule_and_before_the_other_defaults(self):
        changes = put_rule(with_rules("mine", kind="override"), "underride", "last", NOTIFY)
        assert ids(changes, "override") == [DEFAULT_OVERRIDES[0], "mine", *DEFAULT_OVERRIDES[1:]]
        assert ids(changes, "underride") == ["last", *DEFAULT_UNDERRIDES]

    def test_a_rule_is_found_in_its_kind_alone(self):
        changes = with_rules("mine")
        assert get_rule(ME, changes, "underride", "mine") == {
            "rule_id": "mine",
            "default": False,
            "enabled": True,
            "conditions": [],
            "actions": ["notify"],
        }
        with pytest.raises(NotFound):
            get_rule(ME, changes, "override", "mine")

    def test_what_one_reader_does_to_the_rules_reaches_no_other(self):
        rules = ruleset_of(ME, {})
        rules["override"][2]["actions"].clear()
        rules["override"][2]["conditions"][0]["pattern"] = "*"
        assert ruleset_of(ME, {}) != rules
        assert ruleset_of(UserId("@you:x"), {})["override"][2]["conditions"][0]["pattern"] == "m.room.member"

    def test_changes_to_rules_the_server_no_longer_has_are_ignored(self):
        changes: Changes = {"defaults": {"content": {".m.rule.contains_user_name": {"enabled": False}}}}
        assert ruleset_of(ME, changes) == ruleset_of(ME, {})

    def test_kinds_are_known(self):
        assert parse_kind("sender") == "sender"
        with pytest.raises(NotFound):
            parse_kind("device")


class TestPutting:
    def test_new_rules_are_the_most_important(self):
        assert own_ids(put_rule(with_rules("a", "b"), "underride", "new", NOTIFY)) == ["new", "a", "b"]

    @pytest.mark.parametrize(
        ("place", "expected"),
        [
            ({"before": "b"}, ["a", "new", "b"]),
            ({"after": "b"}, ["a", "b", "new"]),
            ({"before": "a", "after": "b"}, ["new", "a", "b"]),
            ({"after": "a"}, ["a", "new", "b"]),
        ],
    )
    def test_before_and_after(self, place, expected):
        assert own_ids(put_rule(with_rules("a", "b"), "underride", "new", NOTIFY, **place)) == expected

    def test_a_replaced_rule_keeps_its_place_and_stays_disabled(self):
        changes = set_enabled(with_rules("a", "b", "c"), "underride", "b", False)
        changes = put_rule(changes, "underride", "b", {"actions": []})
        assert own_ids(changes) == ["a", "b", "c"]
        rule = get_rule(ME, changes, "underride", "b")
        assert rule["actions"] == []
        assert rule["enabled"] is False

    def test_a_replaced_rule_can_be_moved(self):
        changes = with_rules("a", "b", "c")
        assert own_ids(put_rule(changes, "underride", "c", NOTIFY, before="a")) == ["c", "a", "b"]
        assert own_ids(put_rule(changes, "underride", "a", NOTIFY, after="b")) == ["b", "a", "c"]

    @pytest.mark.parametrize("anchor", ["missing", ".m.rule.message", "new"])
    @pytest.mark.parametrize("side", ["before", "after"])
    def test_unknown_places(self, anchor, side):
        with pytest.raises(Unknown, match="before/after rule not found"):
            put_rule(with_rules("a"), "underride", "new", NOTIFY, **{side: anchor})

    def test_only_the_properties_of_the_kind_are_kept(self):
        body = {"actions": [], "pattern": "cake", "conditions": [], "enabled": False, "extra": 1}
        names = {
            kind: set(get_rule(ME, put_rule({}, kind, "x", body), kind, "x"))
            for kind in ("content", "room", "override")
        }
        common = {"rule_id", "default", "enabled", "actions"}
        assert names == {"content": common | {"pattern"}, "room": common, "override": common | {"conditions"}}
        assert get_rule(ME, put_rule({}, "room", "x", body), "room", "x")["enabled"] is True

    def test_historical_actions_are_dropped(self):
        changes = put_rule({}, "room", "x", {"actions": ["dont_notify", "notify", "coalesce"]})
        assert get_rule(ME, changes, "room", "x")["actions"] == ["notify"]

    def test_a_bad_rule_is_refused(self):
        with pytest.raises(MissingParam):
            put_rule({}, "content", "x", NOTIFY)


class TestChanging:
    def test_deleting(self):
        changes = with_rules("a", "b")
        assert own_ids(delete_rule(changes, "underride", "a")) == ["b"]
        with pytest.raises(NotFound):
            delete_rule(changes, "underride", "c")
        with pytest.raises(NotFound):
            delete_rule(changes, "override", "a")
        with pytest.raises(InvalidParam):
            delete_rule(changes, "underride", ".m.rule.message")

    def test_the_server_s_rules_can_be_disabled_and_given_other_actions(self):
        changes = set_enabled({}, "underride", ".m.rule.message", False)
        changes = set_actions(changes, "underride", ".m.rule.message", ["notify", {"set_tweak": "highlight"}])
        changes = set_enabled(changes, "underride", ".m.rule.call", False)
        rule = get_rule(ME, changes, "underride", ".m.rule.message")
        assert rule["enabled"] is False
        assert rule["actions"] == ["notify", {"set_tweak": "highlight"}]
        assert rule["default"] is True
        assert ids(changes, "underride") == DEFAULT_UNDERRIDES
        assert get_rule(ME, changes, "underride", ".m.rule.call")["enabled"] is False

    def test_own_rules_too(self):
        changes = set_actions(with_rules("a", "b"), "underride", "a", [])
        assert get_rule(ME, changes, "underride", "a")["actions"] == []
        assert get_rule(ME, changes, "underride", "b")["actions"] == ["notify"]

    @pytest.mark.parametrize("rule_id", ["x", ".m.rule.x", ".m.rule.master"])
    def test_rules_that_are_not_there(self, rule_id):
        with pytest.raises(NotFound):
            set_enabled({}, "underride", rule_id, True)
        with pytest.raises(NotFound):
            set_actions({}, "underride", rule_id, [])

    def test_the_actions_must_be_actions(self):
        with pytest.raises(InvalidParam):
            set_actions({}, "underride", ".m.rule.message", ["shout"])

    def test_changes_are_values(self):
        changes = set_actions(with_rules("a", "b"), "underride", ".m.rule.message", [])
        before = copy.deepcopy(changes)
        put_rule(changes, "underride", "c", NOTIFY)
        put_rule(changes, "underride", "a", {"actions": []})
        delete_rule(changes, "underride", "a")
        set_enabled(changes, "underride", "a", False)
        set_enabled(changes, "underride", ".m.rule.message", False)
        assert changes == before
