"""Requests and workers of federation that stop at each of their writes, and are then repeated.

Each operation is carried out once without interruption, and then for each of its writes in each of the ways
in which one fails. Whoever asked repeats it if there was an error: a client, another server, or the queue.
Everybody has to see the same afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from murmuration import clock
from murmuration.federation.membership import joining
from murmuration.identity import rate_limits
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.rooms.room import Room
from murmuration.storage.rooms import member_index
from murmuration.storage.servers import join_jobs
from murmuration.storage.users import memberships
from tests.faults import fault, ways_to_stop
from tests.federation.asking import Peer
from tests.federation.hosting import Host, HostedRoom
from tests.federation.membership.test_invites import send_invite
from tests.federation.membership.test_joining import join
from tests.in_process import Answer, Client
from tests.rooms.other_servers import current_state, log_ids
from tests.rooms.people import V3, create_room, ok, path

pytestmark = pytest.mark.usefixtures("jobs")
MakeClient = Callable[..., Client]
_PASSING = {"next_batch", "origin_server_ts", "prev_batch", "state", "ts", "unsigned"}
"""What differs where another server took a join that was lost here: the user joins there a second time."""
_EVENT = re.compile(r"\$[\w-]{43}")


@dataclass
class Scene:
    """Alice here, and a host elsewhere with a room and a user, Rory, who may act in Alice's room."""

    make_client: MakeClient
    host: Host
    alice: Client = field(init=False)
    theirs: HostedRoom = field(init=False)
    ours: RoomId = field(init=False)
    since: str = field(init=False)

    def __post_init__(self) -> None:
        self.alice = self.make_client("alice")
        self.theirs = self.host.room("12", rule="knock")
        self.ours = RoomId(create_room(self.alice, preset="public_chat", room_version="12"))
        self.peer = Peer(self.host.remote)
        self.rory = self.peer.user()
        self.server = self.host.remote.name
        self.begin()

    def begin(self) -> None:
        self.since = ok(self.alice.get(f"{V3}/sync"))["next_batch"]

    def invited(self) -> None:
        """Have the host invite Alice."""
        event = self.theirs.member(UserId(self.alice.user_id), "invite", sender=UserId(self.theirs.creator))
        ok(send_invite(self.host, self.theirs, event))
        self.begin()

    def picture(self) -> str:
        """Return everything that Alice is told from now on and after a new login, and the stored items of
        both rooms.

        IDs are replaced by names.
        """
        seen: list[Any] = [ok(self.alice.get(f"{V3}/sync", since=since)) for since in (self.since, None)]
        for room_id in (self.ours, RoomId(self.theirs.room_id)):
            row = memberships.read_membership(UserId(self.alice.user_id), room_id)
            seen.append([row.membership, row.is_outside] if row is not None else None)
            try:
                head = Room.load(room_id).head
            except MatrixError:
                continue
            state = current_state(room_id)
            seen += [sorted(pair[0] for pair in state), len(log_ids(room_id)), len(head.extremities)]
            seen += [sorted(member_index.read_present(head)), member_index.read_servers(head)]
        names = {self.alice.user_id: "alice", self.ours: "ours", self.theirs.room_id: "theirs"}
        text = json.dumps(_lasting(seen))
        for name, shown in names.items():
            text = text.replace(name, shown)
        return _renamed(json.dumps(json.loads(text), indent=1, sort_keys=True))


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in _PASSING}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def _renamed(text: str) -> str:
    """Return the text with event IDs replaced by numbers, in their order."""
    numbers: dict[str, int] = {}
    return _EVENT.sub(lambda found: f"event {numbers.setdefault(found[0], len(numbers))}", text)


Operation = Callable[[Scene], Callable[[], Answer]]


def join_theirs(scene: Scene) -> Callable[[], Answer]:
    scene.theirs.add("m.room.join_rules", {"join_rule": "public"}, "")
    return lambda: join(scene.alice, scene.theirs.room_id, scene.server)


def accept(scene: Scene) -> Callable[[], Answer]:
    scene.invited()
    return lambda: join(scene.alice, scene.theirs.room_id)


def reject(scene: Scene) -> Callable[[], Answer]:
    scene.invited()
    return lambda: scene.alice.post(path(scene.theirs.room_id, "leave"))


def knock(scene: Scene) -> Callable[[], Answer]:
    where = f"{V3}/knock/{scene.theirs.room_id}?via={scene.server}"
    return lambda: scene.alice.post(where, {})


def invite_rory(scene: Scene) -> Callable[[], Answer]:
    return lambda: scene.alice.post(path(scene.ours, "invite"), {"user_id": scene.rory})


def be_invited(scene: Scene) -> Callable[[], Answer]:
    event = scene.theirs.member(UserId(scene.alice.user_id), "invite", sender=UserId(scene.theirs.creator))
    return lambda: send_invite(scene.host, scene.theirs, event)


def rory_joins(scene: Scene) -> Callable[[], Answer]:
    event = scene.peer.complete(scene.peer.make("join", scene.ours, scene.rory))
    return lambda: scene.peer.send("join", scene.ours, event)


def rory_leaves(scene: Scene) -> Callable[[], Answer]:
    ok(scene.peer.go("join", scene.ours, scene.rory))
    scene.begin()
    event = scene.peer.complete(scene.peer.make("leave", scene.ours, scene.rory))
    return lambda: scene.peer.send("leave", scene.ours, event)


def invite_is_taken_back(scene: Scene) -> Callable[[], Answer]:
    from murmuration.federation.membership.rescinding import take_leave

    scene.invited()
    event = scene.theirs.member(UserId(scene.alice.user_id), "leave", sender=UserId(scene.theirs.creator))

    def take() -> Answer:
        take_leave(event.pdu, ServerName(scene.server))
        return Answer(200, {}, b"{}")

    return take


OPERATIONS: tuple[Operation, ...] = (
    join_theirs, accept, reject, knock, invite_rory, be_invited, rory_joins, rory_leaves,
    invite_is_taken_back,
)  # fmt: skip


def _carry_out(operation: Callable[[], Answer]) -> int:
    """Return the status of the answer; 500 if a worker fails."""
    try:
        return operation().status
    except Exception:  # noqa: BLE001 - the queue repeats it whatever it was
        return 500


@pytest.mark.parametrize("prepare", OPERATIONS, ids=lambda it: it.__name__)
def test_what_was_interrupted_and_repeated_is_done_once(
    make_client: MakeClient, host: Host, monkeypatch: pytest.MonkeyPatch, prepare: Operation
) -> None:
    monkeypatch.setattr(joining, "WAIT_SECONDS", 0.2)
    scene = Scene(make_client, host)
    operation = prepare(scene)
    with fault(0) as whole:
        assert _carry_out(operation) == 200
    expected = scene.picture()
    assert whole.writes > 0
    for number, way in ways_to_stop(whole):
        scene = Scene(make_client, host)
        operation = prepare(scene)
        with fault(number, way):
            status = _carry_out(operation)
        if status != 200:
            assert status >= 500, f"write {number} {way.value}"
            with monkeypatch.context() as patch:
                # A join that was begun, and never queued, is begun anew after a minute.
                patch.setattr(rate_limits, "now_ms", lambda: clock.now_ms() + join_jobs.QUEUED_MS + 1)
                assert _carry_out(operation) == 200, f"write {number} of {whole.operations} {way.value}"
        assert scene.picture() == expected, f"write {number} of {whole.operations} {way.value}"
