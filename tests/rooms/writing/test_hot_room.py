"""Many writers in one room at once: every send succeeds, and the log has each event once, without a gap."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from murmuration.protocol.identifiers import RoomId
from murmuration.storage.rooms import room_items
from tests.in_process import Client
from tests.rooms.people import create_room, join, send

WRITERS, EACH = 16, 3


def test_sixteen_writers(make_client: Callable[..., Client]) -> None:
    owner, *others = [make_client(f"writer{number}") for number in range(WRITERS)]
    room_id = RoomId(create_room(owner, preset="public_chat"))
    for other in others:
        join(other, room_id)
    before = room_items.read_head(room_id)
    assert before is not None

    def write(writer: Client) -> list[str]:
        return [send(writer, room_id, str(number)) for number in range(EACH)]

    with ThreadPoolExecutor(WRITERS) as pool:
        sent = [event_id for ids in pool.map(write, [owner, *others]) for event_id in ids]
    log = room_items.read_log(room_id, before.version, after=before.ordinal)
    assert sorted(entry.event.event_id for entry in log) == sorted(sent)
    assert [entry.ordinal for entry in log] == list(
        range(before.ordinal + 1, before.ordinal + 1 + WRITERS * EACH)
    )
