"""Counts the PDUs that this server doesn't accept: one line of the log for each reason."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName


def count(reason: str, number: int, origin: ServerName) -> None:
    """Log that `number` PDUs of a server weren't accepted, and why. Logs nothing for 0."""
    if number:
        logging.getLogger("murmuration.federation").warning(
            "PDUs not taken: reason=%s number=%d origin=%s", reason, number, origin
        )
