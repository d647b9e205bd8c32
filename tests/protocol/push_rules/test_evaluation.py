"""What the default rules make of events, and how a user's own rules rank beside them."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.defaults import Kind
from murmuration.protocol.push_rules.evaluation import compile_ruleset, evaluate
from murmuration.protocol.push_rules.ruleset import Changes, put_rule, ruleset_of, set_actions, set_enabled

ME, BOB, ROOM = UserId("@me:example.org"), "@bob:example.org", "!room:example.org"


def outcome(event, changes: Any = None, **facts):
    context = PushContext(
        **{"user_id": ME, "display_name": "Me", "member_count": 3, "sender_power_level": 0, **facts}
    )
    whole = {"sender": BOB, "room_id": ROOM, "content": {}, **event}
    return evaluate(compile_ruleset(ruleset_of(ME, {} if changes is None else changes)), whole, context)


def message(**content):
    return {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "hello", **content}}


class TestDefaultRules:
    @pytest.mark.parametrize(
        ("event", "facts", "rule", "notify", "sound", "highlight"),
        [
            (message(), {}, ".m.rule.message", True, None, False),
            (message(), {"member_count": 2}, ".m.rule.room_one_to_one", True, "default", False),
            (message(msgtype="m.notice"), {}, ".m.rule.suppress_notices", False, None, False),
            ({"type": "m.room.encrypted"}, {}, ".m.rule.encrypted", True, None, False),
            (
                {"type": "m.room.encrypted"},
                {"member_count": 2},
                ".m.rule.encrypted_room_one_to_one",
                True,
                "default",
                False,
            ),
            ({"type": "m.call.invite"}, {}, ".m.rule.call", True, "ring", False),
            (
                {"type": "m.room.member", "state_key": ME, "content": {"membership": "invite"}},
                {},
                ".m.rule.invite_for_me",
                True,
                "default",
                False,
            ),
            (
                {"type": "m.room.member", "state_key": BOB, "content": {"membership": "invite"}},
                {},
                ".m.rule.member_event",
                False,
                None,
                False,
            ),
            (
                message(**{"m.mentions": {"user_ids": [BOB, ME]}}),
                {},
                ".m.rule.is_user_mention",
                True,
                "default",
                True,
            ),
            (message(**{"m.mentions": {"user_ids": [BOB]}}), {}, ".m.rule.message", True, None, False),
            (message(**{"m.mentions": {"room": True}}), {}, ".m.rule.message", True, None, False),
            (
                message(**{"m.mentions": {"room": True}}),
                {"sender_power_level": 50},
                ".m.rule.is_room_mention",
                True,
                None,
                True,
            ),
            ({"type": "m.room.tombstone", "state_key": ""}, {}, ".m.rule.tombstone", True, None, True),
            ({"type": "m.room.tombstone"}, {}, None, False, None, False),
            ({"type": "m.reaction"}, {}, ".m.rule.reaction", False, None, False),
            (
                {"type": "m.room.server_acl", "state_key": ""},
                {},
                ".m.rule.room.server_acl",
                False,
                None,
                False,
            ),
            (
                message(**{"m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}),
                {},
                ".m.rule.suppress_edits",
                False,
                None,
                False,
            ),
            ({"type": "m.room.topic", "state_key": ""}, {}, None, False, None, False),
        ],
    )
    def test_each(self, event, facts, rule, notify, sound, highlight):
        found = outcome(event, **facts)
        assert (found.rule_id, found.notify, found.sound, found.highlight) == (rule, notify, sound, highlight)

    def test_a_body_that_names_the_user_is_no_mention(self):
        assert outcome(message(body="Me me @room")).rule_id == ".m.rule.message"

    def test_own_events_do_not_notify(self):
        assert not outcome({**message(), "sender": ME}).notify

    def test_the_master_rule_silences_everything(self):
        changes = put_rule({}, "override", "loud", {"actions": ["notify"]})
        assert outcome(message(), changes).notify
        changes = set_enabled(changes, "override", ".m.rule.master", True)
        assert not outcome(message(), changes).notify

    def test_a_disabled_rule_gives_way_to_the_next(self):
        changes = set_enabled({}, "override", ".m.rule.suppress_notices", False)
        assert outcome(message(msgtype="m.notice"), changes).rule_id == ".m.rule.message"


class TestOwnRules:
    def test_kinds_are_tried_in_order(self):
        changes: Changes = {}
        body = {"actions": ["notify"], "pattern": "hello", "conditions": []}
        expected = []
        rules: list[tuple[Kind, str]] = [
            ("underride", "u"),
            ("sender", BOB),
            ("room", ROOM),
            ("content", "c"),
            ("override", "o"),
        ]
        for kind, rule_id in rules:
            changes = put_rule(changes, kind, rule_id, body)
            expected.append(outcome(message(), changes).rule_id)
        assert expected == ["u", BOB, ROOM, "c", "o"]

    def test_rules_for_a_room_or_sender_are_for_that_one_alone(self):
        changes = put_rule({}, "room", "!other:example.org", {"actions": []})
        changes = put_rule(changes, "sender", "@carol:example.org", {"actions": []})
        assert outcome(message(), changes).rule_id == ".m.rule.message"

    def test_muting_a_room(self):
        changes = put_rule({}, "room", ROOM, {"actions": ["dont_notify"]})
        found = outcome(message(), changes)
        assert (found.rule_id, found.notify, found.actions) == (ROOM, False, [])

    def test_content_rules_look_for_words(self):
        changes = put_rule({}, "content", "x", {"actions": ["notify"], "pattern": "cake*lie"})
        assert outcome(message(body="The CAKE is a lie!"), changes).rule_id == "x"
        assert outcome(message(body="The pancake is a lie!"), changes).rule_id == ".m.rule.message"

    def test_a_rule_of_an_unknown_condition_is_as_if_disabled(self):
        body = {"actions": [], "conditions": [{"kind": "org.example.moon_phase"}]}
        assert outcome(message(), put_rule({}, "override", "x", body)).rule_id == ".m.rule.message"

    def test_all_conditions_must_hold(self):
        conditions = [
            {"kind": "event_match", "key": "content.body", "pattern": "beer"},
            {"kind": "room_member_count", "is": "<=10"},
        ]
        changes = put_rule({}, "override", "x", {"actions": ["notify"], "conditions": conditions})
        assert outcome(message(body="beer?"), changes).rule_id == "x"
        assert outcome(message(body="beer?"), changes, member_count=11).rule_id == ".m.rule.message"


class TestTweaks:
    @pytest.mark.parametrize(
        ("actions", "highlight", "sound", "tweaks"),
        [
            (["notify", {"set_tweak": "highlight"}], True, None, {"highlight": True}),
            (["notify", {"set_tweak": "highlight", "value": False}], False, None, {"highlight": False}),
            (["notify", {"set_tweak": "sound", "value": "a.wav"}], False, "a.wav", {"sound": "a.wav"}),
            (["notify", {"set_tweak": "light", "value": 3}], False, None, {"light": 3}),
            ([{"set_tweak": "highlight"}], False, None, {"highlight": True}),
        ],
    )
    def test_tweaks(self, actions, highlight, sound, tweaks):
        found = outcome(message(), set_actions({}, "underride", ".m.rule.message", actions))
        assert (found.highlight, found.sound, found.tweaks) == (highlight, sound, tweaks)
        assert found.actions == actions
