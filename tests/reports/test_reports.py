"""Reports of events, rooms and users: who may make them, and what is stored for the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.storage import reports
from murmuration.storage.reports import Report
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, join, leave, ok, path, refused, send

Make = Callable[..., Client]


@pytest.fixture
def room(bob: Client) -> str:
    return create_room(bob, preset="public_chat")


def reported_by(client: Client) -> list[Report]:
    return [report for report in reports.read_all() if report.reporter == client.user_id]


def about_user(user_id: str) -> str:
    return f"{V3}/users/{segment(user_id)}/report"


def test_an_event_by_who_is_in_the_room(alice: Client, bob: Client, room: str) -> None:
    event_id = send(bob, room)
    join(alice, room)
    assert ok(alice.post(path(room, "report", event_id), {"reason": "rude"})) == {}
    assert ok(alice.post(path(room, "report", event_id), {"score": -100})) == {}
    first, second = reported_by(alice)
    assert (first.room_id, first.event_id, first.user_id) == (room, event_id, bob.user_id)
    assert (first.reason, second.reason) == ("rude", "")
    leave(alice, room)
    refused(alice.post(path(room, "report", event_id), {"reason": "rude"}), 404, "M_NOT_FOUND")


def test_no_event_by_who_is_not_in_the_room(alice: Client, bob: Client, room: str) -> None:
    refused(alice.post(path(room, "report", send(bob, room)), {}), 404, "M_NOT_FOUND")
    assert reported_by(alice) == []


@pytest.mark.parametrize("event_id", ["$nothing", "x" * 300])
def test_no_event_that_is_not_in_the_room(alice: Client, bob: Client, room: str, event_id: str) -> None:
    join(alice, room)
    refused(alice.post(path(room, "report", event_id), {}), 404, "M_NOT_FOUND")
    elsewhere = send(bob, create_room(bob, preset="public_chat"))
    refused(alice.post(path(room, "report", elsewhere), {}), 404, "M_NOT_FOUND")


def test_a_room_from_outside(alice: Client, room: str) -> None:
    assert ok(alice.post(path(room, "report"), {"reason": ""})) == {}
    (report,) = reported_by(alice)
    assert (report.room_id, report.event_id, report.user_id, report.reason) == (room, None, None, "")
    refused(alice.post(path("!nowhere", "report"), {"reason": ""}), 404, "M_NOT_FOUND")


def test_a_user(alice: Client, bob: Client) -> None:
    assert ok(alice.post(about_user(bob.user_id), {"reason": "spam"})) == {}
    (report,) = reported_by(alice)
    assert (report.user_id, report.room_id, report.reason) == (bob.user_id, None, "spam")
    refused(alice.post(about_user("@nobody:example.org"), {"reason": ""}), 404, "M_NOT_FOUND")
    refused(alice.post(about_user("bob"), {"reason": ""}), 400, "M_INVALID_PARAM")


def test_a_user_of_another_server(alice: Client) -> None:
    assert ok(alice.post(about_user("@somebody:elsewhere.example"), {"reason": "spam"})) == {}
    (report,) = reported_by(alice)
    assert (report.user_id, report.reason) == ("@somebody:elsewhere.example", "spam")


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"reason": None}, 400, "M_BAD_JSON"),
        ({"reason": 1}, 400, "M_BAD_JSON"),
        ({"reason": "x" * 5_000}, 413, "M_TOO_LARGE"),
        ([], 400, "M_BAD_JSON"),
    ],
)
def test_reasons_are_checked(
    alice: Client, bob: Client, room: str, body: Any, status: int, errcode: str
) -> None:
    for where in (path(room, "report"), about_user(bob.user_id)):
        refused(alice.post(where, body), status, errcode)
    assert reported_by(alice) == []


def test_a_report_is_deleted_once(alice: Client, bob: Client) -> None:
    ok(alice.post(about_user(bob.user_id), {"reason": "spam"}))
    (report,) = reported_by(alice)
    assert reports.delete(report.id)
    assert not reports.delete(report.id)
    assert reported_by(alice) == []
