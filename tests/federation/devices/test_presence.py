"""Presence across servers, if the operator wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.permissions import acting_for
from murmuration.clock import now_ms
from murmuration.federation.ephemera import presence as across
from murmuration.presence.telling import tell
from murmuration.protocol.identifiers import ServerName, UserId
from murmuration.settings import settings
from murmuration.storage.servers import remote_presence
from murmuration.storage.users import presence
from tests.budgets.meter import Meter
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.outbound import Workers
from tests.in_process import Client, segment
from tests.rooms.other_servers import Mirror
from tests.rooms.people import invite, join

SYNC = "/_matrix/client/v3/sync"
HALF_HOUR_MS = 1_800_000


@pytest.fixture
def wanted(room: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn on the exchange of presence."""
    monkeypatch.setenv("MURMURATION_FEDERATED_PRESENCE", "on")
    settings.cache_clear()


def work(*user_ids: str | None) -> None:
    """Do what the Streams worker does after these users' presence was written."""
    found = [presence.read(UserId(str(user_id))) for user_id in user_ids]
    items = [item for item in found if item is not None]
    with acting_for("workers.streams"):
        tell(items)
        across.order_presence(items)


def come(client: Client) -> str:
    """Let a client sync for the first time, which makes its user online, and return its token."""
    since = str(client.get(SYNC).json["next_batch"])
    work(client.user_id)
    return str(client.get(SYNC, since=since).json["next_batch"])


def push(user_id: str, state: str = "online", **more: Any) -> dict[str, Any]:
    return {"push": [{"user_id": user_id, "presence": state, "last_active_ago": 5_000, **more}]}


