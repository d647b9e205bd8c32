"""Wake queues: the SQS queues on which devices wait for a ring. An idle queue costs nothing.

A device has a few of them, its slots. Their names can't be guessed, because anybody who knows a queue's name
may wait on it without authentication. A message is the nonce of the registration that it rings. If the
device's keys have changed, the keys' part of /sync follows between two `~`, for the answer that a mapping
template makes. At the end is padding, because CloudFront's functions see only the length of an answer with a
message (`_padded`). A ring for a function that waits may instead name the rooms that have updates.

If clients wait at the edge (`settings().waits`), CloudFront itself asks SQS, and can't sign its requests. So
these queues have a policy that lets everybody receive who knows a secret, which CloudFront adds
(`edge_secret`). They aren't encrypted, because SQS accepts no unsigned request for an encrypted queue.

A queue's URL is derived from its name, so it needn't be requested. A device's last registration on a queue
shows that the queue exists. If a queue is gone, the first function that misses it creates it again.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html
"""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from murmuration.aws import queues
from murmuration.aws.calls import Parameters, ServiceError, call
from murmuration.aws.parameters import read_secret
from murmuration.cache import LruCache
from murmuration.clock import now_ms
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject
    from murmuration.protocol.identifiers import DeviceId, RoomId, UserId
    from murmuration.storage.json_types import KeyCountsSection

LONGEST_WAIT_S = 20
RETENTION_S = 75
"""How long a ring stays in the queue after it was sent: if it is delayed by 15 s, for a minute."""
PREFIXES = {"rest": "wake-2-", "edge": "wake-3-"}
"""The number is the version of the attributes: SQS refuses to create a queue that exists with other
attributes."""
ID_BYTES = 16
RING_BYTES = 600
"""The minimum size of a ring in bytes. SQS's answer without a message has about 250 bytes."""
KEYS_RING_BYTES = 4096
"""The minimum size in bytes of a ring for changed keys. An answer with another ring is shorter: the message's
handle has up to 1,024 bytes, and the rest around the ring a few hundred."""
NO_QUEUE = "QueueDoesNotExist"
_NAMING = "~~"
"""The separator between the nonce and the rooms (a JSON list) in a ring that names rooms."""
_urls: LruCache[str, str] = LruCache(10_000)


@dataclass(frozen=True, slots=True)
class Heard:
    """The result of waiting on a queue: a "ring", nothing, or the queue was gone and "made" again.

    `rooms` are the rooms that rang; empty if the client has to look at everything.
    """

    what: Literal["", "ring", "made"] = ""
    rooms: frozenset[RoomId] = frozenset()


def queue_id(secret: bytes, user_id: UserId, device_id: DeviceId, slot: str) -> str:
    """Return the ID of a slot's queue: the part of its name after the prefix."""
    label = f"wake queue\n{user_id}\n{device_id}\n{slot}".encode()
    return blake2b(label, key=secret, digest_size=ID_BYTES).hexdigest()


def prefix() -> str:
    """Return the prefix of the names of all wake queues."""
    return PREFIXES[settings().waits]


def id_of(url: str) -> str:
    """Return the queue ID in a queue's URL."""
    return url.rpartition("-")[2]


def url_if_known(queue: str) -> str:
    """Return the URL of the queue with the ID `queue`; empty if only SQS knows it."""
    name = settings().queue(prefix() + queue)
    return queues.url_of_name(name) or _urls.get(name) or ""


def ensure(queue: str, *, known: str = "", doubtful: bool = False, lazily: bool = False) -> str:
    """Return the URL of the queue with the ID `queue`, and create the queue unless it is known to exist.

    `known` is the URL on which the slot waited last. If the queue's existence is `doubtful`, SQS is asked.
    With `lazily`, the first function that misses the queue creates it: the one that waits, or the one that
    rings. API Gateway can't create a queue, so the queues on which it waits are created at once.
    """
    name = settings().queue(prefix() + queue)
    url = queues.url_of_name(name) or (known if known.rpartition("/")[2] == name else "") or _urls.get(name)
    if url and doubtful and not _exists(url):
        _create(name)
    elif not url or not (doubtful or lazily or known == url or _urls.get(name)):
        url = _create(name)
    _urls.put(name, url)
    return url


