"""Third-party networks. This server has no bridges, so it knows of no network.

https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from murmuration.protocol.errors import MissingParam, NotFound


def look_up(query: Mapping[str, str], *, required: str | None) -> NoReturn:
    """Look for a network, or for rooms or users of one. `required` is the query parameter that the request
    needs.

    Raises MissingParam, NotFound.
    """
    if required is not None and not query.get(required):
        raise MissingParam(f"The query parameter {required} is missing")
    raise NotFound("This server bridges no third-party networks")
