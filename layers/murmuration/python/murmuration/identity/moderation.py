"""Locked and suspended accounts: the flags on each device's item, and which requests they refuse.

https://spec.matrix.org/v1.19/client-server-api/#account-moderation
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from murmuration.protocol.errors import UserLocked, UserSuspended

if TYPE_CHECKING:
    from murmuration.storage.json_types import OwnerFlags

LOCKED: Final = "locked"
SUSPENDED: Final = "suspended"

_refuses: ContextVar[bool] = ContextVar("refuses suspended users", default=False)


@contextmanager
def refusing_suspended() -> Iterator[None]:
    """Refuse suspended users whose tokens are verified until the block ends."""
    token = _refuses.set(True)
    try:
        yield
    finally:
        _refuses.reset(token)


def check_device(device: OwnerFlags, *, even_locked: bool = False) -> None:
    """Raise UserLocked for a device of a locked account, UserSuspended if suspended users are refused
    here.
    """
    if device.get("locked") and not even_locked:
        raise UserLocked("This account has been locked", soft_logout=True)
    if device.get("suspended") and _refuses.get():
        raise UserSuspended("This account is suspended: it can read, but not do this")
