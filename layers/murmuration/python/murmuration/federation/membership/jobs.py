"""The work of joining a room through other servers. A worker does it, because it may take minutes.

Each step is safe to repeat: a server accepts the same user's join again, and nothing is stored twice.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.aws import queues
from murmuration.aws.calls import ServiceError
from murmuration.clock import now_ms
from murmuration.federation.membership import handshakes
from murmuration.federation.membership.answers import Entry, check_answer
from murmuration.federation.membership.entering import enter
from murmuration.federation.membership.failures import first_answer
from murmuration.federation.membership.joining import QUEUE
from murmuration.federation.membership.limits import (
    RoomTooLarge,
    check_complexity,
    check_members,
    limit_for,
)
from murmuration.federation.requests.errors import RequestFailed
from murmuration.identity import patience, rate_limits, turns
from murmuration.protocol.errors import GatewayTimeout, MatrixError
from murmuration.protocol.event_types import CREATE_KEY
from murmuration.rooms.lifecycle.upgrades import follow_upgrade
from murmuration.storage.servers import join_jobs
from murmuration.storage.servers.join_jobs import Job
from murmuration.transport.deadlines import Deadline
from murmuration.transport.errors import TimedOut

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, ServerName, UserId

CLAIM_MS = 60_000
"""After this time another worker may take over a job, because its worker has died."""
TOTAL_SECONDS = 300.0
"""The time limit for asking servers one after another. The last one may use its own time limit in
addition."""
AGAIN_SECONDS = 20
"""How long a join waits before it is tried again if it gets no turn."""
MOST_AGAIN = 15
"""How often a join may be put off for lack of a turn. Then it fails."""
RENEWED_SECONDS = 15.0
"""How often a living worker renews its claim: some renewals fail, and the worker is busy at times."""


class JoinMessage(TypedDict):
    """A message of the queue `remote-joins`: a join to carry out, or the attempt number of a leave.

    `again` is how often the join was put off.
    """

    user_id: UserId
    room_id: RoomId
    leave: NotRequired[int]
    again: NotRequired[int]


def run(user_id: UserId, room_id: RoomId, again: int = 0) -> None:
    """Do a job, unless it has ended or another worker has claimed it.

    A join that takes long and gets no turn is put off and tried again; `again` is how often that was. The
    outcome is stored for the requests that wait. An unexpected error is raised after that.
    """
    now = now_ms()
    job = join_jobs.claim(user_id, room_id, now, now + CLAIM_MS)
    if job is None:
        return
    log = logging.getLogger("murmuration.federation")
    log.warning("join begun: room=%s servers=%d", room_id, len(job.servers))
    turn, time_ms = turns.Turn(user_id), job.begun_ms
    try:
        if again:
            time_ms = 0  # while nothing is taken
            time_ms = turns.take_time(user_id)
        with _held(job):
            join(job, turn)
    except MatrixError as error:
        if turn.must_wait and again < MOST_AGAIN:
            join_jobs.put_back(job, now_ms())
            message = JoinMessage(user_id=user_id, room_id=room_id, again=again + 1)
            queues.send_later(QUEUE, message, AGAIN_SECONDS)
            return
        log.warning("join failed: room=%s ms=%d error=%s", room_id, now_ms() - now, error)
        join_jobs.finish(job, "failed", {"status": error.status, "body": error.body()})
    except Exception:
        body = {"errcode": "M_UNKNOWN", "error": "The room could not be joined"}
        join_jobs.finish(job, "failed", {"status": 500, "body": body})
        raise
    else:
        log.warning("join done: room=%s ms=%d", room_id, now_ms() - now)
        join_jobs.finish(job, "joined")
    finally:
        turn.return_turn()
        if time_ms:
            turns.give_back(user_id, time_ms, turn.passed_s)
        if not turn.must_wait or again >= MOST_AGAIN:
            rate_limits.give_back("remote_join", user_id, job.begun_ms)


@contextmanager
def _held(job: Job) -> Iterator[None]:
    """Renew the claim of a job until the block ends, in a thread that dies with the worker."""
    is_over = threading.Event()

    def renew() -> None:
        while not is_over.wait(RENEWED_SECONDS):
            with suppress(ServiceError):
                join_jobs.renew(job, now_ms() + CLAIM_MS)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(renew,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def join(job: Job, turn: turns.Turn) -> None:
    """Join the room through the first server that allows it. Raises MatrixError.

    The `turn` limits the time of waiting for servers. An answer that arrived is stored in any case.
    """
    most, deadline = limit_for(job.room_id), Deadline(TOTAL_SECONDS)

    def by(server: ServerName) -> Entry:
        seconds = deadline.left(handshakes.JOIN_SECONDS)
        check_complexity(server, job.room_id, most)
        event = handshakes.make(server, "join", job.room_id, job.user_id, job.content)
        answer = handshakes.send(server, "join", event, seconds=seconds, max_bytes=handshakes.MAX_JOIN_BYTES)
        found = check_answer(answer, event)
        try:
            check_members(found, most)
        except RoomTooLarge:
            _leave([server, *job.servers], job)
            raise
        return found

    try:
        with patience.bounded(turn):
            entry = first_answer(job.servers, by, final=(RoomTooLarge,))
    except TimedOut as error:
        raise GatewayTimeout("The servers in the room took too long") from error
    create = entry.events[entry.state[CREATE_KEY]]
    if "predecessor" in create.content:
        follow_upgrade(job.user_id, create)
    enter(entry, afresh=job.afresh)


def _leave(servers: Sequence[ServerName], job: Job) -> None:
    """Leave a room that turned out to be too large; if that fails, it is tried again later."""

    def by(server: ServerName) -> None:
        event = handshakes.make(server, "leave", job.room_id, job.user_id, {})
        handshakes.send(server, "leave", event)

    with suppress(MatrixError, RequestFailed):
        first_answer(dict.fromkeys(servers), by)
