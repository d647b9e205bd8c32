"""Marked tokens: everything that a client needs to wait on its queue without a function.

`p_<row>.<slot>.<queue>.<fingerprint>.<until>.<quiet>.<seen>` is a mark. Its parts are: the row of positions
that a plain token names; the slot and the wake queue on which later changes ring, with the registration on it
(its nonce, and when the client last got everything); a fingerprint of the request, because its answers fit
only that request; when the registration ends (seconds since the epoch); the keys' part of /sync, as Base64;
and when the client last waited (milliseconds).

CloudFront's viewer function sends a request with a mark to the queue itself, unless something in the request
prevents that. Nothing in a mark is trusted: with a forged one a client would wait on a queue whose name it
can't know, for an answer that only tells it to send an ordinary request.

When the queue rings, the mark becomes `c_<row>.<slot>.<queue>`, a call. The name of a queue is a keyed hash.
So a mark or call with the right name shows that its sender had a mark of this device, and the request may
register a wait before anything else in it is checked (`place`).

`h_<row>.<slot>.<queue>` is a held client's place: the slot on which a function waited for it. Its next
request uses it as a called client uses a call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from murmuration.clock import now_ms
from murmuration.storage.live import token_forms, wake_queues
from murmuration.storage.live.listeners import HELD_LETTER, Wait
from murmuration.storage.live.token_forms import CALLED, HELD, MARKED, PLAIN

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection

STATE_AFTER, UNSTABLE_STATE_AFTER = "use_state_after", "org.matrix.msc4222.use_state_after"
"""The names by which clients ask for the state after the timeline; the second one is Element Web's."""
PARKED_BY: Final = ("access_token", "filter", "set_presence", STATE_AFTER, UNSTABLE_STATE_AFTER)
"""The query parameters of /sync on which the answer to a waiting request depends. Its fingerprint consists of
the Authorization header and these. CloudFront's viewer function has the same names."""
LIFETIME_S = 600
"""How long a client may wait with one mark. A device that was logged out still gets empty answers for this
time."""
OVERHANG_S = 60
"""How much longer than its mark a registration lasts."""
SHORTEST_TIMEOUT_MS = 1000
LONGEST_ABSENCE_MS = 45_000
"""A client that last waited longer ago has to look. CloudFront's viewer function has the same number."""


def fingerprint(values: Sequence[str], *, at_edge: bool = False) -> str:
    """Return twelve digits that differ if the texts differ. The viewer function computes the same.

    Clients that wait at the edge get other digits, because their queues differ: so a mark is valid for one
    way of waiting only.
    """
    texts = [*values, "edge"] if at_edge else values
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def mark(
    token: str,
    wait: Wait,
    request_fingerprint: str,
    until_s: int,
    keys: KeyCountsSection,
    *,
    looked_s: int | None = None,
    moves: str = "",
) -> str:
    """Return the marked form of a plain token. `keys` are the device's key counts.

    `looked_s` is when everything was last looked at (seconds since the epoch). None says that something was
    left for the next look, which has to look at everything. `moves` are the moves since the row was written.
    """
    looked = "" if looked_s is None else _looked(wait, looked_s)
    fields = (
        MARKED + token.removeprefix(PLAIN),
        f"{wait.slot}{looked}{f'-{moves}' if moves else ''}",
        wake_queues.id_of(wait.queue),
        request_fingerprint,
        str(until_s),
        wake_queues.encode_keys(keys),
        str(now_ms()),
    )
    return ".".join(fields)


def held_place(token: str, wait: Wait, looked_s: int, moves: str) -> str:
    """Return the form of a plain token that names the wait that a function held. The arguments are as in
    `mark`.
    """
    slot = f"{wait.slot}{_looked(wait, looked_s)}{f'-{moves}' if moves else ''}"
    return f"{HELD}{token.removeprefix(PLAIN)}.{slot}.{wake_queues.id_of(wait.queue)}"


def _looked(wait: Wait, looked_s: int) -> str:
    """Return the part of a mark by which the next look may be a narrow one."""
    return f"{wait.nonce}{looked_s:08x}{wait.next_slot}"


def end_of(changes_ms: int) -> int:
    """Return when a mark that is made now ends, in seconds since the epoch.

    `changes_ms` is when something that was shown changes merely because time passes (milliseconds), 0 for
    never.
    """
    end = now_ms() // 1000 + LIFETIME_S
    return min(end, -(-changes_ms // 1000)) if changes_ms else end


@dataclass(frozen=True, slots=True)
class Place:
    """The slot on which a client waited, and its queue. `is_held` says that a function waited there.

    `nonce` is the registration's, empty if the next look has to look at everything; `looked_s` is when that
    was last done. A client that forges a later time only misses changes that ring nobody. `next_slot` is the
    slot for the next registration.
    """

    slot: str
    queue: str
    nonce: str = ""
    looked_s: int = 0
    next_slot: str = ""

    @property
    def is_held(self) -> bool:
        return self.slot.startswith(HELD_LETTER)


def place(token: str | None) -> Place | None:
    """Return the place that a token names; None if it names none."""
    found = token_forms.PLACE.fullmatch(token or "")
    if found is None:
        return None
    return Place(
        found["slot"],
        found["queue"],
        found["nonce"] or "",
        int(found["looked"] or "0", 16),
        found["next"] or "",
    )


def called(marked: str, kind: str = CALLED) -> str:
    """Return the call that a mark becomes when its queue rings, as the mapping template makes it.

    `kind` is the prefix of the call. Sliding sync has other prefixes.
    """
    row, slot, queue, *_ = marked.partition("_")[2].split(".")
    return f"{kind}{row}.{slot}.{queue}"
