"""Delayed events: sent once, when their time has come, if they may be then; restarted, sent, cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from murmuration.rooms.writing import sending
from murmuration.settings import settings
from murmuration.storage.users import delayed_events as storage
from tests.in_process import Client
from tests.rooms.delayed import (
    STABLE,
    TEXT,
    UNSTABLE,
    Time,
    delay_message,
    delay_state,
    end_of,
    listed,
    look_up,
    manage,
    request_message,
    said,
)
from tests.rooms.people import (
    V3,
    event_ids,
    leave,
    messages,
    ok,
    path,
    redact,
    refused,
    send,
    set_state,
)

DAY_MS = 86_400_000


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"MURMURATION_{name}", str(value))
        settings.cache_clear()

    yield change
    monkeypatch.undo()
    settings.cache_clear()


def state(client: Client, room_id: str, event_type: str) -> Any:
    return client.get(path(room_id, "state", event_type, "")).json


# -- Sending ---------------------------------------------------------------------------------------------


def test_a_message_is_sent_when_its_time_has_come_and_not_before(
    alice: Client, bob: Client, room_id: str, time: Time
) -> None:
    delay_id = delay_message(alice, room_id, 10_000)
    time.pass_by(9_900)
    assert said(bob, room_id) == []
    assert end_of(alice, delay_id) is None
    time.pass_by(1_100)
    assert said(bob, room_id) == ["later"]
    event_id = end_of(alice, delay_id)["event_id"]
    event = ok(alice.get(path(room_id, "event", event_id)))
    assert event["sender"] == alice.user_id
    assert event["unsigned"]["delay_id"] == event["unsigned"]["org.matrix.msc4140.delay_id"] == delay_id
    assert "transaction_id" not in event["unsigned"]
    assert not {"delay_id", "org.matrix.msc4140.delay_id"} & set(
        ok(bob.get(path(room_id, "event", event_id)))["unsigned"]
    ), "the delay ID is its sender's"


def test_a_delay_longer_than_the_queue_holds_a_message_back(alice: Client, room_id: str, time: Time) -> None:
    delay_message(alice, room_id, 40 * 60_000)
    time.pass_by(40 * 60_000 - 100)
    assert said(alice, room_id) == []
    time.pass_by(2_000)
    assert said(alice, room_id) == ["later"]
    assert max(time.delays) == 900
    assert time.queue == []


def test_state_is_set_when_its_time_has_come(alice: Client, room_id: str, time: Time) -> None:
    set_state(alice, room_id, "m.room.topic", {"topic": "now"})
    delay_id = delay_state(alice, room_id, 5_000, "m.room.topic", {"topic": "later"})
    shown = ok(look_up(alice, delay_id))
    assert (shown["type"], shown["state_key"], shown["content"]) == ("m.room.topic", "", {"topic": "later"})
    assert state(alice, room_id, "m.room.topic") == {"topic": "now"}
    time.pass_by(6_000)
    assert state(alice, room_id, "m.room.topic") == {"topic": "later"}
    assert end_of(alice, delay_id)["event_id"]


def test_state_that_is_so_already_ends_with_the_event_that_says_it(
    alice: Client, room_id: str, time: Time
) -> None:
    delay_id = delay_state(alice, room_id, 5_000, "m.room.topic", {"topic": "same"})
    current = set_state(alice, room_id, "m.room.topic", {"topic": "same"})
    time.pass_by(6_000)
    assert end_of(alice, delay_id)["event_id"] == current
    assert listed(alice) == []


def test_a_membership_a_redaction_and_a_reaction_can_be_delayed(
    alice: Client, bob: Client, room_id: str, time: Time
) -> None:
    target = send(alice, room_id, "soon gone")
    delay_state(alice, room_id, 5_000, "m.room.member", {"membership": "leave"}, bob.user_id)
    where = path(room_id, "send", "m.room.redaction", "r1")
    redaction = ok(alice.put(where, {"redacts": target}, **{"org.matrix.msc4140.delay": 5_000}))["delay_id"]
    again = redact(alice, room_id, send(alice, room_id, "another"))
    time.pass_by(6_000)
    assert ok(alice.get(path(room_id, "event", target)))["content"] == {}
    assert end_of(alice, redaction)["event_id"] not in (target, again)
    member = ok(alice.get(path(room_id, "state", "m.room.member", bob.user_id)))
    assert member["membership"] == "leave"


def test_the_rules_judge_when_it_is_sent(alice: Client, bob: Client, room_id: str, time: Time) -> None:
    gone = delay_message(bob, room_id, 5_000)
    early = delay_state(bob, room_id, 5_000, "m.room.topic", {"topic": "Bob's"})
    leave(bob, room_id)
    time.pass_by(6_000)
    for delay_id in (gone, early):
        end = end_of(bob, delay_id)
        assert end["error"]["errcode"] == "M_FORBIDDEN"
        assert "event_id" not in end
    assert said(alice, room_id) == []


def test_who_gets_the_power_meanwhile_may_send(alice: Client, bob: Client, room_id: str, time: Time) -> None:
    delay_id = delay_state(bob, room_id, 5_000, "m.room.topic", {"topic": "Bob's"})
    levels = state(alice, room_id, "m.room.power_levels")
    set_state(
        alice, room_id, "m.room.power_levels", {**levels, "users": {**levels["users"], bob.user_id: 50}}
    )
    time.pass_by(6_000)
    assert end_of(bob, delay_id)["event_id"]
    assert state(alice, room_id, "m.room.topic") == {"topic": "Bob's"}


def test_a_message_of_the_queue_that_comes_twice_sends_once(alice: Client, room_id: str, time: Time) -> None:
    delay_message(alice, room_id, 5_000)
    time.queue *= 3
    time.pass_by(6_000)
    assert said(alice, room_id) == ["later"]


def test_the_worker_and_a_client_that_send_at_once_send_once(alice: Client, room_id: str, time: Time) -> None:
    delay_ids = [delay_message(alice, room_id, 5_000) for _ in range(4)]
    time.passed = 5_500
    with ThreadPoolExecutor(8) as pool:
        work: list[Future[Any]] = [pool.submit(time.work)]
        work += [pool.submit(manage, alice, each, "send") for each in delay_ids]
        for each in work:
            each.result()
    time.pass_by(1_000)
    assert said(alice, room_id) == ["later"] * 4
    assert listed(alice) == []


# -- Managing --------------------------------------------------------------------------------------------


def test_restarts_put_it_off_as_long_as_they_come(alice: Client, room_id: str, time: Time) -> None:
    delay_id = delay_message(alice, room_id, 8_000)
    for _ in range(6):
        time.pass_by(5_000)
        ok(manage(alice, delay_id, "restart"))
    assert said(alice, room_id) == []
    assert len(time.queue) == 1, "one message of the queue for each event"
    time.pass_by(9_000)
    assert said(alice, room_id) == ["later"]


@pytest.mark.parametrize("base", [UNSTABLE, STABLE])
def test_a_client_may_send_it_early(alice: Client, room_id: str, time: Time, base: str) -> None:
    delay_id = delay_message(alice, room_id, 60_000)
    assert ok(manage(alice, delay_id, "send", base)) == {}
    assert said(alice, room_id) == ["later"]
    assert ok(manage(alice, delay_id, "send", base)) == {}, "a repetition changes nothing"
    time.pass_by(61_000)
    assert said(alice, room_id) == ["later"]


@pytest.mark.parametrize("base", [UNSTABLE, STABLE])
def test_a_cancelled_one_is_never_sent(alice: Client, room_id: str, time: Time, base: str) -> None:
    delay_id = delay_message(alice, room_id, 5_000)
    ok(manage(alice, delay_id, "cancel", base))
    ok(manage(alice, delay_id, "cancel", base))
    end = end_of(alice, delay_id)
    assert set(end) == {"finalised_ts"}
    time.pass_by(6_000)
    assert said(alice, room_id) == []


def test_an_action_against_the_end_is_a_conflict_or_as_apps_know_it_not_found(
    alice: Client, room_id: str, time: Time
) -> None:
    cancelled, sent = delay_message(alice, room_id, 5_000), delay_message(alice, room_id, 5_000)
    ok(manage(alice, cancelled, "cancel"))
    ok(manage(alice, sent, "send"))
    for delay_id, action in (
        (cancelled, "send"),
        (cancelled, "restart"),
        (sent, "cancel"),
        (sent, "restart"),
    ):
        refused(manage(alice, delay_id, action, STABLE), 409, "M_UNKNOWN")
        refused(manage(alice, delay_id, action), 404, "M_NOT_FOUND")


def test_the_action_may_be_in_the_body(alice: Client, room_id: str, time: Time) -> None:
    delay_id = delay_message(alice, room_id, 5_000)
    where = f"{UNSTABLE}/delayed_events/{delay_id}"
    for body in ({}, {"action": 1}, {"action": "refresh"}, {"action": ["send"]}):
        refused(alice.post(where, body), 400, "M_INVALID_PARAM")
    assert ok(alice.post(where, {"action": "send"})) == {}
    assert said(alice, room_id) == ["later"]


def test_who_knows_the_id_needs_no_token_in_the_unstable_spelling_alone(
    alice: Client, bob: Client, room_id: str, time: Time
) -> None:
    delay_id = delay_message(alice, room_id, 5_000)
    refused(manage(Client(), delay_id, "restart", STABLE), 401, "M_MISSING_TOKEN")
    for base in (UNSTABLE, STABLE):
        refused(manage(bob, delay_id, "cancel", base), 404, "M_NOT_FOUND")
        refused(look_up(bob, delay_id, base), 404, "M_NOT_FOUND")
        refused(look_up(Client(), delay_id, base), 401, "M_MISSING_TOKEN")
    ok(manage(Client(), delay_id, "restart"))
    ok(manage(Client(), delay_id, "send"))
    assert said(bob, room_id) == ["later"]


@pytest.mark.parametrize("delay_id", ["unknown", "a.b", "~" * 300, "#%&?", "é"])
def test_what_is_no_delay_id_is_not_found(alice: Client, delay_id: str) -> None:
    refused(look_up(alice, delay_id), 404, "M_NOT_FOUND")
    refused(manage(alice, delay_id, "send"), 404, "M_NOT_FOUND")
    refused(manage(Client(), delay_id, "cancel"), 404, "M_NOT_FOUND")


def test_an_early_send_that_is_refused_leaves_it_scheduled(
    alice: Client, bob: Client, room_id: str, time: Time
) -> None:
    delay_id = delay_state(bob, room_id, 60_000, "m.room.topic", {"topic": "Bob's"})
    refused(manage(bob, delay_id, "send"), 403, "M_FORBIDDEN")
    assert end_of(bob, delay_id) is None
    assert listed(bob) == [delay_id]


# -- Scheduling ------------------------------------------------------------------------------------------


def test_a_repeated_request_schedules_once(alice: Client, bob: Client, room_id: str, time: Time) -> None:
    where = path(room_id, "send", "m.room.message", "same")
    delay = {"org.matrix.msc4140.delay": 60_000}
    first = ok(alice.put(where, TEXT, **delay))
    assert ok(alice.put(where, TEXT, **delay)) == first
    assert ok(bob.put(where, TEXT, **delay)) != first
    for prefix in (f"{UNSTABLE}/rooms", f"{V3}/rooms"):
        own = path(room_id, "delayed_event", "m.room.message", "same").replace(f"{V3}/rooms", prefix)
        found = ok(alice.put(own, {"delay_ms": 60_000, "content": TEXT}))
        assert ok(alice.put(own, {"delay_ms": 60_000, "content": TEXT})) == found
    assert len(listed(alice)) == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"org.matrix.msc4140.delay": ""}, 400),
        ({"org.matrix.msc4140.delay": "soon"}, 400),
        ({"org.matrix.msc4140.delay": "-5"}, 400),
        ({"org.matrix.msc4140.delay": "+5"}, 400),
        ({"org.matrix.msc4140.delay": "0"}, 400),
        ({"org.matrix.msc4140.delay": "1.5"}, 400),
        ({"org.matrix.msc4140.delay": " 5"}, 400),
        ({"org.matrix.msc4140.delay": "５"}, 400),
        ({"org.matrix.msc4140.delay": "9" * 400}, 400),
        ({"org.matrix.msc4140.delay": DAY_MS + 1}, 400),
        ({"org.matrix.msc4140.delay": 5, "delay": 5}, 400),
        ({"org.matrix.msc4140.parent_delay_id": "x"}, 400),
        ({"org.matrix.msc4140.delay": 5, "org.matrix.msc4140.parent_delay_id": "x"}, 400),
        ({"org.matrix.msc4140.delay_ms": 5}, 400),
        ({"org.matrix.msc4140.future_timeout": 5}, 400),
        ({"delay": "x"}, 400),
        ({"delay": ""}, 400),
        ({"delay_ms": 5}, 400),
        ({"delay": 5000}, 200),
        ({"org.matrix.msc4140.delay": "005000"}, 200),
    ],
)
def test_a_delay_that_is_not_understood_is_refused_and_nothing_is_sent(
    alice: Client, room_id: str, time: Time, query: dict[str, Any], status: int
) -> None:
    before = event_ids(messages(alice, room_id, limit=100)["chunk"])
    for where in (
        path(room_id, "send", "m.room.message", "q1"),
        path(room_id, "state", "org.example", "key"),
        f"{path(room_id, 'state', 'm.room.topic')}",
    ):
        answer = alice.put(where, {**TEXT, "topic": "Tea"}, **query)
        assert answer.status == status, answer.body
        assert ("delay_id" if status == 200 else "errcode") in answer.json
    refused(alice.put(path(room_id, "redact", before[0], "q2"), {}, **query), 400, "M_INVALID_PARAM")
    assert event_ids(messages(alice, room_id, limit=100)["chunk"]) == before


def test_a_delay_given_twice_is_refused(alice: Client, room_id: str, time: Time) -> None:
    where = path(room_id, "send", "m.room.message", "twice")
    twice = "org.matrix.msc4140.delay=5000&org.matrix.msc4140.delay=6000"
    refused(alice.put(f"{where}?{twice}", TEXT), 400, "M_INVALID_PARAM")


def test_a_delay_that_is_too_long_names_the_limit_as_apps_know_it(
    alice: Client, room_id: str, time: Time
) -> None:
    refused(answer := request_message(alice, room_id, DAY_MS + 1), 400, "M_UNKNOWN")
    assert answer.json["org.matrix.msc4140.errcode"] == "M_MAX_DELAY_EXCEEDED"
    assert answer.json["org.matrix.msc4140.max_delay"] == DAY_MS
    for prefix, code in (
        (f"{V3}/rooms", "M_DELAY_TOO_LARGE"),
        (f"{UNSTABLE}/rooms", "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE"),
    ):
        where = path(room_id, "delayed_event", "m.room.message", "long").replace(f"{V3}/rooms", prefix)
        answer = alice.put(where, {"delay_ms": DAY_MS + 1, "content": TEXT})
        refused(answer, 400, code)
        assert answer.json["org.matrix.msc4140.max_delay"] == DAY_MS
    ok(request_message(alice, room_id, DAY_MS))


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"content": TEXT}, "M_MISSING_PARAM"),
        ({"delay_ms": 5}, "M_MISSING_PARAM"),
        ({"delay_ms": "5", "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": True, "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": 0, "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": -1, "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": 1.5, "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": None, "content": TEXT}, "M_INVALID_PARAM"),
        ({"delay_ms": 5, "content": "text"}, "M_INVALID_PARAM"),
        ({"delay_ms": 5, "content": TEXT, "state_key": 5}, "M_INVALID_PARAM"),
        ({"delay_ms": 5, "content": TEXT, "state_key": None}, "M_INVALID_PARAM"),
        ({"delay_ms": 5, "content": {**TEXT, "cups": 0.5}}, "M_BAD_JSON"),
        ({"delay_ms": 5, "content": {**TEXT, "a": "x" * 70_000}}, "M_TOO_LARGE"),
    ],
)
def test_what_can_not_be_scheduled(
    alice: Client, room_id: str, time: Time, body: dict[str, Any], errcode: str
) -> None:
    answer = alice.put(path(room_id, "delayed_event", "m.room.message", "b"), body)
    refused(answer, 413 if errcode == "M_TOO_LARGE" else 400, errcode)
    assert listed(alice) == []


def test_state_by_the_endpoint_of_its_own(alice: Client, room_id: str, time: Time) -> None:
    body = {"delay_ms": 5_000, "state_key": "", "content": {"topic": "later"}}
    ok(alice.put(path(room_id, "delayed_event", "m.room.topic", "s"), body))
    refused(alice.put(path(room_id, "delayed_event", "m.room.redaction", "s"), body), 400, "M_INVALID_PARAM")
    time.pass_by(6_000)
    assert state(alice, room_id, "m.room.topic") == {"topic": "later"}


def test_an_unknown_room_is_one_that_the_user_is_not_in(alice: Client, time: Time) -> None:
    refused(request_message(alice, "!nowhere:example.org", 5_000), 403, "M_FORBIDDEN")


def test_a_user_may_have_so_many_scheduled(
    alice: Client, bob: Client, room_id: str, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MOST", 3)
    first = delay_message(alice, room_id, 30_000)
    delay_message(alice, room_id, 60_000)
    delay_state(alice, room_id, 60_000, "m.room.topic", {"topic": "x"})
    answer = request_message(alice, room_id, 5_000)
    refused(answer, 429, "M_LIMIT_EXCEEDED")
    assert 25_000 < answer.json["retry_after_ms"] <= 30_000
    assert 25 < int(answer.headers["Retry-After"]) <= 30
    delay_message(bob, room_id, 5_000)
    ok(manage(alice, first, "cancel"))
    delay_message(alice, room_id, 5_000)
    time.pass_by(6_000)
    delay_message(alice, room_id, 5_000)


def test_a_deployment_without_delayed_events(
    alice: Client, room_id: str, time: Time, configure: Callable[..., None]
) -> None:
    configure(EVENT_DELAY_MAX=0)
    refused(request_message(alice, room_id, 5_000), 403, "M_FORBIDDEN")
    refused(
        alice.put(path(room_id, "delayed_event", "m.room.message", "x"), {"delay_ms": 5, "content": TEXT}),
        403,
        "M_FORBIDDEN",
    )
    assert not ok(Client().get("/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4140"]


def test_it_is_announced(alice: Client) -> None:
    features = ok(Client().get("/_matrix/client/versions"))["unstable_features"]
    assert features["org.matrix.msc4140"] is features["org.matrix.msc4140.stable"] is True
    found = ok(alice.get(f"{V3}/capabilities"))["capabilities"]
    limits = {"max_delay_ms": DAY_MS, "max_scheduled": 100}
    assert found["m.delayed_events"] == found["org.matrix.msc4140.delayed_events"] == limits


# -- Looking up ------------------------------------------------------------------------------------------


def test_the_list_is_in_the_order_of_times_and_comes_by_pages(
    alice: Client, bob: Client, room_id: str, time: Time
) -> None:
    delays = [50_000, 10_000, 30_000]
    by_delay = {delay: delay_message(alice, room_id, delay) for delay in delays}
    delay_message(bob, room_id, 20_000)
    ordered = [by_delay[delay] for delay in sorted(delays)]
    assert listed(alice) == listed(alice, STABLE) == ordered
    ok(manage(alice, by_delay[10_000], "restart"))
    assert listed(alice) == ordered
    large = {"body": "x" * 60_000, "msgtype": "m.text"}
    many = [delay_message(alice, room_id, 60_000 + number, large) for number in range(30)]
    found, start, pages = [], None, 0
    while True:
        page = ok(alice.get(f"{UNSTABLE}/delayed_events", **{"from": start}))
        found += [each["delay_id"] for each in page["delayed_events"]]
        pages += 1
        if (start := page.get("next_batch")) is None:
            break
    assert found == [*ordered, *many]
    assert pages > 1, "a page has 1 MB"
    for token in ("x", "5", "5_", f"5_{delay_message(bob, room_id, 5_000)}", "-5_a.b", "²_a.b"):
        refused(alice.get(f"{UNSTABLE}/delayed_events", **{"from": token}), 400, "M_INVALID_PARAM")


def test_what_is_told_of_a_delayed_event(alice: Client, room_id: str, time: Time) -> None:
    delay_id = delay_message(alice, room_id, 10_000)
    for base in (UNSTABLE, STABLE):
        shown = ok(look_up(alice, delay_id, base))
        since = shown.pop("delayed_since_ts")
        assert abs(since - time.now()) < 60_000
        assert shown == {
            "delay_id": delay_id,
            "room_id": room_id,
            "type": "m.room.message",
            "content": TEXT,
            "delay_ms": 10_000,
            "delay": 10_000,
            "running_since": since,
        }
    assert set(ok(alice.get(f"{UNSTABLE}/delayed_events"))["delayed_events"][0]) == {
        *shown,
        "delayed_since_ts",
    }


def test_a_finalised_one_is_kept_for_a_week(alice: Client, room_id: str, time: Time) -> None:
    delay_id = delay_message(alice, room_id, 5_000)
    time.pass_by(6_000)
    time.passed += 6 * DAY_MS
    ok(look_up(alice, delay_id))
    time.passed += 2 * DAY_MS
    refused(look_up(alice, delay_id), 404, "M_NOT_FOUND")


# -- Endings ---------------------------------------------------------------------------------------------


def test_one_whose_message_was_lost_is_found_and_sent(alice: Client, room_id: str, time: Time) -> None:
    delay_message(alice, room_id, 5_000)
    waits = delay_message(alice, room_id, DAY_MS)
    lost, time.queue = time.queue, []
    time.passed += 60_000
    time.look_after()
    assert time.queue == [], "its message may be on its way"
    time.passed += 5 * 60_000
    time.look_after()
    time.pass_by(1_000)
    assert said(alice, room_id) == ["later"]
    assert listed(alice) == [waits]
    assert len(lost) == 2


def test_a_passing_failure_leaves_it_to_the_next_attempt(
    alice: Client, room_id: str, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.protocol.errors import Unavailable

    delay_id = delay_message(alice, room_id, 5_000)
    message = time.queue[0]

    def fail(*_: object, **__: object) -> str:
        raise Unavailable("Too many requests change the room at once; try again")

    with monkeypatch.context() as patch:
        patch.setattr(sending, "append_message", fail)
        with pytest.raises(Unavailable):
            time.pass_by(6_000)
    assert end_of(alice, delay_id) is None
    time.passed += 6_000
    time.queue = [message]
    time.work()
    assert said(alice, room_id) == ["later"]