def _exists(url: str) -> bool:
    """Return whether a queue exists. This takes no message out of it."""
    looked = {"QueueUrl": url, "MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "WaitTimeSeconds": 0}
    try:
        call("sqs", "ReceiveMessage", looked)
    except ServiceError as error:
        if error.code != NO_QUEUE:
            raise
        return False
    return True


def _create(name: str) -> str:
    return str(call("sqs", "CreateQueue", {"QueueName": name, "Attributes": _attributes(name)})["QueueUrl"])


def _attributes(name: str) -> dict[str, str]:
    """Return the attributes of the queue with that name; they never change."""
    attributes = {"MessageRetentionPeriod": str(RETENTION_S)}
    if settings().waits == "edge":
        policy = json.dumps(_policy(name), separators=(",", ":"))
        attributes |= {"SqsManagedSseEnabled": "false", "Policy": policy}
    return attributes


def edge_secret() -> str:
    """Return the secret that CloudFront adds to its requests for these queues. The deployment created it."""
    return read_secret(settings().parameter("queue-secret"))


def _policy(name: str) -> JsonObject:
    """Return a policy that lets everybody receive who has the secret, in one of two headers that a condition
    can check.

    Nobody may send or delete without a signature. A stranger who knows a queue's name learns nothing.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    account = queues.url_of_name(name).split("/")[-2]
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "sqs:ReceiveMessage",
        "Resource": f"arn:aws:sqs:*:{account}:{name}",
    }
    by_https = {"Bool": {"aws:SecureTransport": "true"}}
    conditions = [{"StringEquals": {key: edge_secret()}} for key in ("aws:UserAgent", "aws:Referer")]
    return {
        "Version": "2012-10-17",
        "Statement": [{**statement, "Condition": {**by_https, **condition}} for condition in conditions],
    }


def wait(url: str, nonce: str, seconds: float) -> Heard:
    """Wait on a queue for the ring with `nonce`, until the time is over.

    If the queue is used for a later registration by now, this counts as a ring too. A queue that is gone is
    created again: rings may have been lost. Rings for earlier registrations are deleted; a ring for a later
    one is left in the queue.
    """
    deadline = time.monotonic() + seconds
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return Heard()
        try:
            response = call(
                "sqs",
                "ReceiveMessage",
                {
                    "QueueUrl": url,
                    "MaxNumberOfMessages": 10,
                    "WaitTimeSeconds": max(1, min(LONGEST_WAIT_S, math.ceil(remaining))),
                },
            )
        except ServiceError as error:
            if error.code != NO_QUEUE:
                raise
            _create(url.rpartition("/")[2])
            return Heard("made")
        rings = response.get("Messages", [])
        others = [ring["ReceiptHandle"] for ring in rings if is_later(_nonce_of(ring), nonce)]
        for handle in others:
            given = {"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 0}
            call("sqs", "ChangeMessageVisibility", given)
        entries = [
            {"Id": str(number), "ReceiptHandle": ring["ReceiptHandle"]}
            for number, ring in enumerate(rings)
            if ring["ReceiptHandle"] not in others
        ]
        if entries:
            call("sqs", "DeleteMessageBatch", {"QueueUrl": url, "Entries": entries})
        if others:
            return Heard("ring")
        if own := [ring for ring in rings if _nonce_of(ring) == nonce]:
            return Heard("ring", _rooms_of(own))


def new_nonce(*, kept: bool) -> str:
    """Return a new registration's nonce. That of a held wait begins with the time in milliseconds."""
    return secrets.token_urlsafe(9) if kept else f"{now_ms():014d}{secrets.token_urlsafe(6)}"


def is_later(nonce: str, than: str) -> bool:
    """Return whether one held wait was registered after another."""
    return nonce[:14] >= than[:14] and nonce != than


def _nonce_of(ring: Mapping[str, str]) -> str:
    return ring["Body"].partition("~")[0].partition(" ")[0]


def _rooms_of(rings: Sequence[Mapping[str, str]]) -> frozenset[RoomId]:
    """Return the rooms that these rings name; none if one of the rings names no rooms."""
    named = [ring["Body"].partition(_NAMING)[2] for ring in rings]
    return frozenset(room_id for text in named for room_id in json.loads(text)) if all(named) else frozenset()


def _padded(text: str, size: int) -> str:
    """Return a ring's text with `size` bytes of padding after it.

    The padding is random. Otherwise compression on the way could make it so short that the answer looks like
    one without a ring.
    """
    return f"{text} {urlsafe_b64encode(os.urandom(size)).decode()}"


def encode_keys(keys: KeyCountsSection) -> str:
    """Return the keys' part of /sync for a device in the form for mapping templates: JSON without braces, as
    base64.
    """
    return encode_text(json.dumps(keys, separators=(",", ":"))[1:-1])


def encode_text(text: str) -> str:
    """Return a piece of JSON as base64 without padding, by adding spaces to its end."""
    data = text.encode()
    data += b" " * (-len(data) % 3)
    return urlsafe_b64encode(data).decode()


def ring(url: str, nonce: str, keys: str = "", *, delay_s: int = 0, rooms: Collection[str] = ()) -> None:
    """Ring the registration with `nonce`, at once or after `delay_s`.

    `keys` has the device's key counts if they have changed. `rooms` are the rooms that have updates, for a
    function that waits and needs to look only at these.
    """
    body = _padded(f"{nonce}~{keys}~", KEYS_RING_BYTES) if keys else _padded(nonce, RING_BYTES)
    if rooms:
        body = f"{nonce}{_NAMING}{json.dumps(sorted(rooms))}"
    message: Parameters = {"QueueUrl": url, "MessageBody": body}
    if delay_s:
        message["DelaySeconds"] = delay_s
    try:
        call("sqs", "SendMessage", message)
    except ServiceError as error:
        if error.code != NO_QUEUE:
            raise
        _create(url.rpartition("/")[2])
        call("sqs", "SendMessage", message)
