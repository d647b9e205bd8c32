"""The functions' structured log: Powertools' Logger, created only when a request needs it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from murmuration.protocol.encoding.shapes import LambdaEvent

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger


@functools.cache
def logger() -> Logger:
    """Return the JSON logger. Never pass it a token, password, key or message content."""
    from aws_lambda_powertools import Logger

    return Logger(service="murmuration", level="INFO")


def log_unexpected(event: LambdaEvent, context: Any) -> None:
    """Log the exception that is being handled, with the request that caused it."""
    logger().exception(
        "unexpected error",
        extra={
            "method": event.get("httpMethod"),
            "resource": event.get("resource"),
            "request_id": getattr(context, "aws_request_id", None),
        },
    )
