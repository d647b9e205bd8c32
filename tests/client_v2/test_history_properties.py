"""The pages of any room contain each of its events once, in order, and each child in its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.client_v2.streams import paginate
from tests.client_v2.test_history import pages, scroll
from tests.in_process import Client
from tests.rooms.people import create_room, event_ids, send, set_state

NO_SHRINKING = (Phase.explicit, Phase.generate)
KINDS = ("message", "updates", "m.replace", "relates_to", "m.thread", "state")
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 50)), max_size=14)


def content_of(kind: str, parent: str | None) -> dict[str, Any]:
    if parent is None or kind == "message":
        return {"msgtype": "m.text", "body": kind}
    if kind in ("updates", "relates_to"):
        return {"msgtype": "m.text", "body": kind, kind: parent}
    return {"msgtype": "m.text", "body": kind, "m.relates_to": {"rel_type": kind, "event_id": parent}}


def play(client: Client, room_id: str, story: list[tuple[str, int]]) -> list[tuple[str, str, str | None]]:
    """Carry out random actions, and return what was sent: (event ID, kind, parent)."""
    sent: list[tuple[str, str, str | None]] = []
    for number, (kind, pick) in enumerate(story):
        if kind == "state":
            sent.append((set_state(client, room_id, "org.example.x", {"n": number}), kind, None))
            continue
        # A thread can't begin with an event that relates to another.
        parents = ("message",) if kind == "m.thread" else ("message", "relates_to")
        alone = [event_id for event_id, its_kind, _ in sent if its_kind in parents]
        parent = alone[pick % len(alone)] if alone and kind != "message" else None
        kind = kind if parent is not None else "message"
        sent.append((send(client, room_id, content_of(kind, parent)), kind, parent))
    return sent


@settings(
    max_examples=20,
    deadline=None,
    phases=NO_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(story=steps, size=st.integers(1, 9))
def test_pages_have_everything_once(
    make_client: Callable[..., Client], story: list[tuple[str, int]], size: int
) -> None:
    alice = make_client("alice")
    room_id = create_room(alice)
    start = event_ids(scroll(alice, room_id, max=100))
    sent = play(alice, room_id, story)
    alone = [event_id for event_id, kind, _ in sent if kind not in ("updates", "m.replace")]
    events = scroll(alice, room_id, max=size, replies=50)
    assert event_ids(events) == start + alone
    overview = pages(alice, room_id, max=size)
    read = [
        event_ids(paginate(alice, room_id, token=each, max=size)["events"]) for each in overview["tokens"]
    ]
    assert [event_id for page in read for event_id in page] == start + alone
    assert overview["total"] == len(start + alone)
    for event in events:
        of = [(event_id, kind) for event_id, kind, parent in sent if parent == event["event_id"]]
        updates = [event_id for event_id, kind in of if kind in ("updates", "m.replace")]
        replies = [event_id for event_id, kind in of if kind not in ("updates", "m.replace")]
        assert event_ids(event.get("updated_by", [])) == updates
        assert event_ids(event.get("replies", {}).get("chunk", [])) == replies
