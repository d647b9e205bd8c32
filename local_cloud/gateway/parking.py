"""Waiting without a function: a marked /sync goes to its queue, through the deployment's mapping templates.

So does a request of sliding sync with a marked pos, whose body the template compares. `place` decides as
CloudFront's viewer function does (`infra_shared/viewer.js`; a test runs both). `wait` is the REST API's
integration with SQS, with the parts that REST keeps of the deployment's document.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, quote_plus, unquote

from infra_shared.parking import (
    QUEUE_PREFIX,
    chosen_response,
    integration_responses,
    operation,
)
from local_cloud.aws.patch import AwsError
from local_cloud.aws.sqs import Sqs
from local_cloud.gateway.events import HttpRequest, Response, query_of
from local_cloud.lambdas import Lambdas
from local_cloud.names import PREFIX
from murmuration.storage.live.token_forms import MARK
from murmuration.sync.marks import LONGEST_ABSENCE_MS

if TYPE_CHECKING:
    from local_cloud.aws.shapes import Receiving

_SYNC_PATH = re.compile(r"/_matrix/client/(r0|v3)/sync")
_SLIDING_PATH = re.compile(r"/_matrix/client/(unstable/org\.matrix\.simplified_msc3575|v4)/sync")
_MARKED = re.compile(MARK, re.ASCII)
_PARKED_BY = (
    "access_token", "filter", "set_presence", "use_state_after", "org.matrix.msc4222.use_state_after",
)  # fmt: skip
_SLIDING_BY = ("access_token", "set_presence")
INTERNAL = ("parked", "uploads")
_LONGEST_WAIT = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A place to wait: the queue, when its client was last seen, the integration's parameters.

    `slides` says that the request is one of sliding sync.
    """

    queue: str
    seen_ms: int
    parameters: Mapping[str, str]
    slides: bool = False


def place_of(request: HttpRequest, now_ms: int, *, at_edge: bool = False) -> Place | None:
    """Return the place of a request for updates that may wait; None for any other request."""
    slides = request.method == "POST" and _SLIDING_PATH.fullmatch(request.path) is not None
    if not slides and (request.method != "GET" or not _SYNC_PATH.fullmatch(request.path)):
        return None
    query = query_of(request.query)[0] or {}
    mark = _MARKED.fullmatch(query.get("pos" if slides else "since", ""))
    if mark is None or (mark[2] == "l") is not slides or query.get("full_state") == "true":
        return None
    headers = dict(request.headers)
    asked = [headers.get(b"authorization", b"").decode("latin-1")]
    asked += [query.get(name, "") for name in (_SLIDING_BY if slides else _PARKED_BY)]
    if slides:
        asked += [request.path, headers.get(b"content-length", b"").decode("latin-1")]
    asked += ["edge"] if at_edge else []
    timeout = query.get("timeout", "")
    timeout_s = int(timeout) // 1000 if re.fullmatch("[0-9]{1,9}", timeout) else 0
    wait = min(_LONGEST_WAIT, timeout_s, int(mark[6]) - now_ms // 1000)
    fingerprint = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:12]
    if mark[5] != fingerprint or wait < 1 or now_ms - int(mark[9]) > LONGEST_ABSENCE_MS:
        return None
    parameters = {"wait": str(wait), "keep": mark[1], "call": f"{mark[2]}c_{mark[3]}", "keys": mark[7]}
    if slides:
        parameters["digest"] = mark[8] or ""
    return Place(mark[4], int(mark[9]), parameters, slides)


def is_internal(path: str) -> bool:
    """Return whether a path, in any spelling, is that of the queues or of uploads, which clients may
    not use.
    """
    for _ in range(3):
        path = unquote(path)
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return bool(parts) and parts[0].lower() in INTERNAL


