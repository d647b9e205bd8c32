"""The functions' structured log: Powertools' Logger, made on first use, for a request that needs one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger


@functools.cache
def logger() -> Logger:
    """The JSON logger. Never pass it a token, password, key or message content."""
    from aws_lambda_powertools import Logger

    return Logger(service="murmuration", level="INFO")
