"""External requests of `murmuration doctor` that test whether AWS behaves as the settings assume.

Two settings select cheaper ways of using AWS: `api=http` and `waits=edge`. If an account or a region doesn't
support one, the finding says in one line which setting to change back. The tests leave nothing behind.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from murmuration.protocol.identifiers import DeviceId, UserId
from operators.doctor import Answer, Finding, Standing, fetch
from operators.operating import Server

if TYPE_CHECKING:
    from murmuration.storage.json_types import KeyCountsSection

REST_HEADER = "x-amz-apigw-id"
"""The header in which a REST API returns the ID of its answer; CloudFront's function doesn't set it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
"""
HTTP_HEADER = "apigw-requestid"
"""The corresponding header of an HTTP API."""
ROW = "A" * 12
"""The placeholder for a row of positions in the invented mark; no function sees it."""
ATTEMPTS = 4
"""How often to try: a queue that was just created may be refused for a second."""
BACK_TO_REST_WAITS = "deploy with -c waits=rest"
BACK_TO_REST_API = "deploy with -c api=rest"


def check_routes(server: Server, url: str, ask: Callable[[str], Answer] = fetch) -> Finding:
    """Check that a name with a slash is looked up as a whole. This depends most on the kind of API.

    An HTTP API decodes the path before it finds a route.
    """
    from murmuration.settings import settings

    alias = f"#{secrets.token_hex(8)}/doctor:{server.server_name}"
    answer = ask(f"{url}/_matrix/client/v3/directory/room/{quote(alias, safe='')}")
    kinds = {HTTP_HEADER: "an HTTP API", REST_HEADER: "a REST API"}
    by = "".join(f", by {kind}" for header, kind in kinds.items() if header in answer.headers)
    errcode = (answer.body or {}).get("errcode")
    if (answer.status, errcode) == (404, "M_NOT_FOUND"):
        return Finding(Standing.OK, "routes", f"a path arrives as it was sent{by}")
    if (answer.status, errcode) == (429, "M_LIMIT_EXCEEDED"):
        return Finding(Standing.SKIPPED, "routes", "too many requests: ask again in a minute")
    said = f"a name with a slash is answered with {answer.status} {errcode or 'and no Matrix error'}"
    what = f": {BACK_TO_REST_API}" if settings().api == "http" else ""
    return Finding(Standing.FAILED, "routes", said + what)


def check_waits(
    server: Server,
    url: str,
    ask: Callable[[str], Answer] = fetch,
    pause: Callable[[float], None] = time.sleep,
) -> Finding:
    """Check whether a client that has seen everything waits on its queue, and in which way.

    It waits for a second on a queue that is created for this check, with an invented mark. Clients may invent
    marks too: then they only wait on a queue whose name they know, and learn nothing else.
    """
    from murmuration.aws.calls import call
    from murmuration.settings import settings
    from murmuration.storage.live import wake_queues

    if server.folder is not None:
        return Finding(Standing.SKIPPED, "waits", "a local server's queues are in its memory")
    if settings().waiting == "held":
        return Finding(Standing.SKIPPED, "waits", "functions hold the clients that wait")
    queue = secrets.token_hex(16)
    queue_url = wake_queues.ensure(queue)
    try:
        finding = _waited(ask(_sync_url(url, queue)))
        for _ in range(ATTEMPTS - 1):
            if finding.standing is Standing.OK:
                break
            pause(1)
            finding = _waited(ask(_sync_url(url, queue)))
    finally:
        call("sqs", "DeleteQueue", {"QueueUrl": queue_url})
    return finding


def _sync_url(url: str, queue: str) -> str:
    """Return the URL of a /sync that waits for a second on the queue, as of a client that has seen
    everything.
    """
    from murmuration.settings import settings
    from murmuration.storage.live.listeners import Wait
    from murmuration.sync import marks

    now_s = int(time.time())
    asked = marks.fingerprint([""] * (1 + len(marks.PARKED_BY)), at_edge=settings().waits == "edge")
    wait = Wait(UserId(""), DeviceId(""), "p0", queue, "", now_s)
    keys: KeyCountsSection = {"device_one_time_keys_count": {}, "device_unused_fallback_key_types": []}
    since = marks.mark(ROW, wait, asked, now_s + marks.LIFETIME_S, keys)
    query = urlencode({"since": since, "timeout": marks.SHORTEST_TIMEOUT_MS})
    return f"{url}/_matrix/client/v3/sync?{query}"


def _waited(answer: Answer) -> Finding:
    """Return the finding for the answer to a wait."""
    from murmuration.settings import settings
    from murmuration.storage.live.token_forms import CALLED, MARKED

    def finding(standing: Standing, sentence: str) -> Finding:
        return Finding(standing, "waits", sentence)

    at_edge, by_rest = settings().waits == "edge", REST_HEADER in answer.headers
    token: Any = (answer.body or {}).get("next_batch")
    kept, called = (isinstance(token, str) and token.startswith(kind + ROW) for kind in (MARKED, CALLED))
    if answer.status != 200 or not (kept or called):
        errcode = (answer.body or {}).get("errcode", "no Matrix error")
        if errcode == "M_MISSING_TOKEN":
            said = "CloudFront doesn't send waiting clients to their queues: functions answer them"
        else:
            said = f"a client that waits is answered with {answer.status} and {errcode}"
        return finding(Standing.FAILED, f"{said}: {BACK_TO_REST_WAITS}" if at_edge else said)
    if not at_edge:
        if kept:
            return finding(Standing.OK, "a client waits on its queue, by a REST API")
        return finding(Standing.FAILED, "the REST API doesn't get to the queues: each wait ends with a call")
    if by_rest:
        said = "SQS refuses CloudFront, and the REST API answers instead, at three times the price"
        return finding(Standing.WARNING, f"{said}: {BACK_TO_REST_WAITS}")
    if called:
        said = "CloudFront's function isn't told the length of SQS's answers, so each wait ends with a call"
        return finding(Standing.WARNING, f"{said}: {BACK_TO_REST_WAITS}")
    return finding(Standing.OK, "a client waits on its queue, at the edge")
