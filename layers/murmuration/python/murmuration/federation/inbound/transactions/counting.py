"""Counting what other servers send and this one doesn't take: a line of the log for each kind."""

from __future__ import annotations

import logging


def count(reason: str, number: int, origin: str) -> None:
    """Note that `number` PDUs of a server weren't taken, and why. Nothing for none."""
    if number:
        logging.getLogger("murmuration.federation").warning(
            "PDUs not taken: reason=%s number=%d origin=%s", reason, number, origin
        )
