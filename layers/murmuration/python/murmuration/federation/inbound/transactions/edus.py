"""Passes a transaction's EDUs to the functions for their types.

`CONSUMERS` is the table from an EDU's type to its function, which gets all EDUs of this type in a
transaction, in order, and the server that sent them. Types that aren't in it are ignored, as the
specification demands. Contents that a consumer can't understand delay neither the others nor the server's
next transaction. If something can't be stored now, the server has to send the transaction again.
https://spec.matrix.org/v1.19/server-server-api/#edus
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from murmuration.federation.inbound.transactions import counting
from murmuration.identity import budgets
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted

Contents = Sequence["Untrusted"]
"""The contents of EDUs of one type, in the order in which they came."""
Consumer = Callable[[ServerName, Contents], None]


def _messages(origin: ServerName, contents: Contents) -> None:
    from murmuration.federation.devices.messages import take_messages

    take_messages(origin, contents)


def _device_updates(origin: ServerName, contents: Contents) -> None:
    from murmuration.federation.devices.updates import take_device_updates

    take_device_updates(origin, contents)


def _signing_key_updates(origin: ServerName, contents: Contents) -> None:
    from murmuration.federation.devices.updates import take_signing_key_updates

    take_signing_key_updates(origin, contents)


def _typing(origin: ServerName, contents: Contents) -> None:
    from murmuration.federation.ephemera.taking import take_typing

    take_typing(origin, contents)


def _receipts(origin: ServerName, contents: Contents) -> None:
    from murmuration.federation.ephemera.taking import take_receipts

    take_receipts(origin, contents)


def _presence(origin: ServerName, contents: Contents) -> None:
    if settings().federated_presence:
        from murmuration.federation.ephemera.presence import take_presence

        take_presence(origin, contents)


CONSUMERS: Mapping[str, Consumer] = MappingProxyType(
    {
        "m.direct_to_device": _messages,
        "m.device_list_update": _device_updates,
        "m.signing_key_update": _signing_key_updates,
        "org.matrix.signing_key_update": _signing_key_updates,
        "m.typing": _typing,
        "m.receipt": _receipts,
        "m.presence": _presence,
    }
)
"""Each consumer is imported only when it gets an EDU."""
EXPECTED = MappingProxyType(
    {
        "m.device_list_update": 60.0,
        "m.signing_key_update": 60.0,
        "org.matrix.signing_key_update": 60.0,
        "m.typing": 5.0,
        "m.receipt": 5.0,
    }
)
"""The cost of one EDU, in microdollars. It is taken from the server's budget before the work.

To-device messages aren't included: each of them is charged by its own consumer.
"""
DROPPED = frozenset(("m.typing", "m.receipt"))
"""Types that are dropped when the server's budget is spent: they would be outdated later, or are sent again
anyway."""
CONTENTS_FAULT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that malformed contents may cause in a consumer that doesn't expect them."""


def take_edus(origin: ServerName, edus: Sequence[object]) -> None:
    """Pass a transaction's EDUs to their consumers. Malformed ones are ignored.

    If the server's budget isn't enough, EDUs of the types in `DROPPED` are dropped. Raises LimitExceeded for
    other types, so that the server sends them again, and for too many messages; raises what the storage
    raises.
    """
    by_type: dict[str, list[Untrusted]] = {}
    for edu in edus:
        if not isinstance(edu, dict) or not isinstance(edu.get("content"), dict):
            continue
        edu_type = edu.get("edu_type")
        if isinstance(edu_type, str) and edu_type in CONSUMERS:
            by_type.setdefault(edu_type, []).append(edu["content"])
    for edu_type, contents in sorted(by_type.items(), key=lambda item: item[0] in DROPPED):
        if not _is_affordable(origin, edu_type, len(contents)):
            continue
        try:
            CONSUMERS[edu_type](origin, contents)
        except CONTENTS_FAULT:
            logging.getLogger("murmuration.federation").exception("EDUs dropped: type=%s", edu_type)


def _is_affordable(origin: ServerName, edu_type: str, number: int) -> bool:
    """Take the cost of EDUs from the server's budget. Returns False if they are dropped. Raises
    LimitExceeded.
    """
    try:
        budgets.expect(min(EXPECTED.get(edu_type, 0.0) * number, budgets.burst()))
    except LimitExceeded:
        if edu_type not in DROPPED:
            raise
        counting.count("over_budget", number, origin)
        return False
    return True
