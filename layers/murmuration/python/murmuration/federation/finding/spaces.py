"""Summaries of rooms that this server isn't in, and of the rooms below spaces, from other servers.

One request to another server, `hierarchy`, answers both. Its answers are kept for five minutes for all users,
so whether a user may see a room is checked for each user.
https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.federation.finding.entries import is_sendable, summary_of
from murmuration.federation.requests import client
from murmuration.federation.requests.errors import Malformed, RequestFailed
from murmuration.federation.requests.threads import side_by_side
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import SPACE_CHILD
from murmuration.protocol.identifiers import RoomId, ServerName, is_valid_room_id, is_valid_user_id
from murmuration.protocol.sizes import Budget, json_bytes
from murmuration.rooms.reading.summaries import MOST_CHILDREN, SPACE, in_order, is_child
from murmuration.storage.servers import space_answers
from murmuration.transport.deadlines import Deadline

if TYPE_CHECKING:
    from murmuration.federation.shapes import HierarchyAnswer, SpaceChildContent
    from murmuration.protocol.encoding.shapes import JsonObject, StrippedState, Untrusted
    from murmuration.rooms.json_types import RoomSummary, SpaceRoom

LIFETIME_S = 300
FAILURE_LIFETIME_S = 60
SECONDS = 6.0
"""The time limit for one server, after which the next one is asked."""
MOST_SERVERS = 3
"""How many servers are asked about one room."""
AT_ONCE = 10
MAX_BYTES = 2 * 1024 * 1024
MOST_CHILDREN_BYTES = 1_000_000
MOST_VIA = 10


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """A room as another server describes it: its summary with `children_state`, the summaries of its children
    by room ID, and the IDs of children that this server's users may not see.
    """

    room: SpaceRoom
    children: Mapping[RoomId, RoomSummary] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()

    @classmethod
    def from_stored(cls, stored: JsonObject) -> RemoteSpace | None:
        """Return the space that `to_stored` stored; None for the empty object, which means that there was no
        answer.
        """
        if not stored:
            return None
        children = {child["room_id"]: child for child in stored["children"]}
        return cls(stored["room"], children, frozenset(stored["inaccessible_children"]))

    def to_stored(self) -> HierarchyAnswer:
        return {
            "room": self.room,
            "children": list(self.children.values()),
            "inaccessible_children": sorted(self.inaccessible),
        }


def known_spaces(room_ids: Sequence[RoomId]) -> dict[RoomId, RemoteSpace | None]:
    """Return the stored answers about these rooms, by room ID. One round trip.

    The value is None if no server had an answer. Rooms without a stored answer are missing.
    """
    stored = space_answers.read(list(dict.fromkeys(room_ids))) if room_ids else {}
    return {room_id: RemoteSpace.from_stored(each) for room_id, each in stored.items()}


def ask(
    wanted: Mapping[RoomId, Sequence[ServerName]], deadline: Deadline
) -> dict[RoomId, RemoteSpace | None]:
    """Return other servers' answers about rooms, by room ID. For each room its servers are asked in turn.

    Up to ten rooms are asked about at once. The value is None if no server had an answer. A room that wasn't
    reached before the deadline is missing. Answers are stored.
    """
    if not wanted:
        return {}
    found = side_by_side(partial(_ask_about, deadline), list(wanted.items()), most=AT_ONCE)
    answered = {room_id: answer for room_id, answer, done in found if done}
    concurrency.parallel(*(partial(_keep, room_id, answer) for room_id, answer in answered.items()))
    return answered


def _keep(room_id: RoomId, answer: RemoteSpace | None) -> None:
    stored: JsonObject = answer.to_stored() if answer is not None else {}
    space_answers.write(room_id, stored, LIFETIME_S if answer is not None else FAILURE_LIFETIME_S)


def _ask_about(
    deadline: Deadline, wanted: tuple[RoomId, Sequence[ServerName]]
) -> tuple[RoomId, RemoteSpace | None, bool]:
    """Return a room's ID, the answer about it, and whether all servers that should be asked were asked."""
    room_id, servers = wanted
    for server in servers[:MOST_SERVERS]:
        if deadline.is_over():
            return room_id, None, False
        path = client.path("_matrix", "federation", "v1", "hierarchy", room_id)
        try:
            answer = client.request(
                server, "GET", path, query={"suggested_only": False}, max_bytes=MAX_BYTES, for_user=True,
                seconds=deadline.left(SECONDS),
            )  # fmt: skip
            return room_id, _parse(room_id, answer), True
        except (RequestFailed, MatrixError):
            continue
    return room_id, None, True


def _parse(room_id: RoomId, answer: Untrusted) -> RemoteSpace:
    """Return an answer with only the specification's fields. Raises Malformed if it's about another room."""
    told = answer.get("room")
    room = summary_of(told)
    if room is None or not isinstance(told, dict) or room["room_id"] != room_id:
        raise Malformed("The answer is not about the room")
    state = _children_state(told.get("children_state")) if room.get("room_type") == SPACE else []
    named = {child["state_key"] for child in state}
    listed = answer.get("children")
    summaries = [summary_of(each) for each in listed[:MOST_CHILDREN]] if isinstance(listed, list) else []
    children = {each["room_id"]: each for each in summaries if each is not None and each["room_id"] in named}
    hidden = answer.get("inaccessible_children")
    inaccessible = frozenset(
        each
        for each in (hidden if isinstance(hidden, list) else ())
        if isinstance(each, str) and each in named
    )
    return RemoteSpace({**room, "children_state": state}, children, inaccessible)


def _children_state(told: object) -> list[StrippedState]:
    """Return the m.space.child events of an answer, with the fields that matter, as many as fit."""
    events = [
        child for each in (told if isinstance(told, list) else ()) if (child := _child(each)) is not None
    ]
    unique = {child["state_key"]: child for child in events}
    budget = Budget(MOST_CHILDREN_BYTES)
    return [child for child in in_order(unique.values()) if budget.take(json_bytes(child))]


def _child(told: object) -> StrippedState | None:
    if not isinstance(told, dict) or told.get("type") != SPACE_CHILD:
        return None
    room_id, sender, content = told.get("state_key"), told.get("sender"), told.get("content")
    sent_ms = told.get("origin_server_ts")
    if not is_sendable(room_id) or not is_valid_room_id(room_id):
        return None
    if not is_sendable(sender) or not is_valid_user_id(sender) or not isinstance(content, dict):
        return None
    if not isinstance(sent_ms, int) or isinstance(sent_ms, bool) or not 0 <= sent_ms < 2**53:
        return None
    if not is_child(content, suggested_only=False):
        return None
    via = [server for server in content["via"] if len(server) <= 255 and is_sendable(server)][:MOST_VIA]
    order = content.get("order")
    kept: SpaceChildContent = {"via": via}
    if is_sendable(order) and len(order) <= 50:
        kept["order"] = order
    if content.get("suggested") is True:
        kept["suggested"] = True
    return {
        "type": SPACE_CHILD,
        "state_key": room_id,
        "content": kept,
        "sender": sender,
        "origin_server_ts": sent_ms,
    }
