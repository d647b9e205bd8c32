"""Limits how long the joins of one user may occupy the workers that join rooms of other servers.

Few workers carry out joins, and a join waits for servers for minutes. Without a limit, a person with servers
of their own could let some accounts wait for them, and everybody else's joins would have to wait too.

- A join takes QUICK_S seconds of its user's time before it begins, and returns the rest afterwards.
- A longer join needs two turns. Without one of its user's turns it fails. Without one of the turns that all
  users share, it is put off so that quick joins go first, and is tried again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from murmuration.identity import rate_limits
from murmuration.identity.patience import Work
from murmuration.protocol.errors import LimitExceeded

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

QUICK_S = 10
EVERYBODY = "everybody"
"""The key of the turns that all users share."""


def take_time(user_id: UserId) -> int:
    """Take the time of a join that hasn't begun yet. Returns the time of this, for `give_back`. Raises
    LimitExceeded.
    """
    return rate_limits.check("join_seconds", user_id, QUICK_S)


def give_back(user_id: UserId, taken_ms: int, used_s: float = 0) -> None:
    """Give back the time that a join didn't use."""
    unused = QUICK_S - math.ceil(used_s)
    if unused > 0:
        rate_limits.give_back("join_seconds", user_id, taken_ms, unused)


class Turn(Work):
    """A join that is being carried out. `must_wait` says that it is put off."""

    quick_s = QUICK_S

    def __init__(self, user_id: UserId) -> None:
        super().__init__()
        self._user_id = user_id
        self._taken_ms = 0
        self.must_wait = False

    def take_more(self) -> None:
        """Take one of the user's turns, and one of the shared turns. Raises LimitExceeded."""
        own_ms = rate_limits.check("long_join", self._user_id)
        try:
            self._taken_ms = rate_limits.check("long_joins", EVERYBODY)
        except LimitExceeded:
            self.must_wait = True
            rate_limits.give_back("long_join", self._user_id, own_ms)
            raise

    def return_turn(self) -> None:
        """Return the shared turn. The user's own turn comes back with time."""
        if self.is_long:
            rate_limits.give_back("long_joins", EVERYBODY, self._taken_ms)
