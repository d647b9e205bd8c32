"""Waiting at the edge: CloudFront asks SQS itself, and a function turns SQS's answer into the empty /sync.

`EdgeParking` is CloudFront's origin group: SQS's endpoint, which is asked without a signature, and the REST
API, which is asked if SQS refuses. `answer_of` does what the deployment's `viewer_response.js` does; a test
runs both.
"""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4
from xml.sax.saxutils import escape

from infra_shared import edge_waits
from infra_shared.edge_waits import ENOUGH_KEYS, HEADER_PREFIX, KEY_ALGORITHM, KEYS_RING_BYTES, RING_BYTES
from local_cloud.aws.patch import AwsError
from local_cloud.aws.sqs import Sqs
from local_cloud.gateway.events import Response
from local_cloud.gateway.parking import Parking, Place
from local_cloud.lambdas import Lambdas
from local_cloud.names import PREFIX, queue_arn

if TYPE_CHECKING:
    from local_cloud.aws.shapes import Receiving

_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"


class EdgeParking(Parking):
    """The origin group for requests that wait."""

    AT_EDGE = True
    QUEUES = f"{PREFIX}-{edge_waits.QUEUE_PREFIX}"

    def __init__(self, sqs: Sqs, threads: Lambdas, secret: Callable[[], str]) -> None:
        """Make the origin group. `secret` returns the secret that CloudFront adds to requests for SQS."""
        super().__init__(sqs, threads)
        self._secret = functools.cache(secret)

    def _answer(self, place: Place, began: int, body: bytes = b"") -> Response:
        prefixed = {HEADER_PREFIX + name: value for name, value in place.parameters.items()}
        if place.slides:
            return self._integrate(place, prefixed, began, body)
        query = urlencode(edge_waits.query(place.parameters["wait"]))
        added = {name.lower(): self._secret() for name in edge_waits.SECRET_HEADERS}
        status, headers, found = answer_unsigned(self.sqs, self.QUEUES + place.queue, query, added)
        if status in edge_waits.FAILOVER_STATUSES:
            return self._integrate(place, prefixed, began, b"")
        return answer_of(status, headers, found, place.parameters, time.time_ns() // 1_000_000)


def answer_unsigned(
    sqs: Sqs, name: str, query: str, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Return SQS's answer to an unsigned GET for a queue: status, headers, XML.

    It allows what the queue's policy allows everybody, if the queue isn't encrypted.
    """
    fields = dict(parse_qsl(query, strict_parsing=True))
    try:
        if fields.pop("Version") != "2012-11-05" or fields.pop("Action") != "ReceiveMessage":
            raise AwsError("InvalidAction", "The action or operation requested is invalid.")
        attributes = sqs.queue(name).attributes
        if attributes.get("SqsManagedSseEnabled", "true") != "false" or not _is_allowed(
            attributes.get("Policy", ""), name, headers
        ):
            raise AwsError("AccessDenied", "Access to the resource is denied.", status=403)
        numbers = {field: int(value) for field, value in fields.items()}
        asked = cast("Receiving", {**numbers, "QueueUrl": f"/{name}"})
        found = sqs.receive_message(asked).get("Messages", [])
    except AwsError as error:
        code = "AWS.SimpleQueueService.NonExistentQueue" if "NonExistent" in error.code else error.code
        said = (
            f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(error.message)}</Message></Error>"
        )
        return _xml(
            error.status, f'<ErrorResponse xmlns="{_NAMESPACE}">{said}{_request_id()}</ErrorResponse>'
        )
    messages = "".join(f"<Message>{_fields(message)}</Message>" for message in found)
    result = (
        f"<ReceiveMessageResult>{messages}</ReceiveMessageResult>" if messages else "<ReceiveMessageResult/>"
    )
    metadata = f"<ResponseMetadata>{_request_id()}</ResponseMetadata>"
    return _xml(
        200, f'<ReceiveMessageResponse xmlns="{_NAMESPACE}">{result}{metadata}</ReceiveMessageResponse>'
    )


def _is_allowed(policy: str, name: str, headers: Mapping[str, str]) -> bool:
    """Return whether a queue's policy lets everybody receive who sends these headers over HTTPS."""
    known = {
        "aws:UserAgent": headers.get("user-agent"),
        "aws:Referer": headers.get("referer"),
        "aws:SecureTransport": "true",
    }
    arn = queue_arn(name).split(":")

    def fits(statement: Mapping[str, Any]) -> bool:
        resource = statement["Resource"].split(":")
        return (
            (statement["Effect"], statement["Principal"], statement["Action"])
            == ("Allow", "*", "sqs:ReceiveMessage")
            and all(wanted in ("*", part) for wanted, part in zip(resource, arn, strict=True))
            and all(
                known.get(key) == value
                for kind, pairs in statement.get("Condition", {}).items()
                for key, value in pairs.items()
                if kind in ("StringEquals", "Bool")
            )
        )

    return any(fits(statement) for statement in _statements(policy)) if policy else False


@functools.lru_cache(4096)
def _statements(policy: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = json.loads(policy)["Statement"]
    return found


def _fields(message: Mapping[str, str]) -> str:
    names = ("MessageId", "ReceiptHandle", "MD5OfBody", "Body")
    return "".join(f"<{name}>{escape(str(message[name]))}</{name}>" for name in names)


def _request_id() -> str:
    return f"<RequestId>{uuid4()}</RequestId>"


def _xml(status: int, text: str) -> tuple[int, dict[str, str], bytes]:
    body = f'<?xml version="1.0"?>{text}'.encode()
    return status, {"content-type": "text/xml", "content-length": str(len(body))}, body


def answer_of(
    status: int, headers: Mapping[str, str], body: bytes, parameters: Mapping[str, str], now_ms: int
) -> Response:
    """Return the answer to a client that waited with these parameters, made from SQS's answer."""
    from murmuration.endpoint.http import CORS_HEADERS

    if status != 200 or headers.get("content-type", "").startswith("application/json"):
        return status, [(name.encode(), value.encode()) for name, value in headers.items()], body
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() else KEYS_RING_BYTES
    keys: dict[str, Any] = json.loads(
        b"{" + base64.urlsafe_b64decode(parameters["keys"] + "=" * (-len(parameters["keys"]) % 4)) + b"}"
    )
    if size >= KEYS_RING_BYTES:
        _add_enough(keys)
    token = f"{parameters['keep']}.{now_ms}" if size < RING_BYTES else parameters["call"]
    text = json.dumps({"next_batch": token, **keys}, separators=(",", ":"), ensure_ascii=False).encode()
    found = [(b"content-type", b"application/json")]
    found += [(name.lower().encode(), value.encode()) for name, value in CORS_HEADERS.items()]
    return 200, found, text


def _add_enough(keys: dict[str, Any]) -> None:
    counts: dict[str, int] = keys.setdefault("device_one_time_keys_count", {})
    counts.setdefault(KEY_ALGORITHM, 0)
    for name, count in counts.items():
        counts[name] = max(count, ENOUGH_KEYS)
    fallbacks: list[str] = keys.setdefault("device_unused_fallback_key_types", [])
    if KEY_ALGORITHM not in fallbacks:
        fallbacks.append(KEY_ALGORITHM)
