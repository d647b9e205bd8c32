"""Malformed EDUs are ignored, and valid ones beside them are processed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from murmuration.identity import rate_limits
from tests.federation.devices.elsewhere import Elsewhere
from tests.federation.devices.test_ephemera import ephemeral, receipt_edu, type_edu, typing, waiting
from tests.federation.devices.test_messages import inbox
from tests.federation.devices.test_presence import come, push, shown, wanted, work
from tests.federation.devices.test_tracking import devices, query
from tests.federation.peers import Worker
from tests.federation.spoiling import renamed, spoilt
from tests.in_process import Client
from tests.keys.crypto import CrossSigning
from tests.rooms.other_servers import Mirror
from tests.rooms.people import send

__all__ = ["waiting", "wanted"]
AT_ONCE = 100


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn limits off, since malformed EDUs count toward the limits as well."""
    limits = {name: replace(limit, burst=100_000) for name, limit in rate_limits.LIMITS.items()}
    monkeypatch.setattr(rate_limits, "LIMITS", limits)


@pytest.fixture
def pour(elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Send a valid content, then all variants with one part spoilt, then another valid one."""

    def send_all(kind: str, first: dict[str, Any], last: dict[str, Any]) -> None:
        contents = [first, *spoilt(first), *renamed(first), last]
        assert len(contents) > 50
        for start in range(0, len(contents), AT_ONCE):
            some = contents[start : start + AT_ONCE]
            answer = elsewhere.tell(*some, kind=kind)
            assert (answer.status, answer.json) == (200, {"pdus": {}}), answer.body

    with caplog.at_level(logging.ERROR):
        yield send_all
    assert caplog.records == [], "no consumer stumbles"


def test_messages_to_devices(alice: Client, elsewhere: Elsewhere, pour: Any) -> None:
    first, last = (elsewhere.message({alice.user_id: {"ALICE": {"n": n}}}) for n in ("first", "last"))
    pour("m.direct_to_device", first, last)
    found = inbox(alice)
    assert (found[0], found[-1]) == ({"n": "first"}, {"n": "last"})


@pytest.mark.usefixtures("room")
def test_updates_of_devices(alice: Client, elsewhere: Elsewhere, worker: Worker, pour: Any) -> None:
    elsewhere.log_in("LAPTOP")
    assert devices(alice, elsewhere.bob) == {"LAPTOP"}
    pour("m.device_list_update", elsewhere.log_in("PHONE", "Phone"), elsewhere.log_in("TABLET"))
    worker.run()
    assert devices(alice, elsewhere.bob) == {"LAPTOP", "PHONE", "TABLET"}


@pytest.mark.usefixtures("room")
def test_signing_keys(alice: Client, elsewhere: Elsewhere, worker: Worker, pour: Any) -> None:
    elsewhere.log_in("LAPTOP")
    query(alice, elsewhere.bob)
    keys = CrossSigning(elsewhere.bob)
    elsewhere.signing = {name: keys.key(name) for name in ("master", "self_signing")}
    content = {"user_id": elsewhere.bob, **{f"{name}_key": key for name, key in elsewhere.signing.items()}}
    pour("m.signing_key_update", content, content)
    worker.run()
    assert query(alice, elsewhere.bob)["master_keys"] == {elsewhere.bob: keys.key("master")}


@pytest.mark.usefixtures("waiting")
def test_typing(alice: Client, elsewhere: Elsewhere, room: Mirror, pour: Any) -> None:
    pour("m.typing", type_edu(room, elsewhere.bob, is_typing=False), type_edu(room, elsewhere.bob))
    assert typing(alice, room.room_id) == [elsewhere.bob]


def test_receipts(alice: Client, elsewhere: Elsewhere, room: Mirror, pour: Any) -> None:
    first, last = send(alice, room.room_id), send(alice, room.room_id)
    pour(
        "m.receipt",
        receipt_edu(room, elsewhere.bob, first, thread_id="main"),
        receipt_edu(room, elsewhere.bob, last),
    )
    found = ephemeral(alice, room.room_id, "m.receipt")
    assert elsewhere.bob in found[first]["m.read"]
    assert elsewhere.bob in found[last]["m.read"]


@pytest.mark.usefixtures("wanted")
def test_presence(alice: Client, elsewhere: Elsewhere, pour: Any) -> None:
    since = come(alice)
    first, last = (push(elsewhere.bob, status_msg=text, currently_active=True) for text in ("first", "last"))
    pour("m.presence", first, last)
    work(elsewhere.bob)
    assert [event["content"]["status_msg"] for event in shown(alice, since)] == ["last"]
