"""A held client's token names where it waited, so its next request looks at the rooms that rang meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from local_cloud.permissions import acting_for
from murmuration.clock import now_ms
from murmuration.delivery import wakes
from murmuration.identity.tokens import AccessToken
from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.live import listeners, token_forms, wake_queues
from murmuration.storage.live.listeners import EVERYTHING, Wait
from murmuration.sync import engine, first_look, marks, waiting
from tests.rooms.people import V3, create_room, join, ok, path, send
from tests.sync.client import Syncing, bodies_of, has_nothing
from tests.sync.test_waiting import Make, registrations, tell

pytestmark = pytest.mark.usefixtures("sqs", "held")

DEVICE = DeviceId("PHONE")
ONE, TWO = RoomId("!one:example.org"), RoomId("!two:example.org")
LASTING = 120_000
"""A timeout, in milliseconds, that is longer than any pause of a slow machine."""
hold = waiting.hold


class Stage:
    """Alice and Bob in two rooms. Bob was held, and told of a message; `since` names where he waited."""

    def __init__(self, make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alice, self.bob = make_client("alice"), make_client("bob")
        self.rooms = [RoomId(create_room(self.alice, preset="public_chat")) for _ in range(2)]
        for room_id in self.rooms:
            join(self.bob, room_id)
        self.looks = mock.Mock(wraps=first_look.look)
        """The looks at everything."""
        self.action: Callable[[], object] | None = None
        monkeypatch.setattr(engine, "look", self.looks)
        monkeypatch.setattr(waiting, "hold", self._hold)
        monkeypatch.setattr(waiting, "MAXIMUM_TIMEOUT_MS", LASTING)
        syncing = Syncing(self.bob)
        syncing.sync()
        self.since = syncing.since or ""
        self.is_held_while(lambda: self.say_and_tell(0, "first"))
        self.looks.reset_mock()

    def _hold(self, *arguments: Any) -> waiting.Held:
        action, self.action = self.action, None
        if action is not None:
            with acting_for(None):
                action()
        return hold(*arguments)

    def say_and_tell(self, room: int, text: str) -> None:
        send(self.alice, self.rooms[room], text)
        tell(self.rooms[room])

    def is_held_while(self, action: Callable[[], object]) -> Any:
        """Return the answer to a held request. Something happens while it is held."""
        self.action = action
        answer = self.asks()
        assert self.action is None, "it was held"
        return answer

    def asks(self, timeout: int = LASTING) -> Any:
        answer = ok(self.bob.get(f"{V3}/sync", since=self.since, timeout=timeout))
        self.since = answer["next_batch"]
        return answer

    def shown(self, answer: Any) -> list[list[str]]:
        return [bodies_of(answer, room_id) for room_id in self.rooms]


@pytest.fixture
def stage(make_client: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(make_client, monkeypatch)


def test_who_is_rung_again_and_again_never_looks_at_everything(stage: Stage) -> None:
    for _ in range(2):
        assert stage.since.startswith(token_forms.HELD)
        assert stage.shown(stage.is_held_while(lambda: stage.say_and_tell(0, "a"))) == [["a"], []]
        assert stage.shown(stage.is_held_while(lambda: stage.say_and_tell(1, "b"))) == [[], ["b"]]
    assert stage.looks.call_count == 0


def test_what_came_between_two_requests_is_shown_at_once(stage: Stage) -> None:
    """That answer names a wait which nobody has rung yet."""
    for _ in range(waiting.SLOTS + 1):
        stage.say_and_tell(1, "between")
        assert stage.shown(stage.asks()) == [[], ["between"]]
    assert len(registrations(stage.bob)) == 1, "each takes the slot of the one before"
    assert stage.shown(stage.is_held_while(lambda: stage.say_and_tell(0, "news"))) == [["news"], []]
    assert stage.looks.call_count == 0


def test_after_a_wait_without_news_everything_is_looked_at(stage: Stage) -> None:
    assert has_nothing(stage.asks(timeout=1_000))
    send(stage.alice, stage.rooms[1], "rang nobody yet")
    assert stage.shown(stage.asks()) == [[], ["rang nobody yet"]]
    assert stage.looks.call_count == 1


def test_a_change_that_is_not_urgent_comes_with_the_next_request(stage: Stage) -> None:
    """In this test, the worker is told of a message as it is of a receipt."""
    bob = UserId(stage.bob.user_id), wakes.EVERY_DEVICE

    def meanwhile() -> None:
        send(stage.alice, stage.rooms[1], "not urgent")
        wakes.wake({}, late={bob: None}, news={bob: [stage.rooms[1]]})
        stage.say_and_tell(0, "urgent")

    assert stage.shown(stage.is_held_while(meanwhile)) == [["urgent"], []]
    assert stage.shown(stage.asks()) == [[], ["not urgent"]]
    assert stage.looks.call_count == 0


def test_a_repeated_request_looks_at_everything(stage: Stage) -> None:
    """Its answer was lost, and the slot that it names is used by now."""
    before = stage.since
    stage.is_held_while(lambda: stage.say_and_tell(0, "news"))
    stage.is_held_while(lambda: stage.say_and_tell(1, "more"))
    stage.since = before
    assert stage.shown(stage.asks()) == [["news"], ["more"]]


def test_account_data_has_everything_looked_at(stage: Stage) -> None:
    bob = stage.bob
    ok(bob.put(path_of_data(bob.user_id), {"a": 1}))
    wakes.wake({(UserId(bob.user_id), wakes.EVERY_DEVICE): None})
    assert stage.asks()["account_data"]["events"][0]["content"] == {"a": 1}


def path_of_data(user_id: str) -> str:
    return f"{V3}/user/{user_id}/account_data/org.example.data"


def test_the_token_names_a_place_in_the_room_too(stage: Stage) -> None:
    stage.say_and_tell(0, "later")
    page = ok(stage.bob.get(path(stage.rooms[0], "messages"), dir="f", **{"from": stage.since}))["chunk"]
    assert [event["content"]["body"] for event in page] == ["later"]


def test_a_deployment_that_parks_takes_the_token(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_WAITING", "parked")
    settings.cache_clear()
    send(stage.alice, stage.rooms[1], "news")
    assert stage.shown(stage.asks()) == [[], ["news"]]
    assert stage.looks.call_count == 1
    stage.asks()
    assert stage.since.startswith(token_forms.MARKED)


def test_functions_of_a_user_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "HELD_BY_USER", 0)
    answer = stage.bob.get(f"{V3}/sync", since=stage.since, timeout=LASTING)
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert registrations(stage.bob) == []


# -- Registrations ---------------------------------------------------------------------------------------


def registered(user_id: UserId, nonce: str = "") -> tuple[Wait, frozenset[RoomId] | None]:
    """Register a held wait after the one with `nonce`. Returns it, and what rang that one."""
    until = now_ms() // 1000 + LASTING // 1000
    wait = Wait(user_id, DEVICE, "h0", "https://x/queue", wake_queues.new_nonce(kept=False), until)
    done, before = listeners.register_unseen(wait, nonce)
    assert done
    return wait, listeners.news_since(before, DEVICE, "h0", nonce)


def current(user_id: UserId) -> Wait:
    (wait,) = listeners.current_waits(listeners.read_items([user_id]))
    return wait


@pytest.mark.parametrize(
    ("noted", "rung", "news"),
    [
        ([], [], frozenset()),
        ([ONE], [], frozenset([ONE])),
        ([], [ONE], frozenset([ONE])),
        ([ONE], [TWO], frozenset([ONE, TWO])),
        ([ONE], [EVERYTHING], None),
        ([EVERYTHING], [], None),
    ],
)
def test_the_next_registration_finds_what_was_noted(
    noted: list[str], rung: list[str], news: frozenset[RoomId] | None, make_client: Make
) -> None:
    user_id = UserId(make_client("bob").user_id)
    first, _ = registered(user_id)
    if noted:
        assert listeners.note_news(current(user_id), noted)
    if rung:
        assert listeners.settle([(current(user_id), rung)]) == []
        assert current(user_id).rung
    second, found = registered(user_id, first.nonce)
    assert found == news
    assert current(user_id).nonce == second.nonce
    _, found = registered(user_id, second.nonce)
    assert found == frozenset(), "it is told once"


def test_a_ring_that_is_noted_too_late_rings_the_next_registration(make_client: Make) -> None:
    """The client didn't find the rooms, because it registered between the ring and the note."""
    user_id = UserId(make_client("bob").user_id)
    first, _ = registered(user_id)
    read_by_worker = current(user_id)
    second, news = registered(user_id, first.nonce)
    assert news == frozenset()
    assert listeners.settle([(read_by_worker, [ONE])]) == [read_by_worker]
    assert not current(user_id).rung
    assert current(user_id).nonce == second.nonce


