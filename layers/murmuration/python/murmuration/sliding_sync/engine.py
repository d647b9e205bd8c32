"""Sliding sync: the updates for a connection, at once if there are any, else as soon as there are.

https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.identity.tokens import AccessToken
from murmuration.presence.status import note_visit
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.sliding.requests import SlidingRequest
from murmuration.sliding_sync import devices, marks
from murmuration.sliding_sync.assembly import SlidingAnswer, assemble
from murmuration.sliding_sync.look import Look, is_unchanged, look
from murmuration.storage.live import listeners, sliding_positions
from murmuration.storage.live.listeners import KEYS_LETTER, Wait
from murmuration.sync import waiting
from murmuration.sync.marks import LIFETIME_S, OVERHANG_S, SHORTEST_TIMEOUT_MS, end_of

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import SlidingSyncAnswer

RENEWED_AFTER_MS = 10 * 86_400_000
"""A row that is still used after this time is stored again, so that it doesn't expire."""


def sliding_sync(
    token: AccessToken, request: SlidingRequest, asking: marks.Asking | None = None
) -> SlidingSyncAnswer:
    """Return the answer to a request. Stored updates aren't removed before a request with the answer's pos
    comes.

    With `asking`, the answer may have a marked pos, with which the client waits without a function. Raises
    UnknownToken, UnknownPos, InvalidParam, LimitExceeded if too many requests wait and there are no updates,
    Unavailable.
    """
    return _SlidingSync(token, request, asking).run()