class Parking:
    """The integration of the route for waiting. Each client waits in its own thread, which uses no CPU."""

    AT_EDGE = False
    """Whether CloudFront asks SQS itself, and this integration only if SQS refuses."""
    QUEUES = f"{PREFIX}-{QUEUE_PREFIX}"

    def __init__(self, sqs: Sqs, threads: Lambdas) -> None:
        self.sqs = sqs
        self._threads = threads
        self._started_ms = time.time_ns() // 1_000_000
        self.on_wait: Callable[[], None] = lambda: None
        """Called for each request that waits."""

    def place(self, request: HttpRequest) -> Place | None:
        """Return the place where the request waits; None if it doesn't wait.

        Queues are lost with the process, so a mark from before its start is ignored.
        """
        place = place_of(request, time.time_ns() // 1_000_000, at_edge=self.AT_EDGE)
        return place if place is not None and place.seen_ms >= self._started_ms else None

    @functools.cache  # noqa: B019 - one for the gateway's life
    def _integration(self, *, slides: bool) -> dict[str, Any]:
        from murmuration.endpoint.http import CORS_HEADERS

        whole: dict[str, Any] = operation("", "", CORS_HEADERS, at_edge=self.AT_EDGE, slides=slides)
        integration: dict[str, Any] = whole["x-amazon-apigateway-integration"]
        return integration

    async def wait(self, place: Place, body: bytes = b"") -> Response:
        """Wait until the queue has a ring or the time is over, and return the answer. `body` is the
        request's.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Response] = loop.create_future()
        began = time.time_ns() // 1_000_000
        self.on_wait()

        def settle(answer: Response) -> None:
            if not future.done():
                future.set_result(answer)

        def run() -> None:
            answer = self._answer(place, began, body)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, answer)

        self._threads.submit(run)
        return await future

    def _answer(self, place: Place, began: int, body: bytes = b"") -> Response:
        return self._integrate(place, place.parameters, began, body)

    def _integrate(self, place: Place, parameters: Mapping[str, str], began: int, body: bytes) -> Response:
        """Return the REST API's answer to a request with these parameters."""
        integration = self._integration(slides=place.slides)
        asked = integration["requestTemplates"]["application/json"]
        sent = base64.b64encode(body).decode()  # everything is binary to the API
        status, answer = self._receive(place.queue, render(asked, parameters, began, sent))
        chosen = chosen_response(integration_responses(integration), status)
        headers = [(b"content-type", b"application/json")]
        if chosen is None:
            return 500, headers, b'{"message": "Internal server error"}'
        if chosen.converts_to_text:  # everything is binary to the API
            answer = base64.b64encode(answer.encode()).decode()
        text = render(chosen.template, parameters, began, answer)
        headers += [(name.lower().encode(), value.encode()) for name, value in chosen.headers.items()]
        return int(chosen.status), headers, text.encode()

    def _receive(self, queue: str, form: str) -> tuple[int, str]:
        """Return SQS's answer to a request in its query protocol, in the form in which API Gateway passes it
        on.
        """
        fields = {name: values[0] for name, values in parse_qs(form, strict_parsing=True).items()}
        if fields.pop("Action") != "ReceiveMessage" or fields.pop("Version") != "2012-11-05":
            raise ValueError("the template asks for something else than ReceiveMessage")
        numbers = {name: int(value) for name, value in fields.items()}
        parameters = cast("Receiving", {**numbers, "QueueUrl": self.QUEUES + queue})
        try:
            messages = self.sqs.receive_message(parameters).get("Messages")
        except AwsError as error:
            return error.status, json.dumps({"Error": {"Code": error.code, "Message": error.message}})
        result = {"messages": messages or None}
        return 200, json.dumps({"ReceiveMessageResponse": {"ReceiveMessageResult": result}})


class _Text(str):
    """A string in templates, which is Java's: with those of its methods that our templates use."""

    __slots__ = ()

    def contains(self, part: str) -> bool:
        return part in self

    def replaceAll(self, pattern: str, text: str) -> _Text:  # noqa: N802 - Java's name
        return _Text(re.sub(pattern, text, self))

    def replace(self, part: str, text: str, *_: Any) -> _Text:
        return _Text(super().replace(part, text))

    def substring(self, start: int) -> _Text:
        return _Text(self[start:])

    def hashCode(self) -> int:  # noqa: N802 - Java's name
        data, code = self.encode("utf-16-be", "surrogatepass"), 0
        for first, second in zip(data[::2], data[1::2], strict=True):
            code = (31 * code + (first << 8) + second) & 0xFFFFFFFF
        return code - 2**32 if code >= 2**31 else code


class _Input:
    """`$input` of a mapping template."""

    def __init__(self, parameters: Mapping[str, str], body: str) -> None:
        self._parameters = parameters
        self.body = _Text(body)

    def params(self, name: str) -> str:
        return _Text(self._parameters.get(name, ""))


class _Util:
    """`$util` of a mapping template."""

    def base64Decode(self, text: str) -> str:  # noqa: N802 - API Gateway's name
        return _Text(base64.b64decode(text).decode("utf-8", "replace"))

    def urlEncode(self, text: str) -> str:  # noqa: N802 - API Gateway's name
        return quote_plus(text)

    def escapeJavaScript(self, text: str) -> str:  # noqa: N802 - API Gateway's name
        return json.dumps(text)[1:-1].replace("'", "\\'")


@functools.cache
def _parsed(template: str) -> Any:
    import airspeed

    parsed = airspeed.Template(template)
    parsed.ensure_compiled()
    return parsed


def render(
    template: str,
    parameters: Mapping[str, str],
    began_ms: int,
    body: str,
    context: dict[str, Any] | None = None,
) -> str:
    """Return the text of a mapping template for a request's `parameters`, or for an integration's answer
    `body`.

    `context` has further values of `$context`; the template may set those that override the answer's.
    """
    known = {"requestTimeEpoch": str(began_ms)} if context is None else context
    found: str = _parsed(template).merge(
        {"input": _Input(parameters, body), "util": _Util(), "context": known}
    )
    return found
