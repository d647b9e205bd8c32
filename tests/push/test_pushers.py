"""Pushers as clients set, list and lose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import listeners, wake_queues
from murmuration.storage.users.pushers import MOST
from tests.in_process import Client
from tests.rooms.people import V3, ok, refused

Make = Callable[..., Client]
URL = "https://push.example.com/_matrix/push/v1/notify"


def pusher(**changes: Any) -> dict[str, Any]:
    """Return the body of a request for a pusher."""
    body = {
        "app_id": "org.example.app",
        "pushkey": "key",
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": URL, "format": "event_id_only", "brand": "x"},
    }
    return body | changes


def set_pusher(client: Client, **changes: Any) -> None:
    assert ok(client.post(f"{V3}/pushers/set", pusher(**changes))) == {}


def keys(client: Client) -> list[str]:
    return [each["pushkey"] for each in ok(client.get(f"{V3}/pushers"))["pushers"]]


def is_marked(client: Client) -> bool:
    return client.user_id in listeners.with_pushers(listeners.read_items([UserId(client.user_id)]))


def test_a_pusher_is_listed_as_it_was_set(alice: Client) -> None:
    assert ok(alice.get(f"{V3}/pushers")) == {"pushers": []}
    set_pusher(alice, profile_tag="tag", unknown=1)
    assert ok(alice.get(f"{V3}/pushers")) == {"pushers": [pusher(profile_tag="tag")]}


def test_the_same_key_of_the_same_app_is_replaced(alice: Client) -> None:
    set_pusher(alice)
    set_pusher(alice, lang="de")
    set_pusher(alice, app_id="org.example.other")
    found = ok(alice.get(f"{V3}/pushers"))["pushers"]
    assert [(each["app_id"], each["lang"]) for each in found] == [
        ("org.example.app", "de"),
        ("org.example.other", "en"),
    ]


def test_null_deletes_and_needs_no_more(alice: Client) -> None:
    set_pusher(alice)
    assert is_marked(alice)
    names = {"app_id": "org.example.app", "pushkey": "key", "kind": None}
    assert ok(alice.post(f"{V3}/pushers/set", names)) == {}
    assert keys(alice) == []
    assert not is_marked(alice)
    assert ok(alice.post(f"{V3}/pushers/set", names)) == {}


@pytest.mark.parametrize("append", [True, False])
def test_another_user_keeps_the_key_only_by_append(alice: Client, bob: Client, append: bool) -> None:
    set_pusher(alice, pushkey=f"shared{append}")
    set_pusher(alice, pushkey="own")
    set_pusher(bob, pushkey=f"shared{append}", append=append)
    assert keys(bob) == [f"shared{append}"]
    assert sorted(keys(alice)) == sorted(["own", *([f"shared{append}"] if append else [])])


def test_a_pusher_ends_with_its_device(alice: Client) -> None:
    from tests.logged_in import log_in

    other = log_in(UserId(alice.user_id), DeviceId("OTHER"))
    set_pusher(alice, pushkey="a")
    set_pusher(other, pushkey="b")
    ok(alice.post(f"{V3}/logout"))
    assert keys(other) == ["b"]
    assert is_marked(other)


def test_waiting_leaves_the_mark_where_it_is(alice: Client) -> None:
    set_pusher(alice)
    wait = listeners.Wait(
        UserId(alice.user_id), DeviceId("DEVICE"), "1", "queue", wake_queues.new_nonce(kept=False), 1 << 33
    )
    assert listeners.register(wait, None)[0]
    (item,) = listeners.read_items([UserId(alice.user_id)])
    assert item["expires"] == item["pushers"] > 4_000_000_000


def test_there_is_a_bound(alice: Client) -> None:
    for number in range(MOST):
        set_pusher(alice, pushkey=str(number))
    refused(alice.post(f"{V3}/pushers/set", pusher(pushkey="more")), 413, "M_TOO_LARGE")
    set_pusher(alice, pushkey="0", lang="fr")


@pytest.mark.parametrize("name", sorted(set(pusher()) - {"data"}))
def test_what_is_missing(alice: Client, name: str) -> None:
    body = pusher()
    del body[name]
    refused(alice.post(f"{V3}/pushers/set", body), 400, "M_MISSING_PARAM")


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"data": None}, "M_MISSING_PARAM"),
        ({"data": {}}, "M_MISSING_PARAM"),
        ({"data": "x"}, "M_BAD_JSON"),
        ({"data": {"url": 1}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL.replace("https", "http")}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://push.example.com/"}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL + "/x"}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL + "?a=b"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://user@push.example.com/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "no url"}}, "M_INVALID_PARAM"),
        ({"data": {"url": URL, "x": "y" * 3000}}, "M_TOO_LARGE"),
        ({"kind": "email"}, "M_INVALID_PARAM"),
        ({"kind": 1}, "M_BAD_JSON"),
        ({"append": "yes"}, "M_BAD_JSON"),
        ({"pushkey": "x" * 513}, "M_INVALID_PARAM"),
        ({"pushkey": ""}, "M_INVALID_PARAM"),
        ({"app_id": "x" * 65}, "M_INVALID_PARAM"),
        ({"lang": "x" * 600}, "M_INVALID_PARAM"),
    ],
)
def test_what_is_wrong(alice: Client, changes: dict[str, Any], errcode: str) -> None:
    answer = alice.post(f"{V3}/pushers/set", pusher(**changes))
    refused(answer, 413 if errcode == "M_TOO_LARGE" else 400, errcode)
    assert keys(alice) == []
