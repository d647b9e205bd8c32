"""Counts what other servers send and this one doesn't accept: a line of the log for each reason."""

from __future__ import annotations

import logging


def count(reason: str, number: int, origin: str) -> None:
    """Log that `number` PDUs of a server weren't accepted, and why. Logs nothing for 0."""
    if number:
        logging.getLogger("murmuration.federation").warning(
            "PDUs not taken: reason=%s number=%d origin=%s", reason, number, origin
        )
