"""The account, region and names of the local cloud."""

from __future__ import annotations

from typing import Final

REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"
STAGE: Final = "local"
PREFIX: Final = "murmuration-local"
REST_API_ID: Final = "restlocal0"
HTTP_API_ID: Final = "httplocal0"
WEBSOCKET_API_ID: Final = "wslocal000"
EDGE_ADDRESS: Final = "130.176.0.1"
"""CloudFront's own address: a REST API behind CloudFront sees it as the source of every request."""


def domain(api_id: str) -> str:
    """Return the execute-api domain name of an API."""
    return f"{api_id}.execute-api.{REGION}.amazonaws.com"


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


QUEUE_URLS: Final = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/"
"""The prefix of each queue's URL."""


def queue_url(name: str) -> str:
    return QUEUE_URLS + name


def stream_arn(table: str, label: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/{label}"
