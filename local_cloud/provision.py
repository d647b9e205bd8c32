"""The resources that a deployment creates once: tables, the media bucket, queues, and the secrets in SSM.

Existing ones aren't changed, so this runs at every start.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from local_cloud.aws.s3 import S3
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.environment import MEDIA_BUCKET, QUEUE_SECRET_PARAMETER, VIEWER_SECRET_PARAMETER
from local_cloud.lambdas import Function
from local_cloud.names import PREFIX, queue_arn

log = logging.getLogger("local_cloud.provision")

ATTEMPTS = 10
"""How often a message is received before it goes to the dead letters."""
_FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}


def create_tables(client: Any, tables: Iterable[Any], *, prefix: str = PREFIX) -> None:
    """Create the tables of `murmuration.storage.tables.TABLES` that don't exist yet."""
    existing = set()
    page: dict[str, Any] = {}
    while True:
        page = client.list_tables(
            **({"ExclusiveStartTableName": page["LastEvaluatedTableName"]} if page else {})
        )
        existing.update(page["TableNames"])
        if "LastEvaluatedTableName" not in page:
            break
    for table in tables:
        name = f"{prefix}-{table.name}"
        if name in existing:
            continue
        client.create_table(**table.create_request(name))
        if table.ttl:
            client.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl}
            )


def create_bucket(s3: S3) -> None:
    s3.create_bucket({"Bucket": MEDIA_BUCKET})


def physical_queue(name: str, fifo: bool, *, prefix: str = PREFIX) -> str:
    """Return a queue's name in SQS, from its logical name."""
    physical = f"{prefix}-{name}"
    return f"{physical}.fifo" if fifo and not physical.endswith(".fifo") else physical


def create_queues(sqs: Sqs, functions: Iterable[Function], *, prefix: str = PREFIX) -> None:
    """Create the queue of each queue function, with the attributes in its route, and the queues of dead
    letters.
    """
    from murmuration.endpoint import Queue
    from murmuration.endpoint.workers import DEAD_LETTERS

    dead = {fifo: physical_queue(DEAD_LETTERS, fifo, prefix=prefix) for fifo in (False, True)}
    for is_fifo, name in dead.items():
        create_queue(sqs, name, _FIFO if is_fifo else {})
    for function in functions:
        route = function.route
        if isinstance(route, Queue):
            redrive = {"deadLetterTargetArn": queue_arn(dead[route.fifo]), "maxReceiveCount": ATTEMPTS}
            attributes = {"VisibilityTimeout": "30", "RedrivePolicy": json.dumps(redrive)}
            if route.fifo:
                attributes |= _FIFO
            create_queue(sqs, physical_queue(route.name, route.fifo, prefix=prefix), attributes)


def create_queue(sqs: Sqs, name: str, attributes: dict[str, str]) -> None:
    sqs.create_queue({"QueueName": name, "Attributes": attributes})


def create_secrets(ssm: Ssm) -> str:
    """Create the server's signing key and CloudFront's secrets for functions and for queues, if they don't
    exist.

    Returns the secret for functions. The signing key is written in the form that `murmuration.server_keys`
    reads: algorithm, version, seed.
    """
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    version = "a_" + secrets.token_hex(3)
    _create_secret(ssm, f"/{PREFIX}/signing-key", f"ed25519 {version} {seed}")
    _create_secret(ssm, QUEUE_SECRET_PARAMETER, secrets.token_urlsafe(32))
    return _create_secret(ssm, VIEWER_SECRET_PARAMETER, secrets.token_urlsafe(32))


def set_parameters(ssm: Ssm, values: Mapping[str, str], *, prefix: str = PREFIX) -> None:
    """Write these secrets to SSM, by logical name."""
    for name, value in values.items():
        ssm.put_parameter(
            {"Name": f"/{prefix}/{name}", "Value": value, "Type": "SecureString", "Overwrite": True}
        )


def _create_secret(ssm: Ssm, name: str, value: str) -> str:
    found = ssm.get_parameters({"Names": [name]})["Parameters"]
    if found:
        kept: str = found[0]["Value"]
        return kept
    ssm.put_parameter({"Name": name, "Value": value, "Type": "SecureString"})
    log.info("created the parameter %s", name)
    return value