class _SlidingSync:
    """Handles one request: like /sync, it registers for a wait while it looks for the first time.

    The `pos` of a client that was called shows where it was parked. It is registered for its next wait in
    parallel with the first of its reads, as in /sync. If a client comes from a place that hasn't been rung,
    because its request has changed or it was away, it continues to wait there: it is registered already, so
    one look finds everything.
    """

    def __init__(self, token: AccessToken, request: SlidingRequest, asking: marks.Asking | None) -> None:
        self.token = token
        self.request = request
        self.deadline = waiting.deadline_of(request.timeout_ms)
        self.patient = request.pos is not None and request.timeout_ms > 0
        self.place = marks.place(request.pos)
        self.asking = asking if asking is not None and self._may_park(asking) else None
        self.wait: Wait | None = None
        self.stood = False
        """Whether an earlier request registered the wait. Its client may still come back to it."""
        self.refused = False
        self.waited = False
        self.looked_since = False

    def _may_park(self, asking: marks.Asking) -> bool:
        pos, timeout_ms = self.request.pos, self.request.timeout_ms
        return (
            pos is not None
            and timeout_ms >= SHORTEST_TIMEOUT_MS
            and not marks.is_refusal(pos)
            and bool(asking.digest)
            and not asking.should_wait(pos, timeout_ms)
        )

    def run(self) -> SlidingSyncAnswer:
        request = self.request
        try:
            found, _ = concurrency.gather(
                functools.partial(look, self.token, request),
                self._register_ahead,
                at_once=self._comes_by_call(),
            )
        except MatrixError:
            self._give_up()
            raise
        beside: list[Callable[[], object]] = [functools.partial(self._note_visit, found)]
        if self.wait is not None:
            beside.append(functools.partial(self._look_again, found))
        elif not self._stands(found) and self.patient and not self._comes_by_call():
            beside.append(functools.partial(self._register, found))
        late = self.patient and self.wait is None
        answer = assemble(request, found, late=late, beside=beside)
        if request.to_device:
            devices.acknowledge(found, devices.place_in_messages(request.to_device_since))
        while self.patient and not answer.is_new:
            if self.wait is None and not self.refused:
                self._register(found)
            if self.wait is None:
                waiting.check_empty_answer(request.timeout_ms, has_waited=self.waited)
                break
            if self.looked_since and self.wait.kept:
                if self._quiet(found, answer):
                    break
                self._hold_instead()
                continue
            if self.looked_since:
                self.waited = True
                goes_on, self.wait, _ = waiting.hold(self.wait, answer.changes_ms, self.deadline)
                if not goes_on:
                    break
            found = look(self.token, request, found)
            answer = assemble(request, found)
            self.looked_since = True
        return self._answer(found, answer)

    def _note_visit(self, found: Look) -> None:
        note_visit(self.token.user_id, self.token.device_id, self.request.set_presence, found.facts.presence)

    def _comes_by_call(self) -> bool:
        return self.asking is not None and self.place is not None and marks.is_call(self.request.pos)

    def _register_ahead(self) -> None:
        """Register the next wait of a client that was called, if the next slot is free."""
        place, of_keys = self.place, self.request.is_of_keys
        if place is None or not self._comes_by_call() or place.slot.startswith(KEYS_LETTER) is not of_keys:
            return
        registered = waiting.register_next(self.token, place, LIFETIME_S + OVERHANG_S)
        self.wait = registered.wait if registered is not None else None

    def _look_again(self, found: Look) -> None:
        """Check after the registration whether the data that was read in parallel has changed since."""
        self.looked_since = is_unchanged(found)

    def _stands(self, found: Look) -> bool:
        """Continue the wait at the place where the client was parked, if that wait stands. Returns whether it
        does.
        """
        if self.asking is not None and self.place is not None and not self._comes_by_call():
            self.wait = waiting.standing(
                self.token, found.listener, self.place, of_keys=self.request.is_of_keys
            )
            self.stood = self.looked_since = self.wait is not None
        return self.stood

    def _register(self, found: Look) -> None:
        """Register a parked wait if that is possible, else a held one."""
        self.looked_since = False
        if self.asking is not None:
            letter = marks.slot_letter(found.connection.number, of_keys=self.request.is_of_keys)
            lifetime = LIFETIME_S + OVERHANG_S
            self.wait = waiting.register(found.requester, found.listener, "parked", lifetime, letter=letter)
        elif self.place is not None and marks.is_refusal(self.request.pos):
            waiting.ensure_place(self.token, self.place)
        if self.wait is None:
            seconds = self.deadline - time.monotonic()
            self.wait = waiting.register(found.requester, found.listener, "held", seconds)
        self.refused = self.wait is None

    def _hold_instead(self) -> None:
        """Release a parked wait whose client can't be parked. The next one is held."""
        if not self.stood:
            self._give_up()
        self.wait, self.asking, self.stood = None, None, False

    def _answer(self, found: Look, answer: SlidingAnswer) -> SlidingSyncAnswer:
        quiet = self._quiet(found, answer)
        pos, _ = concurrency.gather(
            functools.partial(self._pos, found, answer),
            functools.partial(self._release, answer, parks=bool(quiet)),
            at_once=self.wait is not None,
        )
        if quiet and self.wait is not None and self.asking is not None:
            until = min(self.wait.until - OVERHANG_S, end_of(answer.changes_ms))
            pos = marks.mark(pos, self.wait, self.asking, until, quiet)
        return answer.as_json(pos)

    def _quiet(self, found: Look, answer: SlidingAnswer) -> str:
        """Return the next answer if there are no updates; empty if the client isn't to be parked.

        It isn't parked if something was left for the next look, or if the next request's body will change
        because of this answer: a client that gets a new number of rooms, or to-device messages, will send
        another body.
        """
        before = found.place.state.counts if found.place is not None else None
        if (
            self.wait is None
            or not self.wait.kept
            or not self.looked_since
            or answer.is_partial
            or before != answer.counts
            or answer.moves_messages(self.request.to_device_since)
        ):
            return ""
        return marks.quiet(answer.when_quiet())

    def _pos(self, found: Look, answer: SlidingAnswer) -> str:
        """Return the answer's pos: that of the request if the client's state is unchanged."""
        place = found.place
        if place is not None and place.state == answer.state and _is_fresh(place.state.written_ms):
            return place.pos
        return sliding_positions.write(found.connection, place, answer.state)

    def _release(self, answer: SlidingAnswer, *, parks: bool) -> None:
        """Release the wait's slot if no client will wait on it. A wait that was held to its end needs no
        release.
        """
        if self.wait is None or parks or self.stood:
            return
        if self.wait.kept or answer.is_new or not self.looked_since:
            self._give_up()

    def _give_up(self) -> None:
        if self.wait is not None:
            listeners.release(self.wait)
            self.wait = None


def _is_fresh(written_ms: int) -> bool:
    return now_ms() - written_ms < RENEWED_AFTER_MS