def shown(client: Client, since: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = client.get(SYNC, since=since).json.get("presence", {}).get("events", [])
    return [event for event in events if event["sender"] != client.user_id]


def status_of(client: Client, user_id: str) -> Any:
    return client.get(f"/_matrix/client/v3/presence/{segment(user_id)}/status")


# -- In ------------------------------------------------------------------------------------------------------


def test_somebody_elsewhere_comes_and_goes(alice: Client, elsewhere: Elsewhere, wanted: None) -> None:
    since = come(alice)
    elsewhere.tell(push(elsewhere.bob, currently_active=True, status_msg="in the reeds"), kind="m.presence")
    work(elsewhere.bob)
    (event,) = shown(alice, since)
    assert (event["type"], event["sender"]) == ("m.presence", elsewhere.bob)
    assert (event["content"]["presence"], event["content"]["status_msg"]) == ("online", "in the reeds")
    assert status_of(alice, elsewhere.bob).json["presence"] == "online"
    elsewhere.tell(push(elsewhere.bob, "offline"), kind="m.presence")
    work(elsewhere.bob)
    assert shown(alice, since)[-1]["content"]["presence"] == "offline"
    assert status_of(alice, elsewhere.bob).json["presence"] == "offline"


def test_what_isnt_said_anew_is_over_after_half_an_hour(
    alice: Client, elsewhere: Elsewhere, wanted: None
) -> None:
    come(alice)
    elsewhere.tell(push(elsewhere.bob), kind="m.presence")
    one = presence.from_item(presence.read(UserId(elsewhere.bob)))
    now = now_ms()
    assert (one.shown(now), one.shown(now + HALF_HOUR_MS)) == ("online", "offline")


def test_by_default_it_is_not_taken(alice: Client, elsewhere: Elsewhere, room: Mirror) -> None:
    come(alice)
    assert elsewhere.tell(push(elsewhere.bob), kind="m.presence").status == 200
    assert presence.read(UserId(elsewhere.bob)) is None
    assert remote_presence.read_rooms([UserId(elsewhere.bob)]) == {}
    assert status_of(alice, elsewhere.bob).status == 404


def test_nobody_looks_at_somebody_who_is_in_no_room_of_ours(
    alice: Client, elsewhere: Elsewhere, wanted: None
) -> None:
    come(alice)
    stranger = UserId(f"@stranger:{elsewhere.name}")
    with Meter() as meter:
        across.take_presence(ServerName(elsewhere.name), [push(stranger)])
    assert (meter.spent.round_trips, meter.spent.write_units) == (1, 0), str(meter.spent)
    assert presence.read(stranger) is None


def test_what_makes_no_sense_is_ignored(
    alice: Client, elsewhere: Elsewhere, wanted: None, make_elsewhere: Callable[[], Elsewhere]
) -> None:
    come(alice)
    make_elsewhere().tell(push(elsewhere.bob), kind="m.presence")
    for content in ({}, {"push": 5}, {"push": [5, {"user_id": 5}]}, push(elsewhere.bob, "asleep")):
        assert elsewhere.tell(content, kind="m.presence").status == 200
    assert presence.read(UserId(elsewhere.bob)) is None
    strange = push(elsewhere.bob, status_msg=5, last_active_ago="long", currently_active="very")
    elsewhere.tell(strange, kind="m.presence")
    one = presence.from_item(presence.read(UserId(elsewhere.bob)))
    assert (one.status_msg, one.last_active_ms) == (None, 0)


def test_only_those_who_share_the_room_see_it(
    alice: Client,
    elsewhere: Elsewhere,
    room: Mirror,
    wanted: None,
    make_client: Callable[[str], Client],
) -> None:
    carol = make_client("carol")
    come(alice)
    since = come(carol)
    elsewhere.tell(push(elsewhere.bob), kind="m.presence")
    work(elsewhere.bob)
    assert shown(carol, since) == []
    assert status_of(carol, elsewhere.bob).status == 403
    invite(alice, room.room_id, carol)
    join(carol, room.room_id)
    assert status_of(carol, elsewhere.bob).json["presence"] == "online"


def test_the_same_again_costs_no_write(alice: Client, elsewhere: Elsewhere, wanted: None) -> None:
    come(alice)
    across.take_presence(ServerName(elsewhere.name), [push(elsewhere.bob)])
    with Meter() as meter:
        across.take_presence(ServerName(elsewhere.name), [push(elsewhere.bob)])
    # Where Bob is seen, and his presence.
    assert (meter.spent.round_trips, meter.spent.write_units) == (2, 0), str(meter.spent)


# -- Out -----------------------------------------------------------------------------------------------------


def told(elsewhere: Elsewhere) -> list[dict[str, Any]]:
    return [each for content in elsewhere.contents("m.presence") for each in content["push"]]


def test_others_are_told_who_is_online(
    alice: Client, elsewhere: Elsewhere, wanted: None, workers: Workers
) -> None:
    come(alice)
    workers.run()
    (said,) = told(elsewhere)
    assert (said["user_id"], said["presence"], said["currently_active"]) == (alice.user_id, "online", True)
    assert 0 <= said["last_active_ago"] < 60_000
    path = f"/_matrix/client/v3/presence/{segment(str(alice.user_id))}/status"
    assert alice.put(path, {"presence": "unavailable", "status_msg": "tea"}).status == 200
    work(alice.user_id)
    workers.run()
    assert (told(elsewhere)[-1]["presence"], told(elsewhere)[-1]["status_msg"]) == ("unavailable", "tea")


def test_by_default_others_are_not_told(
    alice: Client, elsewhere: Elsewhere, room: Mirror, workers: Workers
) -> None:
    come(alice)
    workers.run()
    assert told(elsewhere) == []


def test_rooms_of_many_servers_are_not_told(
    alice: Client, elsewhere: Elsewhere, wanted: None, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(across, "SERVERS", 0)
    come(alice)
    workers.run()
    assert told(elsewhere) == []


def test_what_others_are_is_not_sent_on(
    alice: Client, elsewhere: Elsewhere, wanted: None, workers: Workers
) -> None:
    come(alice)
    workers.run()
    before = len(told(elsewhere))
    elsewhere.tell(push(elsewhere.bob), kind="m.presence")
    work(elsewhere.bob)
    workers.run()
    assert len(told(elsewhere)) == before


def _written(item: Any, user_id: UserId, minute: int) -> presence.NewPresence:
    return presence.stored_of([{**item, "written_ms": item["changed_ms"] + minute * 60_000}])[user_id]


def test_what_lasts_is_said_anew(alice: Client, wanted: None) -> None:
    """The presence of a user who stays online is written at least every eleven minutes."""
    come(alice)
    user_id = UserId(str(alice.user_id))
    item = presence.read(user_id)
    assert item is not None
    minutes = [
        minute for minute in range(0, 120, 10) if across._is_told(user_id, _written(item, user_id, minute))
    ]
    assert minutes == [0, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]
