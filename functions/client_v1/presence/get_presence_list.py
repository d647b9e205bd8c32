"""List the users on the requester's presence list, and those who ask to see the requester's presence.

The founding draft's "Presence"; today: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.presence.requests import get_list


@endpoint("GET", "/_matrix/client/api/v1/presence/list/{userId}")
def handler(request: Request) -> Sequence[Answer]:
    return get_list(request.requester, request.params["userId"])
