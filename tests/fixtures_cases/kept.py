"""Account data, tags, push rules, filters: what people keep on the server."""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server", "alice_with_account_data")

USER = "/_matrix/client/v3/user/{{alice}}"
LOUNGE = f"{USER}/rooms/{{{{lounge}}}}"

COLOURS = f"{USER}/account_data/org.example.colours"
CASES.add("account_data/get_account_data/good", "Alice's colours.", f"GET {COLOURS}", by="alice")
CASES.add(
    "account_data/get_account_data/good_push_rules",
    "Push rules are account data too.",
    f"GET {USER}/account_data/m.push_rules",
    by="alice",
)
CASES.add(
    "account_data/get_account_data/not_set",
    "There's none of that type.",
    f"GET {USER}/account_data/org.example.hats",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "account_data/get_account_data/anothers",
    "Bob may not read it.",
    f"GET {COLOURS}",
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "account_data/set_account_data/good",
    "Alice likes green better.",
    f"PUT {COLOURS}",
    {"best": "green"},
    by="alice",
)
CASES.add(
    "account_data/set_account_data/servers_own",
    "The read marker has an endpoint of its own.",
    f"PUT {USER}/account_data/m.fully_read",
    {"event_id": "{{reply}}"},
    by="alice",
    expect="405 M_BAD_JSON",
)
CASES.add(
    "account_data/set_account_data/not_an_object",
    "A content is an object.",
    f"PUT {COLOURS}",
    ["green"],
    by="alice",
    expect="400 M_BAD_JSON",
)
MOOD = f"{LOUNGE}/account_data/org.example.mood"
CASES.add(
    "account_data/get_account_data_per_room/good", "Alice's mood in the lounge.", f"GET {MOOD}", by="alice"
)
CASES.add(
    "account_data/get_account_data_per_room/not_set",
    "There's none of that type.",
    f"GET {LOUNGE}/account_data/org.example.hats",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "account_data/set_account_data_per_room/good", "Alice is sad.", f"PUT {MOOD}", {"mood": "sad"}, by="alice"
)
CASES.add(
    "account_data/set_account_data_per_room/anothers",
    "Bob may not set it.",
    f"PUT {MOOD}",
    {"mood": "sad"},
    by="bob",
    expect="403 M_FORBIDDEN",
)

