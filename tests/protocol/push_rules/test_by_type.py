"""Rules sorted by events' types: what they make of an event is what going through all of them makes of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.identifiers import UserId
from murmuration.protocol.push_rules.conditions import PushContext
from murmuration.protocol.push_rules.defaults import KINDS
from murmuration.protocol.push_rules.evaluation import compile_ruleset, evaluate
from murmuration.protocol.push_rules.ruleset import ruleset_of
from tests.protocol.push_rules.plain import plain

ME, BOB, ROOM = UserId("@me:example.org"), "@bob:example.org", "!room:example.org"
MEMBER = "m.room.member"
TYPES = ["m.room.message", MEMBER, "m.room.topic", "m.reaction", "m.room.encrypted", "M.Room.Message"]
MENTION = {"m.mentions": {"user_ids": [ME]}}
CONTENTS = [
    {"body": "cats"},
    {"membership": "invite"},
    {"membership": "join"},
    {"msgtype": "m.notice"},
    MENTION,
]

patterns = st.sampled_from([*TYPES, "m.room.*", "*", "?.reaction", ME, BOB, "@*", "", "cats", "invite", ROOM])
keys = st.sampled_from(["type", "state_key", "sender", "content.body", "content.membership", "room_id"])
conditions = st.one_of(
    st.builds(lambda key, pattern: {"kind": "event_match", "key": key, "pattern": pattern}, keys, patterns),
    st.builds(lambda key, value: {"kind": "event_property_is", "key": key, "value": value}, keys, patterns),
    st.builds(
        lambda key, value: {"kind": "event_property_contains", "key": key, "value": value}, keys, patterns
    ),
    st.builds(
        lambda size: {"kind": "room_member_count", "is": size}, st.sampled_from(["2", ">2", "<=3", "many"])
    ),
    st.just({"kind": "contains_display_name"}),
    st.just({"kind": "of no known kind"}),
)
actions = st.sampled_from([[], ["notify"], ["notify", {"set_tweak": "highlight"}]])
rules = st.builds(
    lambda rule_id, enabled, does, conds: {
        "rule_id": rule_id, "enabled": enabled, "actions": does, "conditions": conds, "pattern": "cats"
    },
    st.sampled_from([ROOM, BOB, "own", "!another:example.org"]),
    st.booleans(),
    actions,
    st.lists(conditions, max_size=3),
)  # fmt: skip
changes = st.fixed_dictionaries(
    {
        "own": st.fixed_dictionaries({kind: st.lists(rules, max_size=2) for kind in KINDS}),
        "defaults": st.fixed_dictionaries(
            {
                "override": st.dictionaries(
                    st.sampled_from([".m.rule.master", ".m.rule.member_event", ".m.rule.reaction"]),
                    st.fixed_dictionaries({"enabled": st.booleans()}),
                )
            }
        ),
    }
)
events = st.builds(
    lambda event_type, content, state_key: {
        "type": event_type,
        "content": content,
        "sender": BOB,
        "room_id": ROOM,
        **({} if state_key is None else {"state_key": state_key}),
    },
    st.sampled_from(TYPES),
    st.sampled_from(CONTENTS),
    st.sampled_from([None, "", ME, BOB]),
)


@given(changes, st.lists(events, min_size=1, max_size=6), st.integers(1, 4))
def test_rules_sorted_by_type_decide_as_all_rules_do(changed: Any, some: list[Any], size: int) -> None:
    ruleset = ruleset_of(ME, changed)
    compiled = compile_ruleset(ruleset)
    context = PushContext(ME, "cats", size, 0)
    for event in some:
        outcome = evaluate(compiled, event, context)
        assert (outcome.rule_id, outcome.actions) == plain(ruleset, event, context)
        assert compiled.may_notify(event["type"]) or not outcome.notify
        if event.get("state_key") != ME:
            assert compiled.may_notify_of_others(event["type"], ME) or not outcome.notify


def test_the_defaults_notify_of_no_other_member() -> None:
    defaults = compile_ruleset(ruleset_of(ME, {}))
    assert defaults.may_notify(MEMBER)
    assert not defaults.may_notify_of_others(MEMBER, ME)
    master: Any = {"defaults": {"override": {".m.rule.master": {"enabled": True}}}}
    assert not compile_ruleset(ruleset_of(ME, master)).may_notify("m.room.message")
    off: Any = {"defaults": {"override": {".m.rule.member_event": {"enabled": False}}}}
    assert compile_ruleset(ruleset_of(ME, off)).may_notify_of_others(MEMBER, ME)
