"""Connections: a place stays good until the next one is used, and what is kept is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import sliding_positions
from murmuration.storage.live.positions import Positions, RoomPosition
from murmuration.storage.live.sliding_positions import (
    CONNECTIONS,
    ROWS,
    ConnectionState,
    KeyPosition,
    Shown,
)
from tests.in_process import Client
from tests.logged_in import log_in
from tests.rooms.people import V3, create_room, ok, refused, send
from tests.sliding_sync.client import Sliding, bodies

Make = Callable[..., Client]


def rows_of(client: Client) -> list[dict[str, Any]]:
    items = dynamodb.query("sync-tokens", "user_id = :user", {":user": client.user_id})
    return [item for item in items if item["token"].startswith("l_")]


class TestPlaces:
    def test_an_answer_that_was_given_up_is_given_again(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice)
        sliding.sync()
        send(alice, room_id, "one")
        for _ in range(3 * ROWS):
            assert bodies(sliding.peek()["rooms"][room_id]) == ["one"]
        send(alice, room_id, "two")
        section = sliding.room(room_id)
        assert (bodies(section), section["limited"]) == (["two"], True)
        assert sliding.sync()["rooms"] == {}

    def test_late_answers_to_an_old_place_do_no_harm(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice)
        old = sliding.sync()["pos"]
        send(alice, room_id, "one")
        for number in range(2 * ROWS):
            sliding.ask(pos=old)
            send(alice, room_id, str(number))
            assert bodies(sliding.room(room_id)) == [str(number)]

    def test_the_place_stays_where_nothing_is_new(self, alice: Client) -> None:
        create_room(alice)
        sliding = Sliding(alice)
        pos = sliding.sync()["pos"]
        assert sliding.sync()["pos"] == pos

    @pytest.mark.parametrize("pos", ["nonsense", "l0.0.abcdefghijkl", "s_abcdefghijkl", "l9.9.abcdefghijkl"])
    def test_unknown_ones_are_refused(self, alice: Client, pos: str) -> None:
        Sliding(alice).sync()
        refused(Sliding(alice).ask(pos=pos), 400, "M_UNKNOWN_POS")

    def test_another_connections_or_devices_is_refused(self, alice: Client, make_client: Make) -> None:
        pos = Sliding(alice).sync()["pos"]
        refused(Sliding(alice, "other").ask(pos=pos), 400, "M_UNKNOWN_POS")
        refused(Sliding(log_in(UserId(alice.user_id), DeviceId("PHONE"))).ask(pos=pos), 400, "M_UNKNOWN_POS")
        refused(Sliding(make_client("bob")).ask(pos=pos), 400, "M_UNKNOWN_POS")

    def test_an_expired_one_is_refused(self, alice: Client) -> None:
        sliding = Sliding(alice)
        sliding.sync()
        for row in rows_of(alice):
            dynamodb.execute(dynamodb.put("sync-tokens", {**row, "expires": 1}))
        refused(sliding.ask(), 400, "M_UNKNOWN_POS")
        sliding.pos = None
        sliding.sync()

    def test_one_that_is_used_for_long_is_stored_anew(self, alice: Client) -> None:
        sliding = Sliding(alice)
        pos = sliding.sync()["pos"]
        for row in rows_of(alice):
            if "generation_ms" in row:
                dynamodb.execute(dynamodb.put("sync-tokens", {**row, "generation_ms": 1}))
        assert sliding.sync()["pos"] != pos

    def test_beginning_anew_tells_all_again(self, alice: Client) -> None:
        room_id = create_room(alice)
        sliding = Sliding(alice)
        sliding.sync()
        sliding.pos = None
        assert sliding.room(room_id)["initial"] is True


class TestBounds:
    def test_so_many_places_are_kept(self, alice: Client) -> None:
        room_id = create_room(alice)
        slidings = [Sliding(alice, f"c{number}") for number in range(CONNECTIONS + 3)]
        for sliding in slidings:
            sliding.sync()
        for _ in range(ROWS + 2):
            send(alice, room_id, "x")
            slidings[-1].sync()
        assert len(rows_of(alice)) <= CONNECTIONS * ROWS + 1
        refused(slidings[0].ask(), 400, "M_UNKNOWN_POS")
        slidings[-2].sync()

    def test_connections_do_not_disturb_each_other(self, alice: Client) -> None:
        room_id = create_room(alice)
        slidings = [Sliding(alice, name) for name in ("encryption", "room-list", "notifications")]
        for sliding in slidings:
            assert sliding.room(room_id)["initial"] is True
        send(alice, room_id, "one")
        for sliding in slidings:
            assert bodies(sliding.room(room_id)) == ["one"]

    def test_what_does_not_fit_is_told_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sliding_positions, "MOST_BYTES", 1_000)
        state = ConnectionState()
        for number in range(200):
            state.positions.rooms[f"room{number}"] = RoomPosition(number, number)
            state.shown[f"room{number}"] = Shown(1, 1, 1)
        kept = ConnectionState.load(state.dump(), 0)
        assert 0 < len(kept.positions.rooms) < 200
        assert set(kept.shown) == set(kept.positions.rooms)
        assert "room199" in kept.shown
        assert "room0" not in kept.shown

    def test_all_that_is_stored_comes_back(self) -> None:
        state = ConnectionState(
            Positions(rooms={"a": RoomPosition(7, 8, {"main": (1, 0)}, ("abcdefgh",))}, user=4),
            {"a": Shown(20, 3, 9, is_whole=True, is_miscounted=True), "b": Shown(1, 1, 1, True, False, True)},
            {3: "[]"},
            {"a": KeyPosition(1, 2, 3)},
            {"list": 4},
            "data##m.x",
            5,
        )
        assert ConnectionState.load(state.dump(), 5) == state
        state.key_rooms, state.account_data_from = None, None
        assert ConnectionState.load(state.dump(), 5) == state


class TestTheEnd:
    def test_logging_out_ends_them(self, alice: Client) -> None:
        phone = log_in(UserId(alice.user_id), DeviceId("PHONE"))
        sliding, other = Sliding(phone), Sliding(alice)
        sliding.sync()
        other.sync()
        ok(phone.post(f"{V3}/logout"))
        refused(sliding.ask(), 401, "M_UNKNOWN_TOKEN")
        assert {row["device_id"] for row in rows_of(alice) if "device_id" in row} == {alice.device_id}
        refused(
            Sliding(log_in(UserId(alice.user_id), DeviceId("PHONE"))).ask(pos=sliding.pos),
            400,
            "M_UNKNOWN_POS",
        )
        other.sync()
