"""Receipts and read markers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.ephemeral.receipts import receipt_event
from murmuration.storage.live import streams
from tests.in_process import Client, segment
from tests.rooms.people import V3, create_room, leave, ok, path, refused, relate, send

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Content

MakeClient = Callable[..., Client]


def post(client: Client, room_id: str, receipt_type: str, event_id: str, **body: Any) -> Any:
    return client.post(path(room_id, "receipt", receipt_type, event_id), body)


def read_by(viewer: Client, room_id: RoomId) -> Content:
    """Return the content of the m.receipt event with all receipts that the viewer may see."""
    items = streams.read_after(streams.room_stream(room_id), 0)
    items += [
        item
        for item in streams.read_after(streams.user_stream(UserId(viewer.user_id)), 0)
        if item.get("room_id") == room_id
    ]
    event = receipt_event(items, viewer.user_id)
    assert event is None or event["type"] == "m.receipt"
    return event["content"] if event else {}


def read_marker(client: Client, room_id: str) -> Any:
    user = segment(client.user_id)
    return client.get(f"{V3}/user/{user}/rooms/{segment(room_id)}/account_data/m.fully_read")


class TestReceipts:
    def test_receipt_is_known_to_all(self, alice: Client, bob: Client, room_id: RoomId) -> None:
        event_id = send(alice, room_id)
        assert ok(post(bob, room_id, "m.read", event_id)) == {}
        content = read_by(alice, room_id)
        assert set(content[event_id]["m.read"]) == {bob.user_id}
        receipt = content[event_id]["m.read"][bob.user_id]
        assert set(receipt) == {"ts"}

    def test_body_may_be_missing(self, alice: Client, room_id: str) -> None:
        event_id = send(alice, room_id)
        ok(alice.request("POST", path(room_id, "receipt", "m.read", event_id)))

    def test_private_receipts_are_the_owner_s_alone(
        self, alice: Client, bob: Client, room_id: RoomId
    ) -> None:
        event_id = send(alice, room_id)
        ok(post(bob, room_id, "m.read.private", event_id))
        assert set(read_by(bob, room_id)[event_id]) == {"m.read.private"}
        assert read_by(alice, room_id) == {}
        items = streams.read_after(streams.room_stream(room_id), 0)
        assert not any("m.read.private" in str(item) for item in items)
        own = streams.read_after(streams.user_stream(UserId(bob.user_id)), 0)
        assert receipt_event(own, alice.user_id) is None

    def test_receipts_only_move_forward(self, alice: Client, bob: Client, room_id: RoomId) -> None:
        first, second = send(alice, room_id), send(alice, room_id)
        for receipt_type in ("m.read", "m.read.private"):
            ok(post(bob, room_id, receipt_type, second))
            seq = streams.read_head(streams.room_stream(room_id))
            ok(post(bob, room_id, receipt_type, first))
            ok(post(bob, room_id, receipt_type, second))
            assert streams.read_head(streams.room_stream(room_id)) == seq
        assert set(read_by(bob, room_id)) == {second}

    def test_public_receipt_may_lag_behind_the_private_one(
        self, alice: Client, bob: Client, room_id: RoomId
    ) -> None:
        first, second = send(alice, room_id), send(alice, room_id)
        ok(post(bob, room_id, "m.read.private", second))
        ok(post(bob, room_id, "m.read", first))
        assert set(read_by(alice, room_id)) == {first}

    def test_threads_have_receipts_of_their_own(self, alice: Client, bob: Client, room_id: RoomId) -> None:
        root = send(alice, room_id)
        reply = relate(alice, room_id, root, "m.thread")
        reaction = relate(
            alice, room_id, reply, "m.annotation", event_type="m.reaction", relation={"key": "k"}
        )
        last = send(alice, room_id)
        ok(post(bob, room_id, "m.read", last, thread_id="main"))
        ok(post(bob, room_id, "m.read", reply, thread_id=root))
        ok(post(bob, room_id, "m.read", root))
        content = read_by(alice, room_id)
        assert content[last]["m.read"][bob.user_id]["thread_id"] == "main"
        assert content[reply]["m.read"][bob.user_id]["thread_id"] == root
        assert "thread_id" not in content[root]["m.read"][bob.user_id]
        ok(post(bob, room_id, "m.read", reaction, thread_id=root))
        assert reply not in read_by(alice, room_id)

    def test_unthreaded_receipt_goes_before_a_threaded_one(
        self, alice: Client, bob: Client, room_id: RoomId
    ) -> None:
        event_id = send(alice, room_id)
        ok(post(bob, room_id, "m.read", event_id))
        ok(post(bob, room_id, "m.read", event_id, thread_id="main"))
        assert "thread_id" not in read_by(alice, room_id)[event_id]["m.read"][bob.user_id]

    def test_thread_rules(self, alice: Client, room_id: str) -> None:
        root = send(alice, room_id)
        reply = relate(alice, room_id, root, "m.thread")
        other = send(alice, room_id)
        edit = relate(alice, room_id, root, "m.replace")
        for event_id, thread_id in (
            (root, root),
            (root, "main"),
            (other, "main"),
            (edit, root),
            (edit, "main"),
        ):
            ok(post(alice, room_id, "m.read", event_id, thread_id=thread_id))
        invalid: list[tuple[str, Any]] = [
            (reply, "main"),
            (other, root),
            (reply, other),
            (reply, ""),
            (reply, 5),
            (reply, None),
            (reply, "x" * 2000),
        ]
        for event_id, thread_id in invalid:
            refused(post(alice, room_id, "m.read", event_id, thread_id=thread_id), 400, "M_INVALID_PARAM")
        refused(post(alice, room_id, "m.fully_read", root, thread_id="main"), 400, "M_INVALID_PARAM")

    def test_fully_read_is_account_data(self, alice: Client, bob: Client, room_id: RoomId) -> None:
        first, second = send(alice, room_id), send(alice, room_id)
        refused(read_marker(alice, room_id), 404, "M_NOT_FOUND")
        ok(post(alice, room_id, "m.fully_read", second))
        assert ok(read_marker(alice, room_id)) == {"event_id": second}
        ok(post(alice, room_id, "m.fully_read", first))
        assert ok(read_marker(alice, room_id)) == {"event_id": second}
        assert read_by(bob, room_id) == {}

    def test_errors(self, alice: Client, bob: Client, room_id: str, make_client: MakeClient) -> None:
        event_id, elsewhere = send(alice, room_id), send(alice, create_room(alice))
        refused(post(alice, room_id, "m.unknown", event_id), 400, "M_INVALID_PARAM")
        for receipt_type in ("m.read", "m.read.private", "m.fully_read"):
            for unknown in ("$unknown", elsewhere, "$" + "x" * 300):
                refused(post(alice, room_id, receipt_type, unknown), 404, "M_NOT_FOUND")
            refused(post(make_client("eve"), room_id, receipt_type, event_id), 403, "M_FORBIDDEN")
        leave(bob, room_id)
        refused(post(bob, room_id, "m.read", event_id), 403, "M_FORBIDDEN")
        where = path(room_id, "receipt", "m.read", event_id)
        refused(alice.request("POST", where, b"{"), 400, "M_NOT_JSON")
        refused(alice.request("POST", where, b"[]"), 400, "M_BAD_JSON")

    def test_many_at_once_end_at_the_furthest(self, alice: Client, room_id: RoomId) -> None:
        sent = [send(alice, room_id) for _ in range(8)]
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda event_id: post(alice, room_id, "m.read", event_id), sent))
        assert {answer.status for answer in answers} == {200}
        assert set(read_by(alice, room_id)) == {sent[-1]}


class TestReadMarkers:
    def test_all_three_at_once(self, alice: Client, bob: Client, room_id: RoomId) -> None:
        first, second, third = (send(alice, room_id) for _ in range(3))
        body = {"m.fully_read": first, "m.read": second, "m.read.private": third}
        assert ok(bob.post(path(room_id, "read_markers"), body)) == {}
        assert ok(read_marker(bob, room_id)) == {"event_id": first}
        assert set(read_by(alice, room_id)) == {second}
        assert set(read_by(bob, room_id)) == {second, third}

    def test_each_may_be_left_out(self, alice: Client, room_id: str) -> None:
        event_id = send(alice, room_id)
        ok(alice.post(path(room_id, "read_markers"), {}))
        ok(alice.post(path(room_id, "read_markers"), {"m.read": event_id, "m.fully_read": None}))
        refused(read_marker(alice, room_id), 404, "M_NOT_FOUND")

    def test_errors(self, alice: Client, room_id: str, make_client: MakeClient) -> None:
        event_id = send(alice, room_id)
        where = path(room_id, "read_markers")
        refused(alice.post(where, {"m.read": 5}), 400, "M_INVALID_PARAM")
        refused(alice.post(where, {"m.fully_read": "$unknown"}), 404, "M_NOT_FOUND")
        refused(alice.post(where, {"m.fully_read": ""}), 404, "M_NOT_FOUND")
        refused(make_client("eve").post(where, {"m.read": event_id}), 403, "M_FORBIDDEN")
        refused(alice.post(path("!unknown:example.org", "read_markers"), {}), 403, "M_FORBIDDEN")
