"""Sliding sync: what is new for a connection, at once if there is something, else as soon as something
comes.

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
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.sliding.requests import SlidingRequest
from murmuration.sliding_sync import devices
from murmuration.sliding_sync.assembly import SlidingAnswer, assemble
from murmuration.sliding_sync.look import Look, look
from murmuration.storage.live import listeners, sliding_positions
from murmuration.storage.live.listeners import Wait
from murmuration.sync import waiting

if TYPE_CHECKING:
    from murmuration.sliding_sync.json_types import SlidingSyncAnswer

MAXIMUM_TIMEOUT_MS = 25_000
"""API Gateway gives up after 29 s."""
SHORTEST_TIMEOUT_MS = 1_000
"""If no wait is possible, a request with a shorter timeout gets an empty answer instead of an error."""
RENEWED_AFTER_MS = 10 * 86_400_000
"""A row that is still used after this time is stored anew, so that it doesn't expire."""


def sliding_sync(token: AccessToken, request: SlidingRequest) -> SlidingSyncAnswer:
    """Answer a request. Everything that was shown counts as new until the client sends the answer's `pos`.

    Raises UnknownToken, UnknownPos, InvalidParam, Unavailable, and LimitExceeded if too many requests wait
    and there is nothing new.
    """
    return _SlidingSync(token, request).run()


class _SlidingSync:
    """One request until it is answered: like /sync, it registers a wait while its first look runs."""

    def __init__(self, token: AccessToken, request: SlidingRequest) -> None:
        self.token = token
        self.request = request
        self.deadline = time.monotonic() + min(request.timeout_ms, MAXIMUM_TIMEOUT_MS) / 1000
        self.patient = request.pos is not None and request.timeout_ms > 0
        self.wait: Wait | None = None
        self.refused = False
        self.waited = False
        self.looked_since = False

    def run(self) -> SlidingSyncAnswer:
        request = self.request
        found = look(self.token, request)
        beside: list[Callable[[], object]] = [functools.partial(self._note_visit, found)]
        if self.patient:
            beside.append(functools.partial(self._register, found))
        answer = assemble(request, found, late=self.patient, beside=beside)
        if request.to_device:
            devices.acknowledge(found, devices.place_in_messages(request.to_device_since))
        while self.patient and not answer.is_new:
            if self.wait is None and not self.refused:
                self._register(found)
            if self.wait is None:
                self._refuse()
                break
            if self.looked_since and not self._hold(answer):
                break
            found = look(self.token, request, found)
            answer = assemble(request, found)
            self.looked_since = True
        pos, _ = concurrency.gather(
            functools.partial(self._pos, found, answer), functools.partial(self._release, answer)
        )
        return answer.as_json(pos)

    def _note_visit(self, found: Look) -> None:
        note_visit(self.token.user_id, self.token.device_id, self.request.set_presence, found.facts.presence)

    def _register(self, found: Look) -> None:
        self.looked_since = False
        seconds = self.deadline - time.monotonic()
        self.wait = waiting.register(found.requester, found.listener, "held", seconds)
        self.refused = self.wait is None

    def _refuse(self) -> None:
        """Raise LimitExceeded for a request that wants to wait and may not, and finds nothing new."""
        if not self.waited and self.request.timeout_ms >= SHORTEST_TIMEOUT_MS:
            raise LimitExceeded(
                "Too many requests wait for news on this device", retry_after_ms=waiting.RETRY_AFTER_MS
            )

    def _hold(self, answer: SlidingAnswer) -> bool:
        """Hold the request until it's worth another look; False when the time is over."""
        self.waited = True
        if self.wait is None:
            return time.monotonic() < self.deadline
        goes_on, self.wait = waiting.hold(self.wait, answer.changes_ms, self.deadline)
        return goes_on

    def _pos(self, found: Look, answer: SlidingAnswer) -> str:
        """Return the answer's pos: the request's, if the client's state is unchanged."""
        place = found.place
        if place is not None and place.state == answer.state and _is_fresh(place.state.written_ms):
            return place.pos
        return sliding_positions.write(found.connection, place, answer.state)

    def _release(self, answer: SlidingAnswer) -> None:
        """Give the wait's slot back if news was found without its ring."""
        if self.wait is not None and (answer.is_new or not self.looked_since):
            listeners.release(self.wait)
            self.wait = None


def _is_fresh(written_ms: int) -> bool:
    return now_ms() - written_ms < RENEWED_AFTER_MS
