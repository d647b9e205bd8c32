"""Clients of AWS services: botocore alone (boto3 costs a cold start 20 ms more and adds nothing here)."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def session() -> Any:
    """This process's botocore session."""
    from botocore.session import Session

    return Session()


def make_client(service: str, **options: Any) -> Any:
    """A client of `service`, set up for short calls from a function."""
    from botocore.config import Config

    config = Config(
        connect_timeout=3,
        read_timeout=options.pop("read_timeout", 25),
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=options.pop("max_pool_connections", 32),
        tcp_keepalive=True,
    )
    return session().create_client(service, config=config, **options)