CASES.add("tags/get_room_tags/good", "Alice's tags on the lounge.", f"GET {LOUNGE}/tags", by="alice")
CASES.add(
    "tags/get_room_tags/anothers",
    "Bob may not read them.",
    f"GET {LOUNGE}/tags",
    by="bob",
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "tags/set_room_tag/good",
    "Alice tags the lounge once more.",
    f"PUT {LOUNGE}/tags/u.tea",
    {"order": 0.5},
    by="alice",
)
CASES.add(
    "tags/set_room_tag/bad_order",
    "An order is a number.",
    f"PUT {LOUNGE}/tags/u.tea",
    {"order": "first"},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "tags/delete_room_tag/good", "Alice takes the tag off.", f"DELETE {LOUNGE}/tags/m.favourite", by="alice"
)
CASES.add(
    "tags/delete_room_tag/anothers",
    "Bob may not.",
    f"DELETE {LOUNGE}/tags/m.favourite",
    by="bob",
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "filter/define_filter/good",
    "Alice uploads a filter.",
    f"POST {USER}/filter",
    {"presence": {"types": []}, "room": {"timeline": {"limit": 10}}},
    by="alice",
)
CASES.add(
    "filter/define_filter/good_again",
    "The same once more has the same ID.",
    f"POST {USER}/filter",
    {"room": {"timeline": {"limit": 5, "types": ["m.room.message"]}}},
    by="alice",
)
CASES.add(
    "filter/define_filter/bad_filter",
    "A limit is a number.",
    f"POST {USER}/filter",
    {"room": {"timeline": {"limit": "many"}}},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add("filter/get_filter/good", "Alice's filter.", f"GET {USER}/filter/{{{{filter}}}}", by="alice")
CASES.add(
    "filter/get_filter/unknown",
    "She has no such filter.",
    f"GET {USER}/filter/none",
    by="alice",
    expect="404 M_NOT_FOUND",
)

RULES = "/_matrix/client/v3/pushrules"
TEA = f"{RULES}/global/content/tea"
CASES.add("push_rules/get_push_rules/good", "Alice's push rules.", f"GET {RULES}/", by="alice")
CASES.add(
    "push_rules/get_push_rules/missing_token", "Nobody's.", f"GET {RULES}/", expect="401 M_MISSING_TOKEN"
)
CASES.add(
    "push_rules/get_push_rules_global/good", "Those of the global ruleset.", f"GET {RULES}/global/", by="bob"
)
CASES.add(
    "push_rules/get_push_rules_global/missing_token",
    "Nobody's.",
    f"GET {RULES}/global/",
    expect="401 M_MISSING_TOKEN",
)
CASES.add(
    "push_rules/get_push_rules_by_kind/good",
    "Alice's rules about words.",
    f"GET {RULES}/global/content/",
    by="alice",
)
CASES.add(
    "push_rules/get_push_rules_by_kind/missing_token",
    "Nobody's.",
    f"GET {RULES}/global/content/",
    expect="401 M_MISSING_TOKEN",
)
CASES.add(
    "push_rules/get_push_rules_by_kind/unknown_kind",
    "There is no such kind.",
    f"GET {RULES}/global/colour/",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add("push_rules/get_push_rule/good", "Alice's rule about tea.", f"GET {TEA}", by="alice")
CASES.add(
    "push_rules/get_push_rule/good_default",
    "A rule of the server's.",
    f"GET {RULES}/global/override/.m.rule.master",
    by="alice",
)
CASES.add(
    "push_rules/get_push_rule/unknown",
    "She has no such rule.",
    f"GET {RULES}/global/content/milk",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "push_rules/set_push_rule/good",
    "Alice puts a rule about milk after that about tea.",
    f"PUT {RULES}/global/content/milk?after=tea",
    {"pattern": "milk", "actions": [{"set_tweak": "sound", "value": "moo"}]},
    by="alice",
)
CASES.add(
    "push_rules/set_push_rule/good_conditions",
    "A rule with conditions before all others of its kind.",
    f"PUT {RULES}/global/override/crowd",
    {"conditions": [{"kind": "room_member_count", "is": ">10"}], "actions": []},
    by="alice",
)
CASES.add(
    "push_rules/set_push_rule/servers_own",
    "Names with a dot are the server's.",
    f"PUT {RULES}/global/content/.milk",
    {"pattern": "milk", "actions": []},
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "push_rules/set_push_rule/missing_actions",
    "A rule says what to do.",
    f"PUT {RULES}/global/content/milk",
    {"pattern": "milk"},
    by="alice",
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "push_rules/set_push_rule/after_nothing",
    "There is no rule to put it after.",
    f"PUT {RULES}/global/content/milk?after=sugar",
    {"pattern": "milk", "actions": []},
    by="alice",
    expect="400 M_UNKNOWN",
)
CASES.add(
    "push_rules/delete_push_rule/good", "Alice deletes her rule about tea.", f"DELETE {TEA}", by="alice"
)
CASES.add(
    "push_rules/delete_push_rule/unknown",
    "She has no such rule.",
    f"DELETE {RULES}/global/content/milk",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "push_rules/delete_push_rule/servers_own",
    "The server's own rules stay.",
    f"DELETE {RULES}/global/override/.m.rule.master",
    by="alice",
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "push_rules/is_push_rule_enabled/good",
    "The master rule is off.",
    f"GET {RULES}/global/override/.m.rule.master/enabled",
    by="alice",
)
CASES.add(
    "push_rules/is_push_rule_enabled/unknown",
    "She has no such rule.",
    f"GET {RULES}/global/content/milk/enabled",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "push_rules/set_push_rule_enabled/good",
    "Alice turns all off.",
    f"PUT {RULES}/global/override/.m.rule.master/enabled",
    {"enabled": True},
    by="alice",
)
CASES.add(
    "push_rules/set_push_rule_enabled/not_a_boolean",
    "On or off.",
    f"PUT {TEA}/enabled",
    {"enabled": "yes"},
    by="alice",
    expect="400 M_BAD_JSON",
)
CASES.add("push_rules/get_push_rule_actions/good", "What happens at tea.", f"GET {TEA}/actions", by="alice")
CASES.add(
    "push_rules/get_push_rule_actions/unknown_kind",
    "No such kind of rule.",
    f"GET {RULES}/global/tealike/tea/actions",
    by="alice",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "push_rules/set_push_rule_actions/good",
    "At tea nothing is to happen.",
    f"PUT {TEA}/actions",
    {"actions": []},
    by="alice",
)
CASES.add(
    "push_rules/set_push_rule_actions/good_default",
    "Calls are to be silent.",
    f"PUT {RULES}/global/underride/.m.rule.call/actions",
    {"actions": ["notify"]},
    by="alice",
)
CASES.add(
    "push_rules/set_push_rule_actions/unknown",
    "She has no such rule.",
    f"PUT {RULES}/global/content/milk/actions",
    {"actions": []},
    by="alice",
    expect="404 M_NOT_FOUND",
)
