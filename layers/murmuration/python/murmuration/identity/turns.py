"""How long the joins of one user may occupy the workers that join rooms of other servers.

Few workers carry out joins, and a join waits for servers for minutes. Whoever runs servers of their own could
have some accounts wait for them, and everybody else's joins would stand behind.

- A join takes QUICK_S seconds of its user's time before it begins, and gives back what it didn't need.
- One that takes longer needs a turn: one of its user's, or it fails; and one of those that there are for all,
  or it makes way for the quick ones, and is tried again.
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
"""The key of the turns that there are for all users."""


def take_time(user_id: UserId) -> int:
    """Take the time of a join that hasn't begun yet. Returns when, for `give_back`. Raises LimitExceeded."""
    return rate_limits.check("join_seconds", user_id, QUICK_S)


def give_back(user_id: UserId, taken_ms: int, used_s: float = 0) -> None:
    """Give back the time that a join didn't use."""
    unused = QUICK_S - math.ceil(used_s)
    if unused > 0:
        rate_limits.give_back("join_seconds", user_id, taken_ms, unused)


class Turn(Work):
    """A join that is being carried out. `must_wait` says that it has to make way for others."""

    quick_s = QUICK_S

    def __init__(self, user_id: UserId) -> None:
        super().__init__()
        self._user_id = user_id
        self._taken_ms = 0
        self.must_wait = False

    def take_more(self) -> None:
        """Take a turn of the user's, and one of those for all. Raises LimitExceeded."""
        own_ms = rate_limits.check("long_join", self._user_id)
        try:
            self._taken_ms = rate_limits.check("long_joins", EVERYBODY)
        except LimitExceeded:
            self.must_wait = True
            rate_limits.give_back("long_join", self._user_id, own_ms)
            raise

    def return_turn(self) -> None:
        """Give back the turn of those for all. The user's own comes back with time."""
        if self.is_long:
            rate_limits.give_back("long_joins", EVERYBODY, self._taken_ms)
