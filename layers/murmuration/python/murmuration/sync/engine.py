"""The sync engine: from a sync token to all updates that its client hasn't seen.

One look takes three round trips: the user's data (memberships, streams), the heads of their rooms, and then
only the rooms that changed. A fourth writes the new token, if something changed.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.clock import now_ms
from murmuration.identity.tokens import AccessToken
from murmuration.presence.status import is_visit_noted, note_visit
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.identifiers import RoomId
from murmuration.storage.live import listeners
from murmuration.storage.live import sync_tokens as tokens
from murmuration.storage.live.compact import moves
from murmuration.storage.live.listeners import Wait
from murmuration.storage.live.token_forms import CALLED
from murmuration.sync import account, marks, narrow_look, presence, waiting
from murmuration.sync.answer import Answer
from murmuration.sync.assembly.assembling import assemble
from murmuration.sync.first_look import FirstLook, Identity, everything_seen, identify, look
from murmuration.sync.request import SyncRequest

if TYPE_CHECKING:
    from murmuration.sync.readers.json_types import SyncAnswer


@dataclass(frozen=True, slots=True)
class News:
    """A sync's answer. At `ends_ms` (milliseconds; 0: never) something shown in it ends without an event.

    `is_complete` says that nothing was left for the next look.
    """

    body: SyncAnswer
    ends_ms: int
    is_complete: bool


def sync(request: SyncRequest) -> SyncAnswer:
    """Return the updates that the client hasn't seen: at once if there are any, else as soon as there are.

    Returns an empty answer after `timeout_ms`. Raises UnknownToken, InvalidParam, BadJson, LimitExceeded if
    too many requests wait and there are no updates.
    """
    return _Sync(request).run()


def begin(token: AccessToken, filter_text: str) -> str:
    """Return a token for which only later updates count. Raises UnknownToken, InvalidParam, BadJson."""
    return _begin(token, look(token, None, filter_text))


def _begin(token: AccessToken, first: FirstLook) -> str:
    """Return the token of a client for which everything until now counts as seen."""
    return tokens.write(token.user_id, token.device_id, everything_seen(first))


class _Sync:
    """Handles one request until it is answered. Nothing may be missed between the last look and the wait.

    A client that comes from a wait names its place. It is registered for its next wait while the first reads
    run. Everything else is read after the registration, usually only the rooms for which it was called. So
    this look finds everything from before the registration. A parked client's answer has the next mark,
    whether or not it has updates. A held client's token names its place.

    A client that was answered a moment ago has most likely seen everything. It is registered before the first
    look.

    Others are registered during a first look, which may be a little late. If that finds nothing, a second
    look follows, which isn't late: it finds everything from before the registration.
    """

    def __init__(self, request: SyncRequest) -> None:
        self.request = request
        self.since = request.since
        self.row = tokens.parse(request.since) if request.since is not None else None
        self.called = request.since is not None and request.since.startswith(CALLED)
        self.deadline = waiting.deadline_of(request.timeout_ms)
        self.patient = self.since is not None and not request.full_state and request.timeout_ms > 0
        self.wait: Wait | None = None
        self.rung: Wait | None = None  # the last registration, if a ring ended its hold
        self.refused = False
        self.waited = False
        self.looked_since = False
        self.rang: frozenset[RoomId] = frozenset()
        self.looked_s = now_ms() // 1000  # the time of the look at everything

    def run(self) -> SyncAnswer:
        request = self.request
        found = self._look_after_registering()
        if found is None:
            first = self._first_look()
            if first.base is None and not request.reader.for_beginners:
                return {"next_batch": _begin(request.token, first), "begun": True}
            self.patient = self.patient and first.base is not None
            self.looked_since = self.wait is not None
            beside = self._visit(first)
            if self.patient and not self.called and self.wait is None and not self.refused:
                beside.append(functools.partial(self._register, first.identity))
            late = self.patient and not self.looked_since
            found = first, assemble(request, first, late=late, beside=beside)
        first, answer = found
        if request.to_device:
            account.acknowledge(first)
        while self.patient and not answer.has_news:
            if self.wait is None and not self.refused:
                self._register(first.identity)
            if self.wait is None:
                waiting.check_empty_answer(request.timeout_ms, has_waited=self.waited)
                break
            if self.looked_since:
                if self.wait.kept:
                    break
                self.waited, held = True, self.wait
                goes_on, self.wait, self.rang = waiting.hold(held, answer.changes_ms, self.deadline)
                self.rung = held if self.wait is None else None
                if not goes_on:
                    break
            first, answer = self._look_again(first)
            self.looked_since = True
        return self._answer(first, answer)

    def _first_look(self) -> FirstLook:
        """Look at everything, after registering the wait of a client that was answered a moment ago."""
        token, since, wanted = self.request.token, self.since, self.request.filter
        if since is None or self.called or not self.patient or not tokens.is_fresh(since):
            return look(token, since, wanted)
        identity = identify(token, since)
        if identity.base is not None:
            self._register(identity)
        try:
            return look(token, since, wanted, known=identity if self.wait is not None else None)
        except MatrixError:
            self._give_up()
            raise

    def _look_again(self, before: FirstLook) -> tuple[FirstLook, Answer]:
        """Look at the rooms that rang while the request was held, or at everything.

        Anything else that happens meanwhile is noted for the client's next request, which looks at that or
        at everything.
        """
        request, rooms, self.rang = self.request, sorted(self.rang), frozenset()
        if rooms and request.reader.tracks:
            known = narrow_look.Recognised(before.identity, before.push_changes, before.presence)
            narrow = narrow_look.look_at_rooms(request.token, known, rooms, request.filter, verifies=True)
            if narrow is not None:
                answer = assemble(request, narrow)
                if answer.is_complete:
                    return narrow, answer
        self.looked_s = now_ms() // 1000
        first = look(request.token, self.since, request.filter, known=before.identity)
        return first, assemble(request, first)

    def _visit(self, first: FirstLook) -> list[Callable[[], object]]:
        """Return the call that records the device's visit, in a list; an empty list if it was recorded
        already.
        """
        token, wanted = self.request.token, self.request.set_presence
        if is_visit_noted(token.device_id, wanted, first.presence):
            return []
        return [functools.partial(note_visit, token.user_id, token.device_id, wanted, first.presence)]

    def _look_after_registering(self) -> tuple[FirstLook, Answer] | None:
        """Register the next wait of a client whose token shows where it waited, and then look.

        None if the token shows no place, or the next slot isn't free.
        """
        request, place = self.request, marks.place(self.request.since)
        is_short = request.timeout_ms < marks.SHORTEST_TIMEOUT_MS
        if place is None or not self.patient or is_short or self.since is None:
            return None
        if not (request.names_place if place.is_held else request.fingerprint):
            return None
        try:
            known, news = concurrency.gather(
                functools.partial(narrow_look.recognise, request.token, self.since),
                functools.partial(self._register_next, place),
            )
            return self._look_at_news(known, place, news) if self.wait is not None else None
        except MatrixError:
            self._give_up()
            raise

    def _register_next(self, place: marks.Place) -> Collection[RoomId] | None:
        """Register on the next slot, if it is free. Returns the rooms that rang; None for everything."""
        lifetime = marks.LIFETIME_S + marks.OVERHANG_S
        seconds = self.deadline - time.monotonic() if place.is_held else lifetime
        found = waiting.register_next(self.request.token, place, seconds)
        if found is None:
            return None
        self.wait = found.wait
        return found.news

    def _look_at_news(
        self, known: narrow_look.Recognised, place: marks.Place, news: Collection[RoomId] | None
    ) -> tuple[FirstLook, Answer] | None:
        """Look at the rooms that rang, or at everything, after registering. Returns None for an expired
        token.
        """
        request = self.request
        self.looked_since = True
        follows = self.called or place.is_held
        if follows and news is not None and not narrow_look.is_due(place):
            narrow = narrow_look.look_at_rooms(request.token, known, sorted(news), request.filter)
            if narrow is not None:
                answer = assemble(request, narrow, beside=self._visit(narrow))
                if answer.is_complete:
                    self.looked_s = place.looked_s
                    return narrow, answer
        identity = known.identity if known.identity.base is not None else None
        first = look(request.token, self.since, request.filter, known=identity)
        if first.base is None:
            self._give_up()
            self.looked_since = False
            return None
        beside = self._visit(first)
        # other rooms have only changes that ring nobody or are about to ring
        if follows and news is not None:
            return first, assemble(request, first, late=True, surely=news, beside=beside)
        return first, assemble(request, first, beside=beside)

    def _register(self, identity: Identity) -> None:
        """Register a parked wait if that is possible, else a held one."""
        self.looked_since, self.rung = False, None
        seconds = self.deadline - time.monotonic()
        if self.request.fingerprint and seconds * 1000 >= marks.SHORTEST_TIMEOUT_MS:
            lifetime = marks.LIFETIME_S + marks.OVERHANG_S
            # A client that was called without updates may have been refused by a queue that is gone.
            self.wait = waiting.register(
                identity.requester, identity.listener, "parked", lifetime, doubtful=self.called
            )
        if self.wait is None:
            self.wait = waiting.register(identity.requester, identity.listener, "held", seconds)
        self.refused = self.wait is None

    def _answer(self, first: FirstLook, answer: Answer) -> SyncAnswer:
        if self.wait is not None and self.wait.kept and self.called and not answer.has_news:
            waiting.ensure_queue(self.wait)
        if self.wait is not None and not self._waits_on(answer):
            token, _ = concurrency.gather(functools.partial(self._token, first, answer), self._give_up)
            return answer.as_json(token)
        looked_s = self.looked_s if answer.is_complete and not answer.again_ms else None
        wait = self._named_wait()
        moved = _moves(first, answer) if wait is not None and looked_s is not None else None
        token = self.row if self.row and moved is not None else self._token(first, answer)
        body = answer.as_json(token)
        if wait is not None and wait.kept:
            until = marks.end_of(answer.changes_ms)
            keys = answer.key_counts()
            mark = functools.partial(marks.mark, looked_s=looked_s, moves=moved or "")
            body["next_batch"] = mark(token, wait, self.request.fingerprint, until, keys)
        elif wait is not None and looked_s is not None:
            body["next_batch"] = marks.held_place(token, wait, looked_s, moved or "")
        return body

    def _named_wait(self) -> Wait | None:
        """Return the registration that the answer's token names; None if it names none."""
        if self.wait is not None and self.wait.kept:
            return self.wait
        return (self.wait or self.rung) if self.request.names_place else None

    def _token(self, first: FirstLook, answer: Answer) -> str:
        """Return the token whose row has what the client was shown. The row is written unless it is stored
        already.
        """
        if self.row is not None and answer.positions == first.identity.row:
            return self.row
        return tokens.write(self.request.token.user_id, self.request.token.device_id, answer.positions)

    def _waits_on(self, answer: Answer) -> bool:
        """Return whether the client continues to wait by its registration. It doesn't if it comes again at
        once for more.
        """
        if self.wait is None or not self.looked_since:
            return False
        if self.request.names_place and answer.is_complete and not answer.again_ms:
            return True
        return not answer.has_news or (self.wait.kept and answer.is_complete)

    def _give_up(self) -> None:
        if self.wait is not None:
            listeners.release(self.wait)
            self.wait = None


def _moves(first: FirstLook, answer: Answer) -> str | None:
    """Return the text about moves since the row was written, for the token; None if a new row has to be
    written.
    """
    row = first.identity.row
    return None if row is None or first.identity.is_ending else moves.encode(row, answer.positions)
