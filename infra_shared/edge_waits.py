"""Waiting at the edge: CloudFront itself asks SQS on behalf of a parked client, without an API in between.

Plain data, without the CDK, for the deployment and the local gateway alike. CloudFront's viewer function
(`viewer.js`) turns a /sync with a marked token into a request of SQS's query protocol. It sends that to an
origin group: first to SQS's endpoint, and if SQS refuses, to the REST API with the route to the queues
(`parking`). So if a queue is gone (400) or a policy doesn't allow the request (403), the client gets the same
answer as without waiting at the edge.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-xml.html
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/high_availability_origin_failover.html

A second function (`viewer_response.js`) turns SQS's answer into the empty /sync. It sees the answer's length
but not its body. So rings are padded: an answer with a ring is longer than any without
(`storage.live.wake_queues`). If the length isn't known, the client is told to ask a function: that is always
right, and costs a request.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-event-structure.html
"""

from __future__ import annotations

from collections.abc import Mapping

QUEUE_PREFIX = "wake-3-"
"""The prefix of wake queues' names, without the deployment's prefix."""
HEADER_PREFIX = "x-murmuration-"
"""The headers `wait`, `keep`, `call` and `keys` have the values that the answer needs (see `parking`)."""
SECRET_HEADERS = ("User-Agent", "Referer")
"""The headers in which CloudFront sends SQS the secret that the queues' policies require."""
FAILOVER_STATUSES = (400, 403, 404, 429, 500, 502, 503, 504)
"""SQS's statuses after which CloudFront asks the REST API instead."""
RING_BYTES = 600
"""An answer with fewer bytes has no ring."""
KEYS_RING_BYTES = 4096
"""An answer with at least this many bytes means that the device's keys have changed."""
ENOUGH_KEYS = 50
"""A client whose keys changed is told that it has this many of each kind. The function that it asks next
returns the true number. If it were told a smaller number, it would upload keys in between."""
KEY_ALGORITHM = "signed_curve25519"


def query(wait: str) -> Mapping[str, str]:
    """Return the query of the request that waits for `wait` seconds. It leaves rings in their queue."""
    return {
        "Action": "ReceiveMessage",
        "Version": "2012-11-05",
        "MaxNumberOfMessages": "1",
        "VisibilityTimeout": "0",
        "WaitTimeSeconds": wait,
    }
