"""Push rules by the API: the defaults, the user's own, and what a sync is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration import push_rules
from tests.in_process import segment
from tests.logged_in import log_in

BASE = "/_matrix/client/v3/pushrules"
KINDS = {"override", "content", "room", "sender", "underride"}


@pytest.fixture
def alice(fresh_user_id):
    return log_in(fresh_user_id("alice"))


def put_content_rule(client, rule_id, **query):
    return client.put(
        f"{BASE}/global/content/{rule_id}", {"pattern": rule_id, "actions": ["notify"]}, **query
    )


def ids(client, kind="content"):
    return [rule["rule_id"] for rule in client.get(f"{BASE}/global").json[kind]]


def test_a_new_user_has_the_defaults(alice):
    rules = alice.get(f"{BASE}/").json
    assert set(rules) == {"global"}
    assert set(rules["global"]) == KINDS
    assert rules["global"]["override"][0]["rule_id"] == ".m.rule.master"
    assert alice.get(f"{BASE}/global/").json == rules["global"] == alice.get(f"{BASE}/global").json
    assert alice.get(BASE).json == rules


def test_an_own_rule_is_put_read_and_deleted(alice):
    path = f"{BASE}/global/content/cake"
    assert alice.put(path, {"pattern": "cake*lie", "actions": ["notify"]}).json == {}
    assert alice.get(path).json == {
        "rule_id": "cake",
        "default": False,
        "enabled": True,
        "pattern": "cake*lie",
        "actions": ["notify"],
    }
    assert alice.delete(path).json == {}
    assert alice.get(path).status == 404
    assert alice.delete(path).json["errcode"] == "M_NOT_FOUND"


def test_rules_keep_the_order_asked_for(alice):
    for rule_id in ("a", "b"):
        put_content_rule(alice, rule_id)
    put_content_rule(alice, "c", after="b")
    put_content_rule(alice, "d", before="c")
    assert ids(alice) == ["b", "d", "c", "a"]
    answer = put_content_rule(alice, "e", before="nowhere")
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN")
    assert ids(alice) == ["b", "d", "c", "a"]


def test_rules_are_switched_off_and_on(alice):
    put_content_rule(alice, "own")
    for path in (f"{BASE}/global/content/own", f"{BASE}/global/override/.m.rule.reaction"):
        assert alice.get(f"{path}/enabled").json == {"enabled": True}
        assert alice.put(f"{path}/enabled", {"enabled": False}).json == {}
        assert alice.get(f"{path}/enabled").json == {"enabled": False}
        assert alice.get(path).json["enabled"] is False


def test_actions_are_changed(alice):
    put_content_rule(alice, "own")
    actions = ["notify", {"set_tweak": "sound", "value": "bing"}]
    for path in (f"{BASE}/global/content/own", f"{BASE}/global/underride/.m.rule.message"):
        assert alice.put(f"{path}/actions", {"actions": actions}).json == {}
        assert alice.get(f"{path}/actions").json == {"actions": actions}


def test_a_room_rule_has_the_rooms_id(alice):
    path = f"{BASE}/global/room/{segment('!room:example.org')}"
    alice.put(path, {"actions": []})
    assert alice.get(path).json["rule_id"] == "!room:example.org"


@pytest.mark.parametrize(
    ("kind", "rule_id"),
    [("room", "!a/b:example.org"), ("sender", "@a/b:example.org"), ("sender", "@a\\b:example.org")],
)
def test_rooms_and_users_with_a_slash_in_their_id_can_be_muted(alice, kind, rule_id):
    path = f"{BASE}/global/{kind}/{segment(rule_id)}"
    assert alice.put(path, {"actions": []}).json == {}
    assert alice.get(path).json["rule_id"] == rule_id
    assert alice.put(f"{path}/enabled", {"enabled": False}).json == {}
    assert alice.put(f"{path}/actions", {"actions": ["notify"]}).json == {}
    assert alice.get(f"{path}/enabled").json == {"enabled": False}
    assert alice.get(f"{path}/actions").json == {"actions": ["notify"]}
    assert rule_id in ids(alice, kind)
    assert alice.delete(path).json == {}
    assert alice.get(path).status == 404


def test_the_rules_of_one_kind_are_read(alice):
    put_content_rule(alice, "cake")
    everything = alice.get(f"{BASE}/global").json
    for kind in KINDS:
        assert alice.get(f"{BASE}/global/{kind}/").json == everything[kind]
    answer = alice.get(f"{BASE}/global/nonsense/")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", ""),
        ("PUT", "/"),
        ("GET", "/device/"),
        ("PUT", "/device/room/a"),
        ("DELETE", "/global"),
        ("PUT", "/global/"),
        ("PUT", "/global/room"),
        ("PUT", "/global/room/"),
        ("DELETE", "/global/room/"),
        ("GET", "/global/override/.m.rule.master/nonsense"),
        ("PUT", "/global/override/.m.rule.master/nonsense"),
        ("GET", "/global/override/.m.rule.master/enabled/more"),
    ],
)
def test_a_path_that_no_rule_can_have_is_a_bad_request(alice, method, path):
    answer = alice.request(method, f"{BASE}{path}", {"actions": []})
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNRECOGNIZED")


@pytest.mark.parametrize(
    ("path", "body", "status", "errcode"),
    [
        ("nonsense/a", {"actions": []}, 404, "M_NOT_FOUND"),
        ("content/a", {"actions": ["notify"]}, 400, "M_MISSING_PARAM"),
        ("content/a", {"pattern": "a"}, 400, "M_MISSING_PARAM"),
        ("content/a", {"pattern": 1, "actions": []}, 400, "M_INVALID_PARAM"),
        ("content/.a", {"pattern": "a", "actions": []}, 400, "M_INVALID_PARAM"),
        ("content/a%2Fb", {"pattern": "a", "actions": []}, 400, "M_INVALID_PARAM"),
        ("content/a%5Cb", {"pattern": "a", "actions": []}, 400, "M_INVALID_PARAM"),
        ("override/a", {"actions": ["nonsense"]}, 400, "M_INVALID_PARAM"),
        ("override/a", {"actions": [], "conditions": [{}]}, 400, "M_MISSING_PARAM"),
        ("override/a", b"{", 400, "M_NOT_JSON"),
        ("override/a", [], 400, "M_BAD_JSON"),
        ("override/none/enabled", {"enabled": True}, 404, "M_NOT_FOUND"),
        ("override/.m.rule.none/enabled", {"enabled": True}, 404, "M_NOT_FOUND"),
        ("override/.m.rule.master/enabled", {"enabled": 1}, 400, "M_BAD_JSON"),
        ("override/.m.rule.master/enabled", {}, 400, "M_MISSING_PARAM"),
        ("nonsense/a/enabled", {"enabled": True}, 404, "M_NOT_FOUND"),
        ("override/none/actions", {"actions": []}, 404, "M_NOT_FOUND"),
        ("override/.m.rule.master/actions", {"actions": "notify"}, 400, "M_INVALID_PARAM"),
        ("override/.m.rule.master/actions", {}, 400, "M_MISSING_PARAM"),
    ],
)
def test_bad_changes_are_refused_and_change_nothing(alice, path, body, status, errcode):
    before = alice.get(f"{BASE}/").json
    answer = alice.put(f"{BASE}/global/{path}", body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert alice.get(f"{BASE}/").json == before


@pytest.mark.parametrize("suffix", ["", "/enabled", "/actions"])
def test_rules_that_are_not_there_are_not_found(alice, suffix):
    answer = alice.get(f"{BASE}/global/override/none{suffix}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    answer = alice.get(f"{BASE}/global/nonsense/none{suffix}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


def test_default_rules_cannot_be_deleted(alice):
    answer = alice.delete(f"{BASE}/global/override/.m.rule.master")
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_a_change_reaches_sync_as_the_whole_merged_set(alice):
    sync = "/_matrix/client/v3/sync"
    since = alice.get(sync).json["next_batch"]
    put_content_rule(alice, "cake")
    news = alice.get(sync, since=since).json["account_data"]["events"]
    assert news == [{"type": "m.push_rules", "content": alice.get(f"{BASE}/").json}]
    assert push_rules.ruleset_for(alice.user_id) == news[0]["content"]["global"]


def test_rules_put_at_once_are_all_kept(alice):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: put_content_rule(alice, f"r{n}"), range(6)))
    assert sorted(ids(alice)) == sorted(
        [f"r{n}" for n in range(6)] + [rule for rule in ids(alice) if rule.startswith(".")]
    )