def test_a_wait_that_ends_soon_says_nothing(make_client: Make) -> None:
    """Nothing is noted after its end, and clocks differ."""
    user_id = UserId(make_client("bob").user_id)
    until = now_ms() // 1000 + listeners.SPARE_S
    wait = Wait(user_id, DEVICE, "h0", "https://x/queue", wake_queues.new_nonce(kept=False), until)
    assert listeners.register_unseen(wait)[0]
    assert registered(user_id, wait.nonce)[1] is None


def test_a_slot_is_taken_by_one_of_two_requests_with_the_same_token(make_client: Make) -> None:
    user_id = UserId(make_client("bob").user_id)
    first, _ = registered(user_id)
    registered(user_id, first.nonce)
    again = Wait(user_id, DEVICE, "h0", "", wake_queues.new_nonce(kept=False), first.until)
    assert not listeners.register_unseen(again, first.nonce)[0]


def test_only_its_device_can_use_a_place(make_client: Make) -> None:
    bob = make_client("bob")
    wait, _ = registered(UserId(bob.user_id))
    made_up = marks.Place("h0", "0" * 32, wait.nonce, now_ms() // 1000)
    token = mock.Mock(spec=AccessToken, user_id=bob.user_id, device_id=DEVICE)
    assert waiting.register_next(token, made_up, 25) is None
    assert current(UserId(bob.user_id)).nonce == wait.nonce
